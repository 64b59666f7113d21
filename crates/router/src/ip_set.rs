//! Membership of addresses in a set of prefixes: sorted, merged ranges and one binary search.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A set of addresses. Each family has its own table, so an IPv4 look-up compares 32-bit numbers only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl IpSet {
    /// Whether `ip` is in the set. IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.contains(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.contains(ip.to_bits()),
        }
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.starts.is_empty() && self.v6.starts.is_empty()
    }

    /// Number of ranges after merging.
    #[must_use]
    pub fn range_count(&self) -> usize {
        self.v4.starts.len() + self.v6.starts.len()
    }
}

impl FromIterator<IpNet> for IpSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let mut builder = IpSetBuilder::default();
        for net in nets {
            builder.add(net);
        }
        builder.build()
    }
}

/// Collects prefixes and ranges for an [`IpSet`].
#[derive(Clone, Debug, Default)]
pub struct IpSetBuilder {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl IpSetBuilder {
    /// Adds all addresses of a prefix; host bits are ignored. A prefix of IPv4-mapped addresses counts as IPv4.
    pub fn add(&mut self, net: IpNet) {
        match net {
            IpNet::V4(net) => self.v4.push((net.network().to_bits(), net.broadcast().to_bits())),
            IpNet::V6(net) => self.add_range_v6(net.network(), net.broadcast()),
        }
    }

    /// Adds the addresses from `first` to `last`, both included. Nothing happens when the ends are of different
    /// families or in the wrong order.
    pub fn add_range(&mut self, first: IpAddr, last: IpAddr) {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                self.v4.push((first.to_bits(), last.to_bits()));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => self.add_range_v6(first, last),
            _ => {}
        }
    }

    /// Sorts, merges and freezes.
    #[must_use]
    pub fn build(self) -> IpSet {
        IpSet { v4: Ranges::merged(self.v4, |n| n.checked_add(1)), v6: Ranges::merged(self.v6, |n| n.checked_add(1)) }
    }

    fn add_range_v6(&mut self, first: Ipv6Addr, last: Ipv6Addr) {
        match (first.to_ipv4_mapped(), last.to_ipv4_mapped()) {
            (Some(first), Some(last)) => self.v4.push((first.to_bits(), last.to_bits())),
            _ => self.v6.push((first.to_bits(), last.to_bits())),
        }
    }
}

/// INVARIANT: `starts` ascends strictly, `ends` has the same length, ranges neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges<T> {
    starts: Box<[T]>,
    ends: Box<[T]>,
}

impl<T: Ord + Copy> Ranges<T> {
    fn merged(mut pairs: Vec<(T, T)>, successor: impl Fn(T) -> Option<T>) -> Self {
        pairs.sort_unstable();
        let mut starts: Vec<T> = Vec::with_capacity(pairs.len());
        let mut ends: Vec<T> = Vec::with_capacity(pairs.len());
        for (first, last) in pairs {
            match ends.last_mut() {
                Some(end) if successor(*end).is_none_or(|next| first <= next) => *end = last.max(*end),
                _ => {
                    starts.push(first);
                    ends.push(last);
                }
            }
        }
        Self { starts: starts.into(), ends: ends.into() }
    }

    fn contains(&self, value: T) -> bool {
        let after = self.starts.partition_point(|start| *start <= value);
        after.checked_sub(1).and_then(|at| self.ends.get(at)).is_some_and(|end| value <= *end)
    }
}

/// Reads `address/length` as rules write it: the length is required, host bits may be set, an IPv6 zone is ignored,
/// and a prefix of IPv4-mapped addresses becomes IPv4.
///
/// Returns `None` for anything else; a bare address is not a prefix.
#[must_use]
pub fn parse_prefix(text: &str) -> Option<IpNet> {
    let (address, length) = text.trim().rsplit_once('/')?;
    let address = address.split_once('%').map_or(address, |(address, _)| address);
    let address: IpAddr = address.parse().ok()?;
    if length.is_empty() || length.len() > 3 || !length.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let length: u8 = length.parse().ok()?;
    match address {
        IpAddr::V6(ip) => match (ip.to_ipv4_mapped(), length.checked_sub(96)) {
            (Some(ip), Some(length)) => IpNet::new(ip.into(), length).ok(),
            _ => IpNet::new(address, length).ok(),
        },
        IpAddr::V4(_) => IpNet::new(address, length).ok(),
    }
}

/// What `GEOIP,LAN` means: private, unspecified, loopback, multicast or link-local.
pub(crate) fn is_lan(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_private()
                || ip == Ipv4Addr::UNSPECIFIED
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_link_local()
        }
        IpAddr::V6(ip) => {
            ip.is_unique_local()
                || ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        parse_prefix(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn neighbours_merge_and_families_stay_apart() {
        let set: IpSet =
            ["192.168.0.0/17", "192.168.128.0/17", "10.1.2.3/8", "2001:db8::/32"].map(net).into_iter().collect();
        assert_eq!(set.range_count(), 3);
        for inside in ["192.168.255.255", "10.0.0.0", "10.255.255.255", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert!(set.contains(ip(inside)), "{inside}");
        }
        for outside in ["192.169.0.0", "11.0.0.0", "9.255.255.255", "2001:db9::", "::a00:1"] {
            assert!(!set.contains(ip(outside)), "{outside}");
        }
        let all: IpSet = ["0.0.0.0/0", "255.0.0.0/8", "::/0"].map(net).into_iter().collect();
        assert_eq!(all.range_count(), 2);
        assert!(all.contains(ip("255.255.255.255")) && all.contains(ip("::")));
        assert!(!IpSet::default().contains(ip("0.0.0.0")));
    }

    #[test]
    fn prefixes_as_rules_write_them() {
        for (text, shown) in [
            ("8.8.8.8/24", "8.8.8.8/24"),
            ("2001:0db8:0::1/32", "2001:db8::1/32"),
            ("fe80::1%eth0/64", "fe80::1/64"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            (" 1.2.3.4/32 ", "1.2.3.4/32"),
        ] {
            assert_eq!(net(text).to_string(), shown);
        }
        for bad in
            ["1.2.3.4", "1.2.3.4/", "1.2.3.4/33", "::/129", "1.2.3/8", "/8", "", "1.2.3.4/+8", "a/8", "1.2.3.4/0008"]
        {
            assert!(parse_prefix(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_prefixes(
            nets in prop::collection::vec((any::<bool>(), any::<u32>(), 0u8..=32), 0..40),
            probes in prop::collection::vec((any::<bool>(), any::<u32>()), 0..40),
        ) {
            let address = |v6: bool, bits: u32| -> IpAddr {
                if v6 { Ipv6Addr::from_bits(u128::from(bits) << 96).into() } else { Ipv4Addr::from_bits(bits).into() }
            };
            let nets: Vec<IpNet> =
                nets.into_iter().map(|(v6, bits, length)| IpNet::new(address(v6, bits), length).unwrap()).collect();
            let set: IpSet = nets.iter().copied().collect();
            let ends = nets.iter().flat_map(|net| [net.network(), net.broadcast()]);
            for probe in probes.into_iter().map(|(v6, bits)| address(v6, bits)).chain(ends) {
                let naive = nets.iter().any(|net| net.contains(&probe));
                prop_assert_eq!(set.contains(probe), naive, "{}", probe);
            }
        }
    }
}
