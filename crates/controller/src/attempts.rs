//! Wrong secrets, counted by who sent them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// So many are answered in a minute; more are told to wait.
const ALLOWED: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// Sources that are told apart. Of more, the one that has been quiet the longest is forgotten.
const SOURCES: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Attempts(HashMap<IpAddr, Window>);

#[derive(Debug)]
struct Window {
    began: Instant,
    failures: u32,
}

impl Attempts {
    /// Counts a wrong secret. False if there were too many.
    pub(crate) fn fail(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = network(source);
        if self.0.len() >= SOURCES && !self.0.contains_key(&source) {
            self.make_room(now);
        }
        let window = self.0.entry(source).or_insert(Window { began: now, failures: 0 });
        if now.saturating_duration_since(window.began) >= MINUTE {
            *window = Window { began: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
        window.failures <= ALLOWED
    }

    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, window| now.saturating_duration_since(window.began) < MINUTE);
        if self.0.len() < SOURCES {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, window)| window.began).map(|(source, _)| *source);
        if let Some(oldest) = oldest {
            self.0.remove(&oldest);
        }
    }
}

/// A subscriber has a /64 of IPv6 addresses.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & u128::MAX << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_minute_for_each_source() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert_eq!((0..15).filter(|_| attempts.fail(one, now)).count(), 10);
        assert!(attempts.fail(other, now) && attempts.fail("2001:db8::2".parse().unwrap(), now));
        assert_eq!(attempts.0.len(), 2);
        assert!(!attempts.fail("::ffff:192.0.2.1".parse().unwrap(), now + MINUTE / 2));
        assert!(attempts.fail(one, now + MINUTE));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..10_000_u32 {
            attempts.fail(IpAddr::V4(n.into()), now + Duration::from_micros(n.into()));
        }
        assert_eq!(attempts.0.len(), SOURCES);
        assert!(attempts.0.contains_key(&IpAddr::V4(9_999.into())));
    }
}
