//! How dials went: what failed, by class, and how long the others took, by type of way out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adit_net::DialError;
use parking_lot::Mutex;

/// Upper bounds of the buckets that durations are counted in.
pub const BOUNDS: [Duration; 11] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// Counts of a process's life; they never decrease.
#[derive(Debug)]
pub struct Dials {
    failed: [AtomicU64; DialError::CLASSES.len()],
    /// By type of way out, of which there are few.
    took: Mutex<Vec<(&'static str, Durations)>>,
}

impl Default for Dials {
    fn default() -> Self {
        Self { failed: [const { AtomicU64::new(0) }; DialError::CLASSES.len()], took: Mutex::default() }
    }
}

/// How long the dials of one type of way out took that succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many there were of at most each of [`BOUNDS`], and of more than the one before.
    pub buckets: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
}

impl Dials {
    pub(crate) fn failed(&self, why: &DialError) {
        let place = DialError::CLASSES.iter().position(|class| *class == why.class());
        if let Some(count) = place.and_then(|place| self.failed.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn succeeded(&self, kind: &'static str, took: Duration) {
        let mut all = self.took.lock();
        let place = all.iter().position(|(other, _)| *other == kind).unwrap_or_else(|| {
            all.push((kind, Durations::default()));
            all.len() - 1
        });
        if let Some((_, durations)) = all.get_mut(place) {
            durations.add(took);
        }
    }

    /// Connections and datagram legs that no outbound was reached for, by [`DialError::class`].
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DialError::CLASSES.into_iter().zip(self.failed.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// How long dials took, handshakes included, by type of way out.
    #[must_use]
    pub fn durations(&self) -> Vec<(&'static str, Durations)> {
        self.took.lock().clone()
    }
}

impl Durations {
    fn add(&mut self, took: Duration) {
        let place = BOUNDS.iter().position(|bound| took <= *bound);
        if let Some(bucket) = place.and_then(|place| self.buckets.get_mut(place)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dials_are_counted_by_class_and_duration() {
        let dials = Dials::default();
        dials.failed(&DialError::Dropped);
        dials.failed(&DialError::TimedOut("x".into()));
        dials.failed(&DialError::TimedOut("y".into()));
        let failures: Vec<_> = dials.failures().filter(|(_, count)| *count != 0).collect();
        assert_eq!(failures, [("timed out", 2), ("dropped", 1)]);
        for millis in [5, 6, 20_000] {
            dials.succeeded("Vless", Duration::from_millis(millis));
        }
        let [("Vless", durations)] = dials.durations()[..] else { panic!("one type") };
        assert_eq!((durations.buckets[0], durations.buckets[1], durations.count), (1, 1, 3));
        assert_eq!(durations.sum, Duration::from_millis(20_011));
    }
}
