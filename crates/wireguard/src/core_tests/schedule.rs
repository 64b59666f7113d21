//! What is to happen in a world: drawn from a seed.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::far::FIRST_PORT;
use super::path::Weather;
use super::stream::{Ending, LONGEST, Plan, TalkPlan};
use super::world::Fault;
use super::{FAR, FAR6, NEAR, NEAR6, near_options};
use crate::Options;
use crate::options::{Addresses, Header, Junk, Keepalive, Mtu, Obfuscation, Prefix};

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Open(Plan),
    Talk(TalkPlan),
    Fault(Fault),
}

#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) options: Options,
    pub(super) up: Weather,
    pub(super) down: Weather,
    /// In order, by the time since the beginning.
    pub(super) events: Vec<(Duration, Event)>,
    /// When the weather gets better, for good.
    pub(super) calm: Duration,
    /// But datagrams up that are longer than this still vanish.
    pub(super) limit: usize,
}

impl Schedule {
    pub(super) fn draw(seed: u64) -> Self {
        let random = &mut StdRng::seed_from_u64(seed);
        let options = options(random);
        let calm = Duration::from_millis(random.random_range(5_000..90_000));
        let mut up = weather(random);
        // smoltcp does not find out what the path takes, so only our direction swallows.
        up.limit = if random.random_bool(0.3) { random.random_range(660..1450) } else { usize::MAX };
        let both = options.addresses.v6().is_some();
        if both && up.limit != usize::MAX {
            // What IPv6 guarantees, and what is around it.
            up.limit = up.limit.max(1280 + 32);
        }
        let limit = if random.random_bool(0.5) { up.limit } else { usize::MAX };
        let mut events = Vec::new();
        for n in 0..random.random_range(1..=5) {
            let plan = plan(random, n, both);
            events.push((at(random, calm), Event::Open(plan)));
        }
        for _ in 0..random.random_range(0..=2) {
            let plan = talk(random, both, options.mtu);
            events.push((at(random, calm), Event::Talk(plan)));
        }
        for _ in 0..random.random_range(0..=4) {
            let fault = fault(random);
            events.push((at(random, calm), Event::Fault(fault)));
        }
        events.sort_by_key(|(at, _)| *at);
        renumber(&mut events);
        Self { options, down: weather(random), up, events, calm, limit }
    }
}

/// Streams go to the ports of the far end in the order in which they are opened.
fn renumber(events: &mut [(Duration, Event)]) {
    let plans =
        events.iter_mut().filter_map(|(_, event)| if let Event::Open(plan) = event { Some(plan) } else { None });
    for (n, plan) in plans.enumerate() {
        plan.to.set_port(FIRST_PORT + n as u16);
    }
}

fn at(random: &mut StdRng, calm: Duration) -> Duration {
    // Many things happen at the beginning.
    let share: f64 = random.random();
    calm.mul_f64(share * share)
}

fn millis(random: &mut StdRng, most: u64) -> Duration {
    Duration::from_millis(random.random_range(0..=most))
}

fn options(random: &mut StdRng) -> Options {
    let addresses = if random.random_bool(0.5) { Addresses::V4(NEAR) } else { Addresses::Both(NEAR, NEAR6) };
    let least = if addresses.v6().is_some() { 1280 } else { 576 };
    let mut options = near_options(addresses);
    options.mtu = Mtu::new(random.random_range(least..=1440), addresses).unwrap();
    if random.random_bool(0.3) {
        options.peers[0].keepalive = Keepalive::Every(NonZeroU16::new(random.random_range(1..=30)).unwrap());
    }
    if random.random_bool(0.2) {
        options.obfuscation = Some(Obfuscation {
            junk: Junk { count: random.random_range(0..4), length: Some(10..=100) },
            prefix: Prefix { initiation: 17, response: 5, cookie: 3, data: random.random_range(0..20) },
            header: Header { initiation: 10..=20, response: 30..=40, cookie: 50..=60, data: 70..=80 },
            imitation: Vec::new(),
        });
    }
    options
}

fn weather(random: &mut StdRng) -> Weather {
    let some =
        |random: &mut StdRng, most: f64| if random.random_bool(0.5) { random.random_range(0.0..most) } else { 0.0 };
    Weather {
        delay: millis(random, 150),
        jitter: if random.random_bool(0.5) { millis(random, 60) } else { Duration::ZERO },
        loss: some(random, 0.2),
        burst: if random.random_bool(0.3) { random.random_range(2..20) } else { 1 },
        copies: some(random, 0.2),
        flips: some(random, 0.05),
        limit: usize::MAX,
        rate: random
            .random_bool(0.3)
            .then(|| (random.random_range(8_000..500_000), random.random_range(4_000..100_000))),
    }
}

/// Few are long.
fn size(random: &mut StdRng) -> usize {
    let most = [0, 100, 5_000, 20_000, 40_000, LONGEST][random.random_range(0..6)];
    let share: f64 = random.random();
    (most as f64 * share * share) as usize
}

fn far(random: &mut StdRng, both: bool, port: u16) -> SocketAddr {
    if both && random.random_bool(0.5) { (FAR6, port).into() } else { (FAR, port).into() }
}

fn plan(random: &mut StdRng, number: u16, both: bool) -> Plan {
    let (up, down) = (size(random), size(random));
    let ending = |random: &mut StdRng, most: usize| match random.random_range(0..10) {
        0 => Ending::Abort(random.random_range(0..=most)),
        1..4 => Ending::Last,
        _ => Ending::First,
    };
    let near = ending(random, up + down);
    let far_ending = if near == Ending::Last { Ending::First } else { ending(random, up) };
    Plan {
        to: far(random, both, FIRST_PORT + number),
        up,
        down,
        piece: [1 << 20, 4_000, 100][random.random_range(0..3)].max(up / 50),
        pause: random.random_bool(0.3).then(|| (random.random_range(0..=up), millis(random, 50_000))),
        deaf: if random.random_bool(0.2) { millis(random, 30_000) } else { Duration::ZERO },
        near,
        drops: random.random_bool(0.5),
        far: far_ending,
        // A small window and much to send would take minutes.
        far_buffer: [2_000, 16_000, 100_000][random.random_range(0..3)].max(up / 10),
    }
}

fn talk(random: &mut StdRng, both: bool, mtu: Mtu) -> TalkPlan {
    // Some are longer than the tunnel takes at once.
    let most = if random.random_bool(0.2) { 4_000 } else { usize::from(mtu.bytes()) - 60 };
    TalkPlan {
        to: far(random, both, 9),
        count: random.random_range(1..20),
        len: random.random_range(0..=most),
        every: millis(random, 5_000),
    }
}

fn fault(random: &mut StdRng) -> Fault {
    match random.random_range(0..10) {
        0..3 => {
            let (up, down) = [(true, true), (true, false), (false, true)][random.random_range(0..3)];
            Fault::Outage { up, down, lasts: Duration::from_millis(random.random_range(1_000..60_000)) }
        }
        3 => Fault::Sleep(Duration::from_secs(random.random_range(1..400))),
        4 => Fault::Stall(millis(random, 5_000)),
        5 => Fault::NearMoves,
        6 => Fault::FarMoves,
        7 => Fault::FarRestarts,
        8 => Fault::FarReboots,
        _ => Fault::WallClock(random.random_range(1_799_900_000..1_800_100_000)),
    }
}
