//! Connections of this machine itself: names resolved here, sockets from the one factory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_net::{DialError, Host, Resolve, SocketOptions, Target, is_own_listener};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::options::IpVersion;
use crate::race::{PACE, interleave, race};

/// Everything about one target: its name, and all its addresses.
const CONNECT: Duration = Duration::from_secs(10);

/// Resolves and connects, from one set of socket options.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) socket: SocketOptions,
    pub(crate) ip_version: IpVersion,
    pub(crate) resolver: Arc<dyn Resolve>,
}

impl Connector {
    /// Opens a TCP connection to `target` within [`CONNECT`].
    ///
    /// `known` is an address that somebody already found for the target and decided upon: then no other is tried,
    /// unless `ip-version` forbids it.
    ///
    /// # Cancel safety
    /// Dropping the future closes what it opened.
    pub(crate) async fn connect(&self, target: &Target, known: Option<IpAddr>) -> Result<TcpStream, DialError> {
        timeout(CONNECT, self.resolve_and_race(target, known))
            .await
            .unwrap_or_else(|_| Err(DialError::TimedOut(format!("connect to {target}"))))
    }

    async fn resolve_and_race(&self, target: &Target, known: Option<IpAddr>) -> Result<TcpStream, DialError> {
        let addresses = self.addresses(&target.host, known).await?;
        let mut allowed = Vec::with_capacity(addresses.len());
        let mut denied = None;
        for ip in addresses {
            let address = SocketAddr::new(ip, target.port);
            match forbidden(ip).or_else(|| is_own_listener(address).then_some("is a listener of this proxy")) {
                None => allowed.push(address),
                Some(why) => denied = Some(DialError::Denied(format!("{} {why}", peer(target, address)))),
            }
        }
        if let (true, Some(denied)) = (allowed.is_empty(), denied) {
            return Err(denied);
        }
        race(allowed, PACE, |address| self.socket.connect(address)).await.map_err(|failed| match failed {
            Some((address, error)) => DialError::from_connect(error, peer(target, address)),
            None => DialError::Unresolved(target.to_string()),
        })
    }

    /// The addresses of `host` that `ip-version` allows, in the order in which to try them; never empty.
    pub(crate) async fn addresses(&self, host: &Host, known: Option<IpAddr>) -> Result<Vec<IpAddr>, DialError> {
        let known = known.filter(|ip| self.ip_version.allows(*ip));
        let name = match (host, known) {
            (_, Some(ip)) => return Ok(vec![ip]),
            (Host::Ip(ip), None) if self.ip_version.allows(*ip) => return Ok(vec![*ip]),
            (Host::Ip(ip), None) => {
                return Err(DialError::Denied(format!("{ip} is not of the family that ip-version allows")));
            }
            (Host::Domain(name), None) => name,
        };
        let found =
            self.resolver.resolve(name).await.map_err(|error| DialError::Unresolved(format!("{name}: {error}")))?;
        let sorted = self.ip_version.sort(found);
        if sorted.is_empty() {
            return Err(DialError::Unresolved(format!("{name}: no address of the family that ip-version allows")));
        }
        Ok(interleave(&sorted))
    }

    /// Whether a datagram may go to `ip`.
    pub(crate) fn may_send_to(&self, ip: IpAddr) -> bool {
        self.ip_version.allows(ip) && forbidden(ip).is_none()
    }
}

impl IpVersion {
    fn allows(self, ip: IpAddr) -> bool {
        match self {
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
            Self::Dual | Self::PreferV4 | Self::PreferV6 => true,
        }
    }

    /// Removes what is not allowed and moves the preferred family to the front; the resolver's order otherwise stays.
    fn sort(self, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        addresses.retain(|ip| self.allows(*ip));
        match self {
            Self::PreferV4 => addresses.sort_by_key(IpAddr::is_ipv6),
            Self::PreferV6 => addresses.sort_by_key(IpAddr::is_ipv4),
            Self::Dual | Self::V4 | Self::V6 => {}
        }
        addresses
    }
}

/// Why nothing may be sent to `ip`, if so: it names no single host (faults F-B18).
///
/// A broadcast address of a subnet cannot be told by looking at it; the kernel refuses it, because no socket of ours
/// asks for `SO_BROADCAST`.
pub(crate) fn forbidden(ip: IpAddr) -> Option<&'static str> {
    match ip.to_canonical() {
        ip if ip.is_unspecified() => Some("is the unspecified address"),
        ip if ip.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("is the broadcast address"),
        IpAddr::V4(ip) if ip.octets()[0] >= 240 => Some("is in the reserved class E"),
        _ => None,
    }
}

/// How errors call the other end: the name that was asked for and the address that was tried.
fn peer(target: &Target, address: SocketAddr) -> String {
    match &target.host {
        Host::Ip(_) => address.to_string(),
        Host::Domain(name) => format!("{name} ({address})"),
    }
}

#[cfg(test)]
mod tests {
    use adit_net::{BoxFuture, Domain, ResolveError};

    use super::*;

    /// Answers every name with the same addresses.
    struct Fixed(Vec<IpAddr>);

    impl Resolve for Fixed {
        fn resolve<'a>(&'a self, _: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
            Box::pin(std::future::ready(Ok(self.0.clone())))
        }
    }

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    fn connector(ip_version: IpVersion, answers: &str) -> Connector {
        Connector { socket: SocketOptions::default(), ip_version, resolver: Arc::new(Fixed(ips(answers))) }
    }

    #[tokio::test]
    async fn ip_version_filters_and_sorts() {
        let name: Host = "both.test".parse().unwrap();
        for (version, tried) in [
            (IpVersion::Dual, "1.0.0.1 2001:db8::1 1.0.0.2 2001:db8::2"),
            (IpVersion::V4, "1.0.0.1 1.0.0.2"),
            (IpVersion::V6, "2001:db8::1 2001:db8::2"),
            (IpVersion::PreferV4, "1.0.0.1 2001:db8::1 1.0.0.2 2001:db8::2"),
            (IpVersion::PreferV6, "2001:db8::1 1.0.0.1 2001:db8::2 1.0.0.2"),
        ] {
            let connector = connector(version, "1.0.0.1 1.0.0.2 2001:db8::1 2001:db8::2");
            assert_eq!(connector.addresses(&name, None).await.unwrap(), ips(tried), "{version:?}");
        }
        let error = connector(IpVersion::V6, "1.0.0.1").addresses(&name, None).await.unwrap_err();
        assert!(matches!(&error, DialError::Unresolved(why) if why.starts_with("both.test: no address of the family")));
    }

    #[tokio::test]
    async fn a_known_address_is_the_only_one_unless_its_family_is_not_allowed() {
        let name: Host = "both.test".parse().unwrap();
        let known = Some("192.0.2.7".parse().unwrap());
        let found = |version| async move {
            connector(version, "1.0.0.1 2001:db8::1").addresses(&"both.test".parse().unwrap(), known).await.unwrap()
        };
        assert_eq!(found(IpVersion::Dual).await, ips("192.0.2.7"));
        assert_eq!(found(IpVersion::PreferV6).await, ips("192.0.2.7"));
        assert_eq!(found(IpVersion::V6).await, ips("2001:db8::1"));
        let literal = connector(IpVersion::V6, "").addresses(&"192.0.2.7".parse().unwrap(), None).await;
        assert!(matches!(literal, Err(DialError::Denied(_))), "{literal:?}");
        assert!(matches!(connector(IpVersion::Dual, "").addresses(&name, None).await, Err(DialError::Unresolved(_))));
    }

    /// F-B18
    #[test]
    fn what_names_no_host_is_forbidden() {
        for (ip, expected) in [
            ("0.0.0.0", true),
            ("::", true),
            ("::ffff:0.0.0.0", true),
            ("224.0.0.251", true),
            ("239.255.255.250", true),
            ("ff02::fb", true),
            ("::ffff:224.0.0.1", true),
            ("255.255.255.255", true),
            ("240.0.0.1", true),
            ("254.1.2.3", true),
            ("223.255.255.255", false),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("fe80::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(forbidden(ip.parse().unwrap()).is_some(), expected, "{ip}");
        }
    }
}
