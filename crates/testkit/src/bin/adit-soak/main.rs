//! `adit-soak [SUBJECT] [SCENARIO…]`: what takes minutes, against a real `wireguard-go` and Xray in network namespaces, or over
//! hundreds of kills and reloads.
//!
//! Subjects: adit (the default), mihomo, xray. Scenarios: bulk, outage, rekey, kill, reload (the last two are about adit only);
//! all of them by default, about a quarter of an hour. Prints what it ran and found, and ends with 1 when something was not as
//! it must be. Needs root and `scripts/setup`. `SEED` in the environment repeats the chance of kill.

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a soak test stops at the first thing that it cannot do")]
#![expect(clippy::disallowed_methods, reason = "threads of a test may sleep; there is no runtime here to block")]

mod bulk;
mod home;
mod kill;
mod lists;
mod outage;
mod rekey;
mod reload;
mod verdict;

use std::process::ExitCode;
use std::time::Instant;

use adit_testkit::peers::Era;
use adit_testkit::subject::Subject;

use verdict::Verdict;

type Scenario = (&'static str, fn(Subject, &mut Verdict));

const SCENARIOS: [Scenario; 5] =
    [("bulk", bulk::run), ("outage", outage::run), ("rekey", rekey::run), ("kill", kill::run), ("reload", reload::run)];

fn subject(name: &str) -> Option<Subject> {
    match name {
        "adit" => Some(Subject::Adit),
        "mihomo" => Some(Subject::Mihomo),
        "xray" => Some(Subject::Xray(Era::Xray26_10)),
        _ => None,
    }
}

fn main() -> ExitCode {
    let mut chosen = ("adit".to_owned(), Subject::Adit);
    let mut scenarios = Vec::new();
    for argument in std::env::args().skip(1) {
        if let Some(subject) = subject(&argument) {
            chosen = (argument, subject);
        } else if let Some(scenario) = SCENARIOS.iter().find(|(name, _)| *name == argument) {
            scenarios.push(*scenario);
        } else {
            eprintln!("adit-soak: no such subject or scenario: {argument}");
            return ExitCode::from(2);
        }
    }
    if scenarios.is_empty() {
        scenarios.extend(SCENARIOS);
    }
    let mut failed = Vec::new();
    for (name, run) in scenarios {
        println!("soak: {name} with {}", chosen.0);
        let (start, mut verdict) = (Instant::now(), Verdict::default());
        run(chosen.1, &mut verdict);
        let word = if verdict.is_good() { "passed" } else { "FAILED" };
        println!("soak: {name} with {} {word} after {:.0} s", chosen.0, start.elapsed().as_secs_f64());
        failed.extend((!verdict.is_good()).then_some(name));
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
