//! adit-bench [--quick] [CHAPTER…]: ours beside Xray as a client and Mihomo, on this machine, in this run, interleaved.
//!
//! Prints Markdown for docs/benchmarks.md. Chapters: carry, short, latency, idle, size. Everything stays on loopback, is bounded in
//! count and time, and ends by itself; a full run takes some ten minutes on two cores.

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a benchmark stops at the first thing that is not as it must be")]
#![expect(clippy::disallowed_methods, reason = "threads of a benchmark may sleep; there is no runtime here to block")]

mod carry;
mod idle;
mod latency;
mod short;
mod size;
mod table;

use adit_testkit::peers::Era;
use adit_testkit::subject::Subject;

/// The proxies, in the order of the tables' columns.
const SUBJECTS: [(&str, Subject); 3] =
    [("adit", Subject::Adit), ("Xray 26.10.10", Subject::Xray(Era::Xray26_10)), ("Mihomo 1.19.27", Subject::Mihomo)];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Interleaved rounds.
    rounds: usize,
    /// Divides amounts.
    cut: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let chosen: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |chapter: &str| chosen.is_empty() || chosen.iter().any(|name| *name == chapter);
    let scale = if quick { Scale { rounds: 3, cut: 8 } } else { Scale { rounds: 5, cut: 1 } };
    println!("{}", table::machine());
    let chapters = [
        ("carry", carry::run as fn(Scale)),
        ("short", short::run),
        ("latency", latency::run),
        ("idle", idle::run),
        ("size", size::run),
    ];
    for (name, run) in chapters {
        if wanted(name) {
            run(scale);
        }
    }
}
