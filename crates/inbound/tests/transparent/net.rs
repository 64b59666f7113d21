//! The scene: two namespaces, a listener that says where its clients wanted to go.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_inbound::{Access, Interception, TransparentInbound, TransparentOptions};
use adit_net::{Accepted, Handler, KeepAlive, Packet, ReturnPath, Session, Shutdown, Target};
use adit_testkit::lab::Namespace;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

/// Longer than anything that works takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Two linked namespaces. The client's default route leads to the gateway.
pub(crate) struct Net {
    pub(crate) client: Namespace,
    pub(crate) gateway: Namespace,
}

impl Net {
    pub(crate) fn new() -> Self {
        let (client, gateway) = (Namespace::new(), Namespace::new());
        client.ip(&format!("link add lan type veth peer name lan netns {}", gateway.path().display()));
        for (side, last) in [(&client, 2), (&gateway, 1)] {
            side.ip(&format!("address add 10.78.0.{last}/24 dev lan"));
            side.ip(&format!("address add fd78::{last}/64 dev lan nodad"));
            side.ip("link set lan up");
        }
        client.ip("route add default via 10.78.0.1");
        client.ip("-6 route add default via fd78::1");
        gateway.set("ipv4/ip_forward", "1");
        gateway.set("ipv6/conf/all/forwarding", "1");
        Self { client, gateway }
    }

    /// Starts the listener on the gateway, on all addresses.
    pub(crate) fn listen(&self, interception: Interception, udp: bool) -> Listening {
        let (session, sessions) = channel();
        let (packet, packets) = channel();
        let (bound, port) = channel();
        let (stop, stopped) = oneshot::channel::<()>();
        // Whatever is started inside stays inside.
        self.gateway.run(|| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let inbound = TransparentInbound::bind(options(interception, udp)).unwrap();
                    bound.send(inbound.local_addr().port()).unwrap();
                    let handler = Arc::new(Teller { session, packet, ways: Mutex::default() });
                    tokio::select! {
                        () = inbound.run(handler, Shutdown::new()) => {}
                        _ = stopped => {}
                    }
                });
            })
        });
        Listening { port: port.recv_timeout(PATIENCE).unwrap(), sessions, packets, _stop: stop }
    }

    /// Applies rules on the gateway.
    pub(crate) fn rules(&self, script: &str) {
        let child = self.gateway.run(|| {
            let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
            child.wait().unwrap()
        });
        assert!(child.success(), "{script}");
    }

    /// Rules that hand what comes from the client to a TPROXY listener, and the routes they need.
    pub(crate) fn rules_for_tproxy(&self, port: u16) {
        for family in ["-4", "-6"] {
            self.gateway.ip(&format!("{family} rule add fwmark 1 lookup 100"));
            self.gateway.ip(&format!("{family} route add local default dev lo table 100"));
        }
        self.rules(&format!(
            "table inet test {{
            chain prerouting {{
                type filter hook prerouting priority mangle;
                iifname lan ip6 daddr fd78::/64 accept
                iifname lan meta l4proto {{ tcp, udp }} tproxy to :{port} meta mark set 1 accept
            }}
            }}"
        ));
    }
}

pub(crate) fn options(interception: Interception, udp: bool) -> TransparentOptions {
    TransparentOptions {
        name: "here".into(),
        interception,
        listen: "[::]:0".parse().unwrap(),
        access: Access::everyone(),
        udp,
        mark: 0x2d,
        keep_alive: KeepAlive::default(),
    }
}

/// A running listener, which ends with this value.
pub(crate) struct Listening {
    pub(crate) port: u16,
    pub(crate) sessions: Receiver<Session>,
    pub(crate) packets: Receiver<(SocketAddr, Target, u8)>,
    _stop: oneshot::Sender<()>,
}

/// Tells each client where it wanted to go; sends datagrams back with that in front.
struct Teller {
    session: std::sync::mpsc::Sender<Session>,
    packet: std::sync::mpsc::Sender<(SocketAddr, Target, u8)>,
    /// A flow holds its way back.
    ways: Mutex<Vec<Arc<dyn ReturnPath>>>,
}

impl Handler for Teller {
    async fn tcp(&self, client: Accepted) {
        let Accepted { session, mut stream, .. } = client;
        stream.write_all(session.target.to_string().as_bytes()).await.unwrap();
        let _ = self.session.send(session);
        let _ = stream.shutdown().await;
    }

    fn udp(&self, packet: Packet) {
        let answer = format!("{} {}", packet.target, String::from_utf8_lossy(&packet.payload));
        let _ = self.packet.send((packet.client.socket_addr(), packet.target.clone(), packet.dscp));
        packet.back.send(&packet.target, answer.as_bytes()).unwrap();
        self.ways.lock().unwrap().push(packet.back);
    }
}
