//! What happens when nothing comes.

use std::time::Duration;

use crate::Moment;

use super::{Error, State, Tcp};

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    /// When the wait for an acknowledgement began (RFC 6298 §5).
    pub(super) retransmit: Moment,
    /// When a tail is probed for (RFC 8985 §7).
    pub(super) probe: Option<Moment>,
    /// When what may be reordered is lost (RFC 8985 §6.2).
    pub(super) reorder: Option<Moment>,
    /// When a closed window is asked about, and how often it was (RFC 9293 §3.8.6.1).
    pub(super) persist: Option<(Moment, u8)>,
    /// The end of TIME-WAIT, or of FIN-WAIT-2.
    pub(super) linger: Option<Moment>,
    /// When something was last heard.
    pub(super) heard: Moment,
    /// Since when no answer has come to something that needs one.
    pub(super) silent_since: Option<Moment>,
    /// Keep-alive probes without an answer.
    pub(super) probes: u8,
    /// Timeouts in a row.
    pub(super) timeouts: u8,
    /// When the next segment may go, by the rate.
    pub(super) pace: Moment,
    /// When the next challenge may go.
    pub(super) challenge: Moment,
    /// A probe is to be sent.
    pub(super) nudge: bool,
    /// When something was last sent.
    pub(super) sent: Moment,
}

impl Timers {
    pub(super) const fn new(now: Moment) -> Self {
        Self {
            retransmit: now,
            probe: None,
            reorder: None,
            persist: None,
            linger: None,
            heard: now,
            silent_since: None,
            probes: 0,
            timeouts: 0,
            pace: now,
            challenge: Moment::from_micros(0),
            nudge: false,
            sent: now,
        }
    }

    /// Something new was acknowledged.
    pub(super) const fn progress(&mut self, now: Moment) {
        self.retransmit = now;
        self.silent_since = None;
        self.timeouts = 0;
        self.persist = None;
    }

    /// The other end is alive.
    pub(super) const fn heard(&mut self, now: Moment) {
        self.heard = now;
        self.probes = 0;
        self.silent_since = None;
    }

    pub(super) const fn stop(&mut self) {
        (self.probe, self.reorder, self.persist, self.linger) = (None, None, None, None);
    }
}

/// How long to wait for an answer, in seconds, to a SYN, or when nobody reads or writes any more.
const IMPATIENCE: u16 = 120;

/// Packets that nearly every path carries, for when larger ones vanish and nobody says so (RFC 4821 §7.2, RFC 8899 §3).
const SAFE_MTUS: [u16; 3] = [1280, 1024, 576];

impl Tcp {
    /// When the first segment under way counts as lost.
    pub(super) fn retransmission_due(&self) -> Option<Moment> {
        (!self.flight.is_empty()).then(|| self.timers.retransmit + self.rtt.timeout())
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, now: Moment) {
        let due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        if due(self.timers.linger) {
            self.close(None);
        }
        if self.state == State::Closed {
            return;
        }
        if due(self.timers.reorder) {
            self.timers.reorder = None;
            let before = self.flight.in_flight();
            if self.detect(now) > 0 {
                self.enter_recovery(before);
            }
        }
        if due(self.retransmission_due()) {
            self.on_silence(now);
        }
        if let Some((_, count)) = self.timers.persist.filter(|&(at, _)| at <= now) {
            let count = count.saturating_add(1);
            self.timers.persist = Some((now + self.persist_interval(count), count));
            self.ask(now);
        }
        self.keep_alive(now);
    }

    /// A retransmission timeout.
    fn on_silence(&mut self, now: Moment) {
        if self.gives_up(now) {
            return;
        }
        self.timers.timeouts = self.timers.timeouts.saturating_add(1);
        if self.timers.timeouts == 1 {
            self.proven_mtu = 0;
        }
        // RFC 4821 §7.7: twice in a row, and nothing larger was heard of in between.
        if self.timers.timeouts == 2 || self.timers.timeouts > 3 {
            self.suspect_black_hole();
        }
        self.on_retransmission_timeout();
        self.rtt.back_off();
        self.timers.retransmit = now;
    }

    /// The way was gone for everybody and is back: what is under way was lost with it, and was not too large for it.
    pub(in crate::stack) fn retry(&mut self, now: Moment) {
        if self.flight.is_empty() || self.state == State::Closed {
            return;
        }
        self.timers.timeouts = 0;
        self.path_mtu = self.settings.mtu;
        self.rtt.recovered();
        self.on_retransmission_timeout();
        self.timers.retransmit = now;
    }

    /// Large packets vanish, be they full-sized or not: tries smaller ones.
    fn suspect_black_hole(&mut self) {
        let Some(first) = self.flight.first() else { return };
        let packet = (first.end - first.start).min(self.mss()) + self.overhead();
        let smaller = SAFE_MTUS.into_iter().find(|&mtu| u64::from(mtu) < packet).map(|mtu| mtu.max(self.proven_mtu));
        if let Some(mtu) = smaller.filter(|&mtu| u64::from(mtu) < packet && self.settled()) {
            self.path_mtu = mtu;
        }
    }

    /// What is around the data in a full-sized packet.
    fn overhead(&self) -> u64 {
        u64::from(self.path_mtu) - self.mss().min(self.path_mtu.into())
    }

    /// A segment of so many bytes arrived: so do packets of that size.
    pub(super) fn learn_mtu(&mut self, len: u32) {
        if len == 0 {
            return;
        }
        let packet = u16::try_from(u64::from(len) + self.overhead()).unwrap_or(u16::MAX);
        self.proven_mtu = self.proven_mtu.max(packet.min(self.path_mtu));
    }

    /// Ends the connection if nothing was heard for too long; RFC 9293 §3.8.3.
    fn gives_up(&mut self, now: Moment) -> bool {
        let since = *self.timers.silent_since.get_or_insert(now);
        // RFC 9293 §3.8.3: a SYN may wait for three minutes, but nobody who wants to connect does; Linux' two.
        let impatient = self.orphaned || !self.settled();
        let patience = if impatient { self.settings.patience.min(IMPATIENCE) } else { self.settings.patience };
        let late = now.since(since) >= Duration::from_secs(patience.into());
        if late {
            self.close(Some(Error::TimedOut));
        }
        late
    }

    fn persist_interval(&self, count: u8) -> Duration {
        // RFC 9293 §3.8.6.1: grows exponentially; Linux' bound.
        self.rtt.timeout().saturating_mul(1 << count.min(10)).min(Duration::from_secs(120))
    }

    /// There is something to send, nothing under way, and no window.
    pub(super) fn arm_persist(&mut self, now: Moment) {
        if self.timers.persist.is_none() {
            self.timers.persist = Some((now + self.persist_interval(0), 0));
        }
    }

    /// Makes the other end say what it expects.
    fn ask(&mut self, now: Moment) {
        if !self.gives_up(now) {
            self.timers.nudge = true;
        }
    }

    /// When a keep-alive probe is due.
    pub(super) fn keep_alive_due(&self) -> Option<Moment> {
        let keep = self.settings.keep_alive?;
        let idle = self.settled() && self.flight.is_empty() && self.timers.persist.is_none();
        let open = !matches!(self.state, State::Closed | State::TimeWait);
        (idle && open).then(|| {
            let seconds = u32::from(keep.idle) + u32::from(keep.interval) * u32::from(self.timers.probes);
            self.timers.heard + Duration::from_secs(seconds.into())
        })
    }

    fn keep_alive(&mut self, now: Moment) {
        let Some(keep) = self.settings.keep_alive else { return };
        if self.keep_alive_due().is_none_or(|at| at > now) {
            return;
        }
        if self.timers.probes >= keep.count {
            // RFC 9293 §3.8.4; the other end gets a RST, should it only have been deaf.
            self.reset = Some((self.first.at(self.next), true));
            self.close(Some(Error::TimedOut));
            return;
        }
        self.timers.probes += 1;
        self.timers.nudge = true;
    }
}
