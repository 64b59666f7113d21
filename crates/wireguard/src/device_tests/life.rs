//! The life of a tunnel: timers to the second, outages, restarts, moves (faults F-G7 to F-G9, F-G14).

use super::*;

#[test]
fn a_packet_brings_up_the_session_and_follows_it() {
    let mut world = World::new(1);
    assert_eq!(world.link(End::A), Link::Down);
    world.say(End::A, 5);
    assert!(matches!(world.link(End::A), Link::Handshaking { .. }));
    world.run(seconds(1));
    assert_eq!(world.heard(End::B), [5]);
    world.say(End::B, 6);
    world.run(seconds(1));
    assert_eq!(world.heard(End::A), [6]);
    assert_eq!(world.link(End::A), Link::Up);
}

#[test]
fn f_g7_an_idle_tunnel_is_silent_until_its_keys_are_wiped() {
    let mut world = World::new(2);
    world.say(End::A, 1);
    world.run(seconds(15));
    let before = world.log.len();
    world.run(seconds(4000));
    assert_eq!(world.log.len(), before, "{:?}", world.log.last());
    assert_eq!(world.link(End::A), Link::Down);
}

#[test]
fn f_g7_data_is_answered_by_one_empty_packet_after_ten_seconds() {
    let mut world = World::new(3);
    world.say(End::A, 1);
    world.run(seconds(1));
    let start = world.clock.now;
    world.say(End::A, 2);
    world.run(seconds(60));
    assert_eq!(world.times(End::B, DATA, start), [9], "ten after the first data, not in answer to the second");
    assert_eq!(world.times(End::A, DATA, start), [0], "an empty packet is not answered");
}

#[test]
fn f_g7_an_answer_is_missed_after_fifteen_seconds() {
    let mut world = World::new(4);
    world.say(End::A, 1);
    world.run(seconds(1));
    world.say(End::B, 1);
    world.run(seconds(1));
    let start = world.clock.now;
    world.network = dead();
    world.say(End::A, 2);
    assert!(matches!(world.link(End::A), Link::Silent { since } if since == start));
    world.run(seconds(40));
    let times = world.times(End::A, INITIATION, start);
    assert_eq!(times[0], 15, "{times:?}");
    assert!(times.windows(2).all(|pair| (5..=6).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[test]
fn f_g7_an_initiation_is_repeated_for_ninety_seconds() {
    let mut world = World::new(5);
    world.network = dead();
    let start = world.clock.now;
    world.say(End::A, 1);
    world.run(seconds(300));
    let times = world.times(End::A, INITIATION, start);
    assert_eq!(times.len(), 18);
    assert!((85..=92).contains(times.last().unwrap()), "{times:?}");
    assert_eq!(world.link(End::A), Link::Down);
    world.network = plain();
    world.say(End::A, 2);
    world.run(seconds(1));
    assert_eq!(world.heard(End::B), [2], "what waited longer was given up");
}

#[test]
fn f_g7_a_persistent_keepalive_comes_when_nothing_else_does() {
    let mut world = World::with(8, &|options| {
        if options.private_key == End::A.key() {
            options.peers[0].keepalive = Keepalive::Every(NonZeroU16::new(25).unwrap());
        }
    });
    world.say(End::A, 0);
    world.run(seconds(1));
    let start = world.clock.now;
    world.run(seconds(100));
    let times = world.times(End::A, DATA, start);
    assert!(times.len() >= 3 && times.windows(2).all(|pair| pair[1] - pair[0] <= 26), "{times:?}");
}

#[test]
fn f_g9_an_outage_of_a_minute_ends_with_the_outage() {
    let mut world = World::new(9);
    world.say(End::A, 0);
    world.run(seconds(1));
    world.network = dead();
    for tag in 1..60 {
        world.say(End::A, tag);
        world.run(seconds(1));
    }
    world.network = plain();
    let from = world.heard(End::B).len();
    for tag in 60..75 {
        world.say(End::A, tag);
        world.run(seconds(1));
    }
    assert!(world.heard(End::B).len() > from + 5, "back within fifteen seconds");
}

#[test]
fn f_g9_the_end_of_an_outage_is_told() {
    let mut world = World::new(30);
    world.say(End::A, 0);
    world.run(seconds(1));
    world.say(End::B, 0);
    world.run(seconds(1));
    assert!(!world.end(End::A).take_revived());
    world.network = Box::new(|_, _, _| vec![]);
    world.say(End::A, 1);
    world.run(seconds(20));
    assert!(!world.end(End::A).take_revived());
    world.network = plain();
    world.run(seconds(7));
    assert!(world.end(End::A).take_revived());
    assert!(!world.end(End::A).take_revived(), "once");
}

#[test]
fn f_g9_a_peer_that_restarts_is_found_again() {
    let mut world = World::new(10);
    world.say(End::A, 0);
    world.run(seconds(1));
    *world.end(End::B) = Device::new(&options(End::B, &|_| {}), StdRng::seed_from_u64(99));
    for tag in 1..40 {
        world.say(End::A, tag);
        world.run(seconds(1));
    }
    let back = *world.heard(End::B).get(1).expect("it came back");
    assert!(back <= 17, "at {back} s");
}

#[test]
fn f_g9_whoever_moves_is_followed() {
    let mut world = World::new(11);
    world.say(End::A, 0);
    world.run(seconds(1));
    for end in [End::A, End::B] {
        world.addresses[end as usize] = SocketAddr::from(([198, 51, 100, 7 + end as u8], 1234));
        world.say(end, 1);
        world.run(seconds(1));
        world.say(end.other(), 2);
        world.run(seconds(1));
        assert_eq!(world.heard(end).last(), Some(&2));
    }
}

#[test]
fn f_g8_a_suspended_machine_starts_anew() {
    let mut world = World::new(12);
    world.say(End::A, 0);
    world.run(seconds(1));
    // Both clocks jump, and no timer ran meanwhile.
    world.pass(seconds(3600));
    world.say(End::A, 1);
    world.run(seconds(1));
    assert_eq!(world.heard(End::B), [0, 1]);
}

#[test]
fn f_g8_a_wall_clock_that_falls_back_does_not_stop_handshakes() {
    let mut world = World::new(13);
    world.say(End::A, 0);
    world.run(seconds(1));
    world.clock.unix = seconds(1_000_000_000);
    world.clock.now = world.clock.now + seconds(200);
    world.say(End::A, 1);
    world.run(seconds(1));
    assert_eq!(world.heard(End::B), [0, 1]);
}

#[test]
fn f_g14_of_what_waits_the_oldest_goes() {
    let mut world = World::new(14);
    world.network = dead();
    for tag in 0..300 {
        world.say(End::A, tag);
    }
    world.network = plain();
    world.run(seconds(7));
    assert_eq!(world.heard(End::B), (44..300).collect::<Vec<_>>());
}

#[test]
fn two_who_begin_at_once_agree() {
    let mut world = World::new(15);
    let peer = world.peer(End::B);
    world.end(End::B).set_endpoint(peer, End::A.address());
    world.say(End::A, 1);
    world.say(End::B, 2);
    world.run(seconds(1));
    world.say(End::A, 3);
    world.say(End::B, 4);
    world.run(seconds(1));
    assert_eq!((world.heard(End::B), world.heard(End::A)), (vec![1, 3], vec![2, 4]));
}
