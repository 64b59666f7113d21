//! SOCKS5 → WireGuard on a perfect link: what bulk costs, what it does to new connections, what idle streams hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::Plan;
use crate::table::{Samples, adit_against, head, mib, row};
use crate::tunnel::{Bare, Carried, Direction, KERNEL, Load, Scene, carry};

/// Idle sockets beside which bulk is measured again.
const IDLE: u64 = 500;

const METHOD: &str = "
# WireGuard

Two network namespaces with a link between them: generator and proxy in one, a current `wireguard-go` with a TUN interface (one for
each row) and the origin in the other; packets of 1,420 bytes inside. Everything shares this machine's cores, also `wireguard-go`
and the origin, whose CPU is not counted; it is what limits Gbit/s here. Bytes are counted where they arrive, in a window that opens
after the streams have got going, interleaved round by round; medians, with minimum and maximum. An upload ends with a half-close,
and the origin's count must be what was sent. TCP of origins and of the kernel's row is cubic. CPU-s/GiB is the proxy process's own, per GiB of what
clients receive or send.

*Bare*: boringtun decapsulating (down) or encapsulating (up) packets of 1,420 bytes on one thread in the same rounds, per GiB of
the TCP payload that fits into those. *Kernel*: no proxy; the client's TCP is the kernel's, over a second `wireguard-go`, whose CPU is shown without the kernel's TCP.";

/// How long things are measured.
struct Times {
    warm_up: Duration,
    window: Duration,
    bare: Duration,
}

impl Times {
    fn of(plan: &Plan) -> Self {
        let [warm_up, window, bare] = if plan.is_quick() { [150, 250, 60] } else { [250, 800, 150] };
        Self {
            warm_up: Duration::from_millis(warm_up),
            window: Duration::from_millis(window),
            bare: Duration::from_millis(bare),
        }
    }
}

pub(crate) fn run(plan: &Plan) {
    println!("{METHOD}");
    let scene = Scene::start(plan, false);
    scene.run(|scene| {
        let streams: &[usize] = if plan.is_quick() { &[1, 32] } else { &[1, 8, 32] };
        let quiet = Direction::BOTH.map(|direction| Bulk::measure(plan, scene, direction, streams));
        for bulk in &quiet {
            bulk.print(&scene.names(), "", None);
        }
        latency(plan, scene);
        beside_idle(plan, scene, &quiet);
    });
    drop(scene);
    memory(plan);
}

/// Bulk in one direction.
struct Bulk {
    direction: Direction,
    bare: Samples,
    /// Per number of streams.
    legs: Vec<Leg>,
}

/// Samples for each path.
struct Leg {
    streams: usize,
    gbit: Vec<Samples>,
    cpu: Vec<Samples>,
    over_bare: Vec<Samples>,
    /// Whether an upload's count did not come back.
    unconfirmed: Vec<bool>,
}

impl Bulk {
    fn measure(plan: &Plan, scene: &Scene, direction: Direction, streams: &[usize]) -> Self {
        let none = vec![Samples::default(); scene.paths.len()];
        let leg = |&streams| Leg {
            streams,
            gbit: none.clone(),
            cpu: none.clone(),
            over_bare: none.clone(),
            unconfirmed: vec![false; none.len()],
        };
        let mut bulk = Self { direction, bare: Samples::default(), legs: streams.iter().map(leg).collect() };
        // The first round warms up and is not counted.
        for round in 0..=plan.rounds {
            bulk.round(&Times::of(plan), scene, round > 0);
        }
        bulk
    }

    fn round(&mut self, times: &Times, scene: &Scene, counted: bool) {
        let bare = Bare::measure(times.bare);
        let bare = if self.direction == Direction::Down { bare.decapsulate } else { bare.encapsulate };
        if counted {
            self.bare.0.push(bare);
        }
        for leg in &mut self.legs {
            let windows = [if counted { times.window } else { times.window / 4 }];
            let (direction, streams) = (self.direction, leg.streams);
            let load = Load { direction, streams, warm_up: times.warm_up, windows: &windows, confirm: true };
            for (n, path) in scene.paths.iter().enumerate() {
                match carry(path, load) {
                    Ok(Carried { windows, unconfirmed }) if counted => {
                        let (gbit, cpu) = (windows[0].bits_per_second() / 1e9, windows[0].cpu_per_gib());
                        leg.unconfirmed[n] |= unconfirmed.is_some();
                        leg.gbit[n].0.push(gbit);
                        leg.cpu[n].0.push(cpu);
                        leg.over_bare[n].0.push(cpu / bare);
                    }
                    Ok(_) => {}
                    Err(error) => path.complain(&format!("{streams} streams {}", direction.name()), &error),
                }
            }
        }
    }

    fn print(&self, names: &[&str], beside: &str, quiet: Option<&Self>) {
        let direction = self.direction.name();
        head(
            &format!("SOCKS5 → WireGuard, bulk {direction}{beside}"),
            &[
                "",
                "streams",
                "Gbit/s",
                "CPU-s/GiB",
                "× bare",
                "adit's Gbit/s ÷ this one",
                "Gbit/s ÷ without idle sockets",
            ][..if quiet.is_some() { 7 } else { 6 }],
        );
        let bare = format!("boringtun alone ({})", if direction == "down" { "decapsulate" } else { "encapsulate" });
        let mut cells = vec![bare, "–".into(), "–".into(), self.bare.shown(2), "1".into(), "–".into()];
        cells.extend(quiet.map(|_| "–".to_owned()));
        row(&cells);
        for leg in &self.legs {
            let before = quiet.and_then(|quiet| quiet.legs.iter().find(|other| other.streams == leg.streams));
            for (n, name) in names.iter().enumerate() {
                let mut cells = vec![
                    format!("{name}{}", if leg.unconfirmed[n] { " †" } else { "" }),
                    leg.streams.to_string(),
                    leg.gbit[n].shown(2),
                    leg.cpu[n].shown(2),
                    if *name == KERNEL { "–".to_owned() } else { leg.over_bare[n].shown(2) },
                    adit_against(names, &leg.gbit, n),
                ];
                cells.extend(before.map(|before| format!("{:.2}", leg.gbit[n].median() / before.gbit[n].median())));
                row(&cells);
            }
        }
        if self.legs.iter().any(|leg| leg.unconfirmed.contains(&true)) {
            println!(
                "\n† In at least one round the origin's answer to the half-close did not come back whole, or with another count."
            );
        }
    }
}

/// The same with idle sockets open in every tunnel.
fn beside_idle(plan: &Plan, scene: &Scene, quiet: &[Bulk]) {
    let streams: &[usize] = if plan.is_quick() { &[1] } else { &[1, 8] };
    let idle: Vec<_> = scene.paths.iter().map(|path| path.keep_open(IDLE)).collect();
    let beside = format!(", beside {IDLE} idle sockets");
    for (direction, quiet) in Direction::BOTH.into_iter().zip(quiet) {
        Bulk::measure(plan, scene, direction, streams).print(&scene.names(), &beside, Some(quiet));
    }
    for (path, streams) in scene.paths.iter().zip(&idle) {
        if (streams.len() as u64) < IDLE {
            println!("\n{}: only {} idle sockets could be opened.", path.name, streams.len());
        }
        path.origin.close_kept();
    }
}

/// Connects without and with a download beside them.
fn latency(plan: &Plan, scene: &Scene) {
    let none = vec![Samples::default(); scene.paths.len()];
    let (mut idle, mut busy) = (none.clone(), none);
    let count = 200 / plan.cut.min(4);
    let limit = Duration::from_secs(if plan.is_quick() { 1 } else { 2 });
    for round in 0..=if plan.is_quick() { 1 } else { 3 } {
        for (n, path) in scene.paths.iter().enumerate() {
            let alone = path.connects(scene.banner.addr(), count, limit);
            let stop = AtomicBool::new(false);
            let beside = thread::scope(|scope| {
                scope.spawn(|| download_until(&stop, scene, n));
                thread::sleep(Duration::from_millis(300));
                let beside = path.connects(scene.banner.addr(), count, limit);
                stop.store(true, Ordering::Relaxed);
                beside
            });
            for (all, result) in [(&mut idle[n], alone), (&mut busy[n], beside)] {
                match result {
                    Ok(times) if round > 0 => all.0.extend(times),
                    Ok(_) => {}
                    Err(error) => path.complain("connects", &error),
                }
            }
        }
    }
    head(
        "SOCKS5 → WireGuard, from connect to the origin's first byte (ms)",
        &["", "idle p50", "idle p99", "beside a download p50", "p99", "p99 ÷ idle p99", "connects"],
    );
    for (n, path) in scene.paths.iter().enumerate() {
        let (idle, busy) = (&idle[n], &busy[n]);
        row(&[
            path.name.to_owned(),
            format!("{:.2}", idle.at(0.5)),
            format!("{:.2}", idle.at(0.99)),
            format!("{:.2}", busy.at(0.5)),
            format!("{:.2}", busy.at(0.99)),
            format!("{:.1}", busy.at(0.99) / idle.at(0.99)),
            format!("{} and {}", idle.0.len(), busy.0.len()),
        ]);
    }
}

/// One download after the other, so that there is always one.
fn download_until(stop: &AtomicBool, scene: &Scene, n: usize) {
    let windows = [Duration::from_millis(500)];
    let load =
        Load { direction: Direction::Down, streams: 1, warm_up: Duration::ZERO, windows: &windows, confirm: false };
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = carry(&scene.paths[n], load) {
            return scene.paths[n].complain("the download beside connects", &error);
        }
    }
}

/// What idle streams hold, and whether it comes back. In a lab of its own: nothing was carried before.
fn memory(plan: &Plan) {
    let count = 1_000 / plan.cut;
    head(
        "SOCKS5 → WireGuard, idle streams that have carried a byte each way (resident MiB)",
        &["", "started", &format!("{count} streams"), "above the start", "5 s after closing", "above the start"],
    );
    Scene::start(plan, false).run(|scene| {
        let proxies: Vec<_> = scene.paths.iter().filter(|path| path.is_proxy()).collect();
        // The first stream shakes hands and is not what is measured.
        proxies.iter().for_each(|path| drop(path.keep_open(1)));
        thread::sleep(Duration::from_secs(2));
        let rss = || proxies.iter().map(|path| path.process().usage().rss).collect::<Vec<_>>();
        let start = rss();
        let streams: Vec<_> = proxies.iter().map(|path| path.keep_open(count)).collect();
        thread::sleep(Duration::from_secs(3));
        let open = rss();
        let opened: Vec<_> = streams.iter().map(Vec::len).collect();
        drop(streams);
        proxies.iter().for_each(|path| path.origin.close_kept());
        thread::sleep(Duration::from_secs(5));
        let after = rss();
        for (n, path) in proxies.iter().enumerate() {
            let stopped =
                if (opened[n] as u64) < count { format!(" (stopped at {})", opened[n]) } else { String::new() };
            row(&[
                path.name.to_owned(),
                mib(start[n]),
                mib(open[n]) + &stopped,
                mib(open[n].saturating_sub(start[n])),
                mib(after[n]),
                mib(after[n].saturating_sub(start[n])),
            ]);
        }
    });
}
