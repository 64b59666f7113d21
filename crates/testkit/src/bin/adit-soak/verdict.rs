//! What a scenario found.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Whether everything was as it must be; prints as it goes.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    faults: usize,
}

impl Verdict {
    /// Something worth knowing.
    pub(crate) fn note(&self, text: impl Display) {
        println!("  {text}");
    }

    /// Something that must be so.
    pub(crate) fn require(&mut self, so: bool, text: impl Display) {
        println!("  {} {text}", if so { "ok  " } else { "FAIL" });
        self.faults += usize::from(!so);
    }

    pub(crate) fn is_good(&self) -> bool {
        self.faults == 0
    }
}

/// How evenly something came.
#[derive(Debug)]
pub(crate) struct Pulse {
    start: Instant,
    last: Instant,
    /// Longest time between two, or that one took, and when it ended, counted from the start.
    pub(crate) longest: (Duration, Duration),
    pub(crate) count: u64,
    pub(crate) lost: Vec<String>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { start: now, last: now, longest: (Duration::ZERO, Duration::ZERO), count: 0, lost: Vec::new() }
    }

    /// Something came that was expected ever since the last did.
    pub(crate) fn beat(&mut self) {
        self.took(self.last);
    }

    /// Something came that was asked for at `since`.
    pub(crate) fn took(&mut self, since: Instant) {
        let now = Instant::now();
        self.longest = self.longest.max((now - since, now - self.start));
        self.last = now;
        self.count += 1;
    }

    /// Something came so long after the start.
    pub(crate) fn came_after(&mut self, time: Duration) {
        self.longest = self.longest.max((time, time));
        self.count += 1;
    }

    /// Something did not come.
    pub(crate) fn lose(&mut self, why: impl Display) {
        self.lost.push(format!("at {:.1} s: {why}", self.start.elapsed().as_secs_f64()));
    }

    pub(crate) fn summary(&self, what: &str) -> String {
        let (longest, at) = self.longest;
        let lost: String = self.lost.iter().take(5).map(|why| format!("\n       {why}")).collect();
        format!(
            "{what}: {} came, {} lost, longest {:.0} ms (at {:.1} s){lost}",
            self.count,
            self.lost.len(),
            longest.as_secs_f64() * 1e3,
            at.as_secs_f64(),
        )
    }
}
