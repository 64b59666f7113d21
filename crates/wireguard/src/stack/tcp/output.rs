//! What a connection sends, and when.

use std::time::Duration;

use smoltcp::wire::TcpControl;

use crate::Moment;

use super::congestion::{QUANTUM, product};
use super::recovery::{Recovery, Tail};
use super::segment::Header;
use super::{Egress, Seq, State, Tcp};

/// How a turn of sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// There is nothing more that may be sent now.
    Done,
    /// There was no room.
    Full,
}

/// A timer that comes late may be made up for by so much.
const CREDIT: Duration = Duration::from_millis(2);

impl Tcp {
    /// Sends what is due, as long as `egress` takes it. Returns when to call again at the latest if nothing else happens:
    /// at once if `egress` had no room, `None` if never.
    pub fn poll(&mut self, now: Moment, egress: &mut Egress<'_>) -> Option<Moment> {
        self.expire(now);
        match self.transmit(now, egress) {
            Outcome::Done => self.deadline(now),
            Outcome::Full => Some(now),
        }
    }

    /// When [`Tcp::poll`] has to be called next if nothing else happens; in the past if it has something to send.
    pub fn deadline(&mut self, now: Moment) -> Option<Moment> {
        let (closed, settled) = (self.state == State::Closed, self.settled());
        let at_once = self.reset.is_some() || !closed && (self.timers.nudge || !settled && self.owes_syn());
        [
            at_once.then_some(now),
            (settled && !closed && self.wants_to_send()).then_some(self.timers.pace),
            self.retransmission_due(),
            self.timers.probe,
            self.timers.reorder,
            self.timers.persist.map(|(at, _)| at),
            self.timers.linger,
            self.keep_alive_due(),
            if closed { None } else { self.receiver.ack_due(now) },
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a SYN is to be sent: the first, one that was lost, or an answer to another that came.
    fn owes_syn(&mut self) -> bool {
        self.next == 0 || self.flight.next_lost().is_some()
    }

    fn transmit(&mut self, now: Moment, egress: &mut Egress<'_>) -> Outcome {
        if let Some((seq, ours)) = self.reset {
            if !self.emit_reset(seq, ours, egress) {
                return Outcome::Full;
            }
            self.reset = None;
        }
        match self.state {
            State::Closed => return Outcome::Done,
            State::SynSent | State::SynReceived => return self.send_syn(now, egress),
            _ => {}
        }
        let outcome = self.send_probe(now, egress).unwrap_or_else(|| self.send_data(now, egress));
        if outcome == Outcome::Full {
            return outcome;
        }
        if self.timers.nudge {
            // RFC 9293 §3.8.4: a number that was acknowledged long ago makes the other end answer.
            let mut header = self.header(self.first.at(self.una.saturating_sub(1)), TcpControl::None, now);
            header.window = self.receiver.window(self.mss() as usize);
            if !header.emit(self.local, self.remote, 0, &mut |_| {}, egress) {
                return Outcome::Full;
            }
            self.timers.nudge = false;
        }
        if self.receiver.ack_due(now).is_some_and(|at| at <= now) && !self.emit_ack(now, egress) {
            return Outcome::Full;
        }
        outcome
    }

    fn send_syn(&mut self, now: Moment, egress: &mut Egress<'_>) -> Outcome {
        if !self.owes_syn() {
            // Another SYN may have come, whose answer was lost.
            let owed = self.state == State::SynReceived && self.receiver.ack_due(now).is_some();
            if owed && !self.emit(0, 1, now, egress) {
                return Outcome::Full;
            }
            return Outcome::Done;
        }
        if !self.emit(0, 1, now, egress) {
            return Outcome::Full;
        }
        if self.next > 0 {
            self.flight.resent(0, 1, now);
        } else {
            self.flight.push(0, 1, now);
            self.next = 1;
            self.timers.retransmit = now;
        }
        Outcome::Done
    }

    /// A tail loss probe (RFC 8985 §7.3): new data if there is any and the window has room, or the last segment again.
    fn send_probe(&mut self, now: Moment, egress: &mut Egress<'_>) -> Option<Outcome> {
        self.timers.probe.filter(|&at| at <= now)?;
        let (last, _) = self.flight.last()?;
        let len = self.new_len(true);
        if len > 0 {
            if !self.emit(self.next, len, now, egress) {
                return Some(Outcome::Full);
            }
            self.sent_new(len, now);
            self.tail = Some(Tail { end: self.next, repeats: false });
        } else {
            let len = (last.end - last.start).min(self.mss());
            if !self.emit(last.end - len, len, now, egress) {
                return Some(Outcome::Full);
            }
            self.flight.resent(last.start, len as u32, now);
            self.tail = Some(Tail { end: self.next, repeats: true });
        }
        self.timers.probe = None;
        // RFC 8985 §7.3: the timer starts anew.
        self.timers.retransmit = now;
        None
    }

    fn send_data(&mut self, now: Moment, egress: &mut Egress<'_>) -> Outcome {
        let idle = now.since(self.timers.sent);
        if self.flight.is_empty() && self.next < self.send_end() {
            self.congestion.on_idle(idle, self.rtt.timeout(), self.mss());
        }
        let rate = self.congestion.pacing(self.rtt.smoothed());
        // What time did not use may be made up for, a little.
        let floor = Moment::from_micros(now.micros().saturating_sub(CREDIT.as_micros() as u64));
        self.timers.pace = self.timers.pace.max(floor);
        if self.timers.pace > now {
            return Outcome::Done;
        }
        let begin = self.timers.pace;
        let burst = rate.map_or(u64::MAX, |rate| product(rate, QUANTUM).max(2 * self.mss()));
        let mut used = 0;
        let outcome = loop {
            if used >= burst && self.timers.pace > now {
                break Outcome::Done;
            }
            match self.send_one(now, egress) {
                Some(0) => break Outcome::Done,
                Some(len) => used += len,
                None => break Outcome::Full,
            }
            if let Some(rate) = rate {
                self.timers.pace = begin + Duration::from_micros(used.saturating_mul(1_000_000) / rate.max(1));
            }
        };
        if used > 0 {
            self.timers.sent = now;
            self.arm_probe(now);
        }
        if outcome == Outcome::Done {
            self.watch_window(now);
        }
        outcome
    }

    /// Sends one segment: what was lost comes first (RFC 6675 §4, NextSeg). Returns its length, 0 if there is nothing that
    /// may be sent, and `None` if there was no room.
    fn send_one(&mut self, now: Moment, egress: &mut Egress<'_>) -> Option<u64> {
        if let Some(lost) = self.flight.next_lost() {
            let len = (lost.end - lost.start).min(self.mss());
            if !self.window_takes(len) {
                return Some(0);
            }
            if !self.emit(lost.start, len, now, egress) {
                return None;
            }
            self.flight.resent(lost.start, len as u32, now);
            self.on_resent(len, now);
            if lost.start == self.una {
                // RFC 6298 §5: the timer is for what is oldest.
                self.timers.retransmit = now;
            }
            return Some(len);
        }
        let len = self.new_len(false);
        if len == 0 {
            return Some(0);
        }
        if !self.emit(self.next, len, now, egress) {
            return None;
        }
        self.sent_new(len, now);
        self.on_sent(len);
        Some(len)
    }

    fn sent_new(&mut self, len: u64, now: Moment) {
        if self.flight.is_empty() {
            self.timers.retransmit = now;
        }
        self.flight.push(self.next, len as u32, now);
        self.next += len;
    }

    /// Whether [`Tcp::send_one`] would send.
    fn wants_to_send(&mut self) -> bool {
        match self.flight.next_lost() {
            Some(lost) => self.window_takes((lost.end - lost.start).min(self.mss())),
            None => self.new_len(false) > 0,
        }
    }

    /// Whether the congestion window has room for `len` more bytes; if nothing is under way there always is.
    fn window_takes(&mut self, len: u64) -> bool {
        let in_flight = self.flight.in_flight();
        let takes = in_flight == 0 || in_flight + len <= self.window();
        self.window_limited |= !takes;
        takes
    }

    /// The length of the next new segment, with its FIN; 0 if it must not go yet. `probing` is beyond the congestion
    /// window.
    fn new_len(&mut self, probing: bool) -> u64 {
        let waiting = self.send_end().saturating_sub(self.next);
        let len = waiting.min(self.mss());
        if len == 0 {
            return 0;
        }
        let usable = self.peer.edge.saturating_sub(self.next);
        // A FIN alone needs no window.
        if usable < len && self.next < self.data.end() {
            // RFC 9293 §3.8.6.2.1: no silly windows; half of the largest ever is large enough.
            if usable == 0 || usable < self.peer.most / 2 {
                return 0;
            }
        }
        let len = if self.next < self.data.end() { len.min(usable) } else { len };
        if matches!(self.recovery, Recovery::Open) && probing || self.window_takes(len) { len } else { 0 }
    }

    /// Sends what `[start, start + len)` of our sequence space holds: SYN, data, FIN.
    fn emit(&mut self, start: u64, len: u64, now: Moment, egress: &mut Egress<'_>) -> bool {
        let syn = start == 0;
        let data_end = self.data.end();
        let fin = self.fin && !syn && start + len > data_end;
        let payload = if syn { 0 } else { (start + len).min(data_end).saturating_sub(start) };
        let control = match (syn, fin) {
            (true, _) => TcpControl::Syn,
            (_, true) => TcpControl::Fin,
            _ if start + len >= data_end => TcpControl::Psh,
            _ => TcpControl::None,
        };
        let mut header = self.header(self.first.at(start), control, now);
        if syn {
            header.mss = Some(self.own_mss());
            header.scale = Some(self.receiver.shift());
            header.sack_permitted = true;
            header.window = self.receiver.initial_window();
            header.timestamp = header.timestamp.or_else(|| Some((self.clock(now), 0)));
            if self.state == State::SynReceived {
                self.mirror_options(&mut header);
            }
        } else {
            header.window = self.receiver.window(self.mss() as usize);
        }
        let data = &self.data;
        let mut fill = |place: &mut [u8]| {
            data.copy(start, place);
        };
        let taken = header.emit(self.local, self.remote, payload as usize, &mut fill, egress);
        if taken && header.ack.is_some() {
            let full = self.mss() as usize;
            if syn {
                self.receiver.on_syn_sent();
            } else if self.receiver.has_sacks() {
                self.receiver.on_data_sent(full);
            } else {
                self.receiver.on_ack_sent(full);
            }
        }
        taken
    }

    /// The answer to a SYN has only options that the SYN had (RFC 7323 §2.2 and §3.2, RFC 2018 §2).
    fn mirror_options(&self, header: &mut Header) {
        header.sack_permitted = self.peer.sack;
        if self.peer.timestamp.is_none() {
            header.timestamp = None;
        }
        if !self.peer.scales {
            header.scale = None;
        }
    }

    fn own_mss(&self) -> u16 {
        let headers = super::segment::ip_header_len(self.remote.ip()) as u64 + super::segment::TCP_HEADER_LEN;
        self.settings.mtu.max(576).saturating_sub(headers as u16)
    }

    fn header(&self, seq: Seq, control: TcpControl, now: Moment) -> Header {
        Header {
            seq,
            ack: (self.state != State::SynSent).then(|| self.receiver.next_seq()),
            control,
            window: 0,
            scale: None,
            mss: None,
            sack_permitted: false,
            sacks: [None; 3],
            timestamp: self.peer.timestamp.map(|(recent, _)| (self.clock(now), recent)),
        }
    }

    fn emit_ack(&mut self, now: Moment, egress: &mut Egress<'_>) -> bool {
        let full = self.mss() as usize;
        let mut header = self.header(self.first.at(self.next), TcpControl::None, now);
        if self.peer.sack {
            header.sacks = self.receiver.sacks();
        }
        header.window = self.receiver.window(full);
        let taken = header.emit(self.local, self.remote, 0, &mut |_| {}, egress);
        if taken {
            self.receiver.on_ack_sent(full);
        }
        taken
    }

    /// A RST for this connection carries an acknowledgement; one that answers a foreign segment does not (RFC 9293
    /// §3.10.7.3).
    fn emit_reset(&self, seq: Seq, ours: bool, egress: &mut Egress<'_>) -> bool {
        let header = Header {
            seq,
            ack: ours.then(|| self.receiver.next_seq()),
            control: TcpControl::Rst,
            window: 0,
            scale: None,
            mss: None,
            sack_permitted: false,
            sacks: [None; 3],
            timestamp: None,
        };
        header.emit(self.local, self.remote, 0, &mut |_| {}, egress)
    }

    /// Asks about a closed window if that is all that keeps us from sending.
    fn watch_window(&mut self, now: Moment) {
        if self.flight.in_flight() < self.window() && self.next >= self.send_end() {
            // The application is what holds us back, not the path.
            self.flight.mark_app_limited();
        }
        let stuck = self.flight.is_empty() && self.next < self.data.end() && self.new_len(false) == 0;
        if stuck {
            self.arm_persist(now);
        } else {
            self.timers.persist = None;
        }
    }
}
