//! What was carried, and how.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Direction;

/// Bytes carried, exact in every mode. Read by others while the relay runs.
#[derive(Debug, Default)]
pub struct Counters {
    up: AtomicU64,
    down: AtomicU64,
    spliced_up: AtomicU64,
    spliced_down: AtomicU64,
}

impl Counters {
    /// Adds bytes that left for the upstream.
    pub fn add_up(&self, n: u64) {
        self.up.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds bytes that left for the client.
    pub fn add_down(&self, n: u64) {
        self.down.fetch_add(n, Ordering::Relaxed);
    }

    /// Bytes from the client that reached the upstream.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Bytes from the upstream that reached the client.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    /// Those of [`Counters::up`] that never entered user space.
    pub fn spliced_up(&self) -> u64 {
        self.spliced_up.load(Ordering::Relaxed)
    }

    /// Those of [`Counters::down`] that never entered user space.
    pub fn spliced_down(&self) -> u64 {
        self.spliced_down.load(Ordering::Relaxed)
    }
}

/// How bytes were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Copy,
    Splice,
}

/// The two counters of one lane.
#[derive(Clone, Copy)]
pub(super) struct Tally<'a> {
    counters: &'a Counters,
    direction: Direction,
}

impl<'a> Tally<'a> {
    pub(super) fn new(counters: &'a Counters, direction: Direction) -> Self {
        Self { counters, direction }
    }

    pub(super) fn left(self, n: usize, by: By) {
        let n = n as u64;
        let (all, spliced) = match self.direction {
            Direction::Up => (&self.counters.up, &self.counters.spliced_up),
            Direction::Down => (&self.counters.down, &self.counters.spliced_down),
        };
        all.fetch_add(n, Ordering::Relaxed);
        if by == By::Splice {
            spliced.fetch_add(n, Ordering::Relaxed);
        }
    }
}
