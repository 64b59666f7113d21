//! What packets look like, and which are let through (faults F-G6, F-G12; cryptokey routing).

use super::*;
use crate::options::{Header, Junk, Prefix};

#[test]
fn f_g6_data_is_padded_to_sixteen_and_never_above_the_mtu() {
    let mut world = World::new(1);
    world.say(End::A, 1);
    world.run(seconds(1));
    for len in [28, 1393, 1400, 1408] {
        let mut bytes = packet(End::A.inner(), End::B.inner(), len as u64);
        bytes.resize(len, 7);
        bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        let (clock, to) = (world.clock, IpAddr::V4(End::B.inner()));
        world.ends[0].send(to, len, clock, &mut world.outs[0], &mut |slot| slot.copy_from_slice(&bytes)).unwrap();
        world.post(End::A);
        let sent = world.log.last().unwrap().bytes.len() - 32;
        assert_eq!(sent, len.next_multiple_of(16).min(1408));
        world.run(seconds(1));
        assert_eq!(world.inside[1].last().unwrap(), &bytes, "without its padding");
    }
}

#[test]
fn f_g6_reserved_bytes_are_those_of_the_peer() {
    let mut world = World::with(2, &|options| options.peers[0].reserved = [209, 98, 59]);
    world.say(End::A, 1);
    world.run(seconds(12));
    assert_eq!(world.heard(End::B), [1]);
    assert!(world.log.iter().all(|sent| sent.bytes[1..4] == [209, 98, 59]));
    let world = World::new(2);
    assert!(world.log.iter().all(|sent| sent.bytes[1..4] == [0; 3]));
}

#[test]
fn f_g6_indices_are_random() {
    let indices: std::collections::HashSet<Vec<u8>> = (0..20)
        .map(|seed| {
            let mut world = World::new(seed);
            world.say(End::A, 1);
            world.log[0].bytes[4..8].to_vec()
        })
        .collect();
    assert_eq!(indices.len(), 20);
}

#[test]
fn f_g12_a_peer_may_only_send_from_its_own_addresses() {
    let mut world = World::new(3);
    world.say(End::A, 1);
    world.run(seconds(1));
    world.say_from(End::A, Ipv4Addr::new(10, 0, 0, 77), 2);
    world.run(seconds(1));
    assert_eq!(world.heard(End::B), [1]);
}

#[test]
fn an_address_of_nobody_is_told() {
    let mut world = World::new(4);
    let (to, clock) = (IpAddr::from([8, 8, 8, 8]), world.clock);
    let refused = world.ends[0].send(to, 28, clock, &mut world.outs[0], &mut |_| panic!("written"));
    assert_eq!(refused.unwrap_err().to_string(), "no WireGuard peer has 8.8.8.8 in its allowed-ips");
}

/// AmneziaWG's settings, all of them.
fn disguise() -> Obfuscation {
    Obfuscation {
        junk: Junk { count: 4, length: Some(10..=50) },
        prefix: Prefix { initiation: 20, response: 30, cookie: 40, data: 5 },
        header: Header {
            initiation: 1_000..=1_999,
            response: 2_000..=2_000,
            cookie: 3_000..=3_999,
            data: 4_000..=0xffff_0000,
        },
        imitation: vec![vec![crate::options::Piece::Bytes(vec![1, 2]), crate::options::Piece::Random(3)]],
    }
}

#[test]
fn a_disguised_tunnel_looks_like_none() {
    let mut world = World::with(5, &|options| options.obfuscation = Some(disguise()));
    world.say(End::A, 1);
    world.run(seconds(1));
    world.say(End::B, 2);
    world.run(seconds(1));
    assert_eq!((world.heard(End::B), world.heard(End::A)), (vec![1], vec![2]));
    let lengths: Vec<usize> =
        world.log.iter().filter(|sent| sent.from == End::A).map(|sent| sent.bytes.len()).collect();
    assert_eq!(lengths[0], 5, "the imitation comes first");
    assert!(lengths[1..5].iter().all(|len| (10..=50).contains(len)), "{lengths:?}");
    assert_eq!(lengths[5], 148 + 20);
    assert!(world.log.iter().all(|sent| !matches!(sent.bytes[..4], [1..=4, 0, 0, 0])));
}

#[test]
fn plain_and_disguised_do_not_understand_each_other() {
    let mut world = World::new(6);
    *world.end(End::B) =
        Device::new(&options(End::B, &|options| options.obfuscation = Some(disguise())), StdRng::seed_from_u64(1));
    world.say(End::A, 1);
    world.run(seconds(20));
    assert_eq!(world.heard(End::B), [0u64; 0]);
    assert!(matches!(world.link(End::A), Link::Handshaking { .. }));
}
