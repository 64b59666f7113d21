//! Thousands of random schedules (faults F-G1, F-G13): whatever befalls the tunnel, bytes arrive unchanged and in order,
//! streams end as they should, and nothing is left of them.

use std::io::ErrorKind;
use std::ops::Range;
use std::panic::catch_unwind;
use std::time::Duration;

use super::path::Weather;
use super::schedule::{Event, Schedule};
use super::stream::{Ending, Outcome, Plan, TalkPlan};
use super::world::World;
use super::{FAR, far::FIRST_PORT};
use crate::Moment;
use crate::options::Keepalive;

/// When the weather is good, a new stream is done and a datagram is back within this: the far end may have forgotten the
/// session, which takes 15 s of silence and a handshake to notice, and the next SYN is the one after 31 s.
const RECOVERY: Duration = Duration::from_secs(40);
/// So are streams that were there before, whose timers may have backed off to a minute or two.
const PATIENCE: Duration = Duration::from_secs(300);
/// A flow whose end nobody answers is kept for 100 s.
const LEFTOVERS: Duration = Duration::from_secs(180);
/// Sessions are forgotten after 9 minutes.
const OBLIVION: Duration = Duration::from_secs(600);
/// So much silence may make a connection give up: nobody waits longer than two minutes for an answer once its user left.
const SILENCE: Duration = Duration::from_secs(100);

fn run(seed: u64) -> World {
    let schedule = Schedule::draw(seed);
    let mut world = World::new(seed, &schedule.options, schedule.up.clone(), schedule.down.clone());
    let start = world.clock.now;
    for (at, event) in &schedule.events {
        world.run_until(start + *at);
        match *event {
            Event::Open(plan) => world.open(plan),
            Event::Talk(plan) => world.talk(plan),
            Event::Fault(fault) => world.befall(fault),
        }
    }
    world.run_until(start + schedule.calm);
    let until = world.silences.iter().map(|(_, until)| *until).max();
    world.run_until(until.unwrap_or_default().max(world.clock.now));
    world.up.weather = Weather { limit: schedule.limit, ..Weather::CALM };
    world.down.weather = Weather::CALM;
    recovers(&mut world);
    ends(&mut world, &schedule);
    leaves_nothing(&mut world, &schedule);
    world
}

/// Somebody new gets through.
fn recovers(world: &mut World) {
    let number = world.streams.len();
    world.open(Plan {
        to: (FAR, FIRST_PORT + number as u16).into(),
        up: 300,
        down: 3_000,
        piece: 1_000,
        pause: None,
        deaf: Duration::ZERO,
        near: Ending::First,
        drops: false,
        far: Ending::Last,
        far_buffer: 4_000,
    });
    let (to, every) = ((FAR, 9).into(), Duration::from_secs(1));
    world.talk(TalkPlan { to, count: RECOVERY.as_secs() as usize, len: 100, every });
    world.run_until(world.clock.now + RECOVERY);
    let outcome = world.streams[number].outcome.map(|(_, outcome)| outcome);
    assert_eq!(outcome, Some(Outcome::Finished), "the new stream");
    assert!(world.talks.last().unwrap().heard() > 15, "the new datagrams");
    world.talks.clear();
}

/// Those who were there before end as they should.
fn ends(world: &mut World, schedule: &Schedule) {
    world.run_while(world.clock.now + PATIENCE, |world| world.streams.iter().any(|stream| stream.outcome.is_none()));
    for (number, stream) in world.streams.iter().enumerate() {
        let Some((at, outcome)) = stream.outcome else {
            let received = world.far.received(number);
            panic!("stream {number} never ends ({}; far received {received}): {:?}", stream.progress(), stream.plan)
        };
        let rebooted = world.reboots.iter().any(|reboot| (stream.opened..=at).contains(reboot));
        let lossy =
            schedule.up.loss.max(schedule.down.loss) > 0.05 || schedule.up.rate.or(schedule.down.rate).is_some();
        let silent = lossy || silence(world, stream.opened, at) > SILENCE;
        let justified = match outcome {
            Outcome::Finished | Outcome::Aborted => true,
            Outcome::Failed(ErrorKind::ConnectionReset) => rebooted || matches!(stream.plan.far, Ending::Abort(_)),
            Outcome::Failed(ErrorKind::ConnectionRefused) => rebooted,
            Outcome::Failed(ErrorKind::TimedOut) => silent,
            Outcome::Failed(_) => false,
        };
        assert!(justified, "stream {number}: {outcome:?} after {:?}, {:?}", at.since(stream.opened), stream.plan);
    }
}

/// How long nothing may have passed, in all.
fn silence(world: &World, from: Moment, to: Moment) -> Duration {
    world.silences.iter().map(|(begin, end)| (*end).min(to).since((*begin).max(from))).sum()
}

/// Nothing is kept, and nobody says anything more.
fn leaves_nothing(world: &mut World, schedule: &Schedule) {
    let rebooted = !world.reboots.is_empty();
    world.run_until(world.clock.now + LEFTOVERS);
    assert!(world.core.is_empty(), "something is left of {:?}", world.core);
    for (number, stream) in world.streams.iter().enumerate() {
        let finished = matches!(stream.outcome, Some((_, Outcome::Finished)));
        let quiet = silence(world, stream.opened, world.clock.now) < SILENCE;
        if finished && quiet && !rebooted {
            assert_eq!(world.far.received(number), stream.plan.up, "stream {number} was cut short");
        }
    }
    assert!(world.most_indices <= 6, "{} indices", world.most_indices);
    if schedule.options.peers[0].keepalive == Keepalive::Off {
        world.run_until(world.clock.now + OBLIVION);
        let sent = world.sent[0];
        world.run_until(world.clock.now + OBLIVION);
        assert_eq!(world.sent[0], sent, "somebody still talks");
        assert_eq!(world.core.device().index_count(), 0);
    }
    let seconds = world.clock.now.since(Moment::default()).as_secs() as usize;
    let (turns, idle) = world.turns;
    let datagrams = world.sent[0] + world.sent[1];
    assert!(idle <= 2 * seconds + 2 * datagrams && turns <= 2 * seconds + 4 * datagrams, "{turns} turns, {idle} idle");
}

/// Runs schedules, those that `ADIT_SCHEDULES` names instead of `seeds` if it does, and says which failed.
fn all(seeds: Range<u64>) {
    let fails = |seed: &u64| {
        let failed = catch_unwind(|| run(*seed)).is_err();
        if failed {
            eprintln!("{:?}", Schedule::draw(*seed));
            eprintln!("that was schedule {seed}; to see it again, ADIT_SCHEDULES={seed}..{}", seed + 1);
        }
        failed
    };
    let failed: Vec<u64> = asked_for().unwrap_or(seeds).filter(fails).collect();
    assert!(failed.is_empty(), "schedules that failed: {failed:?}");
}

/// From `first..end`.
fn asked_for() -> Option<Range<u64>> {
    let asked = std::env::var("ADIT_SCHEDULES").ok()?;
    let (first, end) = asked.split_once("..").expect("ADIT_SCHEDULES is like 0..1000");
    Some(first.parse().unwrap()..end.parse().unwrap())
}

#[test]
fn f_g13_streams_survive_whatever_befalls_the_tunnel() {
    all(0..1_500);
}

#[test]
fn f_g13_nor_is_any_other_schedule_too_much() {
    all(1_500..3_000);
}

#[test]
fn the_same_schedule_runs_the_same_way() {
    for seed in 0..10 {
        let (one, other) = (run(seed), run(seed));
        assert_eq!((one.digest, one.sent, one.turns), (other.digest, other.sent, other.turns), "schedule {seed}");
    }
}
