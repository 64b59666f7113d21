//! Several peers, and peers that are not ours.

use boringtun::noise::{Tunn, TunnResult};
use ipnet::IpNet;

use super::*;

/// A device with three peers whose networks lie one in the other, and those peers.
struct Star {
    hub: Device,
    spokes: Vec<Device>,
    clock: Clock,
    /// What came out at each spoke, and at the hub.
    heard: Vec<Vec<u8>>,
    hub_heard: Vec<Vec<u8>>,
}

const NETWORKS: [&str; 3] = ["0.0.0.0/0", "10.0.0.0/8", "10.7.0.0/16"];
const HUB: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100)), 1);

fn spoke(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n as u8], 1))
}

fn key(n: usize) -> PrivateKey {
    PrivateKey::from_bytes([0x40 + n as u8; 32])
}

fn peer(key: &PrivateKey, network: &str) -> Peer {
    let network: IpNet = network.parse().unwrap();
    Peer {
        public_key: key.public_key(),
        preshared_key: None,
        allowed_ips: vec![network],
        reserved: [0; 3],
        keepalive: Keepalive::Off,
    }
}

fn device(own: PrivateKey, peers: Vec<Peer>, seed: u64) -> Device {
    let addresses = Addresses::V4(Ipv4Addr::new(10, 0, 0, 1));
    let mtu = Mtu::new(1408, addresses).unwrap();
    let options = Options { private_key: own, addresses, peers, mtu, obfuscation: None };
    Device::new(&options, StdRng::seed_from_u64(seed))
}

impl Star {
    fn new() -> Self {
        let peers = NETWORKS
            .iter()
            .enumerate()
            .map(|(n, network)| Peer { reserved: [n as u8 + 1; 3], ..peer(&key(n), network) });
        let mut hub = device(key(9), peers.collect(), 9);
        let ids: Vec<PeerId> = hub.peers().collect();
        ids.iter().zip(0..).for_each(|(id, n)| hub.set_endpoint(*id, spoke(n)));
        let spokes = (0..3).map(|n| device(key(n), vec![peer(&key(9), "0.0.0.0/0")], n as u64)).collect();
        let clock = Clock { now: Moment::from_micros(1), unix: seconds(1_800_000_000) };
        Self { hub, spokes, clock, heard: vec![Vec::new(); 3], hub_heard: Vec::new() }
    }

    /// Carries datagrams to and fro until all is said.
    fn settle(&mut self, mut from_hub: Outbox, mut to_hub: Vec<(usize, Outbox)>) {
        loop {
            let mut answers = Outbox::default();
            for (n, out) in &mut to_hub {
                for (_, mut bytes) in datagrams(out) {
                    let text = self.hub.receive(spoke(*n), &mut bytes, self.clock, &mut answers);
                    self.hub_heard.extend(text.map(|text| text.to_vec()));
                }
            }
            to_hub.clear();
            for (to, mut bytes) in datagrams(&mut from_hub).into_iter().chain(datagrams(&mut answers)) {
                let n = (0..3).find(|n| spoke(*n) == to).unwrap();
                assert_eq!(bytes[1..4], [n as u8 + 1; 3], "the reserved bytes of that peer");
                let mut out = Outbox::default();
                if let Some(text) = self.spokes[n].receive(HUB, &mut bytes, self.clock, &mut out) {
                    self.heard[n].push(text[19]);
                }
                to_hub.push((n, out));
            }
            if to_hub.is_empty() {
                return;
            }
        }
    }

    fn say(&mut self, to: [u8; 4]) {
        let mut out = Outbox::default();
        let packet = packet(Ipv4Addr::new(10, 0, 0, 1), to.into(), 0);
        let write = &mut |slot: &mut [u8]| slot.copy_from_slice(&packet);
        self.hub.send(IpAddr::from(to), packet.len(), self.clock, &mut out, write).unwrap();
        self.settle(out, Vec::new());
    }

    fn spoke_says(&mut self, n: usize, source: [u8; 4]) {
        let mut out = Outbox::default();
        let packet = packet(source.into(), Ipv4Addr::new(10, 0, 0, 1), n as u64);
        let write = &mut |slot: &mut [u8]| slot.copy_from_slice(&packet);
        self.spokes[n].send(IpAddr::from([10, 0, 0, 1]), packet.len(), self.clock, &mut out, write).unwrap();
        self.settle(Outbox::default(), vec![(n, out)]);
    }
}

fn datagrams(out: &mut Outbox) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(train) = out.front() {
        all.extend(train.bytes.chunks(train.stride).map(|bytes| (train.to, bytes.to_vec())));
        out.pop();
    }
    all
}

#[test]
fn f_g6_the_longest_prefix_chooses_the_peer_and_its_reserved_bytes() {
    let mut star = Star::new();
    for to in [[8, 8, 8, 1], [10, 1, 1, 2], [10, 7, 1, 3], [10, 7, 255, 4], [172, 16, 0, 5], [10, 8, 0, 6]] {
        star.say(to);
    }
    assert_eq!(star.heard, [vec![1, 5], vec![2, 6], vec![3, 4]]);
}

#[test]
fn f_g12_what_a_peer_says_in_the_name_of_another_is_refused() {
    let mut star = Star::new();
    star.say([8, 8, 8, 8]);
    star.say([10, 1, 1, 1]);
    star.say([10, 7, 1, 1]);
    let sources = [[8, 8, 8, 8], [10, 1, 1, 1], [10, 7, 1, 1]];
    for n in 0..3 {
        for source in sources {
            star.spoke_says(n, source);
        }
    }
    assert_eq!(star.hub_heard.iter().map(|packet| tag(packet)).collect::<Vec<_>>(), [0, 1, 2]);
    for id in star.hub.peers() {
        assert_eq!(star.hub.status(id, star.clock.now).unwrap().refused, 2);
    }
}

/// What boringtun does with a datagram: what it sends, and what comes out inside.
fn boringtun(tunnel: &mut Tunn, bytes: &[u8], send: &mut Vec<Vec<u8>>, inside: &mut Vec<Vec<u8>>) {
    let mut buffer = [0; 2048];
    let mut bytes = bytes;
    loop {
        match tunnel.decapsulate(None, bytes, &mut buffer) {
            TunnResult::WriteToNetwork(answer) => send.push(answer.to_vec()),
            TunnResult::WriteToTunnelV4(text, _) => inside.push(text.to_vec()),
            TunnResult::WriteToTunnelV6(..) | TunnResult::Done => return,
            TunnResult::Err(error) => panic!("boringtun: {error:?}"),
        }
        // It gives what waits when it is asked again with nothing (boringtun's documentation of `decapsulate`).
        bytes = &[];
    }
}

/// A device with one peer, which is boringtun; they talk until all is said.
struct Mixed {
    ours: Device,
    theirs: Tunn,
    clock: Clock,
    ours_heard: Vec<Vec<u8>>,
    theirs_heard: Vec<Vec<u8>>,
}

impl Mixed {
    fn new() -> Self {
        let shared = Some(PresharedKey::from_bytes([7; 32]));
        let mut ours = device(key(0), vec![Peer { preshared_key: shared, ..peer(&key(1), "10.7.0.0/16") }], 1);
        let id = ours.peers().next().unwrap();
        ours.set_endpoint(id, spoke(1));
        let public = x25519_dalek::PublicKey::from(*key(0).public_key().as_bytes());
        let theirs = Tunn::new((*key(1).reveal()).into(), public, Some([7; 32]), None, 5, None);
        let clock = Clock { now: Moment::from_micros(1), unix: seconds(1_800_000_000) };
        Self { ours, theirs, clock, ours_heard: Vec::new(), theirs_heard: Vec::new() }
    }

    fn settle(&mut self, mut out: Outbox, mut from_them: Vec<Vec<u8>>) {
        loop {
            for mut bytes in from_them.drain(..) {
                let text = self.ours.receive(spoke(1), &mut bytes, self.clock, &mut out);
                self.ours_heard.extend(text.map(|text| text.to_vec()));
            }
            for (_, bytes) in datagrams(&mut out) {
                boringtun(&mut self.theirs, &bytes, &mut from_them, &mut self.theirs_heard);
            }
            if from_them.is_empty() {
                return;
            }
        }
    }

    fn we_say(&mut self, packet: &[u8]) {
        let mut out = Outbox::default();
        let write = &mut |slot: &mut [u8]| slot.copy_from_slice(packet);
        self.ours.send(IpAddr::from([10, 7, 0, 1]), packet.len(), self.clock, &mut out, write).unwrap();
        self.settle(out, Vec::new());
    }

    fn they_say(&mut self, packet: &[u8]) {
        let mut buffer = [0; 2048];
        let TunnResult::WriteToNetwork(bytes) = self.theirs.encapsulate(packet, &mut buffer) else {
            panic!("boringtun sends nothing")
        };
        let bytes = bytes.to_vec();
        self.settle(Outbox::default(), vec![bytes]);
    }
}

/// Packets of all lengths, from us to boringtun.
fn packets(from: [u8; 4], to: [u8; 4]) -> Vec<Vec<u8>> {
    let lengths = [28, 29, 31, 32, 33, 100, 576, 1391, 1392, 1393, 1407, 1408];
    let long = |len: usize| {
        let mut bytes = packet(from.into(), to.into(), len as u64);
        bytes.resize(len, 0x5a);
        bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        bytes
    };
    lengths.into_iter().map(long).collect()
}

#[test]
fn boringtun_and_we_understand_each_other_whoever_begins() {
    for we_begin in [true, false] {
        let mut mixed = Mixed::new();
        let (ours, theirs) = (packets([10, 0, 0, 1], [10, 7, 0, 1]), packets([10, 7, 0, 1], [10, 0, 0, 1]));
        for (our_packet, their_packet) in ours.iter().zip(&theirs) {
            if we_begin {
                mixed.we_say(our_packet);
            }
            mixed.they_say(their_packet);
            if !we_begin {
                mixed.we_say(our_packet);
            }
        }
        assert_eq!(mixed.theirs_heard, ours);
        assert_eq!(mixed.ours_heard, theirs);
    }
}
