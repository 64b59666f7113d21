//! Two devices in a made-up world: time passes when the test says so, and the network does what the test wants.

mod attempts;
mod forgery;
mod life;
mod peers;
mod renewal;
mod schedules;
mod shape;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::options::{Addresses, Keepalive, Mtu, Obfuscation, Options, Peer};
use crate::{Clock, Device, Link, Moment, Outbox, PeerId, PresharedKey, PrivateKey, Status};

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE: u8 = 3;
const DATA: u8 = 4;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    A,
    B,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn key(self) -> PrivateKey {
        PrivateKey::from_bytes([1 + self as u8; 32])
    }

    fn inner(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, 1 + self as u8)
    }

    fn address(self) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1 + self as u8], 51820))
    }
}

/// What a network does to a datagram: how long each copy of it takes.
type Network = Box<dyn FnMut(End, &mut Vec<u8>, &mut StdRng) -> Vec<Duration>>;

/// A datagram that was sent.
#[derive(Clone, Debug)]
struct Sent {
    at: Moment,
    from: End,
    bytes: Vec<u8>,
}

struct World {
    clock: Clock,
    random: StdRng,
    ends: [Device; 2],
    outs: [Outbox; 2],
    addresses: [SocketAddr; 2],
    network: Network,
    /// By when it arrives and a running number: from where, to whom, what.
    flying: BTreeMap<(Moment, u64), (SocketAddr, End, Vec<u8>)>,
    number: u64,
    /// Everything that was sent.
    log: Vec<Sent>,
    /// What came out inside, by end.
    inside: [Vec<Vec<u8>>; 2],
}

/// A network without faults, 10 ms long.
fn plain() -> Network {
    Box::new(|_, _, _| vec![Duration::from_millis(10)])
}

fn options(end: End, change: &dyn Fn(&mut Options)) -> Options {
    let addresses = Addresses::V4(end.inner());
    let mut options = Options {
        private_key: end.key(),
        addresses,
        peers: vec![Peer {
            public_key: end.other().key().public_key(),
            preshared_key: Some(PresharedKey::from_bytes([9; 32])),
            allowed_ips: vec![format!("{}/32", end.other().inner()).parse().unwrap()],
            reserved: [0; 3],
            keepalive: Keepalive::Off,
        }],
        mtu: Mtu::new(1408, addresses).unwrap(),
        obfuscation: None,
    };
    change(&mut options);
    options
}

impl World {
    fn new(seed: u64) -> Self {
        Self::with(seed, &|_| {})
    }

    fn with(seed: u64, change: &dyn Fn(&mut Options)) -> Self {
        let device = |end: End| Device::new(&options(end, change), StdRng::seed_from_u64(seed ^ (end as u64 + 77)));
        let mut world = Self {
            clock: Clock { now: Moment::from_micros(1), unix: Duration::from_secs(1_800_000_000) },
            random: StdRng::seed_from_u64(seed),
            ends: [device(End::A), device(End::B)],
            outs: Default::default(),
            addresses: [End::A.address(), End::B.address()],
            network: plain(),
            flying: BTreeMap::new(),
            number: 0,
            log: Vec::new(),
            inside: Default::default(),
        };
        let b = End::B.address();
        let peer = world.peer(End::A);
        world.end(End::A).set_endpoint(peer, b);
        world
    }

    fn end(&mut self, end: End) -> &mut Device {
        &mut self.ends[end as usize]
    }

    fn link(&self, end: End) -> Link {
        self.status(end).link
    }

    fn status(&self, end: End) -> Status {
        self.ends[end as usize].status(self.peer(end), self.clock.now).unwrap()
    }

    /// The only peer of an end.
    fn peer(&self, end: End) -> PeerId {
        self.ends[end as usize].peers().next().unwrap()
    }

    /// Sends a packet with `tag` in it to the other end.
    fn say(&mut self, from: End, tag: u64) {
        self.say_from(from, from.inner(), tag);
    }

    fn say_from(&mut self, from: End, source: Ipv4Addr, tag: u64) {
        let (to, n) = (from.other().inner(), from as usize);
        let packet = packet(source, to, tag);
        let sent = self.ends[n].send(IpAddr::V4(to), packet.len(), self.clock, &mut self.outs[n], &mut |slot| {
            slot.copy_from_slice(&packet);
        });
        sent.unwrap();
        self.post(from);
    }

    /// Takes what an end wants to send, through the network.
    fn post(&mut self, from: End) {
        let n = from as usize;
        while let Some(train) = self.outs[n].front() {
            let known: Vec<End> =
                [End::A, End::B].into_iter().filter(|end| self.addresses[*end as usize] == train.to).collect();
            let datagrams: Vec<Vec<u8>> = train.bytes.chunks(train.stride).map(<[u8]>::to_vec).collect();
            self.outs[n].pop();
            for mut bytes in datagrams {
                self.log.push(Sent { at: self.clock.now, from, bytes: bytes.clone() });
                let delays = (self.network)(from, &mut bytes, &mut self.random);
                for (delay, &to) in delays.iter().flat_map(|delay| known.iter().map(move |to| (delay, to))) {
                    self.number += 1;
                    let key = (self.clock.now + *delay, self.number);
                    self.flying.insert(key, (self.addresses[n], to, bytes.clone()));
                }
            }
        }
    }

    /// Gives an end a datagram, now.
    fn deliver(&mut self, from: SocketAddr, to: End, mut bytes: Vec<u8>) {
        let n = to as usize;
        if let Some(text) = self.ends[n].receive(from, &mut bytes, self.clock, &mut self.outs[n]) {
            self.inside[n].push(text.to_vec());
        }
        self.post(to);
    }

    /// Lets time pass, event by event.
    fn run(&mut self, span: Duration) {
        let end = self.clock.now + span;
        loop {
            let timers = [End::A, End::B].map(|end| {
                let n = end as usize;
                let next = self.ends[n].turn(self.clock, &mut self.outs[n]);
                self.post(end);
                next
            });
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let next = timers.into_iter().flatten().chain(arrival).min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.pass(next.max(self.clock.now).since(self.clock.now).max(Duration::from_micros(1)));
            while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.clock.now) {
                let (from, to, bytes) = entry.remove();
                self.deliver(from, to, bytes);
            }
        }
        self.pass(end.since(self.clock.now));
    }

    /// Moves both clocks.
    fn pass(&mut self, span: Duration) {
        self.clock.now = self.clock.now + span;
        self.clock.unix += span;
    }

    /// The tags of what came out at an end.
    fn heard(&self, end: End) -> Vec<u64> {
        self.inside[end as usize].iter().map(|packet| tag(packet)).collect()
    }

    /// When an end sent messages of a kind, in whole seconds since `since`.
    fn times(&self, from: End, kind: u8, since: Moment) -> Vec<u64> {
        let of = |sent: &&Sent| sent.from == from && sent.bytes[0] == kind && sent.at >= since;
        self.log.iter().filter(of).map(|sent| sent.at.since(since).as_secs()).collect()
    }
}

/// A network that loses everything.
fn dead() -> Network {
    Box::new(|_, _, _| vec![])
}

/// A network that loses messages of some kinds, and is 10 ms long for others.
fn without(kinds: &'static [u8]) -> Network {
    Box::new(move |_, bytes, _| if kinds.contains(&bytes[0]) { vec![] } else { vec![Duration::from_millis(10)] })
}

/// An IPv4 packet of 28 bytes whose last eight are `tag`.
fn packet(from: Ipv4Addr, to: Ipv4Addr, tag: u64) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 253, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(tag.to_be_bytes());
    packet
}

fn tag(packet: &[u8]) -> u64 {
    u64::from_be_bytes(packet[20..28].try_into().unwrap())
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
