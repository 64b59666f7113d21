//! Network namespaces: two with a WireGuard peer in one of them ([`Lab`]), or a [`gateway`] between a client and an internet.
//!
//! ```text
//!  client namespace                        server namespace
//!  the test, the proxy          veth       wireguard-go with a TUN interface
//!  127.0.0.1  10.77.0.2 ──────────────── 10.77.0.1      10.66.0.1  fd66::1
//!             fd77::2                    fd77::1        192.0.2.1  2001:db8::1  ← origins
//! ```
//!
//! A test runs inside: [`Lab::client`]`().run(…)` for what uses the tunnel, and [`Lab::inside`] to start the origins. So
//! the proxy's ports are on a loopback interface of the test's own, nothing can leave the machine, and tests in parallel
//! may all have the same addresses. The client side's default route leads over the link: a proxy that goes around its
//! tunnel gets there, and [`Lab::watch`] sees it.
//!
//! Nothing here has a name that a killed test could leave behind.

mod device;
pub mod gateway;
mod keys;
mod namespace;
mod peer;
mod resolver;
mod watch;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::lossy::{Faults, LossyRelay};

pub use device::Stats;
pub use keys::Key;
pub use namespace::Namespace;
pub use peer::{KernelTunnel, PeerOptions, WireGuardPeer, WireGuardRoute};
pub use resolver::with_name_server;
pub use watch::LeakWatch;

/// The client's address on the link.
pub const OUTER_CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The client's IPv6 address on the link.
pub const OUTER_CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// The server's address on the link.
pub const OUTER_SERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The server's IPv6 address on the link.
pub const OUTER_SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// Where origins started on the server side listen. From a range for documentation (RFC 5737), so that no real host has it.
pub const ORIGIN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The same for IPv6 (RFC 3849).
pub const ORIGIN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// The client's end of the link.
const LINK: &str = "outer";

/// Two namespaces with a link between them; see the [module](self).
#[derive(Debug)]
pub struct Lab {
    client: Arc<Namespace>,
    server: Arc<Namespace>,
    peers: AtomicU8,
}

impl Lab {
    /// Makes one, without a peer.
    ///
    /// # Panics
    /// Without root: a test that cannot run must not pass.
    #[must_use]
    pub fn new() -> Self {
        let (client, server) = (Arc::new(Namespace::new()), Arc::new(Namespace::new()));
        let far = server.path();
        client.ip(&format!("link add {LINK} type veth peer name {LINK} netns {}", far.display()));
        for (side, v4, v6) in [(&client, OUTER_CLIENT_V4, OUTER_CLIENT_V6), (&server, OUTER_SERVER_V4, OUTER_SERVER_V6)]
        {
            side.add_address(LINK, v4.into(), 24);
            side.add_address(LINK, v6.into(), 64);
            side.ip(&format!("link set {LINK} up"));
            // A window for 5 Gbit/s at 50 ms, so that it is never an origin's kernel that a table shows.
            for direction in ["ipv4/tcp_rmem", "ipv4/tcp_wmem"] {
                side.set(direction, "4096 131072 67108864");
            }
        }
        server.add_address("lo", ORIGIN_V4.into(), 32);
        server.add_address("lo", ORIGIN_V6.into(), 128);
        server.set("ipv4/ip_forward", "1");
        server.set("ipv6/conf/all/forwarding", "1");
        let lab = Self { client, server, peers: AtomicU8::new(0) };
        lab.add_default_routes();
        lab
    }

    /// The side of the proxy and its clients.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The side of the peer and the origins.
    #[must_use]
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    /// Runs `work` on a thread on the server side. Origins started there listen on [`ORIGIN_V4`] and [`ORIGIN_V6`].
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.server.run(work)
    }

    /// Starts a peer on the server side. Several can run: each has its own port and network.
    #[must_use]
    pub fn peer(&self, options: PeerOptions) -> WireGuardPeer {
        let network = self.peers.fetch_add(1, Ordering::Relaxed);
        WireGuardPeer::start(Arc::clone(&self.server), network, options)
    }

    /// Makes a kernel interface on the client side that sends everything for the origins into the tunnel.
    #[must_use]
    pub fn kernel_tunnel(&self, route: &WireGuardRoute) -> KernelTunnel {
        let behind = [(ORIGIN_V4.into(), 32), (ORIGIN_V6.into(), 128)];
        KernelTunnel::start(Arc::clone(&self.client), route, &behind)
    }

    /// Starts a relay to `endpoint` on the client side's loopback interface.
    #[must_use]
    pub fn relay(&self, endpoint: SocketAddr, up: Faults, down: Faults, seed: u64) -> LossyRelay {
        self.client.run(|| LossyRelay::start(endpoint, up, down, seed))
    }

    /// From now until the result is dropped, lets nothing but UDP to these endpoints leave the client side.
    #[must_use]
    pub fn watch(&self, endpoints: &[SocketAddr]) -> LeakWatch {
        LeakWatch::new(Arc::clone(&self.client), LINK, endpoints)
    }

    /// Unplugs the client side's end of the link, or plugs it in again. Addresses and routes are lost and come back.
    pub fn plug(&self, plugged: bool) {
        if plugged {
            self.client.ip(&format!("link set {LINK} up"));
            // The kernel removes IPv6 addresses and all routes of an interface that goes down, and keeps the IPv4 address.
            self.client.add_address(LINK, OUTER_CLIENT_V6.into(), 64);
            self.add_default_routes();
        } else {
            self.client.ip(&format!("link set {LINK} down"));
        }
    }

    /// Lets only packets of up to `mtu` bytes over the link. The kernel knows: what is larger is refused where it is sent.
    pub fn set_link_mtu(&self, mtu: u16) {
        for side in [&self.client, &self.server] {
            side.ip(&format!("link set {LINK} mtu {mtu}"));
        }
    }

    fn add_default_routes(&self) {
        self.client.ip(&format!("route add default via {OUTER_SERVER_V4}"));
        self.client.ip(&format!("-6 route add default via {OUTER_SERVER_V6} dev {LINK}"));
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}
