//! How long a round trip takes, and how long to wait for an answer (RFC 6298).

use std::time::Duration;

/// Round-trip times in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    smoothed: u32,
    variance: u32,
    /// The least ever seen.
    least: u32,
    /// How often the timer doubled (RFC 6298 §5.5).
    backoff: u8,
    measured: bool,
}

/// Before anything was measured (RFC 6298 §2.1).
const INITIAL: Duration = Duration::from_secs(1);
/// RFC 6298 §2.4 wants a second; that is what Linux has instead, and adds to the smoothed time.
const LEAST_SLACK: u32 = 200_000;
/// RFC 6298 §2.5 allows no less than 60 s; Linux has 120 s.
const MOST: Duration = Duration::from_secs(120);

const fn micros(span: Duration) -> u32 {
    let micros = span.as_micros();
    if micros > u32::MAX as u128 { u32::MAX } else { micros as u32 }
}

impl Rtt {
    /// RFC 6298 §2.2 and §2.3.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        let rtt = micros(rtt).clamp(1, 1 << 30);
        if self.measured {
            let error = self.smoothed.abs_diff(rtt);
            self.variance = self.variance - self.variance / 4 + error / 4;
            self.smoothed = self.smoothed - self.smoothed / 8 + rtt / 8;
            self.least = self.least.min(rtt);
        } else {
            *self = Self { smoothed: rtt, variance: rtt / 2, least: rtt, backoff: 0, measured: true };
        }
        self.backoff = 0;
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.measured.then(|| Duration::from_micros(self.smoothed.into()))
    }

    pub(crate) fn least(&self) -> Option<Duration> {
        self.measured.then(|| Duration::from_micros(self.least.into()))
    }

    /// What of `rtt` can be a round trip. What took longer than the timeout would have been sent again, had the machine not
    /// slept meanwhile.
    pub(crate) fn awake(&self, rtt: Duration) -> Duration {
        if self.measured { rtt.min(self.timeout()) } else { rtt }
    }

    /// How long to wait before sending again.
    pub(crate) fn timeout(&self) -> Duration {
        let base = if self.measured {
            Duration::from_micros(
                u64::from(self.smoothed) + u64::from(self.variance.saturating_mul(4).max(LEAST_SLACK)),
            )
        } else {
            INITIAL
        };
        base.saturating_mul(1 << self.backoff.min(16)).min(MOST)
    }

    /// RFC 6298 §5.5.
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1).min(16);
    }

    /// Something new was acknowledged (RFC 6298 §5.7 allows to go back at once, as Linux does).
    pub(crate) fn recovered(&mut self) {
        self.backoff = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_no_round_trip() {
        let mut rtt = Rtt::default();
        rtt.sample(Duration::from_millis(50));
        assert_eq!(rtt.awake(Duration::from_millis(60)), Duration::from_millis(60));
        assert_eq!(rtt.awake(Duration::from_secs(30_000)), rtt.timeout());
    }

    #[test]
    fn waits_a_little_longer_than_usual_and_twice_as_long_each_time() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), Duration::from_secs(1));
        (0..100).for_each(|_| rtt.sample(Duration::from_millis(50)));
        assert!(rtt.timeout() >= Duration::from_millis(245) && rtt.timeout() <= Duration::from_millis(260));
        let once = rtt.timeout();
        rtt.back_off();
        assert_eq!(rtt.timeout(), once * 2);
        (0..40).for_each(|_| rtt.back_off());
        assert_eq!(rtt.timeout(), MOST);
        rtt.recovered();
        assert_eq!(rtt.timeout(), once);
    }
}
