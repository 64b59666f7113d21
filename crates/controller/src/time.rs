//! Points in time as the API writes them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// RFC 3339 in UTC with nanoseconds, such as `2026-08-21T10:00:00.123456789Z`.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub SystemTime);

/// What Mihomo writes for "never".
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: u64,
    pub(crate) month: u64,
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
    /// 0 is Sunday.
    pub(crate) weekday: u64,
}

impl Civil {
    /// In UTC. Times before 1970 are 1970.
    ///
    /// Days are counted in 400-year eras that begin in March, so that the leap day is the last of its year.
    pub(crate) fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let (day_number, second) = (seconds / 86_400, seconds % 86_400);
        let days = day_number + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * shifted + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            weekday: (day_number + 4) % 7,
        }
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second, .. } = Civil::of(self.0);
        let nanos = self.0.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).subsec_nanos();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanos != 0 {
            write!(f, ".{nanos:09}")?;
        }
        f.write_str("Z")
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
pub(crate) struct HttpDate(pub(crate) SystemTime);

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let Civil { year, month, day, hour, minute, second, weekday } = Civil::of(self.0);
        let name = |names: &[&'static str], at: u64| names.get(at as usize).copied().unwrap_or_default();
        let (weekday, month) = (name(&DAYS, weekday), name(&MONTHS, month.wrapping_sub(1)));
        write!(f, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    #[test]
    fn times_read_as_rfc_3339() {
        for (time, expected) in [
            (at(0, 0), "1970-01-01T00:00:00Z"),
            (at(1_709_164_800, 0), "2024-02-29T00:00:00Z"),
            (at(1_798_761_599, 5), "2026-12-31T23:59:59.000000005Z"),
        ] {
            assert_eq!(Rfc3339(time).to_string(), expected);
        }
    }

    #[test]
    fn times_read_as_http_dates() {
        assert_eq!(HttpDate(at(784_111_777, 0)).to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(HttpDate(at(0, 9)).to_string(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
