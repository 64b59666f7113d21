//! WireGuard without sockets: peers and packets in, datagrams out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use rustc_hash::FxHashMap;
use thiserror::Error;

use crate::allowed_ips::AllowedIps;
use crate::inner::source_and_length;
use crate::noise::{Gate, Identity, Initiation, Kind, Message, Random, Responder, Stamper, Verdict, Wire};
use crate::options::Options;
use crate::peer::{Desk, Peer, Status};
use crate::{Clock, Moment, Outbox, PublicKey};

/// Which of [`Options::peers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerId(pub(crate) usize);

/// No peer's allowed-ips hold that address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no WireGuard peer has {0} in its allowed-ips")]
pub struct NoPeer(pub IpAddr);

/// Our end of WireGuard.
pub struct Device {
    identity: Identity,
    gate: Gate,
    wire: Wire,
    stamper: Stamper,
    random: Box<dyn Random>,
    peers: Vec<Peer>,
    by_key: HashMap<PublicKey, PeerId>,
    /// Whose a session or a handshake of ours is.
    by_index: FxHashMap<u32, PeerId>,
    allowed: AllowedIps,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("peers", &self.by_key).finish_non_exhaustive()
    }
}

impl Device {
    /// A device that knows its peers, but not where they are. `random` makes keys, so it has to be a good source; tests
    /// bring a seeded one.
    #[must_use]
    pub fn new(options: &Options, random: impl rand::CryptoRng + Send + 'static) -> Self {
        let identity = Identity::new(options.private_key.clone());
        let mut allowed = AllowedIps::default();
        let mut by_key = HashMap::new();
        let mut peers = Vec::new();
        for (n, peer) in options.peers.iter().enumerate() {
            peer.allowed_ips.iter().for_each(|&network| allowed.insert(network, PeerId(n)));
            by_key.insert(peer.public_key, PeerId(n));
            peers.push(Peer::new(peer, options.mtu.bytes().into()));
        }
        Self {
            gate: identity.gate(),
            identity,
            wire: Wire::new(options.obfuscation.clone()),
            stamper: Stamper::default(),
            random: Box::new(random),
            peers,
            by_key,
            by_index: FxHashMap::default(),
            allowed,
        }
    }

    /// All peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + use<> {
        (0..self.peers.len()).map(PeerId)
    }

    /// The peer that packets to `address` go to.
    #[must_use]
    pub fn peer_for(&self, address: IpAddr) -> Option<PeerId> {
        self.allowed.find(address)
    }

    /// A peer's figures.
    #[must_use]
    pub fn status(&self, peer: PeerId, now: Moment) -> Option<Status> {
        self.peers.get(peer.0).map(|peer| peer.status(now))
    }

    /// Tells where a peer is, until it is heard from elsewhere. Whoever waits for the peer has to wait for the next
    /// [`Device::turn`], which is due at once then.
    pub fn set_endpoint(&mut self, peer: PeerId, endpoint: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.set_endpoint(endpoint);
        }
    }

    /// Asks for a session unless there is one or one was asked for; for somebody who is about to wait for it.
    pub fn rouse(&mut self, peer: PeerId, clock: Clock, out: &mut Outbox) {
        self.with(peer, clock, out, |peer, desk| peer.rouse(desk));
    }

    /// Sends a packet of `len` bytes to `to`. `write` gets its place, zeroed, exactly once.
    ///
    /// Without a session the packet waits for one, among at most 256 for the same peer, of which the oldest goes first.
    ///
    /// # Errors
    /// [`NoPeer`]; `write` was not called then.
    pub fn send(
        &mut self,
        to: IpAddr,
        len: usize,
        clock: Clock,
        out: &mut Outbox,
        write: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), NoPeer> {
        let id = self.peer_for(to).ok_or(NoPeer(to))?;
        self.with(id, clock, out, |peer, desk| {
            if peer.ready(clock.now).is_some() {
                peer.send_data(desk, len, write);
            } else {
                let mut packet = vec![0; len];
                write(&mut packet);
                peer.enqueue(packet);
                peer.rouse(desk);
            }
        });
        Ok(())
    }

    /// Takes a datagram, which is changed: data is opened in place. Returns the packet that was inside, if there was one
    /// and the peer may send from its address.
    ///
    /// What is not authentic is forgotten without an answer (F-G3).
    pub fn receive<'a>(
        &mut self,
        from: SocketAddr,
        datagram: &'a mut [u8],
        clock: Clock,
        out: &mut Outbox,
    ) -> Option<&'a mut [u8]> {
        let len = datagram.len();
        match Message::parse(&self.wire, datagram)? {
            Message::Data(data) => {
                let id = *self.by_index.get(&data.receiver)?;
                let text = self.with(id, clock, out, |peer, desk| peer.open(desk, data, from, len))??;
                self.admit(id, text)
            }
            Message::Initiation(initiation) => {
                self.on_initiation(from, len, &initiation, clock, out);
                None
            }
            Message::Response(response) => {
                let id = *self.by_index.get(&response.receiver)?;
                if self.passes(response.bytes, response.sender, from, clock, out) {
                    self.with(id, clock, out, |peer, desk| peer.on_response(desk, &response, from, len));
                }
                None
            }
            Message::Cookie(reply) => {
                let id = *self.by_index.get(&reply.receiver)?;
                self.with(id, clock, out, |peer, desk| peer.on_cookie(&reply, desk.clock.now));
                None
            }
        }
    }

    /// The packet without its padding, if `peer` may send it (whitepaper §2: cryptokey routing).
    fn admit<'a>(&mut self, peer: PeerId, text: &'a mut [u8]) -> Option<&'a mut [u8]> {
        match source_and_length(text) {
            Some((source, length)) if self.allowed.find(source) == Some(peer) => text.get_mut(..length),
            _ => {
                self.peers.get_mut(peer.0)?.refuse();
                None
            }
        }
    }

    /// Whether a peer was heard again after an outage, since this was asked last.
    pub(crate) fn take_revived(&mut self) -> bool {
        // Asks all of them.
        self.peers.iter_mut().fold(false, |any, peer| peer.take_revived() | any)
    }

    /// Does what is due. Returns when to come back at the latest.
    pub fn turn(&mut self, clock: Clock, out: &mut Outbox) -> Option<Moment> {
        for id in self.peers() {
            if self.peers.get(id.0).and_then(Peer::deadline).is_some_and(|at| at <= clock.now) {
                self.with(id, clock, out, |peer, desk| peer.turn(desk));
            }
        }
        self.peers.iter().filter_map(Peer::deadline).min()
    }

    /// How many indices we can be written to under.
    #[cfg(test)]
    pub(crate) fn index_count(&self) -> usize {
        self.by_index.len()
    }

    /// As if the session in use with `peer` had sent so many messages.
    #[cfg(test)]
    pub(crate) fn pretend_sent(&mut self, peer: PeerId, sent: u64) {
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.pretend_sent(sent);
        }
    }

    /// Somebody wants a session: answers, if it is a peer and not a replay.
    fn on_initiation(
        &mut self,
        from: SocketAddr,
        len: usize,
        initiation: &Initiation<'_>,
        clock: Clock,
        out: &mut Outbox,
    ) {
        if !self.passes(initiation.bytes, initiation.sender, from, clock, out) {
            return;
        }
        let Ok((responder, who, stamp)) = Responder::read(&self.identity, initiation) else {
            return;
        };
        let Some(&id) = self.by_key.get(&who) else { return };
        self.with(id, clock, out, |peer, desk| peer.on_initiation(desk, responder, stamp, from, len));
    }

    /// Whether a handshake message may cost us curve operations (F-G3, F-G4).
    fn passes(&mut self, message: &[u8], sender: u32, from: SocketAddr, clock: Clock, out: &mut Outbox) -> bool {
        let word = self.wire.word(Kind::Cookie, &mut *self.random);
        match self.gate.judge(message, sender, from, clock.now, word, &mut *self.random) {
            Verdict::Pass => true,
            Verdict::Drop => false,
            Verdict::Challenge(reply) => {
                let prefix = self.wire.prefix(Kind::Cookie);
                let slot = out.push(from, prefix + reply.len());
                let (noise, place) = slot.split_at_mut(prefix);
                self.random.fill_bytes(noise);
                place.copy_from_slice(&reply);
                // Who sent the message is not known yet; where it came from is.
                let sender = self.peers.iter().find(|peer| peer.endpoint() == Some(from));
                self.wire.reserve(place, sender.map_or([0; 3], Peer::reserved));
                false
            }
        }
    }

    /// Lets a peer act, and learns under which indices it can be written to afterwards.
    fn with<T>(
        &mut self,
        id: PeerId,
        clock: Clock,
        out: &mut Outbox,
        act: impl FnOnce(&mut Peer, &mut Desk<'_>) -> T,
    ) -> Option<T> {
        let peer = self.peers.get_mut(id.0)?;
        let mut desk = Desk {
            identity: &self.identity,
            wire: &self.wire,
            stamper: &mut self.stamper,
            random: &mut *self.random,
            clock,
            out,
            indices: &mut self.by_index,
            peer: id,
        };
        Some(act(peer, &mut desk))
    }
}
