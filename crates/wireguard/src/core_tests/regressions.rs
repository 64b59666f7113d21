//! What random schedules found once, each as small as it gets.

use std::time::Duration;

use super::far::FIRST_PORT;
use super::path::Weather;
use super::stream::{Ending, Outcome, Plan};
use super::world::{Fault, World};
use super::{FAR, NEAR, near_options};
use crate::options::Addresses;

const PLAN: Plan = Plan {
    to: std::net::SocketAddr::V4(std::net::SocketAddrV4::new(FAR, FIRST_PORT)),
    up: 0,
    down: 0,
    piece: 1 << 20,
    pause: None,
    deaf: Duration::ZERO,
    near: Ending::First,
    drops: false,
    far: Ending::Last,
    far_buffer: 100_000,
};

fn world(limit: usize) -> World {
    World::new(1, &near_options(Addresses::V4(NEAR)), Weather { limit, ..Weather::CALM }, Weather::CALM)
}

fn passes(world: &mut World, span: Duration) {
    world.run_until(world.clock.now + span);
}

/// Asserts that the only stream is done within so long.
fn finishes(world: &mut World, within: Duration) {
    world.run_while(world.clock.now + within, |world| world.streams[0].outcome.is_none());
    let outcome = world.streams[0].outcome.map(|(_, outcome)| outcome);
    assert_eq!(outcome, Some(Outcome::Finished), "{}", world.streams[0].progress());
}

#[test]
fn segments_just_short_of_full_are_suspected_of_being_too_large() {
    // With an MSS of 1368, and 813 bytes that pass.
    let mut world = world(813);
    world.open(Plan { up: 1138, ..PLAN });
    finishes(&mut world, Duration::from_secs(60));
    assert_eq!(world.far.received(0), 1138);
}

#[test]
fn a_size_that_arrives_is_tried_although_it_is_none_of_the_usual() {
    // The second segment arrives and is 1090 bytes long with its headers, more than the 1024 that are tried after 1280.
    let mut world = world(1200);
    world.open(Plan { up: 1368 + 1050, ..PLAN });
    finishes(&mut world, Duration::from_secs(60));
    assert_eq!(world.far.received(0), 1368 + 1050);
}

#[test]
fn an_outage_does_not_count_into_the_bandwidth() {
    let mut world = world(usize::MAX);
    world.open(Plan { up: 65_000, ..PLAN });
    passes(&mut world, Duration::from_millis(55));
    world.befall(Fault::Outage { up: true, down: true, lasts: Duration::from_secs(50) });
    passes(&mut world, Duration::from_secs(50));
    finishes(&mut world, Duration::from_secs(90));
}

#[test]
fn a_night_is_no_round_trip() {
    let mut world = world(usize::MAX);
    world.open(Plan { up: 65_000, ..PLAN });
    passes(&mut world, Duration::from_millis(55));
    world.befall(Fault::Sleep(Duration::from_secs(140)));
    passes(&mut world, Duration::from_secs(140));
    finishes(&mut world, Duration::from_secs(40));
}

#[test]
fn a_connection_whose_time_wait_began_anew_waits_without_turns() {
    let mut world = world(usize::MAX);
    world.open(Plan { up: 10, near: Ending::Abort(10), drops: true, ..PLAN });
    world.run_while(world.clock.now + Duration::from_secs(1), |world| world.streams[0].outcome.is_none());
    // Our acknowledgement of the other FIN is lost, so that it comes again and again.
    world.befall(Fault::Outage { up: true, down: false, lasts: Duration::from_secs(10) });
    passes(&mut world, Duration::from_secs(150));
    assert!(world.core.is_empty());
    assert!(world.turns.0 < 100, "{:?} turns", world.turns);
}
