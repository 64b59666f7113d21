//! Asking for a session: when, where, and for how long (faults F-G7, F-G10, F-G14).

use super::*;

/// A world in which A does not know where B is.
fn lost(seed: u64) -> World {
    let mut world = World::new(seed);
    *world.end(End::A) = Device::new(&options(End::A, &|_| {}), StdRng::seed_from_u64(seed));
    world
}

#[test]
fn what_is_said_waits_for_the_address_of_the_peer() {
    let mut world = lost(1);
    let start = world.clock.now;
    world.say(End::A, 1);
    world.run(seconds(33));
    assert_eq!(world.log.len(), 0);
    assert_eq!(world.link(End::A), Link::Handshaking { since: start });
    let peer = world.peer(End::A);
    world.end(End::A).set_endpoint(peer, End::B.address());
    world.run(Duration::from_millis(50));
    assert_eq!(world.heard(End::B), [1], "at once");
}

#[test]
fn f_g14_nothing_waits_for_ever_for_an_address() {
    let mut world = lost(2);
    world.say(End::A, 1);
    world.run(seconds(100));
    assert_eq!(world.link(End::A), Link::Down);
    let peer = world.peer(End::A);
    world.end(End::A).set_endpoint(peer, End::B.address());
    world.run(seconds(60));
    assert_eq!(world.log.len(), 0, "nobody wants a session any more");
    world.say(End::A, 2);
    world.run(seconds(1));
    assert_eq!(world.heard(End::B), [2]);
}

#[test]
fn f_g10_an_address_that_changed_is_tried_at_once() {
    let mut world = World::new(3);
    let (peer, wrong) = (world.peer(End::A), SocketAddr::from(([192, 0, 2, 99], 1)));
    world.end(End::A).set_endpoint(peer, wrong);
    world.say(End::A, 1);
    world.run(seconds(31));
    world.end(End::A).set_endpoint(peer, wrong);
    let sent = world.log.len();
    world.run(Duration::from_millis(1));
    assert_eq!(world.log.len(), sent, "the same address again is no news");
    world.end(End::A).set_endpoint(peer, End::B.address());
    world.run(Duration::from_millis(50));
    assert_eq!(world.heard(End::B), [1]);
}

#[test]
fn f_g7_packets_that_keep_coming_prolong_nothing() {
    let mut world = World::new(4);
    world.say(End::A, 0);
    world.run(seconds(11));
    world.network = dead();
    let start = world.clock.now;
    // Unanswered: fifteen seconds, then an attempt of ninety, all the while with a session in use.
    for tag in 1..150 {
        world.say(End::A, tag);
        assert_eq!(world.link(End::A), Link::Silent { since: start }, "{tag}");
        world.run(seconds(1));
    }
    let times = world.times(End::A, INITIATION, start);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5), "{times:?}");
    // The session dies, and then there is only the attempt.
    for tag in 150..220 {
        world.say(End::A, tag);
        world.run(seconds(1));
    }
    assert!(matches!(world.link(End::A), Link::Handshaking { since } if world.clock.now.since(since) <= seconds(90)));
}

#[test]
fn nobody_asks_more_often_than_every_five_seconds() {
    let mut world = World::new(5);
    world.say(End::A, 0);
    world.run(seconds(1));
    let (peer, start) = (world.peer(End::A), world.clock.now);
    // Keys are used up at once, again and again.
    for tag in 1..300 {
        world.end(End::A).pretend_sent(peer, u64::MAX);
        world.say(End::A, tag);
        world.run(Duration::from_millis(100));
    }
    let times: Vec<Moment> =
        world.log.iter().filter(|sent| sent.at >= start && sent.bytes[0] == INITIATION).map(|sent| sent.at).collect();
    assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= seconds(5)), "{times:?}");
    assert_eq!(times.len(), 6);
}

#[test]
fn whoever_is_roused_asks_once() {
    let mut world = World::new(6);
    let peer = world.peer(End::A);
    for _ in 0..5 {
        let clock = world.clock;
        world.ends[0].rouse(peer, clock, &mut world.outs[0]);
        world.post(End::A);
        world.run(Duration::from_millis(5));
    }
    world.run(seconds(1));
    assert_eq!(world.link(End::A), Link::Up);
    let clock = world.clock;
    world.ends[0].rouse(peer, clock, &mut world.outs[0]);
    world.post(End::A);
    assert_eq!(world.log.iter().filter(|sent| sent.bytes[0] == INITIATION).count(), 1);
    assert_eq!(world.log.iter().filter(|sent| sent.bytes[0] == DATA).count(), 1, "an empty packet confirms the keys");
}
