//! When a peer has to be talked to although nobody has anything to say (whitepaper §6; the rules are those of Linux'
//! `timers.c`).

use std::time::Duration;

use rand::Rng as _;

use crate::Moment;
use crate::noise::Random;

/// Age at which the initiator asks for new keys.
pub(crate) const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// Age at which a session is dead.
pub(crate) const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Between two initiations.
pub(crate) const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long, what was received is answered by an empty packet.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a session is asked for in vain.
pub(super) const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// So that two who begin at once do not do it again and again.
const MAX_JITTER_MS: u64 = 333;

/// The timers of a peer.
pub(super) struct Timers {
    /// An empty packet is due, because data came and nothing went.
    keepalive: Option<Moment>,
    /// Since when data went and nothing came.
    unanswered: Option<Moment>,
    /// When that is too long.
    silence: Option<Moment>,
    /// An empty packet is due, because the configuration wants it.
    persistent: Option<Moment>,
    persistent_every: Option<Duration>,
    /// All keys are to be forgotten.
    wipe: Option<Moment>,
}

impl Timers {
    pub(super) fn new(persistent_every: Option<Duration>) -> Self {
        Self { keepalive: None, unanswered: None, silence: None, persistent: None, persistent_every, wipe: None }
    }

    /// Something that the peer will find authentic was sent.
    pub(super) fn sent(&mut self, now: Moment) {
        self.keepalive = None;
        self.persistent = self.persistent_every.map(|every| now + every);
    }

    /// Data was sent.
    pub(super) fn sent_data(&mut self, now: Moment, random: &mut dyn Random) {
        self.unanswered.get_or_insert(now);
        self.silence.get_or_insert_with(|| now + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter(random));
    }

    /// Something authentic came.
    pub(super) fn heard(&mut self, now: Moment) {
        self.unanswered = None;
        self.silence = None;
        self.persistent = self.persistent_every.map(|every| now + every);
    }

    /// Data came, and not just an empty packet: that must not be answered (F-G7).
    pub(super) fn received_data(&mut self, now: Moment) {
        self.keepalive.get_or_insert(now + KEEPALIVE_TIMEOUT);
    }

    /// There are new keys.
    pub(super) fn new_keys(&mut self, now: Moment) {
        self.wipe = Some(now + REJECT_AFTER_TIME * 3);
    }

    /// Since when data has not been answered by anything.
    pub(super) fn unanswered_since(&self) -> Option<Moment> {
        self.unanswered
    }

    pub(super) fn take_keepalive(&mut self, now: Moment) -> bool {
        take(&mut self.keepalive, now)
    }

    pub(super) fn take_silence(&mut self, now: Moment) -> bool {
        take(&mut self.silence, now)
    }

    /// True whenever the interval has passed; it begins anew.
    pub(super) fn take_persistent(&mut self, now: Moment) -> bool {
        let due = take(&mut self.persistent, now);
        if due {
            self.persistent = self.persistent_every.map(|every| now + every);
        }
        due
    }

    pub(super) fn take_wipe(&mut self, now: Moment) -> bool {
        take(&mut self.wipe, now)
    }

    /// The next that is due.
    pub(super) fn next(&self) -> Option<Moment> {
        [self.keepalive, self.silence, self.persistent, self.wipe].into_iter().flatten().min()
    }
}

fn take(timer: &mut Option<Moment>, now: Moment) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

/// What is added to spans after which both sides might begin.
pub(super) fn jitter(random: &mut dyn Random) -> Duration {
    Duration::from_millis(random.random_range(0..=MAX_JITTER_MS))
}
