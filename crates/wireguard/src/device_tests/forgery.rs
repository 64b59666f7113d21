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
    let (mut world, log) = established(4);
    let sent = world.log.len();
    // Half of it is for a session that there is.
    let data = log.iter().find(|sent| sent.from == End::A && sent.bytes[0] == DATA).unwrap();
    let receiver = data.bytes[4..8].to_vec();
    for size in [0, 1, 3, 4, 31, 32, 33, 63, 64, 91, 92, 147, 148, 149, 1500, 9000, 65_507] {
        for kind in 0..=5 {
            let mut bytes = vec![0; size];
            world.random.fill(&mut bytes[..]);
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            world.deliver(End::A.address(), End::B, bytes.clone());
            if let Some(place) = bytes.get_mut(4..8) {
                place.copy_from_slice(&receiver);
            }
            world.deliver(End::A.address(), End::B, bytes);
        }
    }
    assert_eq!(world.log.len(), sent);
    serves(&mut world);
}

#[test]
fn f_g5_what_is_no_answer_leaves_the_question_open() {
    let mut world = World::new(9);
    world.network = without(&[RESPONSE]);
    world.say(End::A, 1);
    world.run(seconds(1));
    let response = world.log.iter().find(|sent| sent.bytes[0] == RESPONSE).unwrap().bytes.clone();
    let (sent, elsewhere) = (world.log.len(), SocketAddr::from(([203, 0, 113, 1], 1)));
    // All but the reserved bytes, which may be anything, and MAC2, which only counts under load.
    for bit in (4 * 8..76 * 8).chain(0..8) {
        let mut forged = response.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        world.deliver(elsewhere, End::A, forged);
    }
    // A cookie for the right index that is none.
    let mut cookie = vec![0x77; 64];
    cookie[..4].copy_from_slice(&[COOKIE, 0, 0, 0]);
    cookie[4..8].copy_from_slice(&response[8..12]);
    world.deliver(elsewhere, End::A, cookie);
    assert_eq!(world.log.len(), sent);
    assert_eq!(world.status(End::A).endpoint, Some(End::B.address()));
    world.deliver(End::B.address(), End::A, response);
    world.run(seconds(1));
    assert_eq!(world.heard(End::B), [1]);
}

/// Initiations by somebody who knows whom they talk to, one from each of `count` addresses.
fn flood(world: &World, to: End, seed: u64, count: u16) -> Vec<(SocketAddr, Vec<u8>)> {
    let stranger = options(to.other(), &|options| options.private_key = PrivateKey::from_bytes([0x55; 32]));
    let mut device = Device::new(&stranger, StdRng::seed_from_u64(seed));
    let peer = device.peers().next().unwrap();
    device.set_endpoint(peer, to.address());
    let mut out = Outbox::default();
    device.rouse(peer, world.clock, &mut out);
    let initiation = out.front().unwrap().bytes.clone();
    let address = |n: u16| SocketAddr::from(([100, 64, (n >> 8) as u8, n as u8], 1000));
    (0..count).map(|n| (address(n), initiation.clone())).collect()
}

#[test]
fn f_g4_a_flood_of_initiations_neither_grows_us_nor_stops_us() {
    let (mut world, _) = established(5);
    let before = world.log.len();
    // Twenty thousand in a second, with packets of the peer's in between.
    for round in 0..20 {
        for (from, initiation) in flood(&world, End::B, round, 1_000) {
            world.deliver(from, End::B, initiation);
        }
        world.say(End::A, 100 + round);
        world.say(End::B, 200 + round);
        world.run(Duration::from_millis(50));
    }
    assert!(world.log[before..].iter().all(|sent| sent.bytes[0] != RESPONSE), "only cookies");
    assert!(world.end(End::B).index_count() <= 4);
    assert!(world.heard(End::B).ends_with(&(100..120).collect::<Vec<_>>()));
    assert!(world.heard(End::A).ends_with(&(200..220).collect::<Vec<_>>()));
}

/// A needs a session while `victim` is kept busy by others.
fn a_session_in_spite_of_a_flood(victim: End, seed: u64) -> World {
    let (mut world, _) = established(seed);
    world.pass(seconds(200));
    let flood = flood(&world, victim, seed, 60);
    world.say(End::A, 3);
    for _ in 0..140 {
        for (from, initiation) in &flood {
            world.deliver(*from, victim, initiation.clone());
        }
        world.run(Duration::from_millis(100));
    }
    assert!(world.heard(End::B).contains(&3));
    world
}

#[test]
fn f_g4_a_busy_peer_lets_us_in_by_a_cookie() {
    let world = a_session_in_spite_of_a_flood(End::B, 6);
    assert!(world.log.iter().any(|sent| sent.from == End::B && sent.bytes[0] == COOKIE));
}

#[test]
fn f_g4_we_let_in_the_answer_of_a_peer_by_a_cookie() {
    let world = a_session_in_spite_of_a_flood(End::A, 7);
    assert!(world.log.iter().any(|sent| sent.from == End::A && sent.bytes[0] == COOKIE));
}

#[test]
fn f_g6_cookies_have_the_reserved_bytes_of_the_peer_they_go_to() {
    let mut world = World::with(8, &|options| options.peers[0].reserved = [209, 98, 59]);
    world.say(End::A, 1);
    world.run(seconds(200));
    for (from, initiation) in flood(&world, End::B, 8, 60) {
        world.deliver(from, End::B, initiation);
    }
    world.say(End::A, 3);
    world.run(Duration::from_millis(50));
    let cookies: Vec<&Sent> =
        world.log.iter().filter(|sent| sent.bytes.len() == 64 && sent.bytes[0] == COOKIE).collect();
    assert!(cookies.iter().filter(|sent| sent.bytes[1..4] == [209, 98, 59]).count() == 1, "{}", cookies.len());
    assert!(cookies.iter().filter(|sent| sent.bytes[1..4] == [0; 3]).count() >= 10);
}
