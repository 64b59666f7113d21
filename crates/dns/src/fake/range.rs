//! Which addresses are fake.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;

/// More names than anybody uses at once; a larger range is used from its start. Bounds the memory that clients can make
/// us use: about 100 bytes for each.
const NAMES_MAX: u32 = 1 << 17;
/// The network itself, the gateway, and two more are kept free (mihomo-surface.md §7.5).
const FIRST: u128 = 4;

/// The ranges that fake addresses come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FakeRanges {
    /// For A questions.
    pub v4: Option<Ipv4Net>,
    /// For AAAA questions; without it they are answered with nothing.
    pub v6: Option<Ipv6Net>,
}

/// Why ranges cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadRange {
    /// Neither family has one.
    #[error("there is neither an IPv4 nor an IPv6 range for fake addresses")]
    None,
    /// No room for a single name: the fourth address after the network's must come before the last one.
    #[error("{0} has no room for fake addresses")]
    Small(IpNet),
}

/// One range. An address in it is known by how many come before it, from the first that is given out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    network: IpNet,
    /// The network's address, as a number.
    base: u128,
    /// Its last one: the broadcast address.
    last: u128,
}

impl Range {
    pub(super) fn new(network: IpNet) -> Result<Self, BadRange> {
        let network = network.trunc();
        let range = Self { network, base: number(network.network()), last: number(network.broadcast()) };
        if range.last - range.base > FIRST { Ok(range) } else { Err(BadRange::Small(network)) }
    }

    /// How many names have room in it.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.last - self.base - FIRST).map_or(NAMES_MAX, |len| len.min(NAMES_MAX))
    }

    /// Whether only a name could be meant by `ip`: in the range, and neither the gateway nor the broadcast address
    /// (mihomo-surface.md §7.6).
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let number = number(ip);
        self.network.contains(&ip) && number != self.base + 1 && number != self.last
    }

    /// The place of an address that may be given out.
    pub(super) fn offset(&self, ip: IpAddr) -> Option<u32> {
        if !self.network.contains(&ip) {
            return None;
        }
        let offset = number(ip).checked_sub(self.base + FIRST)?;
        u32::try_from(offset).ok().filter(|offset| *offset < self.len())
    }

    /// The address in a place; `offset` is less than [`Range::len`].
    pub(super) fn address(&self, offset: u32) -> IpAddr {
        let number = self.base + FIRST + u128::from(offset);
        match self.network {
            IpNet::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            IpNet::V6(_) => Ipv6Addr::from(number).into(),
        }
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Result<Range, BadRange> {
        Range::new(text.parse().unwrap())
    }

    #[test]
    fn the_ends_are_where_mihomo_has_them() {
        for (text, first, last, len) in [
            ("198.18.0.1/16", "198.18.0.4", "198.18.255.254", 65531),
            ("10.0.0.8/29", "10.0.0.12", "10.0.0.14", 3),
            ("28.0.0.1/8", "28.0.0.4", "28.2.0.3", 131_072),
            ("fc00::/18", "fc00::4", "fc00::2:3", 131_072),
            ("fd00::/125", "fd00::4", "fd00::6", 3),
        ] {
            let range = range(text).unwrap();
            assert_eq!(range.len(), len);
            assert_eq!(range.address(0).to_string(), first);
            assert_eq!(range.address(len - 1).to_string(), last);
            assert_eq!(range.offset(first.parse().unwrap()), Some(0));
            assert_eq!(range.offset(last.parse().unwrap()), Some(len - 1));
        }
    }

    #[test]
    fn what_is_no_name_is_known() {
        let range = range("198.18.0.1/16").unwrap();
        for (ip, fake) in [
            ("198.18.0.0", true),
            ("198.18.0.1", false),
            ("198.18.0.2", true),
            ("198.18.255.255", false),
            ("198.19.0.4", false),
            ("::ffff:198.18.0.4", false),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!((range.contains(ip), range.offset(ip)), (fake, None), "{ip}");
        }
    }

    #[test]
    fn a_range_without_room_is_refused() {
        for text in ["10.0.0.0/30", "10.0.0.0/31", "10.0.0.0/32", "fd00::/126", "fd00::1/128"] {
            assert!(matches!(range(text), Err(BadRange::Small(_))), "{text}");
        }
        assert!(range("0.0.0.0/0").is_ok() && range("::/0").is_ok());
    }
}
