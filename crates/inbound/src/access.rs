//! Which clients are served at all.

use std::net::IpAddr;

use adit_net::{ClientAddr, is_private};
use ipnet::{IpNet, Ipv4Net};

/// The sources a listener serves: `lan-allowed-ips` and `lan-disallowed-ips`, or the cautious default.
///
/// Asked before a byte is read or answered. The default serves [everyone](Access::everyone).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    allowed: Allowed,
    denied: Vec<IpNet>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Allowed {
    #[default]
    Everyone,
    PrivateOnly,
    Listed(Vec<IpNet>),
}

impl Access {
    /// Every source.
    #[must_use]
    pub fn everyone() -> Self {
        Self::default()
    }

    /// Only sources that cannot be on the internet ([`is_private`]).
    #[must_use]
    pub fn private_only() -> Self {
        Self { allowed: Allowed::PrivateOnly, denied: Vec::new() }
    }

    /// Only sources in one of `prefixes`; nobody if there is none. IPv4-mapped IPv6 prefixes count as IPv4.
    #[must_use]
    pub fn listed(prefixes: impl IntoIterator<Item = IpNet>) -> Self {
        Self { allowed: Allowed::Listed(prefixes.into_iter().map(unmapped).collect()), denied: Vec::new() }
    }

    /// Except sources in one of `prefixes`, which wins over any permission.
    #[must_use]
    pub fn denying(mut self, prefixes: impl IntoIterator<Item = IpNet>) -> Self {
        self.denied = prefixes.into_iter().map(unmapped).collect();
        self
    }

    /// Whether `client` is served.
    #[must_use]
    pub fn admits(&self, client: ClientAddr) -> bool {
        let ip = client.ip();
        if contains(&self.denied, ip) {
            return false;
        }
        match &self.allowed {
            Allowed::Everyone => true,
            Allowed::PrivateOnly => is_private(ip),
            Allowed::Listed(prefixes) => contains(prefixes, ip),
        }
    }
}

/// Whether one of `prefixes` (from [`unmapped`]) contains `ip` (from a [`ClientAddr`]).
pub(crate) fn contains(prefixes: &[IpNet], ip: IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(&ip))
}

/// `::ffff:a.b.c.d/n` as the IPv4 prefix that it means, because client addresses are unmapped too.
pub(crate) fn unmapped(prefix: IpNet) -> IpNet {
    let IpNet::V6(v6) = prefix else { return prefix };
    let (Some(v4), Some(length)) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) else {
        return prefix;
    };
    Ipv4Net::new(v4, length).map_or(prefix, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(ip: &str) -> ClientAddr {
        ClientAddr::from(std::net::SocketAddr::new(ip.parse().unwrap(), 1))
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn private_only_means_sources_that_cannot_be_on_the_internet() {
        let access = Access::private_only();
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.9",
            "169.254.7.7",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(access.admits(client(inside)), "{inside}");
        }
        for outside in [
            "8.8.8.8",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "0.0.0.0",
        ] {
            assert!(!access.admits(client(outside)), "{outside}");
        }
    }

    /// F-C3
    #[test]
    fn denied_wins_and_mapped_spellings_are_the_same_address() {
        let access = Access::listed(nets(&["10.0.0.0/8", "::ffff:192.168.0.0/112", "fd00::/8"]))
            .denying(nets(&["::ffff:10.9.0.0/112", "fd00:1::/32"]));
        for (ip, admitted) in [
            ("10.1.1.1", true),
            ("10.9.1.1", false),
            ("::ffff:10.9.1.1", false),
            ("192.168.3.4", true),
            ("192.169.0.1", false),
            ("fd00::1", true),
            ("fd00:1::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(access.admits(client(ip)), admitted, "{ip}");
        }
    }

    #[test]
    fn an_empty_list_admits_nobody() {
        assert!(!Access::listed([]).admits(client("127.0.0.1")));
        assert!(Access::everyone().admits(client("8.8.8.8")));
        assert!(!Access::everyone().denying(nets(&["8.0.0.0/8"])).admits(client("8.8.8.8")));
    }
}
