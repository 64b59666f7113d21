//! The sessions of a peer: the one in use, the one before it, and one that the peer has yet to confirm.

use crate::Moment;
use crate::noise::{REKEY_AFTER_MESSAGES, Session};

use super::timers::{KEEPALIVE_TIMEOUT, REJECT_AFTER_TIME, REKEY_AFTER_TIME, REKEY_TIMEOUT};

/// A session and what its age decides.
struct Aged {
    session: Session,
    born: Moment,
    /// Who began it renews it (whitepaper §6.2).
    initiator: bool,
    /// Whether renewal because of receiving was asked for.
    last_minute: bool,
}

impl Aged {
    fn alive(&self, now: Moment) -> bool {
        now.since(self.born) < REJECT_AFTER_TIME
    }

    fn usable(&self, now: Moment) -> bool {
        self.alive(now) && !self.session.exhausted()
    }
}

/// At most four sessions, of which the peer may use any (whitepaper §6.3).
///
/// Linux keeps three. Where both begin at once, each may settle for the session that the other began; and an initiation
/// that was long on its way makes a `next` that nobody will ever use. The handshake after that would throw out the only
/// session that the peer knows to be good, and cut it off until it misses an answer.
#[derive(Default)]
pub(super) struct Sessions {
    current: Option<Aged>,
    /// The latest first.
    previous: [Option<Aged>; 2],
    next: Option<Aged>,
}

impl Sessions {
    /// Whether data can be sent.
    pub(super) fn usable(&self, now: Moment) -> bool {
        self.current.as_ref().is_some_and(|aged| aged.usable(now))
    }

    /// The session to send under.
    pub(super) fn current(&mut self, now: Moment) -> Option<&mut Session> {
        self.current.as_mut().filter(|aged| aged.usable(now)).map(|aged| &mut aged.session)
    }

    /// The peer answered us: it can open what we send from now on.
    pub(super) fn agreed_as_initiator(&mut self, session: Session, now: Moment) {
        self.begin(Some(Aged { session, born: now, initiator: true, last_minute: false }));
    }

    /// We answered the peer: whether it got the answer shows when it uses it.
    pub(super) fn agreed_as_responder(&mut self, session: Session, now: Moment) {
        self.next = Some(Aged { session, born: now, initiator: false, last_minute: false });
    }

    /// Opens data under the session with our `index`, and tells whether that confirmed the next session.
    pub(super) fn open<'a>(
        &mut self,
        index: u32,
        counter: u64,
        body: &'a mut [u8],
        now: Moment,
    ) -> Option<(&'a mut [u8], bool)> {
        let is = |aged: &Option<Aged>| aged.as_ref().is_some_and(|aged| aged.session.local_index == index);
        let confirms = is(&self.next);
        let [latest, older] = &mut self.previous;
        let place = [&mut self.current, latest, older, &mut self.next].into_iter().find(|place| is(place))?;
        let aged = place.as_mut().filter(|aged| aged.alive(now))?;
        let text = aged.session.open(counter, body).ok()?;
        if confirms {
            let next = self.next.take();
            self.begin(next);
        }
        Some((text, confirms))
    }

    /// From now on `new` is sent under.
    fn begin(&mut self, new: Option<Aged>) {
        let [latest, older] = &mut self.previous;
        *older = latest.take();
        *latest = std::mem::replace(&mut self.current, new);
    }

    /// Whether new keys are due because we send under old ones.
    pub(super) fn wants_rekey(&self, now: Moment) -> bool {
        self.current.as_ref().is_some_and(|aged| {
            aged.session.sent() >= REKEY_AFTER_MESSAGES || (aged.initiator && now.since(aged.born) >= REKEY_AFTER_TIME)
        })
    }

    /// Whether new keys are due because we receive under very old ones; true once for each session.
    pub(super) fn wants_last_minute_rekey(&mut self, now: Moment) -> bool {
        let limit = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT;
        match &mut self.current {
            Some(aged) if aged.initiator && !aged.last_minute && now.since(aged.born) >= limit => {
                aged.last_minute = true;
                true
            }
            _ => false,
        }
    }

    /// Whether a session of ours has this index.
    pub(super) fn has(&self, index: u32) -> bool {
        let [latest, older] = &self.previous;
        [&self.current, latest, older, &self.next].into_iter().flatten().any(|aged| aged.session.local_index == index)
    }

    /// As if the session in use had sent so many messages.
    #[cfg(test)]
    pub(super) fn pretend_sent(&mut self, sent: u64) {
        if let Some(aged) = &mut self.current {
            aged.session.pretend_sent(sent);
        }
    }
}
