//! What acknowledgements mean for what is under way: losses, and how to come back from them.

use std::time::Duration;

use crate::Moment;

use super::congestion::Ack;
use super::{Segment, Tcp};

/// Whether something was lost that is not repaired yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recovery {
    /// No.
    Open,
    /// Yes, since what was sent first up to `until` (RFC 6675 §5).
    Fast { until: u64, prr: Option<Prr> },
    /// Yes, and nothing was heard for a long time.
    Timeout { until: u64 },
}

/// Proportional rate reduction (RFC 6937 §3): spreads a cut of the window over a round trip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prr {
    /// ssthresh.
    target: u64,
    /// RecoverFS.
    in_flight: u64,
    delivered: u64,
    sent: u64,
    window: u64,
}

impl Prr {
    fn on_ack(&mut self, delivered: u64, in_flight: u64, mss: u64) {
        self.delivered += delivered;
        let quota = if in_flight > self.target {
            (self.delivered * self.target).div_ceil(self.in_flight.max(1)).saturating_sub(self.sent)
        } else {
            // Slow start reduction bound.
            let limit = self.delivered.saturating_sub(self.sent).max(delivered) + mss;
            (self.target - in_flight).min(limit)
        };
        self.window = in_flight + quota;
    }
}

/// What it takes to see that a retransmission was not needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undo {
    /// Our clock at the first of them (RFC 3522 §3.2).
    clock: u32,
    /// How many of them the other end did not report as duplicates (RFC 3708 §3).
    open: u32,
}

/// A probe for a lost tail (RFC 8985 §7).
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// TLP.end_seq.
    pub(super) end: u64,
    /// TLP.is_retrans.
    pub(super) repeats: bool,
}

impl Tcp {
    /// Bytes that may be under way now.
    pub(super) fn window(&self) -> u64 {
        match self.recovery {
            Recovery::Fast { prr: Some(prr), .. } => prr.window,
            _ => self.congestion.window(),
        }
    }

    fn in_recovery(&self) -> bool {
        !matches!(self.recovery, Recovery::Open)
    }

    /// Everything before `ack` arrived, and what the options say. `news` is whether the segment said more than that.
    pub(super) fn acknowledge(&mut self, ack: u64, news: bool, segment: &Segment<'_>, now: Moment) {
        let (sacks, twice) = self.sacks(segment, ack);
        let before = self.flight.in_flight();
        let least = self.rtt.least();
        let mut outcome = self.flight.acknowledge(ack, &sacks, least, now);
        outcome.rtt = outcome.rtt.map(|rtt| self.rtt.awake(rtt));
        let advanced = ack > self.una;
        if advanced {
            self.advance(ack, segment, outcome.rtt, now);
        } else if let Some(rtt) = outcome.rtt {
            self.rtt.sample(rtt);
        }
        self.learn_mtu(outcome.largest);
        if twice {
            self.on_duplicate();
        }
        let mss = self.mss();
        let mut lost = self.detect(now);
        if !self.peer.sack {
            lost += self.count_repeated(advanced, news, segment);
        }
        if lost > 0 {
            self.enter_recovery(before);
        }
        if advanced {
            self.undo_if_early(segment);
            self.leave_recovery(lost);
        }
        let in_flight = self.flight.in_flight();
        if let Recovery::Fast { prr: Some(prr), .. } = &mut self.recovery {
            prr.on_ack(outcome.delivered, in_flight, mss);
        }
        self.congestion.on_ack(&Ack {
            now,
            delivered: outcome.delivered,
            lost,
            in_flight,
            rtt: outcome.rtt,
            smoothed: self.rtt.smoothed(),
            rate: outcome.rate,
            round: outcome.round,
            window_limited: self.window_limited
                || before * 2 >= self.congestion.window() && self.congestion.in_slow_start(),
            in_recovery: matches!(self.recovery, Recovery::Fast { .. }),
            mss,
        });
        if outcome.round {
            self.window_limited = false;
        }
        if outcome.delivered > 0 {
            self.arm_probe(now);
        }
    }

    fn advance(&mut self, ack: u64, segment: &Segment<'_>, rtt: Option<Duration>, now: Moment) {
        self.una = ack;
        self.data.advance(ack);
        self.timers.progress(now);
        self.peer.repeated = 0;
        // Karn's rule, or the timestamp (RFC 7323 §4.1) if that leaves nothing.
        let echoed = || match (self.peer.timestamp, segment.timestamp) {
            (Some(_), Some((_, echo))) => {
                let elapsed = self.clock(now).wrapping_sub(echo);
                (elapsed < 600_000).then(|| Duration::from_millis(u64::from(elapsed).max(1)))
            }
            _ => None,
        };
        match rtt.or_else(echoed) {
            Some(rtt) => self.rtt.sample(rtt),
            None => self.rtt.recovered(),
        }
        if self.tail.is_some_and(|tail| ack >= tail.end) {
            self.end_probe();
        }
    }

    /// The tail that was probed for is acknowledged (RFC 8985 §7.4). If nobody says that it came twice, the probe has
    /// repaired a loss, which has to count.
    fn end_probe(&mut self) {
        if self.tail.take().is_some_and(|tail| tail.repeats) && matches!(self.recovery, Recovery::Open) {
            self.congestion.on_loss(self.flight.in_flight(), self.mss());
            self.congestion.on_recovered();
        }
    }

    fn on_duplicate(&mut self) {
        if self.tail.is_some_and(|tail| tail.repeats) {
            self.tail = None;
            return;
        }
        self.flight.on_dsack();
        if let Some(undo) = &mut self.undo {
            undo.open = undo.open.saturating_sub(1);
            if undo.open == 0 {
                self.revert();
            }
        }
    }

    /// Eifel (RFC 3522 §3.2): the acknowledgement answers what was sent before the retransmission.
    fn undo_if_early(&mut self, segment: &Segment<'_>) {
        if let (Some(undo), Some((_, echo))) = (self.undo, segment.timestamp)
            && self.peer.timestamp.is_some()
            && undo.open > 0
            && self.in_recovery()
            && Self::is_before(echo, undo.clock)
        {
            self.revert();
        }
    }

    /// Nothing was lost after all: back to where we were (RFC 4015 §3.2).
    fn revert(&mut self) {
        self.undo = None;
        self.congestion.undo();
        self.flight.find_again();
        self.recovery = Recovery::Open;
    }

    /// Marks what is lost by now; returns how many bytes.
    pub(super) fn detect(&mut self, now: Moment) -> u64 {
        let (Some(least), Some(smoothed)) = (self.rtt.least(), self.rtt.smoothed()) else { return 0 };
        if !self.peer.sack {
            return 0;
        }
        let (lost, again) = self.flight.detect(self.in_recovery(), least, smoothed, self.mss(), now);
        self.timers.reorder = again;
        lost
    }

    /// For a peer without SACK: the third repeated acknowledgement, and each partial one (RFC 6582 §3.2).
    fn count_repeated(&mut self, advanced: bool, news: bool, segment: &Segment<'_>) -> u64 {
        if advanced {
            let partial = matches!(self.recovery, Recovery::Fast { until, .. } if self.una < until);
            return if partial { self.flight.lose_first() } else { 0 };
        }
        if !news && segment.len() == 0 {
            self.peer.repeated = self.peer.repeated.saturating_add(1);
        }
        if self.peer.repeated == 3 && !self.in_recovery() { self.flight.lose_first() } else { 0 }
    }

    /// `before` is what was under way before the loss was known.
    pub(super) fn enter_recovery(&mut self, before: u64) {
        if self.in_recovery() {
            return;
        }
        let mss = self.mss();
        self.congestion.on_loss(before, mss);
        let prr = self.congestion.reduces_to().map(|target| Prr {
            target,
            in_flight: before,
            delivered: 0,
            sent: 0,
            // RFC 6937 §3: the first retransmission goes out whatever the window.
            window: self.flight.in_flight() + mss,
        });
        self.recovery = Recovery::Fast { until: self.next, prr };
        self.undo = None;
        self.tail = None;
        self.timers.probe = None;
    }

    fn leave_recovery(&mut self, lost: u64) {
        let (Recovery::Fast { until, .. } | Recovery::Timeout { until }) = self.recovery else { return };
        if self.una >= until && lost == 0 {
            self.recovery = Recovery::Open;
            self.congestion.on_recovered();
            self.flight.on_recovered();
        }
    }

    /// Nothing was heard for too long (RFC 6298 §5).
    pub(super) fn on_retransmission_timeout(&mut self) {
        let first = !matches!(self.recovery, Recovery::Timeout { .. });
        let forget = self.flight.reneged();
        self.flight.lose_all(forget);
        if first {
            self.undo = None;
            self.congestion.on_timeout(self.mss());
        }
        self.recovery = Recovery::Timeout { until: self.next };
        self.tail = None;
        self.timers.probe = None;
        self.timers.reorder = None;
    }

    /// Something was sent again.
    pub(super) fn on_resent(&mut self, len: u64, now: Moment) {
        let clock = self.clock(now);
        let undo = self.undo.get_or_insert(Undo { clock, open: 0 });
        undo.open = undo.open.saturating_add(1);
        self.on_sent(len);
    }

    pub(super) fn on_sent(&mut self, len: u64) {
        if let Recovery::Fast { prr: Some(prr), .. } = &mut self.recovery {
            prr.sent += len;
        }
    }

    /// When to probe for the tail (RFC 8985 §7.2).
    pub(super) fn arm_probe(&mut self, now: Moment) {
        self.timers.probe = None;
        let Some((_, alone)) = self.flight.last() else { return };
        if !self.peer.sack || self.in_recovery() || self.tail.is_some() || self.flight.has_sacked() {
            return;
        }
        let Some(smoothed) = self.rtt.smoothed() else { return };
        // One segment may wait for the other end's delayed acknowledgement.
        let delay = if alone { Duration::from_millis(200) } else { Duration::from_millis(2) };
        self.timers.probe = Some(now + smoothed * 2 + delay);
    }
}
