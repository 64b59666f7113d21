//! The far end of a tunnel, and a route to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::device::{Device, Remote, Stats};
use super::{Key, Namespace, OUTER_SERVER_V4, OUTER_SERVER_V6};
use crate::Process;

/// How a [`WireGuardPeer`] is made.
#[derive(Clone, Copy, Debug)]
pub struct PeerOptions {
    /// Of its interface.
    pub mtu: u16,
    /// Whether its first client has a pre-shared key.
    pub pre_shared_key: bool,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self { mtu: 1420, pre_shared_key: false }
    }
}

/// What a WireGuard client must know.
#[derive(Clone, Debug)]
pub struct WireGuardRoute {
    /// The client's.
    pub private_key: Key,
    /// The client's address in the tunnel, if it has one of this family.
    pub v4: Option<Ipv4Addr>,
    /// The same of the other family.
    pub v6: Option<Ipv6Addr>,
    /// The peer's.
    pub public_key: Key,
    /// If the peer wants one.
    pub pre_shared_key: Option<Key>,
    /// Where the peer is, or a relay in front of it.
    pub endpoint: SocketAddr,
    /// Of the tunnel.
    pub mtu: u16,
    /// Seconds between keepalives, 0 for none.
    pub keepalive: u16,
    /// More keys of the proxy, for adit and Mihomo: `"remote-dns-resolve: true"`.
    pub more: Vec<String>,
}

impl WireGuardRoute {
    /// The same route with another address, that of a relay.
    #[must_use]
    pub fn through(mut self, endpoint: SocketAddr) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// The same route with one more key.
    #[must_use]
    pub fn with(mut self, key: &str) -> Self {
        self.more.push(key.to_owned());
        self
    }
}

/// `wireguard-go` with a TUN interface, on the server side of a [`super::Lab`]. Killed when dropped.
#[derive(Debug)]
pub struct WireGuardPeer {
    device: Device,
    private_key: Key,
    port: u16,
    network: u8,
    mtu: u16,
    clients: Vec<(WireGuardRoute, Remote)>,
}

impl WireGuardPeer {
    /// The peer number `network`: 10.66.`network`.0/24 and fd66:0:0:`network`::/64 are inside its tunnel.
    pub(super) fn start(namespace: Arc<Namespace>, network: u8, options: PeerOptions) -> Self {
        let private_key = Key::random();
        let port = 51_820 + u16::from(network);
        let addresses = vec![(inner_v4(network, 1).into(), 24), (inner_v6(network, 1).into(), 64)];
        let device = Device::start(namespace, options.mtu, addresses, private_key, port);
        let mut peer = Self { device, private_key, port, network, mtu: options.mtu, clients: Vec::new() };
        peer.add_client(options.pre_shared_key.then(Key::random));
        peer
    }

    /// Makes up a client, lets it in, and returns what it must know. Its addresses end in 2 for the first one and count up.
    pub fn add_client(&mut self, pre_shared_key: Option<Key>) -> WireGuardRoute {
        let private_key = Key::random();
        let host = u8::try_from(self.clients.len() + 2).expect("less than 254 clients");
        let (v4, v6) = (inner_v4(self.network, host), inner_v6(self.network, host));
        let remote = Remote {
            public_key: private_key.public(),
            pre_shared_key,
            allowed_ips: vec![(v4.into(), 32), (v6.into(), 128)],
            endpoint: None,
            keepalive: 0,
        };
        self.device.add(&remote);
        let route = WireGuardRoute {
            private_key,
            v4: Some(v4),
            v6: Some(v6),
            public_key: self.public_key(),
            pre_shared_key,
            endpoint: self.endpoint_v4(),
            mtu: self.mtu,
            keepalive: 0,
            more: Vec::new(),
        };
        self.clients.push((route.clone(), remote));
        route
    }

    /// What its first client must know, with the IPv4 endpoint.
    #[must_use]
    pub fn route(&self) -> WireGuardRoute {
        self.clients[0].0.clone()
    }

    /// Where it is on the outer link.
    #[must_use]
    pub fn endpoint_v4(&self) -> SocketAddr {
        (OUTER_SERVER_V4, self.port).into()
    }

    /// The same over IPv6. A test uses one or the other of a peer: after packets of both families, `wireguard-go` of 2026-05
    /// sends some of its own to the wrong address (`StdNetBind.Send` cuts an IPv6 address that it writes over an IPv4 one).
    #[must_use]
    pub fn endpoint_v6(&self) -> SocketAddr {
        (OUTER_SERVER_V6, self.port).into()
    }

    /// Its key.
    #[must_use]
    pub fn public_key(&self) -> Key {
        self.private_key.public()
    }

    /// Its own addresses in the tunnel.
    #[must_use]
    pub fn inner(&self) -> (Ipv4Addr, Ipv6Addr) {
        (inner_v4(self.network, 1), inner_v6(self.network, 1))
    }

    /// What it knows about its first client.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats_of(&self.clients[0].0)
    }

    /// What it knows about a client.
    ///
    /// # Panics
    /// When it does not know it.
    #[must_use]
    pub fn stats_of(&self, client: &WireGuardRoute) -> Stats {
        self.device.stats(&client.private_key.public()).expect("a client of this peer")
    }

    /// Kills it and starts it again: same key, port and clients, no session and nobody's endpoint.
    pub fn restart(&mut self) {
        self.device.restart();
        for (_, remote) in &self.clients {
            self.device.add(remote);
        }
    }

    /// Shuts its first client out, or lets it in again. Shut out, its packets are not answered at all.
    pub fn admit(&self, admit: bool) {
        let (_, remote) = &self.clients[0];
        if admit { self.device.add(remote) } else { self.device.remove(&remote.public_key) }
    }

    /// Sends an IP packet of the test's own making to a client, header and all; the kernel writes the header checksum and the
    /// length of IPv4 ones itself.
    ///
    /// # Panics
    /// When the kernel refuses it, because it is larger than the interface's MTU or has an IPv4 header it does not know.
    pub fn inject(&self, to: IpAddr, packet: &[u8]) {
        self.device.namespace.run(|| {
            let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
            // raw(7): this protocol means that the header is there.
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(255))).expect("a raw socket");
            socket.bind_device(Some(self.interface().as_bytes())).expect("the peer's interface");
            let sent = socket.send_to(packet, &SocketAddr::new(to, 0).into()).expect("a packet that the kernel takes");
            assert_eq!(sent, packet.len());
        });
    }

    /// Its interface's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.device.interface()
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.device.process()
    }
}

/// A kernel's TCP through `wireguard-go` on the client side: what a tunnel costs without a proxy.
#[derive(Debug)]
pub struct KernelTunnel {
    device: Device,
}

impl KernelTunnel {
    /// Sends everything for the `behind` networks into a tunnel.
    pub(super) fn start(namespace: Arc<Namespace>, route: &WireGuardRoute, behind: &[(IpAddr, u8)]) -> Self {
        let v4 = route.v4.map(|v4| (v4.into(), 32));
        let v6 = route.v6.map(|v6| (v6.into(), 128));
        let addresses = v4.into_iter().chain(v6).collect();
        let device = Device::start(Arc::clone(&namespace), route.mtu, addresses, route.private_key, 0);
        device.add(&Remote {
            public_key: route.public_key,
            pre_shared_key: route.pre_shared_key,
            allowed_ips: vec![(Ipv4Addr::UNSPECIFIED.into(), 0), (Ipv6Addr::UNSPECIFIED.into(), 0)],
            endpoint: Some(route.endpoint),
            keepalive: route.keepalive,
        });
        for (network, prefix) in behind {
            namespace.ip(&format!("route add {network}/{prefix} dev {}", device.interface()));
        }
        Self { device }
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.device.process()
    }
}

fn inner_v4(network: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 66, network, host)
}

fn inner_v6(network: u8, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd66, 0, 0, network.into(), 0, 0, 0, host.into())
}
