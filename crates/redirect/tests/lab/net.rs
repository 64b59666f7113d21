//! The scene.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use adit_inbound::{Access, Interception, TransparentInbound, TransparentOptions};
use adit_net::{Accepted, Handler, KeepAlive, Packet, ReturnPath, Shutdown, SocketOptions};
use adit_redirect::{Firewall, Mode, Options, Owner, Plan};
use adit_testkit::lab::Namespace;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

/// Longer than anything that works takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What is expected to fail is given this long.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(300);

/// Nobody has these addresses: who is answered was captured.
pub(crate) const NOWHERE: [&str; 2] = ["203.0.113.5:443", "[2001:db8:ffff::5]:443"];

/// What the world answers.
pub(crate) const WORLD: &str = "the world";

/// A name that Docker gives.
const BRIDGE: &str = "br-a1b2c3d4e5f6";

/// The proxy's mark.
pub(crate) const MARK: u32 = 0x2d;

/// Where the world listens, TCP and UDP.
pub(crate) const ORIGINS: [&str; 2] = ["198.51.100.1:7", "[2001:db8:51::1]:7"];

/// Every way to the listener.
pub(crate) const WAYS: [(Firewall, Mode); 4] = [
    (Firewall::Nftables, Mode::Redirect),
    (Firewall::Nftables, Mode::Tproxy),
    (Firewall::Iptables, Mode::Redirect),
    (Firewall::Iptables, Mode::Tproxy),
];

pub(crate) struct Net {
    firewall: Firewall,
    pub(crate) client: Namespace,
    pub(crate) gateway: Namespace,
    pub(crate) world: Namespace,
}

impl Net {
    pub(crate) fn new(firewall: Firewall) -> Self {
        Self::with_lan(firewall, "lan")
    }

    /// The client is a container: `lan` is a port of a bridge with a name that Docker gives.
    pub(crate) fn bridged(firewall: Firewall) -> Self {
        Self::with_lan(firewall, BRIDGE)
    }

    /// Makes `lan` a port of such a bridge.
    pub(crate) fn put_lan_behind_bridge(&self) {
        self.gateway.ip("address flush dev lan");
        self.gateway.ip(&format!("link add {BRIDGE} type bridge"));
        self.gateway.ip(&format!("link set lan master {BRIDGE}"));
        self.gateway.ip(&format!("address add 10.78.0.1/24 dev {BRIDGE}"));
        self.gateway.ip(&format!("address add fd78::1/64 dev {BRIDGE} nodad"));
        self.gateway.ip(&format!("link set {BRIDGE} up"));
    }

    fn with_lan(firewall: Firewall, lan: &str) -> Self {
        let (client, gateway, world) = (Namespace::new(), Namespace::new(), Namespace::new());
        gateway.ip(&format!("link add lan type veth peer name lan netns {}", client.path().display()));
        if lan != "lan" {
            gateway.ip(&format!("link add {lan} type bridge"));
            gateway.ip(&format!("link set lan master {lan} up"));
        }
        gateway.ip(&format!("link add wan type veth peer name wan netns {}", world.path().display()));
        for (side, link, v4, v6) in [
            (&client, "lan", "10.78.0.2/24", "fd78::2/64"),
            (&gateway, lan, "10.78.0.1/24", "fd78::1/64"),
            (&gateway, "wan", "192.0.2.2/24", "2001:db8:2::2/64"),
            (&world, "wan", "192.0.2.1/24", "2001:db8:2::1/64"),
        ] {
            side.ip(&format!("address add {v4} dev {link}"));
            side.ip(&format!("address add {v6} dev {link} nodad"));
            side.ip(&format!("link set {link} up"));
        }
        for (side, v4, v6) in [
            (&client, "10.78.0.1", "fd78::1"),
            (&gateway, "192.0.2.1", "2001:db8:2::1"),
            (&world, "192.0.2.2", "2001:db8:2::2"),
        ] {
            side.ip(&format!("route add default via {v4}"));
            side.ip(&format!("-6 route add default via {v6}"));
        }
        world.ip("address add 198.51.100.1/32 dev lo");
        world.ip("address add 2001:db8:51::1/128 dev lo nodad");
        gateway.set("ipv4/ip_forward", "1");
        gateway.set("ipv6/conf/all/forwarding", "1");
        world.run(origins);
        Self { firewall, client, gateway, world }
    }

    /// Options for a proxy on `port` that captures the gateway itself and what its `lan` sends.
    pub(crate) fn options(mode: Mode, port: u16) -> Options {
        Options {
            mode,
            port,
            owner: Owner { mark: MARK, ..Owner::default() },
            host: true,
            interfaces: vec!["lan".parse().unwrap()],
            ipv6: true,
            ..Options::default()
        }
    }

    pub(crate) fn up(&self, options: &Options) {
        let plan = Plan::up_in(self.firewall, options).unwrap();
        self.gateway.run(|| {
            if self.firewall == Firewall::of_this_host() {
                return adit_redirect::up(options).unwrap();
            }
            let mut shell = Command::new("sh").stdin(Stdio::piped()).spawn().unwrap();
            shell.stdin.take().unwrap().write_all(plan.script().as_bytes()).unwrap();
            assert!(shell.wait().unwrap().success(), "{}", plan.script());
        });
    }

    /// Starts a proxy on the gateway; on `port`, or on any for 0. Returns when rules have seen that it lives.
    pub(crate) fn proxy(&self, mode: Mode, port: u16) -> Proxy {
        self.proxy_of(None, mode, port)
    }

    /// The same, run by an ordinary user whose sockets have no mark.
    pub(crate) fn proxy_of(&self, user: Option<u32>, mode: Mode, port: u16) -> Proxy {
        let mark = if user.is_some() { 0 } else { MARK };
        let (bound, port_of) = channel();
        let (stop, stopped) = oneshot::channel::<()>();
        // A thread started inside is inside.
        let thread = self.gateway.run(|| {
            thread::spawn(move || {
                if let Some(user) = user {
                    rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(user)).unwrap();
                }
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let inbound =
                        TransparentInbound::bind(TransparentOptions { mark, ..listener(mode, port) }).unwrap();
                    bound.send(inbound.local_addr().port()).unwrap();
                    let handler = Arc::new(Teller { mark, ways: Mutex::default() });
                    tokio::select! {
                        () = inbound.run(handler, Shutdown::new()) => {}
                        _ = stopped => {}
                    }
                });
            })
        });
        Proxy { port: port_of.recv_timeout(PATIENCE).unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    /// Waits until the rules on the gateway have seen that the proxy lives, or no longer do.
    pub(crate) fn wait_for_pulse(&self, alive: bool) {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while !self.gateway.run(|| self.is_captured(alive)) {
            assert!(std::time::Instant::now() < end, "{:?}", self.firewall);
            thread::yield_now();
        }
    }

    /// Whether the rules capture both families, or neither.
    fn is_captured(&self, captured: bool) -> bool {
        match (self.firewall, captured) {
            (Firewall::Nftables, _) => {
                let set = Command::new("nft").args(["list", "set", "inet", "adit", "alive"]).output().unwrap();
                let set = String::from_utf8(set.stdout).unwrap();
                (set.contains("ipv4"), set.contains("ipv6")) == (captured, captured)
            }
            // iptables knows when it saw a pulse, but not what time it is. Packets tell.
            (Firewall::Iptables, true) => NOWHERE.iter().all(|to| tcp_within(to, A_MOMENT).as_deref() == Some(to)),
            (Firewall::Iptables, false) => ORIGINS.iter().all(|to| tcp_within(to, A_MOMENT).as_deref() == Some(WORLD)),
        }
    }

    /// Packets that left the gateway to the world, or were about to.
    pub(crate) fn count_leaving(&self) -> Leaving<'_> {
        let table = "table inet count {
            chain leaving {
                type filter hook postrouting priority 400
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept
                oifname \"wan\" counter
            }
        }";
        self.gateway.run(|| assert!(Command::new("nft").arg(table).status().unwrap().success()));
        Leaving(self)
    }
}

pub(crate) struct Leaving<'a>(&'a Net);

impl Leaving<'_> {
    pub(crate) fn packets(&self) -> u64 {
        let list = || Command::new("nft").args(["list", "table", "inet", "count"]).output().unwrap().stdout;
        let text = String::from_utf8(self.0.gateway.run(list)).unwrap();
        let (_, rest) = text.split_once("counter packets ").unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    }
}

fn listener(mode: Mode, port: u16) -> TransparentOptions {
    let interception = match mode {
        Mode::Redirect => Interception::Redirect,
        Mode::Tproxy => Interception::Tproxy,
    };
    TransparentOptions {
        name: "here".into(),
        interception,
        listen: format!("[::]:{port}").parse().unwrap(),
        access: Access::everyone(),
        udp: mode == Mode::Tproxy,
        mark: MARK,
        keep_alive: KeepAlive::default(),
    }
}

/// A running proxy, which dies with this value.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Tells each client where it wanted to go. On port 8 it tells what the world says on port 7 instead.
struct Teller {
    mark: u32,
    /// A flow holds its way back.
    ways: Mutex<Vec<Arc<dyn ReturnPath>>>,
}

impl Handler for Teller {
    async fn tcp(&self, client: Accepted) {
        let Accepted { session, mut stream, .. } = client;
        let mut answer = session.target.to_string();
        if session.target.port == 8 {
            // Through the proxy: the same address, the port where the world listens.
            let to = SocketAddr::new(session.target.host.ip().unwrap(), 7);
            let options = SocketOptions { mark: self.mark, ..SocketOptions::default() };
            let mut origin = options.connect(to).await.unwrap();
            answer.clear();
            tokio::io::AsyncReadExt::read_to_string(&mut origin, &mut answer).await.unwrap();
        }
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn udp(&self, packet: Packet) {
        packet.back.send(&packet.target, packet.target.to_string().as_bytes()).unwrap();
        self.ways.lock().unwrap().push(packet.back);
    }
}

/// Starts the world's servers, which end with the namespace's last socket: they are threads of the test.
fn origins() {
    for at in ORIGINS {
        let (tcp, udp) = (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap());
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let _ = stream.unwrap().write_all(WORLD.as_bytes());
            }
        });
        thread::spawn(move || {
            let mut room = [0; 64];
            while let Ok((_, from)) = udp.recv_from(&mut room) {
                let _ = udp.send_to(WORLD.as_bytes(), from);
            }
        });
    }
}

/// What somebody who connects to `to` is told; `None` if nobody answers.
pub(crate) fn tcp(to: &str) -> Option<String> {
    tcp_within(to, PATIENCE)
}

pub(crate) fn tcp_within(to: &str, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&to.parse().unwrap(), patience).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).ok()?;
    Some(heard)
}

/// What is answered to a datagram, which must come from where it was sent to.
pub(crate) fn udp(to: &str) -> Option<String> {
    udp_within(to, PATIENCE)
}

pub(crate) fn udp_within(to: &str, patience: Duration) -> Option<String> {
    let to: SocketAddr = to.parse().unwrap();
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    if socket.send_to(b"?", to).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return None;
    }
    let mut room = [0; 256];
    let (length, from) = socket.recv_from(&mut room).ok()?;
    assert_eq!(from, to);
    Some(String::from_utf8_lossy(&room[..length]).into_owned())
}
