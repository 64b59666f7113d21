//! Ways through a WireGuard tunnel, all in one lab, and what is sent through them.

mod bare;
mod load;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use adit_testkit::Process;
use adit_testkit::client::{PATIENCE, To, socks5};
use adit_testkit::lab::{KernelTunnel, Lab, PeerOptions, WireGuardPeer, WireGuardRoute};
use adit_testkit::lossy::{Faults, LossyRelay};
use adit_testkit::origin::{BulkOrigin, TcpOrigin};
use adit_testkit::subject::{Proxy, Way};

use socket2::SockRef;

use crate::Plan;

pub(crate) use bare::Bare;
pub(crate) use load::{Carried, Direction, Load, Window, carry};

/// Of origins and of the kernel's row: what most servers have.
const CONGESTION_CONTROL: &str = "cubic";

/// The row of the kernel's TCP.
pub(crate) const KERNEL: &str = "kernel TCP over wireguard-go";

/// A lab with a peer, and an origin behind it, for every way.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    pub(crate) paths: Vec<Path>,
    /// Speaks first, one byte.
    pub(crate) banner: TcpOrigin,
}

/// One way through a tunnel, with a peer of its own.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    pub(crate) origin: BulkOrigin,
    /// Between it and its peer, if the scene has relays.
    pub(crate) relay: Option<LossyRelay>,
    via: Via,
    peer: WireGuardPeer,
}

enum Via {
    Proxy(Proxy),
    Kernel(KernelTunnel),
}

impl Scene {
    /// Starts all subjects of the plan and the kernel's tunnel; with a relay in front of each peer, or without.
    pub(crate) fn start(plan: &Plan, relays: bool) -> Self {
        let lab = Lab::new();
        for side in [lab.client(), lab.server()] {
            // For everything on loopback. Cubic may only be chosen for single sockets where the machine's default is another.
            side.set("ipv4/tcp_congestion_control", "reno");
            // What one row does to a path must not be remembered in the next.
            side.set("ipv4/tcp_no_metrics_save", "1");
        }
        let mut paths: Vec<_> = plan
            .subjects
            .iter()
            .map(|&(name, subject)| {
                Path::start(&lab, name, relays, |route| {
                    Via::Proxy(lab.client().run(|| subject.start(Way::WireGuard(route))))
                })
            })
            .collect();
        paths.push(Path::start(&lab, KERNEL, relays, |route| Via::Kernel(lab.kernel_tunnel(route))));
        let banner = lab.inside(|| TcpOrigin::banner("!"));
        Self { lab, paths, banner }
    }

    /// Runs a chapter on the client side, so that its connections and all their threads are there.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce(&Self) -> T + Send) -> T {
        let result = self.lab.client().run(|| work(self));
        for path in &self.paths {
            path.assert_used_its_tunnel();
        }
        result
    }

    /// Names of the rows.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.paths.iter().map(|path| path.name).collect()
    }
}

impl Path {
    fn start(lab: &Lab, name: &'static str, relayed: bool, via: impl FnOnce(&WireGuardRoute) -> Via) -> Self {
        let peer = lab.peer(PeerOptions::default());
        let relay = relayed.then(|| lab.relay(peer.endpoint_v4(), Faults::NONE, Faults::NONE, 1));
        let endpoint = relay.as_ref().map_or_else(|| peer.endpoint_v4(), LossyRelay::addr);
        let via = via(&peer.route().through(endpoint));
        let origin = lab.inside(BulkOrigin::start);
        origin.set_congestion_control(CONGESTION_CONTROL);
        Self { name, origin, relay, via, peer }
    }

    /// The process whose cost is counted.
    pub(crate) fn process(&self) -> &Process {
        match &self.via {
            Via::Proxy(proxy) => &proxy.process,
            Via::Kernel(tunnel) => tunnel.process(),
        }
    }

    pub(crate) fn is_proxy(&self) -> bool {
        matches!(self.via, Via::Proxy(_))
    }

    /// Connects to an origin.
    pub(crate) fn open(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let stream = match &self.via {
            Via::Proxy(proxy) => return socks5(proxy.addr, &To::from(to)),
            Via::Kernel(_) => TcpStream::connect_timeout(&to, PATIENCE)?,
        };
        SockRef::from(&stream).set_tcp_congestion(CONGESTION_CONTROL.as_bytes())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Opens streams that have carried a byte each way and stay open; fewer than `count` if one fails, and says why.
    pub(crate) fn keep_open(&self, count: u64) -> Vec<TcpStream> {
        let open = || {
            let mut stream = self.open(self.origin.addr())?;
            stream.write_all(&[BulkOrigin::KEEP])?;
            stream.read_exact(&mut [0])?;
            Ok(stream)
        };
        let mut streams = Vec::new();
        for n in 0..count {
            match open() {
                Ok(stream) => streams.push(stream),
                Err(error) => {
                    self.complain(&format!("idle stream {n}"), &error);
                    break;
                }
            }
        }
        streams
    }

    /// Milliseconds from the start of a connect to the origin's first byte, one connect after the other, at most `count` and
    /// about as long as `limit`.
    pub(crate) fn connects(&self, banner: SocketAddr, count: u64, limit: Duration) -> io::Result<Vec<f64>> {
        let end = Instant::now() + limit;
        let mut times = Vec::new();
        while (times.len() as u64) < count && Instant::now() < end {
            let start = Instant::now();
            self.open(banner)?.read_exact(&mut [0])?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }

    /// Sets both directions of its relay.
    pub(crate) fn degrade(&self, up: Faults, down: Faults) {
        let relay = self.relay.as_ref().expect("a scene with relays");
        relay.up().set(up);
        relay.down().set(down);
    }

    /// Says on standard error what went wrong.
    pub(crate) fn complain(&self, what: &str, error: &io::Error) {
        eprintln!("{}, {what}: {error}\n{}", self.name, self.process().tail(3));
    }

    /// A proxy that went around the tunnel would be fast.
    fn assert_used_its_tunnel(&self) {
        let (stats, taken) = (self.peer.stats(), self.origin.taken());
        assert!(stats.received >= taken, "{}: {taken} bytes were taken, {stats:?}", self.name);
        assert!(stats.last_handshake.is_some(), "{} made no handshake", self.name);
    }
}
