//! Time as the tunnel sees it: an argument.

use std::ops::Add;
use std::time::Duration;

/// Microseconds since some start that the caller chose, on a clock that never goes back.
///
/// The driver takes it from the boot-time clock, which counts suspended time too: session keys age while the machine
/// sleeps. Tests make it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The moment `micros` microseconds after the start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates at the end of time, some 584,000 years after the start.
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// What the clocks say. The wall clock is only for the timestamps of handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// For everything that takes time.
    pub now: Moment,
    /// The wall clock, since 1970; it may jump either way.
    pub unix: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let early = Moment::from_micros(5);
        let late = early + Duration::from_secs(2);
        assert_eq!(late.micros(), 2_000_005);
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!((late + Duration::MAX).micros(), u64::MAX);
    }
}
