//! SOCKS5 → WireGuard over links that lose packets, and over a long fat one.

use std::thread;
use std::time::Duration;

use adit_testkit::lossy::{Faults, Loss, Rate};

use crate::Plan;
use crate::table::{head, row};
use crate::tunnel::{Direction, Load, Path, Scene, Window, carry};

/// Each way.
const DELAY: Duration = Duration::from_millis(25);
/// Packets in a row that a burst loses on average.
const BURST: f64 = 5.0;
const LONG_DELAY: Duration = Duration::from_millis(100);
const FAT: Rate = Rate { bits_per_second: 100_000_000, queue: 1 << 20 };

const METHOD: &str = "
# WireGuard over bad links

The lab of the WireGuard chapter with a relay between each client and its peer that delays packets by 25 ms each way and loses some,
both ways alike, by chance or in bursts of 5 on average (two states, the same share in the long run). One stream; Mbit/s that arrive
after the first seconds. Who sends decides how loss is answered: downwards the origin's kernel, upwards the proxy's own stack (and the
kernel's in the last row). With cubic and loss all rows are measured at once, because they need little of the CPU then; else one after
the other.";

pub(crate) fn run(plan: &Plan) {
    println!("{METHOD}");
    Scene::start(plan, true).run(|scene| {
        let shares: &[f64] = if plan.is_quick() { &[0.01] } else { &[0.001, 0.01, 0.03] };
        let seconds = if plan.is_quick() { [1.0, 2.0] } else { [2.0, 6.0] };
        for direction in Direction::BOTH {
            Table { congestion: "cubic", direction, losses: losses(shares), seconds, run: at_once }.print(scene);
        }
        long_fat(plan, scene);
        scene.paths.iter().for_each(|path| path.origin.set_congestion_control("bbr"));
        let seconds = if plan.is_quick() { [0.5, 1.0] } else { [1.0, 3.0] };
        let mut losses = losses(&[0.01]);
        if plan.is_quick() {
            losses.truncate(2);
        }
        Table { congestion: "bbr", direction: Direction::Down, losses, seconds, run: one_by_one }.print(scene);
    });
}

/// None, and each share by chance, and each in bursts.
fn losses(shares: &[f64]) -> Vec<Loss> {
    let random = shares.iter().map(|&share| Loss::Random(share));
    let bursts = shares.iter().map(|&share| Loss::Bursts { share, length: BURST });
    std::iter::once(Loss::None).chain(random).chain(bursts).collect()
}

fn named(loss: Loss) -> String {
    match loss {
        Loss::None => "no loss".to_owned(),
        Loss::Random(share) => format!("{} %", share * 100.0),
        Loss::Bursts { share, .. } => format!("{} % in bursts", share * 100.0),
    }
}

/// One direction under one congestion control of the kernels.
struct Table {
    congestion: &'static str,
    direction: Direction,
    losses: Vec<Loss>,
    /// Before the window, and its length.
    seconds: [f64; 2],
    /// How paths that lose packets are measured.
    run: fn(&Scene, Load<'_>) -> Vec<Vec<Window>>,
}

impl Table {
    fn print(&self, scene: &Scene) {
        let [warm_up, window] = self.seconds.map(Duration::from_secs_f64);
        let load = Load { direction: self.direction, streams: 1, warm_up, windows: &[window], confirm: false };
        let columns: Vec<Vec<String>> = self
            .losses
            .iter()
            .map(|&loss| {
                let faults = Faults::lossy(loss, DELAY);
                scene.paths.iter().for_each(|path| path.degrade(faults, faults));
                let run = if loss == Loss::None { one_by_one } else { self.run };
                run(scene, load).iter().map(|windows| mbits(windows.first())).collect()
            })
            .collect();
        let names: Vec<_> = self.losses.iter().map(|&loss| named(loss)).collect();
        let (direction, congestion) = (self.direction.name(), self.congestion);
        head(
            &format!("One stream {direction}, 50 ms there and back, kernels with {congestion} (Mbit/s)"),
            &std::iter::once("").chain(names.iter().map(String::as_str)).collect::<Vec<_>>(),
        );
        for (n, path) in scene.paths.iter().enumerate() {
            let cells = columns.iter().map(|column| column[n].clone());
            row(&std::iter::once(path.name.to_owned()).chain(cells).collect::<Vec<_>>());
        }
    }
}

/// How much of 100 Mbit/s at 200 ms is used.
fn long_fat(plan: &Plan, scene: &Scene) {
    let windows = if plan.is_quick() { [4.0, 4.0] } else { [5.0, 10.0] }.map(Duration::from_secs_f64);
    let bottleneck = Faults { delay: LONG_DELAY, rate: Some(FAT), ..Faults::NONE };
    scene.paths.iter().for_each(|path| path.degrade(bottleneck, bottleneck));
    let [down, up] = Direction::BOTH.map(|direction| {
        at_once(scene, Load { direction, streams: 1, warm_up: Duration::ZERO, windows: &windows, confirm: false })
    });
    let [first, then] = windows.map(|window| window.as_secs_f64());
    head(
        "One stream through 100 Mbit/s at 200 ms there and back, a queue of 1 MiB, cubic: share that arrives (at most 0.94)",
        &[
            "",
            &format!("down, first {first} s"),
            &format!("next {then} s"),
            &format!("up, first {first} s"),
            &format!("next {then} s"),
        ],
    );
    for (n, path) in scene.paths.iter().enumerate() {
        let cells = [&down[n], &up[n]].into_iter().flat_map(|windows| [0, 1].map(|at| windows.get(at)));
        let cells = std::iter::once(path.name.to_owned()).chain(cells.map(share));
        row(&cells.collect::<Vec<_>>());
    }
}

fn share(window: Option<&Window>) -> String {
    let share = |window: &Window| format!("{:.2}", window.bits_per_second() / FAT.bits_per_second as f64);
    window.map_or_else(|| "failed".to_owned(), share)
}

fn mbits(window: Option<&Window>) -> String {
    window.map_or_else(|| "failed".to_owned(), |window| format!("{:.1}", window.bits_per_second() / 1e6))
}

fn one_by_one(scene: &Scene, load: Load<'_>) -> Vec<Vec<Window>> {
    scene.paths.iter().map(|path| windows(path, load)).collect()
}

fn at_once(scene: &Scene, load: Load<'_>) -> Vec<Vec<Window>> {
    thread::scope(|scope| {
        let runs: Vec<_> = scene.paths.iter().map(|path| scope.spawn(move || windows(path, load))).collect();
        runs.into_iter().map(|run| run.join().expect("a run that does not panic")).collect()
    })
}

/// No windows when the path failed.
fn windows(path: &Path, load: Load<'_>) -> Vec<Window> {
    carry(path, load).map(|carried| carried.windows).unwrap_or_else(|error| {
        path.complain(&format!("one stream {}", load.direction.name()), &error);
        Vec::new()
    })
}
