//! Thousands of networks that lose, repeat, delay and change datagrams: whatever they did, when they stop, packets get
//! through (faults F-G1).

use super::*;

fn bad(loss: f64, copies: f64, change: f64, spread: u64) -> Network {
    Box::new(move |_, bytes, random| {
        if random.random_bool(change) {
            let bit = random.random_range(0..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let mut delays = Vec::new();
        if !random.random_bool(loss) {
            delays.push(Duration::from_millis(random.random_range(0..=spread)));
        }
        if random.random_bool(copies) {
            delays.push(Duration::from_millis(random.random_range(0..=spread * 10)));
        }
        delays
    })
}

fn schedule(seed: u64) {
    let mut world = World::new(seed);
    let random = &mut StdRng::seed_from_u64(seed);
    world.network = bad(
        random.random_range(0.0..0.9),
        random.random_range(0.0..0.5),
        random.random_range(0.0..0.5),
        random.random_range(1..4_000),
    );
    for tag in 0..random.random_range(1..60) {
        let end = if random.random_bool(0.5) { End::A } else { End::B };
        world.say(end, tag);
        // From bursts to pauses in which sessions age and end.
        let scale = 10u64.pow(random.random_range(0..5));
        world.run(Duration::from_millis(random.random_range(0..=4 * scale)));
    }
    // Datagrams of before may still fly, and a session may have to be missed first.
    world.network = plain();
    for tag in 1_000..1_015 {
        world.say(End::A, tag);
        world.run(seconds(1));
    }
    world.run(Duration::from_millis(400));
    for end in [End::A, End::B] {
        world.say(end, 5_000 + end as u64);
        world.run(Duration::from_millis(100));
        assert!(world.heard(end.other()).contains(&(5_000 + end as u64)), "seed {seed}, from {end:?}");
    }
    for end in [End::A, End::B] {
        let mut tags = world.heard(end);
        let count = tags.len();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), count, "seed {seed}: something came twice");
        assert!(
            tags.iter().all(|tag| *tag < 60 || (1_000..=5_001).contains(tag)),
            "seed {seed}: something was changed"
        );
    }
}

#[test]
fn f_g1_no_network_stops_a_tunnel_for_good() {
    (0..1_000).for_each(schedule);
}

#[test]
fn f_g1_nor_does_any_other() {
    (1_000..2_000).for_each(schedule);
}
