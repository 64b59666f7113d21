//! How clients' questions were answered, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a question was answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answered {
    /// From `hosts`.
    Hosts,
    /// With a fake address, or with nothing because its name has one.
    Fake,
    /// By what a nameserver said before.
    Remembered,
    /// By a nameserver.
    Asked,
    /// By saying that no nameserver could.
    Failed,
    /// Not at all, or by saying that it is none.
    Refused,
}

/// In the order of [`Answered`].
const NAMES: [&str; 6] = ["hosts", "fake", "remembered", "asked", "failed", "refused"];

/// Counts of a service and of those that it was renewed to; they never decrease.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; NAMES.len()]);

impl Counts {
    pub(super) fn add(&self, how: Answered) {
        if let Some(count) = self.0.get(how as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}
