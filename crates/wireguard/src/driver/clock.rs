//! The clocks of this machine.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::{Clock, Moment};

/// What the clocks say now. Time that the machine slept counts: keys age meanwhile (faults F-G8).
pub(super) fn read() -> Clock {
    let since_boot = span(clock_gettime(ClockId::Boottime));
    let now = Moment::from_micros(u64::try_from(since_boot.as_micros()).unwrap_or(u64::MAX));
    Clock { now, unix: span(clock_gettime(ClockId::Realtime)) }
}

/// Before 1970 counts as 1970.
fn span(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_clocks_are_the_machine_s() {
        let (one, other) = (read(), read());
        assert!(other.now >= one.now && other.now.since(one.now) < Duration::from_secs(5));
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(unix.abs_diff(other.unix) < Duration::from_secs(5));
    }
}
