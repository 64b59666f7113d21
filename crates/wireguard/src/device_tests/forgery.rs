//! What strangers and bad networks send (faults F-G2 to F-G5).

use super::*;

/// A world with a session, and everything that was said for it.
fn established(seed: u64) -> (World, Vec<Sent>) {
    let mut world = World::new(seed);
    world.say(End::A, 1);
    world.run(seconds(1));
    world.say(End::B, 2);
    world.run(seconds(1));
    let log = world.log.clone();
    (world, log)
}

/// The session still serves both ends.
fn serves(world: &mut World) {
    for end in [End::A, End::B] {
        world.say(end, 77);
        world.run(seconds(1));
        assert_eq!(world.heard(end.other()).last(), Some(&77));
    }
}

#[test]
fn f_g2_nothing_counts_twice() {
    let (mut world, log) = established(1);
    let (inside, sent) = (world.inside.clone(), world.log.len());
    for sent in &log {
        world.deliver(sent.from.address(), sent.from.other(), sent.bytes.clone());
    }
    assert_eq!(world.inside, inside);
    assert_eq!(world.log.len(), sent, "a replay is answered");
    serves(&mut world);
}

#[test]
fn f_g2_a_replayed_packet_does_not_move_the_peer() {
    let (mut world, log) = established(2);
    let elsewhere = SocketAddr::from(([203, 0, 113, 1], 1));
    for sent in &log {
        world.deliver(elsewhere, sent.from.other(), sent.bytes.clone());
    }
    serves(&mut world);
}

#[test]
fn f_g3_what_was_cut_or_changed_is_forgotten() {
    let (mut world, log) = established(3);
    let (inside, sent) = (world.inside.clone(), world.log.len());
    for original in &log {
        for cut in 0..original.bytes.len() {
            world.deliver(original.from.address(), original.from.other(), original.bytes[..cut].to_vec());
        }
        for bit in 0..original.bytes.len() * 8 {
            let mut bytes = original.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            world.deliver(original.from.address(), original.from.other(), bytes);
        }
    }
    assert_eq!(world.inside, inside);
    // MAC1 does not cover MAC2 and the reserved bytes, so some of these are a load, and get cookies.
    assert!(world.log[sent..].iter().all(|sent| sent.bytes.len() == 64), "a forgery is answered");
    serves(&mut world);
}

#[test]
fn f_g3_noise_of_every_type_and_size_is_forgotten() {
    let (mut world, _) = established(4);
    let sent = world.log.len();
    for size in [0, 1, 3, 4, 31, 32, 33, 63, 64, 91, 92, 147, 148, 149, 1500, 9000, 65_507] {
        for kind in 0..=5 {
            let mut bytes = vec![0; size];
            world.random.fill(&mut bytes[..]);
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            world.deliver(End::A.address(), End::B, bytes);
        }
    }
    assert_eq!(world.log.len(), sent);
    serves(&mut world);
}

#[test]
fn f_g4_a_flood_of_initiations_neither_grows_us_nor_stops_us() {
    let (mut world, _) = established(5);
    let flood = options(End::A, &|options| options.private_key = PrivateKey::from_bytes([0x55; 32]));
    let before = world.log.len();
    for round in 0..20 {
        // Each with a MAC1 that fits, each from somewhere else.
        let mut device = Device::new(&flood, StdRng::seed_from_u64(round));
        let peer = device.peers().next().unwrap();
        device.set_endpoint(peer, End::B.address());
        let mut out = Outbox::default();
        device.rouse(peer, world.clock, &mut out);
        let initiation = out.front().unwrap().bytes.clone();
        for from in 0..1_000u16 {
            let from = SocketAddr::from(([100, 64, (from >> 8) as u8, from as u8], 1000));
            world.deliver(from, End::B, initiation.clone());
        }
    }
    let answers = &world.log[before..];
    assert!(answers.iter().all(|sent| sent.bytes.len() == 64), "only cookies");
    assert!(world.end(End::B).index_count() <= 4);
    serves(&mut world);
}

#[test]
fn a_peer_under_load_lets_us_in_by_a_cookie() {
    let (mut world, log) = established(6);
    let initiation = log.iter().find(|sent| sent.bytes[0] == INITIATION).unwrap().bytes.clone();
    world.pass(seconds(200));
    // Somebody keeps B busy, all the time.
    let busy = |world: &mut World| {
        for _ in 0..60 {
            world.deliver(SocketAddr::from(([203, 0, 113, 9], 9)), End::B, initiation.clone());
        }
    };
    busy(&mut world);
    world.say(End::A, 3);
    for _ in 0..100 {
        world.run(Duration::from_millis(100));
        busy(&mut world);
    }
    assert!(world.heard(End::B).contains(&3));
    assert!(world.log.iter().any(|sent| sent.from == End::B && sent.bytes[0] == COOKIE));
}
