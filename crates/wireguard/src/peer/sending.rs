//! What goes out to a peer.

use std::net::SocketAddr;

use crate::noise::{DATA_HEADER, DATA_OVERHEAD, Initiator, Kind, Random, Wire};
use crate::{Moment, Outbox};

use super::{Desk, Peer, QUEUE_LIMIT};

impl Peer {
    /// Where data can be sent at once, if it can.
    pub(crate) fn ready(&self, now: Moment) -> Option<SocketAddr> {
        self.endpoint.filter(|_| self.sessions.usable(now))
    }

    /// Sends `len` bytes that `write` fills in, straight in their place. False if there was no session after all.
    pub(crate) fn send_data(&mut self, desk: &mut Desk<'_>, len: usize, write: &mut dyn FnMut(&mut [u8])) -> bool {
        let sent = self.seal(desk, len, write);
        if sent {
            self.timers.sent_data(desk.clock.now, desk.random);
        }
        sent
    }

    /// Keeps a packet until there is a session (F-G14).
    pub(crate) fn enqueue(&mut self, packet: Vec<u8>) {
        if self.queue.len() >= QUEUE_LIMIT {
            self.queue.pop_front();
        }
        self.queue.push_back(packet);
    }

    /// Sends what waited. False if nothing did.
    pub(super) fn flush(&mut self, desk: &mut Desk<'_>) -> bool {
        let mut any = false;
        for packet in std::mem::take(&mut self.queue) {
            any |= self.send_data(desk, packet.len(), &mut |slot| slot.copy_from_slice(&packet));
        }
        any
    }

    /// Sends an empty packet, if there is a session for it.
    pub(super) fn send_keepalive(&mut self, desk: &mut Desk<'_>) {
        self.seal(desk, 0, &mut |_| {});
    }

    /// Sends an initiation, and whatever a disguise has in front of it.
    pub(super) fn send_initiation(&mut self, to: SocketAddr, desk: &mut Desk<'_>) -> Option<Initiator> {
        let now = desk.clock.now;
        let cookie = self.cookie(now);
        let stamp = desk.stamper.stamp(desk.clock.unix);
        let index = desk.fresh_index();
        let (initiator, message) =
            Initiator::start(desk.identity, &self.remote, desk.wire, index, stamp, cookie.as_ref(), desk.random)?;
        let out = &mut *desk.out;
        desk.wire.before_initiation(self.initiations, desk.clock.unix, desk.random, |noise| {
            out.push(to, noise.len()).copy_from_slice(noise);
        });
        self.initiations = self.initiations.wrapping_add(1);
        self.last_initiation = Some(now);
        self.post(to, Kind::Initiation, &message, desk);
        Some(initiator)
    }

    /// Puts a handshake message on its way.
    pub(super) fn post(&mut self, to: SocketAddr, kind: Kind, message: &[u8], desk: &mut Desk<'_>) {
        let place = place(desk.out, desk.wire, desk.random, (to, kind, message.len()));
        place.copy_from_slice(message);
        desk.wire.reserve(place, self.reserved);
        self.count(desk, kind, message.len());
    }

    /// Sends data under the session in use. False if there is none.
    fn seal(&mut self, desk: &mut Desk<'_>, len: usize, write: &mut dyn FnMut(&mut [u8])) -> bool {
        let now = desk.clock.now;
        let Some((to, session)) = self.endpoint.zip(self.sessions.current(now)) else { return false };
        // Lengths are padded to 16 bytes, but not beyond the MTU (whitepaper §5.4.6; Linux pads likewise).
        let padded = len.next_multiple_of(16).min(self.mtu.max(len));
        let word = desk.wire.word(Kind::Data, desk.random);
        let message = place(desk.out, desk.wire, desk.random, (to, Kind::Data, padded + DATA_OVERHEAD));
        if let Some((header, text)) = message.split_at_mut_checked(DATA_HEADER) {
            header.iter_mut().zip(word).for_each(|(place, byte)| *place = byte);
            write(text.get_mut(..len).unwrap_or_default());
        }
        if session.seal(message).is_err() {
            return false;
        }
        desk.wire.reserve(message, self.reserved);
        self.count(desk, Kind::Data, padded + DATA_OVERHEAD);
        // Whoever began the session asks for new keys while the old ones still serve (whitepaper §6.2).
        if self.sessions.wants_rekey(now) {
            self.attempt(desk);
        }
        true
    }

    /// A message was sent.
    fn count(&mut self, desk: &Desk<'_>, kind: Kind, len: usize) {
        self.sent += (desk.wire.prefix(kind) + len) as u64;
        self.timers.sent(desk.clock.now);
    }
}

/// A place for a message, behind the random bytes that a disguise wants.
fn place<'a>(
    out: &'a mut Outbox,
    wire: &Wire,
    random: &mut dyn Random,
    (to, kind, len): (SocketAddr, Kind, usize),
) -> &'a mut [u8] {
    let prefix = wire.prefix(kind);
    let (noise, message) = out.push(to, prefix + len).split_at_mut(prefix);
    if !noise.is_empty() {
        random.fill_bytes(noise);
    }
    message
}
