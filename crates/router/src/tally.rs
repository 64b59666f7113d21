//! How often rules matched, and which are switched off. Spec: mihomo-surface §9.7.
//!
//! Counted is what matched; what did not match follows from it, so that a rule that is passed over costs nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What has become of one rule since it was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleStats {
    /// Whether it is switched off.
    pub disabled: bool,
    /// How often it matched.
    pub hits: u64,
    /// When it last did.
    pub hit_at: Option<SystemTime>,
    /// How many decisions were made behind it.
    pub misses: u64,
    /// When the last of them was.
    pub miss_at: Option<SystemTime>,
}

/// Counters that many connections share. None of them orders anything else, so all is relaxed.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    is_disabled: AtomicBool,
    hits: AtomicU64,
    /// Milliseconds since 1970; 0 is never.
    hit_at: AtomicU64,
}

impl Tally {
    pub(crate) fn hit(&self, now: SystemTime) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.hit_at.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.is_disabled.load(Ordering::Relaxed)
    }

    pub(crate) fn set_disabled(&self, is_disabled: bool) {
        self.is_disabled.store(is_disabled, Ordering::Relaxed);
    }

    fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    fn hit_at(&self) -> Option<SystemTime> {
        let millis = self.hit_at.load(Ordering::Relaxed);
        (millis != 0).then(|| UNIX_EPOCH + Duration::from_millis(millis))
    }
}

/// The counters of a list, each with whether its rule decides when it matches, and of the decisions behind all of it.
pub(crate) fn stats<'a>(list: impl DoubleEndedIterator<Item = (&'a Tally, bool)>, unmatched: &Tally) -> Vec<RuleStats> {
    let (mut misses, mut miss_at) = (unmatched.hits(), unmatched.hit_at());
    let mut all: Vec<RuleStats> = list
        .rev()
        .map(|(tally, decides)| {
            let (hits, hit_at) = (tally.hits(), tally.hit_at());
            let stats = RuleStats { disabled: tally.is_disabled(), hits, hit_at, misses, miss_at };
            if decides {
                misses = misses.saturating_add(hits);
                miss_at = miss_at.max(hit_at);
            }
            stats
        })
        .collect();
    all.reverse();
    all
}
