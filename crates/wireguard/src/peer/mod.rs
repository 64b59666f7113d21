//! One peer: its sessions, its timers, where it is, and what waits for it.

mod sending;
mod sessions;
mod status;
mod timers;

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::device::PeerId;
use crate::noise::{
    Cookie, CookieReply, Data, Identity, Initiator, Kind, RESPONSE_LEN, Random, Remote, Responder, Response, Stamper,
    Tai64n, Wire,
};
use crate::options::{self, Keepalive};
use crate::{Clock, Moment, Outbox};

pub use status::{Link, Status};

use sessions::Sessions;
use timers::{REKEY_ATTEMPT_TIME, REKEY_TIMEOUT, Timers, jitter};

/// When what was sent is not answered for so long, the peer or the way to it is gone rather than slow.
const OUTAGE: Duration = Duration::from_secs(3);

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
    pub(crate) indices: &'a mut FxHashMap<u32, PeerId>,
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

/// A session is wanted: initiations go out until the peer answers one, or for as long as that makes sense.
struct Attempt {
    since: Moment,
    /// When to send an initiation, once more or at last.
    next: Moment,
    /// The latest initiation. None went out while nobody knows where the peer is.
    initiator: Option<Initiator>,
}

pub(crate) struct Peer {
    remote: Remote,
    reserved: [u8; 3],
    mtu: usize,
    endpoint: Option<SocketAddr>,
    sessions: Sessions,
    attempt: Option<Attempt>,
    /// Our latest response and its index: the peer may be too busy for it.
    responded: Option<(u32, [u8; RESPONSE_LEN])>,
    cookie: Option<Cookie>,
    /// The latest timestamp of an initiation of the peer's.
    stamp: Tai64n,
    queue: VecDeque<Vec<u8>>,
    timers: Timers,
    initiations: u32,
    last_initiation: Option<Moment>,
    last_handshake: Option<Moment>,
    last_heard: Option<Moment>,
    sent: u64,
    received: u64,
    refused: u64,
    /// Heard again after an outage.
    revived: bool,
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
            attempt: None,
            responded: None,
            cookie: None,
            stamp: Tai64n::default(),
            queue: VecDeque::new(),
            timers: Timers::new(keepalive),
            initiations: 0,
            last_initiation: None,
            last_handshake: None,
            last_heard: None,
            sent: 0,
            received: 0,
            refused: 0,
            revived: false,
        }
    }

    /// Where the peer is. An attempt that is under way begins there at once, with the next [`Peer::turn`].
    pub(crate) fn set_endpoint(&mut self, endpoint: SocketAddr) {
        if self.endpoint.replace(endpoint) != Some(endpoint)
            && let Some(attempt) = &mut self.attempt
        {
            attempt.next = Moment::default();
        }
    }

    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    pub(crate) fn reserved(&self) -> [u8; 3] {
        self.reserved
    }

    pub(crate) fn status(&self, now: Moment) -> Status {
        Status {
            endpoint: self.endpoint,
            last_handshake: self.last_handshake,
            last_heard: self.last_heard,
            sent: self.sent,
            received: self.received,
            refused: self.refused,
            link: self.link(now),
        }
    }

    fn link(&self, now: Moment) -> Link {
        match (self.sessions.usable(now), self.timers.unanswered_since(), &self.attempt) {
            (true, Some(since), _) => Link::Silent { since },
            (true, None, _) => Link::Up,
            (false, _, Some(attempt)) => Link::Handshaking { since: attempt.since },
            (false, _, None) => Link::Down,
        }
    }

    /// Asks for a session unless there is one, or it was asked for.
    pub(crate) fn rouse(&mut self, desk: &mut Desk<'_>) {
        if !self.sessions.usable(desk.clock.now) {
            self.attempt(desk);
        }
    }

    /// Asks for a session unless it was asked for.
    fn attempt(&mut self, desk: &mut Desk<'_>) {
        if self.attempt.is_some() {
            return;
        }
        let now = desk.clock.now;
        // Never more often than that, whoever wants it (whitepaper §6.1).
        let next = self.last_initiation.map_or(now, |last| now.max(last + REKEY_TIMEOUT));
        self.attempt = Some(Attempt { since: now, next, initiator: None });
        if next <= now {
            self.initiate(desk);
        }
    }

    /// The answer to our initiation; anything else that looks like one leaves everything as it is (F-G5).
    pub(crate) fn on_response(&mut self, desk: &mut Desk<'_>, response: &Response<'_>, from: SocketAddr, len: usize) {
        let initiator = self.attempt.as_mut().and_then(|attempt| attempt.initiator.as_mut());
        let Some(Ok(session)) = initiator.map(|initiator| initiator.finish(response)) else { return };
        let now = desk.clock.now;
        self.sessions.agreed_as_initiator(session, now);
        self.timers.new_keys(now);
        self.agreed(desk);
        self.heard(from, len, now);
        // Something has to be said, or the responder never uses the session (whitepaper §5.1).
        if !self.flush(desk) {
            self.send_keepalive(desk);
        }
    }

    /// A cookie for our initiation or response: the next one will prove with it that we are where it came from.
    pub(crate) fn on_cookie(&mut self, reply: &CookieReply<'_>, now: Moment) {
        let initiator = self.attempt.as_ref().and_then(|attempt| attempt.initiator.as_ref());
        let cookie = match (&self.responded, initiator) {
            (Some((index, response)), _) if *index == reply.receiver => self.remote.cookie(response, reply, now),
            (_, Some(initiator)) => initiator.cookie(&self.remote, reply, now),
            _ => return,
        };
        if let Ok(cookie) = cookie {
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
        if let Some((session, response)) =
            responder.answer(&self.remote, desk.wire, index, cookie.as_ref(), desk.random)
        {
            self.sessions.agreed_as_responder(session, now);
            self.responded = Some((index, response));
            self.timers.new_keys(now);
            self.heard(from, len, now);
            self.post(from, Kind::Response, &response, desk);
        }
        self.forget_indices(desk);
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
            self.agreed(desk);
            self.flush(desk);
        }
        // Old keys that are only received under are renewed too (whitepaper §6.2).
        if self.sessions.wants_last_minute_rekey(now) {
            self.attempt(desk);
        }
        if text.is_empty() {
            return None;
        }
        self.timers.received_data(now);
        Some(text)
    }

    /// A packet was authentic, and yet is not let in.
    pub(crate) fn refuse(&mut self) {
        self.refused += 1;
    }

    /// Both sides have the new keys.
    fn agreed(&mut self, desk: &mut Desk<'_>) {
        self.attempt = None;
        self.last_handshake = Some(desk.clock.now);
        self.forget_indices(desk);
    }

    /// Something authentic came: that is where the peer is now (whitepaper §2.1).
    fn heard(&mut self, from: SocketAddr, len: usize, now: Moment) {
        self.endpoint = Some(from);
        self.last_heard = Some(now);
        self.received += len as u64;
        self.revived |= self.timers.unanswered_since().is_some_and(|since| now.since(since) >= OUTAGE);
        self.timers.heard(now);
    }

    /// Whether the peer was heard again after an outage, since this was asked last.
    pub(crate) fn take_revived(&mut self) -> bool {
        std::mem::take(&mut self.revived)
    }

    fn cookie(&self, now: Moment) -> Option<[u8; 16]> {
        self.cookie.as_ref()?.value(now).copied()
    }

    /// Gives back the indices that nothing of ours has any more.
    fn forget_indices(&self, desk: &mut Desk<'_>) {
        let pending = self.attempt.as_ref().and_then(|attempt| attempt.initiator.as_ref()).map(Initiator::index);
        let peer = desk.peer;
        desk.indices.retain(|index, owner| *owner != peer || pending == Some(*index) || self.sessions.has(*index));
    }

    /// Does what is due.
    pub(crate) fn turn(&mut self, desk: &mut Desk<'_>) {
        let now = desk.clock.now;
        if self.attempt.as_ref().is_some_and(|attempt| attempt.next <= now) {
            self.attempt_again(desk);
        }
        if self.timers.take_keepalive(now) {
            self.send_keepalive(desk);
        }
        if self.timers.take_silence(now) {
            self.attempt(desk);
        }
        if self.timers.take_persistent(now) {
            self.send_keepalive(desk);
            self.rouse(desk);
        }
        if self.timers.take_wipe(now) {
            self.sessions = Sessions::default();
            self.responded = None;
            self.cookie = None;
            self.forget_indices(desk);
        }
    }

    /// When [`Peer::turn`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.timers.next().into_iter().chain(self.attempt.as_ref().map(|attempt| attempt.next)).min()
    }

    /// The peer did not answer in time: once more, or not (whitepaper §6.4).
    fn attempt_again(&mut self, desk: &mut Desk<'_>) {
        if self.attempt.as_ref().is_some_and(|attempt| desk.clock.now.since(attempt.since) < REKEY_ATTEMPT_TIME) {
            self.initiate(desk);
        } else {
            self.attempt = None;
            self.queue = VecDeque::new();
            self.forget_indices(desk);
        }
    }

    /// Sends an initiation of the attempt, if there is somewhere to send it.
    fn initiate(&mut self, desk: &mut Desk<'_>) {
        let now = desk.clock.now;
        let initiator = self.endpoint.and_then(|to| self.send_initiation(to, desk));
        if let Some(attempt) = &mut self.attempt {
            attempt.initiator = initiator;
            attempt.next = now + REKEY_TIMEOUT + jitter(desk.random);
        }
        self.forget_indices(desk);
    }

    /// As if the session in use had sent so many messages.
    #[cfg(test)]
    pub(crate) fn pretend_sent(&mut self, sent: u64) {
        self.sessions.pretend_sent(sent);
    }
}
