//! Transfers over links that do what links do.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::{Algorithm, Settings};
use super::sim::{App, End, Ours, Path, Smol, World};

fn sends(to_send: u64) -> App {
    App { to_send, ends: true, ..App::default() }
}

fn finish(world: &mut World, most: u64) -> f64 {
    let done = world.run(Duration::from_secs(most), |world| world.complete());
    assert!(done, "stuck at {:?}: {:?}", world.now, world.apps);
    world.now.micros() as f64 / 1e6
}

#[test]
fn both_directions_and_the_end() {
    let ends: [Box<dyn End>; 2] =
        [Box::new(Ours::connect(Settings::default(), 7)), Box::new(Ours::Listening(Settings::default(), 9))];
    let mut world = World::new(ends, [Path::default(); 2], [sends(100_000), sends(300_000)], 1);
    finish(&mut world, 5);
    assert!(world.run(Duration::from_secs(5), |world| world.ends.iter().all(|end| end.closed())));
}

#[test]
fn both_directions_with_smoltcp() {
    let ends: [Box<dyn End>; 2] =
        [Box::new(Ours::connect(Settings::default(), 7)), Box::new(Smol::listen(1 << 18, 1408))];
    let mut world = World::new(ends, [Path::default(); 2], [sends(1_000_000), sends(1_000_000)], 1);
    finish(&mut world, 5);
}

#[test]
fn a_lossy_link() {
    for algorithm in [Algorithm::Cubic, Algorithm::Bbr] {
        for seed in 0..3 {
            let settings = Settings { algorithm, ..Settings::default() };
            let path = Path { loss: 0.02, ..Path::default() };
            let ends: [Box<dyn End>; 2] =
                [Box::new(Ours::connect(settings, 7)), Box::new(Ours::Listening(settings, 9))];
            let mut world = World::new(ends, [path; 2], [sends(2_000_000), sends(2_000_000)], seed);
            let time = finish(&mut world, 30);
            println!("{algorithm:?} {time}");
        }
    }
}

#[test]
fn any_link() {
    let first = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..600, |seed: u64| seed..seed + 1);
    for seed in seeds {
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let mut path = || Path {
            delay: Duration::from_micros(random.random_range(0..60_000)),
            rate: if random.random() { random.random_range(20_000..5_000_000) } else { 0 },
            queue: random.random_range(20_000..200_000),
            loss: if random.random() { random.random_range(0.0..0.15) } else { 0.0 },
            burst: random.random_range(1..5),
            reorder: if random.random() { random.random_range(0.0..0.2) } else { 0.0 },
            duplicate: if random.random() { random.random_range(0.0..0.1) } else { 0.0 },
            mtu: usize::MAX,
        };
        let paths = [path(), path()];
        let app = |random: &mut SmallRng| App {
            to_send: if random.random() { random.random_range(0..120_000) } else { random.random_range(0..3000) },
            piece: if random.random() { 0 } else { random.random_range(300..5000) },
            ends: true,
            ..App::default()
        };
        let apps = [app(&mut random), app(&mut random)];
        let algorithm = if random.random() { Algorithm::Cubic } else { Algorithm::Bbr };
        let settings = Settings {
            algorithm,
            receive_limit: random.random_range(4096..1 << 20),
            send_limit: random.random_range(4096..1 << 20),
            patience: 1000,
            mtu: random.random_range(576..1500),
            ..Settings::default()
        };
        let other: Box<dyn End> = if random.random() {
            Box::new(Ours::Listening(settings, random.random()))
        } else {
            Box::new(Smol::listen(random.random_range(2000..1 << 18), 1408))
        };
        let isn = u32::MAX - random.random_range(0..100_000);
        let mut world = World::new([Box::new(Ours::connect(settings, isn)), other], paths, apps, seed);
        world.trace = first.is_some();
        finish(&mut world, 1000);
    }
}
