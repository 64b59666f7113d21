//! A gateway between a client and an internet: where transparent proxies work.
//!
//! ```text
//!  client            gateway                        internet                     exit
//!  10.78.0.2 ─ lan ─ 10.78.0.1
//!  fd78::2           fd78::1
//!                    203.0.113.2  ─────── wan ───── 203.0.113.1
//!                    2001:db8:113::2                2001:db8:113::1
//!                                                   192.0.2.1  2001:db8::1
//!                                                   198.51.100.1  ───── far ──── 198.51.100.2
//!                                                   2001:db8:51::1               2001:db8:51::2
//! ```
//!
//! The proxy runs on the gateway, which forwards. Origins and name servers run on the internet's side and listen on
//! [`super::ORIGIN_V4`] and [`super::ORIGIN_V6`]; a proxy server runs at the exit, and so do second origins: they listen on
//! [`EXIT_V4`] and [`EXIT_V6`]. An origin sees who comes from the gateway and who comes from the exit.
//!
//! Nothing but the client's link has private addresses: rules that leave private destinations alone leave nothing here alone.

mod watch;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::{Namespace, ORIGIN_V4, ORIGIN_V6};

pub use watch::{Seen, WanWatch};

/// The client.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
/// The client.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 2);
/// The gateway, to the client.
pub const LAN_V4: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// The gateway, to the client.
pub const LAN_V6: Ipv6Addr = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 1);
/// The gateway, to the internet.
pub const WAN_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The gateway, to the internet.
pub const WAN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 2);
/// Where proxy servers and second origins are.
pub const EXIT_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// Where proxy servers and second origins are.
pub const EXIT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 2);

const NEXT_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const NEXT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 1);
const LINK_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const LINK_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1);

/// The interface between client and gateway, at both ends.
pub const LAN: &str = "lan";
/// The interface between gateway and internet, at both ends.
pub const WAN: &str = "wan";
const FAR: &str = "far";

/// Four namespaces; see the [module](self).
#[derive(Debug)]
pub struct GatewayLab {
    client: Namespace,
    gateway: Namespace,
    internet: Arc<Namespace>,
    exit: Namespace,
}

impl GatewayLab {
    /// Makes one: links, addresses, routes, no rules.
    ///
    /// # Panics
    /// Without root: a test that cannot run must not pass.
    #[must_use]
    pub fn new() -> Self {
        let [client, gateway, internet, exit] = [(); 4].map(|()| Namespace::new());
        join(LAN, (&client, CLIENT_V4, CLIENT_V6), (&gateway, LAN_V4, LAN_V6));
        join(WAN, (&gateway, WAN_V4, WAN_V6), (&internet, NEXT_V4, NEXT_V6));
        join(FAR, (&exit, EXIT_V4, EXIT_V6), (&internet, LINK_V4, LINK_V6));
        default_routes(&client, LAN_V4, LAN_V6);
        default_routes(&gateway, NEXT_V4, NEXT_V6);
        default_routes(&exit, LINK_V4, LINK_V6);
        internet.add_address("lo", ORIGIN_V4.into(), 32);
        internet.add_address("lo", ORIGIN_V6.into(), 128);
        // Who is not translated comes from the client's own address and is answered there.
        internet.ip(&format!("route add 10.78.0.0/24 via {WAN_V4}"));
        internet.ip(&format!("-6 route add fd78::/64 via {WAN_V6}"));
        for router in [&gateway, &internet] {
            router.set("ipv4/ip_forward", "1");
            router.set("ipv6/conf/all/forwarding", "1");
        }
        Self { client, gateway, internet: Arc::new(internet), exit }
    }

    /// Whose traffic is forwarded.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The host of the proxy.
    #[must_use]
    pub fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// The host of origins and name servers.
    #[must_use]
    pub fn internet(&self) -> &Namespace {
        &self.internet
    }

    /// The host of a proxy server, and of second origins.
    #[must_use]
    pub fn exit(&self) -> &Namespace {
        &self.exit
    }

    /// Runs a script on the gateway, as somebody does who pastes host rules into a shell.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn apply(&self, script: &str) {
        self.gateway.command("sh", ["-s"].into_iter(), script);
    }

    /// From now until the result is dropped, takes down every packet that comes out of the gateway's `wan`, but TCP and UDP to
    /// these places, by what the internet receives.
    #[must_use]
    pub fn watch_wan(&self, allowed: &[SocketAddr]) -> WanWatch {
        WanWatch::everything_but(Arc::clone(&self.internet), allowed)
    }

    /// The same of TCP and UDP to ports 53 and 853.
    #[must_use]
    pub fn watch_dns(&self) -> WanWatch {
        WanWatch::questions(Arc::clone(&self.internet))
    }
}

impl Default for GatewayLab {
    fn default() -> Self {
        Self::new()
    }
}

type End<'a> = (&'a Namespace, Ipv4Addr, Ipv6Addr);

/// Lays a cable between two namespaces.
fn join(name: &str, one: End<'_>, other: End<'_>) {
    one.0.ip(&format!("link add {name} type veth peer name {name} netns {}", other.0.path().display()));
    for (side, v4, v6) in [one, other] {
        side.add_address(name, v4.into(), 24);
        side.add_address(name, v6.into(), 64);
        side.ip(&format!("link set {name} up"));
    }
}

fn default_routes(side: &Namespace, v4: Ipv4Addr, v6: Ipv6Addr) {
    side.ip(&format!("route add default via {v4}"));
    side.ip(&format!("-6 route add default via {v6}"));
}
