//! Timestamps of initiations: TAI64N, whose only use is that each is later than the one before.

use std::time::Duration;

/// 8 bytes of seconds and 4 of nanoseconds, big-endian, so that bytes compare as times do (whitepaper §5.4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tai64n(pub(crate) [u8; 12]);

impl Tai64n {
    /// TAI64 counts from 2^62; the ten seconds are what TAI was ahead of UTC in 1970.
    const EPOCH: u64 = (1 << 62) + 10;
    /// Linux and Go blur the nanoseconds to 2^24 ns (some 17 ms), so that the exact clock of a host is not told to
    /// whoever reads an initiation.
    const BLUR: u32 = (1 << 24) - 1;

    fn at(unix: Duration) -> Self {
        let mut bytes = [0; 12];
        let (seconds, nanos) = bytes.split_at_mut(8);
        seconds.copy_from_slice(&Self::EPOCH.saturating_add(unix.as_secs()).to_be_bytes());
        nanos.copy_from_slice(&(unix.subsec_nanos() & !Self::BLUR).to_be_bytes());
        Self(bytes)
    }

    /// The next one that differs.
    fn successor(self) -> Self {
        let mut bytes = self.0;
        for byte in bytes.iter_mut().rev() {
            let (next, overflow) = byte.overflowing_add(1);
            *byte = next;
            if !overflow {
                break;
            }
        }
        Self(bytes)
    }
}

/// Gives out timestamps, each later than all before it, whatever the wall clock does (F-G8).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamper(Tai64n);

impl Stamper {
    /// The timestamp for an initiation at `unix` since 1970.
    pub(crate) fn stamp(&mut self, unix: Duration) -> Tai64n {
        self.0 = Tai64n::at(unix).max(self.0.successor());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_seconds_and_blurred_nanoseconds() {
        let stamp = Stamper::default().stamp(Duration::new(1_700_000_000, 999_999_999));
        assert_eq!(stamp.0, [0x40, 0, 0, 0, 0x65, 0x53, 0xf1, 0x0a, 0x3b, 0, 0, 0]);
    }

    #[test]
    fn f_g8_timestamps_rise_although_the_clock_falls() {
        let mut stamper = Stamper::default();
        let mut last = Tai64n::default();
        for seconds in [1_000, 1_000, 999, 5, 0, 1_001] {
            let stamp = stamper.stamp(Duration::from_secs(seconds));
            assert!(stamp > last);
            last = stamp;
        }
    }
}
