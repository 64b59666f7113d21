//! Which name an address was last given out for.

use std::net::IpAddr;
use std::time::Duration;

use adit_net::Domain;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::recent::Recent;

/// How many addresses are remembered (mihomo-surface.md §7.5).
const CAPACITY: usize = 4096;
/// The shortest time that is remembered.
const LEAST: Duration = Duration::from_secs(1);

/// From the addresses in answers to the names that were asked for, for as long as the answers are valid.
pub(crate) struct Mapping(Mutex<Recent<IpAddr, Entry>>);

struct Entry {
    name: Domain,
    until: Instant,
}

impl Mapping {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Recent::new(CAPACITY)))
    }

    /// Remembers that `name` was answered with `ips`. What is no address of one machine anywhere is not remembered.
    pub(crate) fn remember(&self, name: &Domain, ips: &[IpAddr], ttl: Duration) {
        let until = Instant::now() + ttl.max(LEAST);
        let mut entries = self.0.lock();
        for ip in ips.iter().map(IpAddr::to_canonical).filter(is_global_unicast) {
            match entries.get(&ip) {
                Some(known) if known.name == *name && known.until >= until => {}
                _ => entries.insert(ip, Entry { name: name.clone(), until }),
            }
        }
    }

    /// The name that `ip` was last given out for.
    pub(crate) fn original(&self, ip: IpAddr) -> Option<Domain> {
        let mut entries = self.0.lock();
        let ip = ip.to_canonical();
        let entry = entries.get(&ip)?;
        if Instant::now() < entry.until {
            return Some(entry.name.clone());
        }
        entries.remove(&ip);
        None
    }
}

/// Not unspecified, loopback, multicast, link-local or broadcast; private networks are.
fn is_global_unicast(ip: &IpAddr) -> bool {
    let is_special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    let is_of_its_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !is_special && !is_of_its_link
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_remembered_for_their_time_and_the_last_name_counts() {
        let mapping = Mapping::new();
        let (a, b): (Domain, Domain) = ("a.example".parse().unwrap(), "b.example".parse().unwrap());
        mapping.remember(&a, &[ip("192.0.2.1"), ip("2001:db8::1"), ip("10.0.0.1")], Duration::from_secs(60));
        mapping.remember(&b, &[ip("192.0.2.1"), ip("192.0.2.2")], Duration::ZERO);
        mapping.remember(&a, &[ip("2001:db8::1")], Duration::from_secs(5));
        let names = |list: [&str; 4]| list.map(|text| mapping.original(ip(text)).map(|name| name.to_string()));
        let (a, b) = (Some("a.example".to_owned()), Some("b.example".to_owned()));
        let all = ["192.0.2.1", "::ffff:192.0.2.2", "2001:db8::1", "10.0.0.1"];
        assert_eq!(names(all), [b.clone(), b, a.clone(), a.clone()]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(names(all), [None, None, a.clone(), a.clone()]);
        tokio::time::advance(Duration::from_millis(58_999)).await;
        assert_eq!(names(all), [None, None, a.clone(), a]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(names(all), [None, None, None, None]);
    }

    #[tokio::test]
    async fn addresses_that_many_share_are_not_remembered() {
        let mapping = Mapping::new();
        let name = "a.example".parse().unwrap();
        for text in
            ["0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.0.1", "255.255.255.255", "::", "::1", "fe80::1", "ff02::1"]
        {
            mapping.remember(&name, &[ip(text)], Duration::from_secs(60));
            assert_eq!(mapping.original(ip(text)), None, "{text}");
        }
    }
}
