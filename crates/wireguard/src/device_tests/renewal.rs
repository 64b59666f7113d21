//! New keys for old (fault F-G7).

use super::*;

#[test]
fn f_g7_keys_are_renewed_every_two_minutes_and_nothing_is_lost() {
    let mut world = World::new(6);
    let start = world.clock.now;
    for tag in 0..10_000 {
        world.say(End::A, tag);
        world.say(End::B, tag);
        world.run(Duration::from_millis(50));
    }
    assert_eq!(world.times(End::A, INITIATION, start), [0, 120, 240, 360, 480]);
    assert_eq!(world.times(End::B, INITIATION, start), [0u64; 0]);
    assert_eq!(world.heard(End::B), (0..10_000).collect::<Vec<_>>());
    // The first of B's was said before B knew where A is.
    assert_eq!(world.heard(End::A).last(), Some(&9_999));
    assert!(world.heard(End::A).len() >= 9_999);
}

#[test]
fn f_g7_empty_packets_renew_keys_too() {
    let mut world = World::new(7);
    world.say(End::A, 0);
    world.run(seconds(1));
    let start = world.clock.now;
    for tag in 0..340 {
        world.say(End::B, tag);
        world.run(Duration::from_millis(500));
    }
    let times = world.times(End::A, INITIATION, start);
    assert!(matches!(times[..], [119..=130]), "with the first keep-alive after 120 seconds: {times:?}");
    assert_eq!(world.heard(End::A).len(), 340);
}

#[test]
fn f_g7_a_receiver_renews_old_keys_at_the_last_minute() {
    for (age, renewed) in [(164, vec![10]), (166, vec![0])] {
        let mut world = World::new(7);
        world.say(End::A, 0);
        world.run(seconds(age));
        let start = world.clock.now;
        world.say(End::B, 1);
        world.run(seconds(12));
        assert_eq!(world.times(End::A, INITIATION, start), renewed, "at once only after 165 seconds");
        assert_eq!(world.heard(End::A), [1]);
    }
}

#[test]
fn f_g7_old_keys_serve_until_there_are_new_ones() {
    // No answer comes for half a minute after the keys should have been renewed; then only nobody can confirm them.
    for lost in [&[RESPONSE][..], &[INITIATION]] {
        let mut world = World::new(8);
        let mut said = 0;
        let mut talk = |world: &mut World, span: u64| {
            for _ in 0..span * 10 {
                said += 1;
                world.say(End::A, said);
                world.say(End::B, said);
                world.run(Duration::from_millis(100));
            }
            said
        };
        talk(&mut world, 110);
        world.network = if lost == [RESPONSE] { without(&[RESPONSE]) } else { without(&[INITIATION]) };
        talk(&mut world, 40);
        world.network = plain();
        let said = talk(&mut world, 60);
        assert_eq!(world.heard(End::B), (1..=said).collect::<Vec<_>>());
        // The first of B's was said before B knew where A is; it waited.
        assert_eq!(world.heard(End::A).len() as u64, said);
    }
}

#[test]
fn f_g7_packets_under_the_keys_of_before_are_still_taken() {
    let mut world = World::new(9);
    world.say(End::A, 0);
    world.run(seconds(121));
    // What was said under old keys overtakes nothing: it is slow.
    world.network = Box::new(|_, bytes, _| vec![if bytes[0] == DATA { seconds(3) } else { Duration::from_millis(10) }]);
    for tag in 1..5 {
        world.say(End::A, tag);
    }
    world.run(seconds(1));
    world.network = plain();
    world.say(End::A, 9);
    world.run(seconds(5));
    assert_eq!(world.heard(End::B), [0, 9, 1, 2, 3, 4]);
}

#[test]
fn f_g7_keys_are_renewed_after_very_many_messages() {
    let mut world = World::new(10);
    world.say(End::A, 0);
    world.run(seconds(10));
    let (peer, start) = (world.peer(End::A), world.clock.now);
    world.end(End::A).pretend_sent(peer, (1 << 60) - 2);
    for tag in 1..=3 {
        assert_eq!(world.times(End::A, INITIATION, start).len(), usize::from(tag == 3), "before message {tag}");
        world.say(End::A, tag);
    }
    world.run(seconds(1));
    assert_eq!(world.heard(End::B), [0, 1, 2, 3]);
}

#[test]
fn f_g7_keys_that_carried_all_they_may_are_not_used() {
    let mut world = World::new(11);
    world.say(End::A, 0);
    world.run(seconds(10));
    let peer = world.peer(End::A);
    world.end(End::A).pretend_sent(peer, u64::MAX - (1 << 13));
    assert_eq!(world.link(End::A), Link::Down);
    world.say(End::A, 1);
    world.run(seconds(1));
    assert_eq!(world.heard(End::B), [0, 1]);
    assert_eq!(world.link(End::A), Link::Silent { since: world.status(End::A).last_handshake.unwrap() });
}

#[test]
fn keys_are_forgotten_after_nine_minutes() {
    let mut world = World::new(12);
    world.say(End::A, 0);
    world.run(seconds(539));
    assert_eq!([End::A, End::B].map(|end| world.end(end).index_count()), [1, 1]);
    world.run(seconds(2));
    assert_eq!([End::A, End::B].map(|end| world.end(end).index_count()), [0, 0]);
}
