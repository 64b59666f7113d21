//! `adit-bench [--quick] [--only SUBJECT,…] [CHAPTER…]`: ours beside Xray as a client and Mihomo, on this machine, in this run,
//! interleaved.
//!
//! Prints Markdown for docs/benchmarks.md. Chapters: carry, short, latency, idle, size, api, and wireguard, loss, transparent, dns,
//! which need root (they make network namespaces). `--only` leaves subjects (adit, xray, mihomo) out; the last two chapters
//! know no Xray, and api only adit. Nothing leaves the machine; everything is bounded in count and time, and ends by itself; a full run takes some
//! twenty-five minutes on two cores.

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a benchmark stops at the first thing that is not as it must be")]
#![expect(clippy::disallowed_methods, reason = "threads of a benchmark may sleep; there is no runtime here to block")]

mod api;
mod capture;
mod carry;
mod idle;
mod latency;
mod loss;
mod short;
mod size;
mod table;
mod tunnel;
mod wireguard;

use adit_testkit::peers::Era;
use adit_testkit::subject::Subject;

/// The proxies: how `--only` and how tables name them.
const SUBJECTS: [(&str, &str, Subject); 3] = [
    ("adit", "adit", Subject::Adit),
    ("xray", "Xray 26.10.10", Subject::Xray(Era::Xray26_10)),
    ("mihomo", "Mihomo 1.19.27", Subject::Mihomo),
];

type Chapter = (&'static str, fn(&Plan));

const CHAPTERS: [Chapter; 10] = [
    ("carry", carry::run),
    ("short", short::run),
    ("latency", latency::run),
    ("idle", idle::run),
    ("size", size::run),
    ("api", api::run),
    ("wireguard", wireguard::run),
    ("loss", loss::run),
    ("transparent", capture::transparent),
    ("dns", capture::names),
];

/// What is measured, and how much of it.
#[derive(Clone, Debug)]
struct Plan {
    /// The proxies, in the order of the tables' rows.
    subjects: Vec<(&'static str, Subject)>,
    /// Interleaved rounds.
    rounds: usize,
    /// Divides amounts.
    cut: u64,
    /// Chapters to run; none means all.
    chapters: Vec<String>,
}

impl Plan {
    /// From the command line, or what is wrong with it.
    fn from(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let all = SUBJECTS.map(|(_, name, subject)| (name, subject)).to_vec();
        let mut plan = Self { subjects: all, rounds: 5, cut: 1, chapters: Vec::new() };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => (plan.rounds, plan.cut) = (3, 8),
                "--only" => plan.subjects = chosen(&arguments.next().ok_or("--only needs names")?)?,
                chapter if CHAPTERS.iter().any(|(name, _)| *name == chapter) => plan.chapters.push(argument),
                other => return Err(format!("no such chapter or option: {other}")),
            }
        }
        Ok(plan)
    }

    fn is_quick(&self) -> bool {
        self.cut > 1
    }
}

fn chosen(names: &str) -> Result<Vec<(&'static str, Subject)>, String> {
    let find = |wanted: &str| {
        let found = SUBJECTS.iter().find(|(short, ..)| *short == wanted);
        found.map(|&(_, name, subject)| (name, subject)).ok_or_else(|| format!("no such subject: {wanted}"))
    };
    names.split(',').map(find).collect()
}

fn main() {
    let plan = Plan::from(std::env::args().skip(1)).unwrap_or_else(|error| {
        eprintln!("adit-bench: {error}");
        std::process::exit(2)
    });
    println!("{}", table::machine());
    if plan.subjects.len() < SUBJECTS.len() {
        let names: Vec<_> = plan.subjects.iter().map(|(name, _)| *name).collect();
        println!("\nOnly {}, as asked on the command line.", names.join(", "));
    }
    for (name, run) in CHAPTERS {
        if plan.chapters.is_empty() || plan.chapters.iter().any(|chapter| chapter == name) {
            run(&plan);
        }
    }
}
