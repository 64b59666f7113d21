//! Destinations where looking has failed, so that a protocol whose server speaks first stops paying for the wait.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use adit_net::Target;

/// How often looking at each of a few destinations has failed lately.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// INVARIANT: at most [`CAPACITY`] entries.
    of: HashMap<Target, Entry>,
}

#[derive(Debug)]
struct Entry {
    count: u32,
    last: Instant,
}

impl Failures {
    /// Whether `target` has failed more than [`TOLERATED`] times, none of them followed by [`MEMORY`] without another.
    pub(crate) fn are_many(&self, target: &Target, now: Instant) -> bool {
        self.of.get(target).is_some_and(|entry| entry.is_fresh(now) && entry.count > TOLERATED)
    }

    /// Counts one more. The destination whose last failure is oldest makes room.
    pub(crate) fn add(&mut self, target: &Target, now: Instant) {
        if let Some(entry) = self.of.get_mut(target) {
            entry.count = if entry.is_fresh(now) { entry.count.saturating_add(1) } else { 1 };
            entry.last = now;
            return;
        }
        if self.of.len() >= CAPACITY
            && let Some(oldest) = self.of.iter().min_by_key(|(_, entry)| entry.last).map(|(target, _)| target.clone())
        {
            self.of.remove(&oldest);
        }
        self.of.insert(target.clone(), Entry { count: 1, last: now });
    }

    /// A name was found at `target`.
    pub(crate) fn forget(&mut self, target: &Target) {
        self.of.remove(target);
    }
}

impl Entry {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < MEMORY
    }
}

const CAPACITY: usize = 128;
const TOLERATED: u32 = 5;
const MEMORY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16) -> Target {
        Target::new(std::net::IpAddr::from([203, 0, 113, 1]), port)
    }

    #[test]
    fn many_is_more_than_five_within_ten_minutes_of_the_last() {
        let mut failures = Failures::default();
        let mut now = Instant::now();
        for _ in 0..5 {
            failures.add(&target(1), now);
            assert!(!failures.are_many(&target(1), now));
            now += MEMORY - Duration::from_secs(1);
        }
        failures.add(&target(1), now);
        assert!(failures.are_many(&target(1), now + MEMORY - Duration::from_secs(1)));
        assert!(!failures.are_many(&target(2), now));
        assert!(!failures.are_many(&target(1), now + MEMORY));
        failures.add(&target(1), now + MEMORY);
        assert!(!failures.are_many(&target(1), now + MEMORY), "counted afresh");
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut failures = Failures::default();
        let now = Instant::now();
        let after = |n: u16| now + Duration::from_millis(n.into());
        for port in 0..128 {
            (0..6).for_each(|_| failures.add(&target(port), after(port)));
        }
        failures.add(&target(0), after(200));
        failures.add(&target(999), after(201));
        assert_eq!(failures.of.len(), CAPACITY);
        assert!(failures.are_many(&target(0), after(202)));
        assert!(!failures.are_many(&target(1), after(202)));
        assert!(failures.are_many(&target(2), after(202)));
        failures.forget(&target(2));
        assert!(!failures.are_many(&target(2), after(202)));
    }
}
