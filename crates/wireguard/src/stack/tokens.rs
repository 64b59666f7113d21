//! How often we answer what nobody asked us for.

use std::time::Duration;

use crate::Moment;

/// A token bucket.
#[derive(Debug)]
pub(crate) struct Tokens {
    full_at: Moment,
}

impl Tokens {
    const EVERY: Duration = Duration::from_millis(10);
    const BURST: u32 = 50;

    pub(crate) const fn full() -> Self {
        Self { full_at: Moment::from_micros(0) }
    }

    /// At most 50 at once, and 100 a second.
    pub(crate) fn take(&mut self, now: Moment) -> bool {
        let full_at = self.full_at.max(now) + Self::EVERY;
        let allowed = full_at.since(now) <= Self::EVERY * Self::BURST;
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}
