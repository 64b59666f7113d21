//! RACK: what was sent long before something that arrived is lost (RFC 8985).

use std::time::Duration;

use super::{Flight, Status};
use crate::Moment;

impl Flight {
    /// How much longer than the others a segment may take (RFC 8985 §6.2, step 4).
    fn patience(&self, in_recovery: bool, least_rtt: Duration, smoothed: Duration, mss: u64) -> Duration {
        let sacked_much = self.sacked_bytes_at_least(3 * mss);
        if !self.reordering && (in_recovery || sacked_much) {
            return Duration::ZERO;
        }
        (least_rtt / 4 * u32::from(self.patience.0)).min(smoothed)
    }

    /// Whether about three segments (RFC 8985 §6.2: DupThresh) arrived behind a hole.
    fn sacked_bytes_at_least(&self, bytes: u64) -> bool {
        match (self.segments.front(), self.sacked.end()) {
            (Some(first), Some(end)) => end.saturating_sub(first.end()) >= bytes,
            _ => false,
        }
    }

    /// The other end got something twice: the window of patience was too short (RFC 8985 §6.2, step 4).
    pub(crate) fn on_dsack(&mut self) {
        self.reordering = true;
        self.patience = (self.patience.0.saturating_add(1).min(16), 16);
    }

    /// A recovery is over.
    pub(crate) const fn on_recovered(&mut self) {
        self.patience.1 = self.patience.1.saturating_sub(1);
        if self.patience.1 == 0 {
            self.patience.0 = 1;
        }
    }

    /// Marks what is lost (RFC 8985 §6.2, step 5); returns how many bytes, and when to look again.
    pub(crate) fn detect(
        &mut self,
        in_recovery: bool,
        least_rtt: Duration,
        smoothed: Duration,
        mss: u64,
        now: Moment,
    ) -> (u64, Option<Moment>) {
        if self.rack.end == 0 {
            return (0, None);
        }
        let wait = self.rack.rtt + self.patience(in_recovery, least_rtt, smoothed, mss);
        let mut lost = 0;
        while let Some(&(start, sent_at)) = self.order.front() {
            let at = self.find(start);
            let known = at.and_then(|at| self.segments.get(at)).copied();
            let current = known.filter(|sent| {
                sent.sent_at == sent_at
                    && sent.status == Status::UnderWay
                    && (sent.start == start || start < sent.start)
            });
            if let (Some(sent), Some(at)) = (current, at) {
                if (self.rack.sent_at, self.rack.end) <= (sent.sent_at, sent.end()) {
                    return (lost, None);
                }
                let due = sent.sent_at + wait;
                if due > now {
                    return (lost, Some(due));
                }
                self.lose(at);
                lost += u64::from(sent.len);
            }
            self.order.pop_front();
        }
        (lost, None)
    }

    pub(super) fn lose(&mut self, at: usize) {
        if let Some(sent) = self.segments.get_mut(at).filter(|sent| sent.status == Status::UnderWay) {
            sent.status = Status::Lost;
            self.in_flight -= u64::from(sent.len);
            self.lost.push_back(sent.start);
        }
    }
}
