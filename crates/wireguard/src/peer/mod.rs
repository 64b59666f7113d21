//! One peer: its sessions, its timers, where it is, and what waits for it.

mod sessions;
mod timers;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::device::PeerId;
use crate::noise::{
    Cookie, CookieReply, DATA_OVERHEAD, Data, Identity, Initiator, Kind, Random, Remote, Responder, Response, Stamper,
    Tai64n, Wire,
};
use crate::options::{self, Keepalive};
use crate::{Clock, Moment, Outbox};

use sessions::Sessions;
use timers::{MAX_ATTEMPTS, Timers};

/// Packets that wait for a session, at most; beyond, the oldest goes (faults F-G14).
pub(crate) const QUEUE_LIMIT: usize = 256;

/// What it takes to talk to any peer.
pub(crate) struct Desk<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) wire: &'a Wire,
    pub(crate) stamper: &'a mut Stamper,
    pub(crate) random: &'a mut dyn Random,
    pub(crate) clock: Clock,
    pub(crate) out: &'a mut Outbox,
    /// Whose the indices of sessions are.
    pub(crate) indices: &'a mut HashMap<u32, PeerId>,
    /// Whom we talk to.
    pub(crate) peer: PeerId,
}

impl Desk<'_> {
    /// An index that no session has, at random (whitepaper §5.4.2).
    fn fresh_index(&mut self) -> u32 {
        loop {
            let index = self.random.next_u32();
            if let Entry::Vacant(place) = self.indices.entry(index) {
                place.insert(self.peer);
                return index;
            }
        }
    }
}

/// How things stand with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// No session, and nobody wants one.
    Down,
    /// Asking for a session, for the first time at `since`.
    Handshaking {
        /// When the first initiation of this series went out.
        since: Moment,
    },
    /// A session, and no reason to doubt it.
    Up,
    /// A session, but what was sent since has not been answered by anything.
    Silent {
        /// When the first of it was sent.
        since: Moment,
    },
}

/// A peer's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is, if that is known.
    pub endpoint: Option<SocketAddr>,
    /// When keys were last agreed upon.
    pub last_handshake: Option<Moment>,
    /// When it was last heard.
    pub last_heard: Option<Moment>,
    /// Bytes sent to it, as UDP payload.
    pub sent: u64,
    /// Bytes received from it and accepted, as UDP payload.
    pub received: u64,
    /// How things stand.
    pub link: Link,
}

/// A handshake that waits for its answer.
struct Pending {
    initiator: Initiator,
    attempts: u32,
    began: Moment,
}

pub(crate) struct Peer {
    remote: Remote,
    reserved: [u8; 3],
    mtu: usize,
    endpoint: Option<SocketAddr>,
    sessions: Sessions,
    pending: Option<Pending>,
    cookie: Option<Cookie>,
    /// The latest timestamp of an initiation of the peer's.
    stamp: Tai64n,
    queue: VecDeque<Vec<u8>>,
    timers: Timers,
    initiations: u32,
    last_handshake: Option<Moment>,
    last_heard: Option<Moment>,
    sent: u64,
    received: u64,
}

impl Peer {
    pub(crate) fn new(options: &options::Peer, mtu: usize) -> Self {
        let keepalive = match options.keepalive {
            Keepalive::Off => None,
            Keepalive::Every(seconds) => Some(Duration::from_secs(seconds.get().into())),
        };
        Self {
            remote: Remote::new(options.public_key, options.preshared_key.clone()),
            reserved: options.reserved,
            mtu,
            endpoint: None,
            sessions: Sessions::default(),
            pending: None,
            cookie: None,
            stamp: Tai64n::default(),
            queue: VecDeque::new(),
            timers: Timers::new(keepalive),
            initiations: 0,
            last_handshake: None,
            last_heard: None,
            sent: 0,
            received: 0,
        }
    }

    pub(crate) fn set_endpoint(&mut self, endpoint: SocketAddr) {
        self.endpoint = Some(endpoint);
    }

    pub(crate) fn status(&self, now: Moment) -> Status {
        Status {
            endpoint: self.endpoint,
            last_handshake: self.last_handshake,
            last_heard: self.last_heard,
            sent: self.sent,
            received: self.received,
            link: self.link(now),
        }
    }

    fn link(&self, now: Moment) -> Link {
        match (&self.pending, self.sessions.usable(now), self.timers.unanswered_since()) {
            (_, true, Some(since)) => Link::Silent { since },
            (_, true, None) => Link::Up,
            (Some(pending), false, _) => Link::Handshaking { since: pending.began },
            (None, false, _) => Link::Down,
        }
    }

    /// Whether data can be sent at once.
    pub(crate) fn ready(&self, now: Moment) -> Option<SocketAddr> {
        self.endpoint.filter(|_| self.sessions.usable(now))
    }

    /// Seals `len` bytes that `write` fills in, straight in their place. False if there was no session after all.
    pub(crate) fn send_data(&mut self, desk: &mut Desk<'_>, len: usize, write: &mut dyn FnMut(&mut [u8])) -> bool {
        let now = desk.clock.now;
        let Some(to) = self.ready(now) else { return false };
        if !self.seal(to, desk, len, write) {
            return false;
        }
        self.timers.sent_data(now, desk.random);
        // The initiator asks for new keys while the old ones still serve (whitepaper §6.2).
        if self.sessions.wants_rekey(now) {
            self.initiate(desk, false);
        }
        true
    }

    /// Keeps a packet until there is a session (F-G14).
    pub(crate) fn enqueue(&mut self, packet: Vec<u8>) {
        if self.queue.len() >= QUEUE_LIMIT {
            self.queue.pop_front();
        }
        self.queue.push_back(packet);
    }

    /// Asks for a session unless there is one, or it was asked for.
    pub(crate) fn rouse(&mut self, desk: &mut Desk<'_>) {
        if !self.sessions.usable(desk.clock.now) && self.pending.is_none() {
            self.initiate(desk, false);
        }
    }

    /// The answer to our initiation; anything else that looks like one leaves everything as it is.
    pub(crate) fn on_response(&mut self, desk: &mut Desk<'_>, response: &Response<'_>, from: SocketAddr, len: usize) {
        let Some(Ok(session)) = self.pending.as_mut().map(|pending| pending.initiator.finish(response)) else { return };
        let now = desk.clock.now;
        self.pending = None;
        self.sessions.agreed_as_initiator(session, now);
        self.last_handshake = Some(now);
        self.timers.handshake_finished(now);
        self.heard(from, len, now);
        self.forget_indices(desk);
        // Something has to be said, or the responder never uses the session (whitepaper §5.1).
        if !self.flush(desk) {
            self.send_keepalive(desk);
        }
    }

    /// A cookie for our initiation: the next one will carry it.
    pub(crate) fn on_cookie(&mut self, reply: &CookieReply<'_>, now: Moment) {
        let opened = self.pending.as_ref().map(|pending| pending.initiator.cookie(&self.remote, reply, now));
        if let Some(Ok(cookie)) = opened {
            self.cookie = Some(cookie);
        }
    }

    /// An initiation of the peer's: answered unless it is a replay (F-G2). Data has to wait for the first packet under the
    /// new session.
    pub(crate) fn on_initiation(
        &mut self,
        desk: &mut Desk<'_>,
        responder: Responder,
        stamp: Tai64n,
        from: SocketAddr,
        len: usize,
    ) {
        if stamp <= self.stamp {
            return;
        }
        self.stamp = stamp;
        let now = desk.clock.now;
        let index = desk.fresh_index();
        let cookie = self.cookie(now);
        let answer = responder.answer(&self.remote, desk.wire, index, cookie.as_ref(), desk.random);
        let Some((session, response)) = answer else { return };
        self.sessions.agreed_as_responder(session, now);
        self.last_handshake = Some(now);
        self.timers.handshake_answered(now);
        self.heard(from, len, now);
        self.forget_indices(desk);
        self.post(from, Kind::Response, &response, desk);
        self.timers.sent(now);
    }

    /// Opens data. `None` if it is not authentic, or empty: somebody just let themselves be heard.
    pub(crate) fn open<'a>(
        &mut self,
        desk: &mut Desk<'_>,
        data: Data<'a>,
        from: SocketAddr,
        len: usize,
    ) -> Option<&'a mut [u8]> {
        let now = desk.clock.now;
        let (text, confirmed) = self.sessions.open(data.receiver, data.counter, data.body, now)?;
        self.heard(from, len, now);
        if confirmed {
            self.timers.handshake_finished(now);
            self.pending = None;
            self.forget_indices(desk);
            self.flush(desk);
        }
        if text.is_empty() {
            return None;
        }
        self.timers.received_data(now);
        // Old keys that are only received under are renewed too (whitepaper §6.2).
        if self.sessions.wants_last_minute_rekey(now) {
            self.initiate(desk, false);
        }
        Some(text)
    }

    /// Something authentic came: that is where the peer is now (whitepaper §2.1).
    fn heard(&mut self, from: SocketAddr, len: usize, now: Moment) {
        self.endpoint = Some(from);
        self.last_heard = Some(now);
        self.received += len as u64;
        self.timers.heard(now);
    }

    fn cookie(&self, now: Moment) -> Option<[u8; 16]> {
        self.cookie.as_ref()?.value(now).copied()
    }

    /// Gives back the indices that no session of ours has any more.
    fn forget_indices(&self, desk: &mut Desk<'_>) {
        let pending = self.pending.as_ref().map(|pending| pending.initiator.index());
        let peer = desk.peer;
        desk.indices.retain(|index, owner| *owner != peer || pending == Some(*index) || self.sessions.has(*index));
    }

    /// Does what is due.
    pub(crate) fn turn(&mut self, desk: &mut Desk<'_>) {
        let now = desk.clock.now;
        if self.timers.take_retry(now) {
            match &self.pending {
                Some(pending) if pending.attempts >= MAX_ATTEMPTS => {
                    self.pending = None;
                    self.queue.clear();
                }
                Some(_) => self.initiate(desk, true),
                None => {}
            }
        }
        if self.timers.take_keepalive(now) {
            self.send_keepalive(desk);
        }
        if self.timers.take_silence(now) {
            self.initiate(desk, false);
        }
        if self.timers.take_persistent(now) {
            self.send_keepalive(desk);
            self.rouse(desk);
        }
        if self.timers.take_wipe(now) {
            self.sessions = Sessions::default();
            self.cookie = None;
            self.forget_indices(desk);
        }
    }

    /// When [`Peer::turn`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.timers.next()
    }

    /// Sends an initiation. One that is not a retry waits until the last is old enough, as Linux does.
    fn initiate(&mut self, desk: &mut Desk<'_>, retry: bool) {
        let now = desk.clock.now;
        let Some(to) = self.endpoint else { return };
        if !retry && !self.timers.may_initiate(now) {
            return;
        }
        let cookie = self.cookie(now);
        let stamp = desk.stamper.stamp(desk.clock.unix);
        let index = desk.fresh_index();
        let started =
            Initiator::start(desk.identity, &self.remote, desk.wire, index, stamp, cookie.as_ref(), desk.random);
        let Some((initiator, message)) = started else { return };
        let (out, wire) = (&mut *desk.out, desk.wire);
        wire.before_initiation(self.initiations, desk.clock.unix, desk.random, |noise| {
            out.push(to, noise.len()).copy_from_slice(noise);
        });
        self.initiations = self.initiations.wrapping_add(1);
        self.post(to, Kind::Initiation, &message, desk);
        let (attempts, began) = match &self.pending {
            Some(pending) if retry => (pending.attempts + 1, pending.began),
            _ => (1, now),
        };
        self.pending = Some(Pending { initiator, attempts, began });
        self.forget_indices(desk);
        self.timers.sent(now);
        self.timers.initiated(now, desk.random);
    }

    /// Sends what waited. False if nothing did.
    fn flush(&mut self, desk: &mut Desk<'_>) -> bool {
        let mut any = false;
        while let Some(packet) = self.queue.pop_front() {
            any |= self.send_data(desk, packet.len(), &mut |slot| slot.copy_from_slice(&packet));
        }
        self.queue.shrink_to_fit();
        any
    }

    /// Sends an empty packet, if there is a session for it.
    fn send_keepalive(&mut self, desk: &mut Desk<'_>) {
        if let Some(to) = self.ready(desk.clock.now) {
            self.seal(to, desk, 0, &mut |_| {});
        }
    }

    fn seal(&mut self, to: SocketAddr, desk: &mut Desk<'_>, len: usize, write: &mut dyn FnMut(&mut [u8])) -> bool {
        let Some(session) = self.sessions.current(desk.clock.now) else { return false };
        // Lengths are padded to 16 bytes, but not beyond the MTU (whitepaper §5.4.6; Linux pads likewise).
        let padded = len.next_multiple_of(16).min(self.mtu.max(len));
        let prefix = desk.wire.prefix(Kind::Data);
        let slot = desk.out.push(to, prefix + padded + DATA_OVERHEAD);
        let (noise, message) = slot.split_at_mut(prefix.min(slot.len()));
        if !noise.is_empty() {
            desk.random.fill_bytes(noise);
        }
        if let Some(word) = message.get_mut(..4) {
            word.copy_from_slice(&desk.wire.word(Kind::Data, desk.random));
        }
        write(message.get_mut(16..16 + len).unwrap_or_default());
        if session.seal(message).is_err() {
            return false;
        }
        desk.wire.reserve(message, self.reserved);
        self.sent += slot.len() as u64;
        self.timers.sent(desk.clock.now);
        true
    }

    /// Puts a handshake message on its way.
    fn post(&mut self, to: SocketAddr, kind: Kind, message: &[u8], desk: &mut Desk<'_>) {
        let prefix = desk.wire.prefix(kind);
        let slot = desk.out.push(to, prefix + message.len());
        let (noise, place) = slot.split_at_mut(prefix.min(slot.len()));
        if !noise.is_empty() {
            desk.random.fill_bytes(noise);
        }
        place.copy_from_slice(message);
        desk.wire.reserve(place, self.reserved);
        self.sent += slot.len() as u64;
    }
}
