//! What segments do to a connection (RFC 9293 §3.10.7).

use std::ops::Range;
use std::time::Duration;

use smoltcp::wire::TcpControl;

use crate::Moment;

use super::{Congestion, Error, Segment, State, Tcp};

/// TIME-WAIT. RFC 9293 §3.4.2 says 2 MSL, four minutes; Linux has one. A port is not used again within it anyway.
const TIME_WAIT: Duration = Duration::from_secs(60);
/// How long FIN-WAIT-2 lasts when nobody is there to read any more; Linux' tcp_fin_timeout.
const FIN_WAIT_2: Duration = Duration::from_secs(60);
/// RFC 7323 §5.5: a timestamp older than 24 days says nothing.
const TIMESTAMP_LIFE: Duration = Duration::from_secs(24 * 24 * 3600);
/// Between two answers to segments that may be forged (RFC 5961 §7); Linux' tcp_invalid_ratelimit.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(500);

/// Whether `a` is earlier than `b` on a clock that wraps (RFC 7323 §5.2).
const fn earlier(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

impl Tcp {
    /// Takes a segment that was sent to this connection. Answers wait for [`Tcp::poll`].
    pub fn receive(&mut self, segment: &Segment<'_>, now: Moment) {
        match self.state {
            State::Closed => {}
            State::SynSent => self.on_syn_sent(segment, now),
            _ => self.on_segment(segment, now),
        }
    }

    /// RFC 9293 §3.10.7.3.
    fn on_syn_sent(&mut self, segment: &Segment<'_>, now: Moment) {
        let acknowledged = match segment.ack {
            Some(ack) if self.next == 1 && self.first.offset(ack, 0) == Some(1) => true,
            // First: an acknowledgement of something else.
            Some(ack) => {
                if !segment.is(TcpControl::Rst) {
                    self.reset = Some((ack, false));
                }
                return;
            }
            None => false,
        };
        // Second.
        if segment.is(TcpControl::Rst) {
            if acknowledged {
                self.close(Some(Error::Refused));
            }
            return;
        }
        // Fourth.
        if !segment.is(TcpControl::Syn) {
            return;
        }
        self.learn_options(segment, now);
        self.timers.heard = now;
        if acknowledged {
            let outcome = self.flight.acknowledge(1, &[None, None, None], None, now);
            self.on_established(now);
            if let Some(rtt) = outcome.rtt {
                self.rtt.sample(rtt);
            }
        } else {
            // Both SYNs crossed: ours goes out again, with an acknowledgement.
            self.state = State::SynReceived;
            self.flight.lose_first();
        }
    }

    fn learn_options(&mut self, segment: &Segment<'_>, now: Moment) {
        self.receiver.open(segment.seq, segment.scale.is_some());
        self.peer.scales = segment.scale.is_some();
        self.peer.shift = segment.scale.unwrap_or(0);
        self.peer.mss = segment.mss.unwrap_or(self.peer.mss).max(64);
        self.peer.sack = segment.sack_permitted;
        self.peer.timestamp = segment.timestamp.map(|(value, _)| (value, now));
        // RFC 7323 §2.2: the window of a SYN is not scaled.
        let window = u64::from(segment.window);
        (self.peer.edge, self.peer.most) = (1 + window, window);
        self.congestion = Congestion::new(self.settings.algorithm, self.mss(), now);
    }

    fn on_established(&mut self, now: Moment) {
        self.una = self.una.max(1);
        self.timers.progress(now);
        self.rtt.recovered();
        self.state = if self.fin { State::FinWait1 } else { State::Established };
    }

    /// RFC 9293 §3.10.7.4.
    fn on_segment(&mut self, segment: &Segment<'_>, now: Moment) {
        let Some(start) = self.receiver.offset(segment.seq) else {
            return self.challenge(now);
        };
        if self.is_old(segment, now) {
            return self.refuse(segment, start, now);
        }
        if !self.receiver.acceptable(start, segment.len()) {
            return self.refuse(segment, start, now);
        }
        if segment.is(TcpControl::Rst) {
            // RFC 5961 §3.2: only the exact number resets; one that is near is asked about.
            if start == self.receiver.next() {
                self.on_reset();
            } else {
                self.challenge(now);
            }
            return;
        }
        if segment.is(TcpControl::Syn) {
            // RFC 5961 §4.2.
            return self.challenge(now);
        }
        self.learn_timestamp(segment, start, now);
        if !self.on_ack(segment, start, now) {
            return;
        }
        self.timers.heard(now);
        self.on_text(segment, start, now);
    }

    fn on_reset(&mut self) {
        let error = match self.state {
            State::SynReceived => Some(Error::Refused),
            // All was said.
            State::TimeWait | State::LastAck | State::Closing => None,
            _ => Some(Error::Reset),
        };
        self.close(error);
    }

    /// PAWS (RFC 7323 §5.3, R1): from an earlier round of the sequence space. A segment without a timestamp passes, as
    /// with Linux: there are boxes on the way that remove them.
    fn is_old(&self, segment: &Segment<'_>, now: Moment) -> bool {
        match (self.peer.timestamp, segment.timestamp) {
            (Some((recent, learnt)), Some((value, _))) => {
                !segment.is(TcpControl::Rst) && earlier(value, recent) && now.since(learnt) < TIMESTAMP_LIFE
            }
            _ => false,
        }
    }

    /// RFC 7323 §4.3 (2).
    fn learn_timestamp(&mut self, segment: &Segment<'_>, start: u64, now: Moment) {
        if let (Some((recent, _)), Some((value, _))) = (self.peer.timestamp, segment.timestamp)
            && !earlier(value, recent)
            && start <= self.receiver.acknowledged()
        {
            self.peer.timestamp = Some((value, now));
        }
    }

    /// An unacceptable segment: is answered with what we expect (RFC 9293 §3.10.7.4, first).
    fn refuse(&mut self, segment: &Segment<'_>, start: u64, now: Moment) {
        if segment.is(TcpControl::Rst) {
            return;
        }
        if segment.is(TcpControl::Fin) && self.state == State::TimeWait {
            self.timers.linger = Some(now + TIME_WAIT);
        }
        let next = self.receiver.next();
        let end = start + segment.len();
        if segment.len() == 0 || segment.is(TcpControl::Syn) {
            self.challenge(now);
        } else if end <= next {
            // It came twice, so our acknowledgement was lost, or the sender was impatient (RFC 2883 §4).
            let data_end = start + segment.payload.len() as u64;
            self.receiver.repeat(start.max(1)..data_end);
        } else {
            self.receiver.owe_ack();
        }
        // RFC 9293 §3.10.7.4: with our window closed, acknowledgements still count.
        if start == next && !self.is_old(segment, now) {
            self.on_ack(segment, start, now);
        }
        // Whoever knows our numbers is alive, even if all it has is a probe of its own.
        let ack = segment.ack.and_then(|ack| self.first.offset(ack, self.una));
        if ack.is_some_and(|ack| self.una <= ack && ack <= self.next) {
            self.timers.heard(now);
        }
    }

    /// Answers what may be forged (RFC 5961): whoever is real then knows what we expect.
    fn challenge(&mut self, now: Moment) {
        if now >= self.timers.challenge {
            self.timers.challenge = now + CHALLENGE_INTERVAL;
            self.receiver.owe_ack();
        }
    }

    /// RFC 9293 §3.10.7.4, fifth. Returns whether the rest of the segment counts.
    fn on_ack(&mut self, segment: &Segment<'_>, start: u64, now: Moment) -> bool {
        let Some(ack) = segment.ack else { return false };
        let ack = self.first.offset(ack, self.una);
        // RFC 5961 §5.2: neither what was never sent nor what is older than any window.
        let Some(ack) = ack.filter(|&ack| ack <= self.next && ack + self.peer.most.max(1 << 16) >= self.una) else {
            self.challenge(now);
            return false;
        };
        if self.state == State::SynReceived {
            if ack == 0 {
                return false;
            }
            self.on_established(now);
        }
        let news = self.learn_window(segment, start, ack);
        if !self.flight.is_empty() {
            self.acknowledge(ack.max(self.una), news, segment, now);
        }
        if self.una >= self.send_end() && self.fin {
            self.on_fin_acknowledged(now);
        }
        true
    }

    /// RFC 9293 §3.10.7.4: SND.WND. Returns whether something changed.
    fn learn_window(&mut self, segment: &Segment<'_>, start: u64, ack: u64) -> bool {
        if ack < self.una || (start, ack) < self.peer.said && start < self.peer.said.0 {
            return false;
        }
        let window = u64::from(segment.window) << self.peer.shift;
        let edge = ack + window;
        let changed = edge != self.peer.edge;
        if edge > self.peer.edge {
            self.timers.persist = None;
        }
        self.peer.edge = edge;
        self.peer.said = (start, ack);
        self.peer.most = self.peer.most.max(window);
        changed
    }

    fn on_fin_acknowledged(&mut self, now: Moment) {
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                self.linger_if_half_closed(now);
            }
            State::Closing => self.wait(now),
            State::LastAck => self.close(None),
            _ => {}
        }
    }

    /// FIN-WAIT-2 has an end if nobody reads any more.
    pub(super) fn linger_if_half_closed(&mut self, now: Moment) {
        if self.state == State::FinWait2 && self.orphaned {
            self.timers.linger = Some(now + FIN_WAIT_2);
        }
    }

    fn wait(&mut self, now: Moment) {
        self.state = State::TimeWait;
        self.timers.stop();
        self.timers.linger = Some(now + TIME_WAIT);
    }

    /// RFC 9293 §3.10.7.4, seventh and eighth.
    fn on_text(&mut self, segment: &Segment<'_>, start: u64, now: Moment) {
        let fin = segment.is(TcpControl::Fin);
        let open = matches!(self.state, State::Established | State::FinWait1 | State::FinWait2);
        if !open {
            if segment.len() > 0 {
                self.receiver.owe_ack();
            }
            return;
        }
        if segment.len() == 0 {
            return;
        }
        if self.orphaned && start + segment.payload.len() as u64 > self.receiver.next() {
            // RFC 9293 §3.6.1: data for nobody.
            return self.abort();
        }
        let full = self.mss() as usize;
        self.receiver.take(start, segment.payload, fin, full, now);
        if self.receiver.finished() {
            self.on_fin(now);
        }
    }

    fn on_fin(&mut self, now: Moment) {
        self.receiver.owe_ack();
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.wait(now),
            _ => {}
        }
    }

    /// What the SACK option says (RFC 2018 §3), in offsets; and what arrived twice (RFC 2883 §4).
    pub(super) fn sacks(&self, segment: &Segment<'_>, ack: u64) -> ([Option<Range<u64>>; 3], bool) {
        let mut blocks = [None, None, None];
        let mut twice = false;
        for (n, (place, block)) in blocks.iter_mut().zip(segment.sacks).enumerate() {
            let Some((from, to)) = block else { continue };
            let offset = |seq| self.first.offset(seq, self.una);
            let (Some(from), Some(to)) = (offset(from), offset(to)) else { continue };
            if from >= to || to > self.next {
                continue;
            }
            if n == 0 && self.is_duplicate(&(from..to), segment, ack) {
                twice = true;
            } else if from >= ack {
                *place = Some(from..to);
            }
        }
        (blocks, twice)
    }

    /// RFC 2883 §4: the first block is below what is acknowledged, or inside the second.
    fn is_duplicate(&self, first: &Range<u64>, segment: &Segment<'_>, ack: u64) -> bool {
        if first.end <= ack {
            return true;
        }
        let [_, second, _] = segment.sacks;
        let Some((from, to)) = second else { return false };
        match (self.first.offset(from, self.una), self.first.offset(to, self.una)) {
            (Some(from), Some(to)) => from <= first.start && first.end <= to,
            _ => false,
        }
    }

    /// Whether `echo` came from before `sent` on our clock.
    pub(super) const fn is_before(echo: u32, sent: u32) -> bool {
        earlier(echo, sent)
    }
}
