//! Figures and how they are printed.

use std::process::Command;

/// Samples of one figure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The sample below which `share` of them lie.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    /// `median (min–max)`.
    pub(crate) fn shown(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median(), self.at(0.0), self.at(1.0))
    }

    /// The medians' quotient of each round: both were measured side by side, so noise of a round touches both.
    pub(crate) fn ratio(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }
}

/// How adit's figure compares with this one, round by round; a dash in a run without adit.
pub(crate) fn adit_against(names: &[&str], samples: &[Samples], n: usize) -> String {
    let adit = names.iter().position(|name| *name == "adit").and_then(|at| samples.get(at));
    match (adit, samples.get(n)) {
        (Some(adit), Some(this)) => adit.ratio(this).shown(2),
        _ => "–".to_owned(),
    }
}

/// KiB as MiB.
pub(crate) fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// Prints one row.
pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// Prints a heading and a table's head.
pub(crate) fn head(title: &str, columns: &[&str]) {
    println!("\n## {title}\n");
    println!("| {} |", columns.join(" | "));
    println!("|---{}|", "|---:".repeat(columns.len() - 1));
}

/// One line about the machine and the run.
pub(crate) fn machine() -> String {
    let say = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu =
        cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_start_matches([' ', '\t', ':']);
    format!(
        "{} cores ({cpu}), Linux {}, {}, commit {}, {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        say("uname", &["-r"]),
        say("rustc", &["--version"]),
        say("git", &["rev-parse", "--short", "HEAD"]),
        say("date", &["-u", "+%Y-%m-%d"]),
    )
}
