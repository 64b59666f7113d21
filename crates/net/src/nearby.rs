//! Who is near: addresses that cannot be across the internet, and networks that this host is in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

/// How long the networks of this host are taken to be what they were.
const MAX_AGE: Duration = Duration::from_secs(5);

/// Whether `ip` is of those that are not routed on the internet: loopback, private (RFC 1918, RFC 4193), link-local
/// (RFC 3927, RFC 4291) and carrier-NAT (RFC 6598) addresses. The unspecified address is not.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_carrier_nat(ip),
        IpAddr::V6(ip) => ip == Ipv6Addr::LOCALHOST || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// 100.64.0.0/10, RFC 6598.
fn is_carrier_nat(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xC0 == 64
}

/// The networks that the interfaces of this host are in, by addresses and masks as getifaddrs(3) tells them: who has an
/// address in one is on a link of ours, or is us. Private ones are left out ([`is_private`] tells those without asking).
///
/// The system is asked when what it said is five seconds old. If it does not say, this host is in no network.
#[derive(Debug, Default)]
pub struct OnLink {
    networks: Vec<Network>,
    asked: Option<Instant>,
}

impl OnLink {
    /// Whether `ip` is in one of the networks. May ask the system, which takes as long as there are interfaces; `now` is the
    /// time.
    pub fn contains(&mut self, ip: IpAddr, now: Instant) -> bool {
        if self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= MAX_AGE) {
            self.asked = Some(now);
            self.networks = networks();
        }
        self.networks.iter().any(|network| network.contains(ip))
    }
}

fn networks() -> Vec<Network> {
    let addresses = getifaddrs().into_iter().flatten();
    let mut networks: Vec<Network> = addresses.filter_map(|address| Network::of(&address)).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

/// Never all there is: an interface with such a mask says nothing of who is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    V4 { bits: u32, mask: u32 },
    V6 { bits: u128, mask: u128 },
}

impl Network {
    fn of(address: &InterfaceAddress) -> Option<Self> {
        Self::new(ip(address.address.as_ref()?)?, ip(address.netmask.as_ref()?)?)
    }

    fn new(address: IpAddr, mask: IpAddr) -> Option<Self> {
        if is_private(address) {
            return None;
        }
        match (address, mask) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => {
                let mask = mask.to_bits();
                (mask != 0).then_some(Self::V4 { bits: address.to_bits() & mask, mask })
            }
            (IpAddr::V6(address), IpAddr::V6(mask)) => {
                let mask = mask.to_bits();
                (mask != 0).then_some(Self::V6 { bits: address.to_bits() & mask, mask })
            }
            _ => None,
        }
    }

    fn contains(self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Self::V4 { bits, mask }, IpAddr::V4(ip)) => ip.to_bits() & mask == bits,
            (Self::V6 { bits, mask }, IpAddr::V6(ip)) => ip.to_bits() & mask == bits,
            _ => false,
        }
    }
}

/// Not unmapped: a mask is no address.
fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, mask: &str) -> Option<Network> {
        Network::new(address.parse().unwrap(), mask.parse().unwrap())
    }

    #[test]
    fn a_network_contains_its_own() {
        let v4 = network("198.51.100.77", "255.255.255.192").unwrap();
        let v6 = network("2001:db8:7::9", "ffff:ffff:ffff:ffff::").unwrap();
        for (network, inside, outside) in [
            (v4, ["198.51.100.64", "198.51.100.127"], ["198.51.100.63", "2001:db8:7::9"]),
            (v6, ["2001:db8:7::", "2001:db8:7:0:ffff::1"], ["2001:db8:7:1::9", "198.51.100.77"]),
        ] {
            assert!(inside.iter().all(|ip| network.contains(ip.parse().unwrap())), "{network:?}");
            assert!(!outside.iter().any(|ip| network.contains(ip.parse().unwrap())), "{network:?}");
        }
    }

    #[test]
    fn what_says_nothing_of_who_is_near_is_left_out() {
        assert_eq!(network("198.51.100.77", "0.0.0.0"), None);
        assert_eq!(network("2001:db8::1", "::"), None);
        assert_eq!(network("198.51.100.77", "ffff::"), None);
        assert_eq!(network("10.0.0.1", "128.0.0.0"), None);
    }
}
