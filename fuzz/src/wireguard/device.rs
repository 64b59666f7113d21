//! Datagrams for a device: a whole network between two of them is the fuzzer's.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use adit_wireguard::options::{Addresses, Header, Junk, Keepalive, Mtu, Obfuscation, Options, Peer, Piece, Prefix};
use adit_wireguard::{Clock, Device, Moment, Outbox, PeerId, PresharedKey, PrivateKey};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::span;
use crate::input::Input;

/// Two devices, and a network that loses, delays, repeats, damages and forges. Only what an end sent comes out at the
/// other, once; and whatever happened, after some quiet the two can talk.
pub fn wg_datagram(data: &[u8]) {
    let mut input = Input(data);
    let (shape, seed) = (input.byte(), input.byte());
    let mut net = Net::new(shape, seed.into());
    if seed & 1 == 1 {
        net.say(0, &packet(0, 1));
        net.let_fly();
    }
    let mut steps = 0;
    while !input.is_empty() && steps < 200 {
        net.step(&mut input);
        steps += 1;
    }
    // Dear, as handshakes are.
    if seed & 2 == 0 {
        net.calm_down();
    }
}

struct Net {
    clock: Clock,
    ends: [Device; 2],
    outs: [Outbox; 2],
    /// What each end sent inside and did not come out yet, by content; and how many can still come.
    inside: [HashMap<Vec<u8>, usize>; 2],
    /// By receiver.
    flying: [VecDeque<Vec<u8>>; 2],
    /// What was sent before, by receiver; some of it.
    log: Vec<(usize, Vec<u8>)>,
    tag: u64,
    heard: [Option<u64>; 2],
}

fn key(end: usize) -> PrivateKey {
    PrivateKey::from_bytes([1 + end as u8; 32])
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + end as u8], 51_820))
}

fn inner(end: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 1 + end as u8)
}

fn options(end: usize, shape: u8) -> Options {
    let addresses = Addresses::V4(inner(end));
    let flag = |bit: u8| shape >> bit & 1 == 1;
    let keepalive = NonZeroU16::new(25).filter(|_| flag(2)).map_or(Keepalive::Off, Keepalive::Every);
    let peer = Peer {
        public_key: key(1 - end).public_key(),
        preshared_key: flag(0).then(|| PresharedKey::from_bytes([9; 32])),
        allowed_ips: vec![ipnet::IpNet::from(IpAddr::V4(inner(1 - end)))],
        reserved: if flag(1) { [209, 98, 59] } else { [0; 3] },
        keepalive,
    };
    let mtu = Mtu::new(1408, addresses).expect("in range");
    Options { private_key: key(end), addresses, peers: vec![peer], mtu, obfuscation: disguise(shape >> 4) }
}

/// AmneziaWG's settings.
fn disguise(shape: u8) -> Option<Obfuscation> {
    let header =
        Header { initiation: 1_000..=1_999, response: 2_000..=2_000, cookie: 3_000..=3_999, data: 4_000..=0xffff_0000 };
    let prefix = Prefix { initiation: 20, response: 76, cookie: 104, data: 5 };
    let junk = Junk { count: 2, length: Some(0..=50) };
    let imitation = vec![vec![Piece::Bytes(vec![1, 2]), Piece::Counter, Piece::Time, Piece::RandomDigits(3)]];
    match shape % 6 {
        0..=2 => None,
        3 => Some(Obfuscation { header, ..Obfuscation::default() }),
        // All handshake messages have the same length: only their types tell them apart.
        4 => Some(Obfuscation { prefix: Prefix { data: 0, ..prefix }, junk, ..Obfuscation::default() }),
        _ => Some(Obfuscation { header, prefix, junk, imitation }),
    }
}

/// A packet from an end to the other, with a tag at its end.
fn packet(from: usize, tag: u64) -> Vec<u8> {
    let len = 28 + (tag % 40) as u8;
    let mut packet = vec![0x45, 0, 0, len, 0, 0, 0, 0, 64, 253, 0, 0];
    packet.extend(inner(from).octets());
    packet.extend(inner(1 - from).octets());
    packet.resize(usize::from(len) - 8, 0);
    packet.extend(tag.to_be_bytes());
    packet
}

impl Net {
    fn new(shape: u8, seed: u64) -> Self {
        let device = |end| Device::new(&options(end, shape), StdRng::seed_from_u64(seed * 2 + end as u64));
        let mut net = Self {
            clock: Clock { now: Moment::from_micros(1), unix: Duration::from_secs(1_800_000_000) },
            ends: [device(0), device(1)],
            outs: Default::default(),
            inside: Default::default(),
            flying: Default::default(),
            log: Vec::new(),
            tag: 1,
            heard: [None; 2],
        };
        for end in 0..if shape & 8 == 0 { 1 } else { 2 } {
            let peer = net.peer(end);
            net.ends[end].set_endpoint(peer, address(1 - end));
        }
        net
    }

    fn peer(&self, end: usize) -> PeerId {
        self.ends[end].peers().next().expect("one")
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let end = usize::from(input.byte() & 1);
        match input.byte() % 14 {
            0 => {
                self.tag += 1;
                self.say(end, &packet(end, self.tag));
            }
            1 | 2 => {
                if let Some(datagram) = self.flying[end].pop_front() {
                    self.deliver(end, address(1 - end), datagram);
                }
            }
            3 => {
                // Overtaken, or lost.
                if let Some(datagram) = self.flying[end].pop_front()
                    && input.byte() & 3 != 0
                {
                    self.flying[end].push_back(datagram);
                }
            }
            4 | 5 => {
                if let Some(mut datagram) = self.flying[end].pop_front() {
                    damage(&mut datagram, input);
                    self.deliver(end, address(1 - end), datagram);
                }
            }
            6 => {
                let n = usize::from(input.byte()) % self.log.len().max(1);
                if let Some((to, datagram)) = self.log.get(n).cloned() {
                    self.deliver(to, elsewhere(input.byte()), datagram);
                }
            }
            7 => {
                let n = usize::from(input.byte()) % self.log.len().max(1);
                if let Some((to, mut datagram)) = self.log.get(n).cloned() {
                    damage(&mut datagram, input);
                    self.deliver(to, elsewhere(input.byte()), datagram);
                }
            }
            8 => {
                let n = usize::from(input.byte()) % self.log.len().max(1);
                if let Some((to, datagram)) = self.log.get(n).cloned() {
                    (0..60).for_each(|n| self.deliver(to, elsewhere(n), datagram.clone()));
                }
            }
            9 => self.deliver(end, elsewhere(0), input.take(300).to_vec()),
            10 => {
                // For a session that there is, most likely.
                let n = usize::from(input.byte()) % self.log.len().max(1);
                let mut datagram = self.log.get(n).map(|(_, datagram)| datagram[..12.min(datagram.len())].to_vec());
                if let Some(datagram) = &mut datagram {
                    datagram.extend(input.bytes());
                    self.deliver(end, address(1 - end), datagram.clone());
                }
            }
            11 => {
                // A peer that puts anything into its packets.
                let mut content = input.bytes().to_vec();
                if content.len() > 20 && content[0] & 0x70 != 0 {
                    let len = content.len() as u16;
                    content[..4].copy_from_slice(&[0x45, 0, (len >> 8) as u8, len as u8]);
                    content[12..16].copy_from_slice(&inner(end).octets());
                }
                if !content.is_empty() {
                    self.say(end, &content);
                }
            }
            12 => {
                let (peer, clock) = (self.peer(end), self.clock);
                self.ends[end].rouse(peer, clock, &mut self.outs[end]);
                self.post(end);
            }
            _ => {
                let choice = input.byte();
                self.pass(span(choice));
                // The wall clock goes where it wants.
                match choice >> 4 {
                    14 => self.clock.unix = self.clock.unix.saturating_sub(Duration::from_secs(86_400)),
                    15 => self.clock.unix += Duration::from_secs(86_400),
                    _ => {}
                }
            }
        }
    }

    fn say(&mut self, end: usize, packet: &[u8]) {
        *self.inside[end].entry(packet.to_vec()).or_default() += 1;
        let to = IpAddr::V4(inner(1 - end));
        let sent = self.ends[end].send(to, packet.len(), self.clock, &mut self.outs[end], &mut |place| {
            place.copy_from_slice(packet);
        });
        sent.expect("a peer");
        self.post(end);
    }

    /// What an end wants to send flies.
    fn post(&mut self, end: usize) {
        while let Some(train) = self.outs[end].front() {
            let datagrams: Vec<Vec<u8>> = train.bytes.chunks(train.stride).map(<[u8]>::to_vec).collect();
            self.outs[end].pop();
            for datagram in datagrams {
                if self.log.len() < 256 {
                    self.log.push((1 - end, datagram.clone()));
                }
                self.flying[1 - end].push_back(datagram);
            }
        }
        // A network holds so much.
        while self.flying[1 - end].len() > 64 {
            self.flying[1 - end].pop_front();
        }
    }

    fn deliver(&mut self, end: usize, from: SocketAddr, mut datagram: Vec<u8>) {
        if let Some(text) = self.ends[end].receive(from, &mut datagram, self.clock, &mut self.outs[end]) {
            let text = text.to_vec();
            // Padding and its length may have been cut off, by what the packet itself says.
            let sent = self.inside[1 - end].iter_mut().find(|(sent, _)| sent.starts_with(&text));
            let (_, left) = sent.expect("came out, but nobody sent it");
            *left = left.checked_sub(1).expect("came out twice");
            self.heard[end] = text.last_chunk().map(|tag| u64::from_be_bytes(*tag));
        }
        self.post(end);
    }

    fn pass(&mut self, span: Duration) {
        self.clock.now = self.clock.now + span;
        self.clock.unix += span;
        for end in 0..2 {
            let next = self.ends[end].turn(self.clock, &mut self.outs[end]);
            assert!(next.is_none_or(|next| next > self.clock.now), "a turn changes nothing");
            self.post(end);
        }
    }

    /// Everything arrives.
    fn let_fly(&mut self) {
        for _ in 0..200 {
            for end in 0..2 {
                if let Some(datagram) = self.flying[end].pop_front() {
                    self.deliver(end, address(1 - end), datagram);
                }
            }
        }
    }

    /// The network becomes a good one; after some minutes both can say something.
    fn calm_down(&mut self) {
        for _ in 0..40 {
            self.pass(Duration::from_secs(5));
            self.let_fly();
        }
        for end in 0..2 {
            self.tag += 1;
            self.say(end, &packet(end, self.tag));
            for _ in 0..4 {
                self.let_fly();
                self.pass(Duration::from_secs(6));
            }
            assert_eq!(self.heard[1 - end], Some(self.tag), "{end} is not heard");
        }
    }
}

/// Somewhere that is not where a peer is.
fn elsewhere(n: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, n], 1_000))
}

fn damage(datagram: &mut Vec<u8>, input: &mut Input<'_>) {
    let (at, value) = (input.short(), input.byte());
    match value {
        0 => datagram.truncate(usize::from(at) % (datagram.len() + 1)),
        1 => datagram.resize(datagram.len() + usize::from(at) % 64, 0),
        _ => {
            let at = usize::from(at) % datagram.len().max(1);
            if let Some(byte) = datagram.get_mut(at) {
                *byte ^= value;
            }
        }
    }
}
