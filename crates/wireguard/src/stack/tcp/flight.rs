//! What was sent and is not acknowledged: a scoreboard of segments, and RACK (RFC 8985) to find those that are lost.

mod rack;

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut, Range};
use std::time::Duration;

use crate::Moment;

use super::congestion::{self, Rate};
use super::ranges::Ranges;

/// A queue that takes the room of a pointer while it is not used, as most are most of the time.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "a pointer is a quarter of an empty queue")]
struct Queue<T: 'static>(Option<Box<VecDeque<T>>>);

impl<T> Deref for Queue<T> {
    type Target = VecDeque<T>;

    fn deref(&self) -> &VecDeque<T> {
        self.0.as_deref().unwrap_or(const { &VecDeque::new() })
    }
}

impl<T> DerefMut for Queue<T> {
    fn deref_mut(&mut self) -> &mut VecDeque<T> {
        self.0.get_or_insert_default()
    }
}

/// A segment on the scoreboard.
#[derive(Clone, Copy, Debug)]
struct Sent {
    start: u64,
    /// In sequence space, so with SYN and FIN.
    len: u32,
    status: Status,
    retransmitted: bool,
    app_limited: bool,
    sent_at: Moment,
    /// The state of the estimation of the rate when it was sent.
    delivered: u64,
    delivered_at: Moment,
    first_sent_at: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    UnderWay,
    Lost,
    Sacked,
}

impl Sent {
    const fn end(&self) -> u64 {
        self.start + self.len as u64
    }
}

/// The most recently sent segment among those that arrived (RFC 8985 §5.2).
#[derive(Clone, Copy, Debug, Default)]
struct Rack {
    sent_at: Moment,
    end: u64,
    rtt: Duration,
}

/// Everything that is under way. It owns no heap when nothing is.
#[derive(Debug)]
pub(crate) struct Flight {
    /// INVARIANT: by offset, without holes.
    segments: Queue<Sent>,
    /// When was what sent: in the order of time. Entries whose segment was sent again or has arrived are stale.
    order: Queue<(u64, Moment)>,
    /// What is to be sent again, in the order it was found lost. Entries whose segment arrived after all are stale.
    lost: Queue<u64>,
    sacked: Ranges,
    in_flight: u64,
    rack: Rack,
    /// Reordering was seen (RFC 8985 §6.2, step 4).
    reordering: bool,
    /// RFC 8985 §6.2: RACK.reo_wnd_mult, and the recoveries until it goes back.
    patience: (u8, u8),
    delivered: u64,
    delivered_at: Moment,
    first_sent_at: Moment,
    /// Until so much is delivered, rates say little of the path.
    app_limited_until: u64,
    round_ends: u64,
}

/// What an acknowledgement changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Bytes that newly arrived.
    pub(crate) delivered: u64,
    /// Of the youngest that newly arrived and was sent only once (RFC 6298 §3, Karn).
    pub(crate) rtt: Option<Duration>,
    pub(crate) rate: Option<Rate>,
    pub(crate) round: bool,
    /// The largest segment that arrived.
    pub(crate) largest: u32,
}

/// The youngest newly delivered segment, for the rate.
type Sample = Option<Sent>;

impl Flight {
    pub(crate) const fn new(now: Moment) -> Self {
        Self {
            segments: Queue(None),
            order: Queue(None),
            lost: Queue(None),
            sacked: Ranges::new(),
            in_flight: 0,
            rack: Rack { sent_at: Moment::from_micros(0), end: 0, rtt: Duration::ZERO },
            reordering: false,
            patience: (1, 0),
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            app_limited_until: 0,
            round_ends: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes that are believed to be in the network (RFC 6675 §4, "pipe").
    pub(crate) const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(crate) fn has_sacked(&self) -> bool {
        !self.sacked.is_empty()
    }

    /// Whether the first segment is marked as arrived although it is not acknowledged: the other end changed its mind
    /// (RFC 2018 §8).
    pub(crate) fn reneged(&self) -> bool {
        self.segments.front().is_some_and(|first| first.status == Status::Sacked)
    }

    /// The last segment, and whether it is the only one.
    pub(crate) fn last(&self) -> Option<(Range<u64>, bool)> {
        self.segments.back().map(|last| (last.start..last.end(), self.segments.len() == 1))
    }

    pub(crate) fn first(&self) -> Option<Range<u64>> {
        self.segments.front().map(|first| first.start..first.end())
    }

    /// A new segment was sent.
    pub(crate) fn push(&mut self, start: u64, len: u32, now: Moment) {
        self.restart_rate(now);
        self.in_flight += u64::from(len);
        let sent = self.stamp(start, len, false, now);
        self.segments.push_back(sent);
        self.order.push_back((start, now));
    }

    /// Nothing was under way, whether all had arrived or all was lost: the time until now says nothing of the path
    /// (draft-ietf-ccwg-bbr §4.1.1.2.2, C.inflight == 0).
    const fn restart_rate(&mut self, now: Moment) {
        if self.in_flight == 0 {
            (self.delivered_at, self.first_sent_at) = (now, now);
        }
    }

    fn stamp(&self, start: u64, len: u32, retransmitted: bool, now: Moment) -> Sent {
        Sent {
            start,
            len,
            status: Status::UnderWay,
            retransmitted,
            app_limited: self.app_limited_until > self.delivered,
            sent_at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
        }
    }

    /// There was nothing more to send although there was room.
    pub(crate) const fn mark_app_limited(&mut self) {
        let until = self.delivered + self.in_flight;
        self.app_limited_until = if until == 0 { 1 } else { until };
    }

    /// The segment that `offset` lies in.
    fn find(&self, offset: u64) -> Option<usize> {
        let at = self.segments.partition_point(|sent| sent.end() <= offset);
        (at < self.segments.len()).then_some(at)
    }

    /// What is to be sent again first.
    pub(crate) fn next_lost(&mut self) -> Option<Range<u64>> {
        while let Some(&start) = self.lost.front() {
            let sent = self.find(start).and_then(|at| self.segments.get(at));
            if let Some(sent) = sent.filter(|sent| sent.status == Status::Lost) {
                return Some(sent.start..sent.end());
            }
            self.lost.pop_front();
        }
        None
    }

    /// The first `len` bytes of the segment at `start` were sent again; what is left of it is another segment now.
    pub(crate) fn resent(&mut self, start: u64, len: u32, now: Moment) {
        let Some(at) = self.find(start) else { return };
        let Some(&old) = self.segments.get(at) else { return };
        if old.status == Status::Sacked || old.start != start {
            return;
        }
        let len = len.min(old.len);
        if self.lost.front() == Some(&start) {
            self.lost.pop_front();
        }
        if old.status == Status::UnderWay {
            self.in_flight -= u64::from(old.len);
        }
        if len < old.len {
            let rest = Sent { start: start + u64::from(len), len: old.len - len, status: Status::Lost, ..old };
            self.lost.push_front(rest.start);
            self.segments.insert(at + 1, rest);
        }
        self.restart_rate(now);
        self.in_flight += u64::from(len);
        let new = self.stamp(start, len, true, now);
        if let Some(sent) = self.segments.get_mut(at) {
            *sent = new;
        }
        self.order.push_back((start, now));
    }

    /// Takes an acknowledgement of everything before `una` and of `sacks`.
    pub(crate) fn acknowledge(
        &mut self,
        una: u64,
        sacks: &[Option<Range<u64>>; 3],
        least_rtt: Option<Duration>,
        now: Moment,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut sample = None;
        let before = self.sacked.end().unwrap_or(0);
        while let Some(first) = self.segments.front().copied().filter(|first| first.start < una) {
            let whole = first.end() <= una;
            if first.status != Status::Sacked && whole {
                self.deliver(&first, before, least_rtt, &mut outcome, &mut sample, now);
            }
            if whole {
                self.segments.pop_front();
            } else {
                self.trim(una, &mut outcome);
            }
        }
        self.sacked.remove_below(una);
        for range in sacks.iter().flatten() {
            self.mark_sacked(range.clone(), before, least_rtt, &mut outcome, &mut sample, now);
        }
        if outcome.delivered > 0 {
            self.delivered_at = now;
            outcome.rate = sample.and_then(|sample| self.rate(&sample, least_rtt, now));
            if let Some(sample) = sample.filter(|sample| sample.delivered >= self.round_ends) {
                outcome.round = sample.delivered >= self.round_ends;
                self.round_ends = self.delivered;
            }
        }
        if self.segments.is_empty() {
            (self.order, self.lost, self.segments) = (Queue(None), Queue(None), Queue(None));
        }
        outcome
    }

    /// Part of the first segment was acknowledged.
    fn trim(&mut self, una: u64, outcome: &mut Outcome) {
        let Some(first) = self.segments.front_mut() else { return };
        let gone = una - first.start;
        first.start = una;
        first.len -= gone as u32;
        if first.status == Status::UnderWay {
            self.in_flight -= gone;
        }
        if first.status != Status::Sacked {
            outcome.delivered += gone;
            self.delivered += gone;
        }
    }

    /// Marks the segments that lie wholly in `range` (RFC 6675 §5, Update()). Only what is new is looked at.
    fn mark_sacked(
        &mut self,
        range: Range<u64>,
        before: u64,
        least_rtt: Option<Duration>,
        outcome: &mut Outcome,
        sample: &mut Sample,
        now: Moment,
    ) {
        let mut from = range.start;
        while let Some(gap) = self.sacked.gap(from..range.end) {
            from = gap.end;
            let Some(mut at) = self.find(gap.start) else { return };
            while let Some(sent) = self.segments.get(at).copied().filter(|sent| sent.start < gap.end) {
                at += 1;
                if sent.start < gap.start || sent.end() > gap.end || sent.status == Status::Sacked {
                    continue;
                }
                self.deliver(&sent, before, least_rtt, outcome, sample, now);
                self.sacked.insert(sent.start..sent.end());
                if let Some(sent) = self.segments.get_mut(at - 1) {
                    sent.status = Status::Sacked;
                }
            }
        }
    }

    /// A segment arrived over there.
    fn deliver(
        &mut self,
        sent: &Sent,
        sacked_before: u64,
        least_rtt: Option<Duration>,
        outcome: &mut Outcome,
        sample: &mut Sample,
        now: Moment,
    ) {
        let rtt = now.since(sent.sent_at);
        if sent.status == Status::UnderWay {
            self.in_flight -= u64::from(sent.len);
        }
        self.delivered += u64::from(sent.len);
        outcome.delivered += u64::from(sent.len);
        outcome.largest = outcome.largest.max(sent.len);
        if !sent.retransmitted {
            outcome.rtt = Some(outcome.rtt.map_or(rtt, |least| least.min(rtt)));
            // RFC 8985 §6.2, step 3: something older arrived later.
            self.reordering |= sent.end() < sacked_before;
        }
        if sample.is_none_or(|best| (sent.delivered, sent.sent_at) >= (best.delivered, best.sent_at)) {
            *sample = Some(*sent);
        }
        // RFC 8985 §6.2, step 2: an answer that came too soon is one to the first transmission.
        let ambiguous = sent.retransmitted && least_rtt.is_some_and(|least| rtt < least);
        if !ambiguous && (sent.sent_at, sent.end()) > (self.rack.sent_at, self.rack.end) {
            self.rack = Rack { sent_at: sent.sent_at, end: sent.end(), rtt };
        }
    }

    fn rate(&mut self, sample: &Sent, least_rtt: Option<Duration>, now: Moment) -> Option<Rate> {
        self.first_sent_at = sample.sent_at;
        let sending = sample.sent_at.since(sample.first_sent_at);
        let arriving = now.since(sample.delivered_at);
        let span = sending.max(arriving);
        // Too short to be true, for example after a retransmission that was not needed.
        // And a SYN is not data.
        if sample.start == 0 || span.is_zero() || least_rtt.is_some_and(|least| span < least) {
            return None;
        }
        let bytes = congestion::rate(self.delivered - sample.delivered, span);
        Some(Rate { bytes, app_limited: sample.app_limited })
    }

    /// Takes the first segment for lost, for a peer that does not speak SACK (RFC 6582 §3.2).
    pub(crate) fn lose_first(&mut self) -> u64 {
        let before = self.in_flight;
        self.lose(0);
        before - self.in_flight
    }

    /// Takes everything that did not arrive for lost (RFC 6298 §5.4 and RFC 8985 §6.3). `forget` what arrived out of
    /// order, too, if the other end reneged.
    pub(crate) fn lose_all(&mut self, forget: bool) -> u64 {
        if forget {
            self.sacked.clear();
        }
        self.lost.clear();
        self.order.clear();
        let mut lost = 0;
        for sent in self.segments.iter_mut() {
            if sent.status == Status::UnderWay || (forget && sent.status == Status::Sacked) {
                lost += u64::from(sent.len);
                sent.status = Status::Lost;
            }
            if sent.status == Status::Lost {
                self.lost.push_back(sent.start);
            }
        }
        self.in_flight = 0;
        lost
    }

    /// Nothing was lost after all: what was not sent again is under way as before.
    pub(crate) fn find_again(&mut self) {
        self.lost = Queue(None);
        for sent in self.segments.iter_mut().filter(|sent| sent.status == Status::Lost) {
            sent.status = Status::UnderWay;
            self.in_flight += u64::from(sent.len);
        }
        let under_way = self.segments.iter().filter(|sent| sent.status == Status::UnderWay);
        let mut order: VecDeque<_> = under_way.map(|sent| (sent.start, sent.sent_at)).collect();
        order.make_contiguous().sort_by_key(|&(start, sent_at)| (sent_at, start));
        self.order = Queue(Some(Box::new(order)));
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.segments.capacity() + self.order.capacity() + self.lost.capacity() + self.sacked.len()
    }

    pub(crate) fn clear(&mut self) {
        let now = self.delivered_at;
        *self = Self { delivered: self.delivered, ..Self::new(now) };
    }
}
