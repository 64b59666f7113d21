//! Whom the server's sockets answer, between network namespaces.
//!
//! ```text
//!  neighbour                          server                       stranger
//!  2001:db8:1::2  198.51.100.2 ── lan ── 2001:db8:1::1  198.51.100.1
//!  fd09::2                               fd09::1
//!                                        192.0.2.1  2001:db8:2::1 ── wan ── 192.0.2.2  2001:db8:2::2
//!                                                                 and, behind it, 203.0.113.9, 2001:db8:9::9
//! ```

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use adit_dns::hickory_proto::rr::RecordType;
use adit_dns::{DnsServer, Service};
use adit_net::Shutdown;
use adit_testkit::lab::Namespace;
use tokio::sync::oneshot;

use crate::clients::{fake, options, question};
use crate::world::World;

const PORT: u16 = 1053;
/// Longer than an answer takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is expected to get none is given this long.
const A_MOMENT: Duration = Duration::from_millis(300);

struct Net {
    neighbour: Namespace,
    server: Namespace,
    stranger: Namespace,
}

impl Net {
    fn new() -> Self {
        let (neighbour, server, stranger) = (Namespace::new(), Namespace::new(), Namespace::new());
        server.ip(&format!("link add lan type veth peer name lan netns {}", neighbour.path().display()));
        server.ip(&format!("link add wan type veth peer name wan netns {}", stranger.path().display()));
        for (side, link, addresses) in [
            (&neighbour, "lan", ["198.51.100.2/24", "2001:db8:1::2/64", "fd09::2/64"].as_slice()),
            (&server, "lan", &["198.51.100.1/24", "2001:db8:1::1/64", "fd09::1/64"]),
            (&server, "wan", &["192.0.2.1/24", "2001:db8:2::1/64"]),
            (&stranger, "wan", &["192.0.2.2/24", "2001:db8:2::2/64"]),
            (&stranger, "lo", &["203.0.113.9/32", "2001:db8:9::9/128"]),
        ] {
            for address in addresses {
                let nodad = if address.contains(':') { "nodad" } else { "" };
                side.ip(format!("address add {address} dev {link} {nodad}").trim());
            }
            side.ip(&format!("link set {link} up"));
        }
        server.ip("route add default via 192.0.2.2");
        server.ip("-6 route add default via 2001:db8:2::2");
        stranger.ip("route add default via 192.0.2.1");
        stranger.ip("-6 route add default via 2001:db8:2::1");
        Self { neighbour, server, stranger }
    }

    /// Runs the server on all addresses until what is returned is dropped.
    fn serve(&self) -> oneshot::Sender<()> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, is_bound) = channel();
        self.server.run(|| {
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let server = DnsServer::bind(format!("[::]:{PORT}").parse().unwrap()).unwrap();
                    bound.send(()).unwrap();
                    let service = Service::new(options(&World::default(), fake(true, &[])));
                    tokio::select! {
                        ended = server.run(move || service.clone(), Shutdown::new()) => ended.unwrap(),
                        _ = stopped => {}
                    }
                });
            })
        });
        is_bound.recv_timeout(PATIENCE).unwrap();
        stop
    }
}

/// Whether a question from `from` to `to` is answered in a datagram.
fn by_udp(from: &str, to: &str, patience: Duration) -> bool {
    let socket = UdpSocket::bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.connect(to).unwrap();
    socket.send(&question("www.example", RecordType::A).to_vec().unwrap()).unwrap();
    socket.recv(&mut [0; 512]).is_ok()
}

/// The same on a stream.
fn by_tcp(from: &str, to: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let from: IpAddr = from.parse().unwrap();
    let stream = runtime.block_on(async {
        let socket = if from.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
        let socket = socket.unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        socket.connect(to.parse().unwrap()).await.and_then(tokio::net::TcpStream::into_std)
    });
    let Ok(mut stream): Result<TcpStream, _> = stream else { return false };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let message = question("www.example", RecordType::A).to_vec().unwrap();
    let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    // A stranger's connection is closed, perhaps before this.
    let _ = stream.write_all(&framed);
    let mut length = [0; 2];
    match stream.read_exact(&mut length) {
        Ok(()) => true,
        Err(error) => {
            assert!(!matches!(error.kind(), std::io::ErrorKind::WouldBlock), "the connection stays open");
            false
        }
    }
}

/// The whole internet is answered nothing, or others would be flooded with what it asked for.
#[test]
fn only_who_is_near_is_answered() {
    let net = Net::new();
    let _serve = net.serve();
    for (place, from, to, answered) in [
        (&net.neighbour, "198.51.100.2", "198.51.100.1:1053", true),
        (&net.neighbour, "2001:db8:1::2", "[2001:db8:1::1]:1053", true),
        (&net.neighbour, "fd09::2", "[fd09::1]:1053", true),
        (&net.server, "127.0.0.1", "127.0.0.1:1053", true),
        (&net.server, "192.0.2.1", "192.0.2.1:1053", true),
        (&net.server, "2001:db8:2::1", "[2001:db8:2::1]:1053", true),
        (&net.stranger, "203.0.113.9", "192.0.2.1:1053", false),
        (&net.stranger, "2001:db8:9::9", "[2001:db8:2::1]:1053", false),
        (&net.stranger, "203.0.113.9", "198.51.100.1:1053", false),
        // The provider's router is on a link of ours, and no way for others to ask.
        (&net.stranger, "192.0.2.2", "192.0.2.1:1053", true),
    ] {
        let patience = if answered { PATIENCE } else { A_MOMENT };
        assert_eq!(place.run(|| by_udp(from, to, patience)), answered, "UDP {from} {to}");
        assert_eq!(place.run(|| by_tcp(from, to)), answered, "TCP {from} {to}");
    }
}

/// What this host asks others is redirected to loopback, with the source that it had: on an address of no link of ours, too.
#[test]
fn redirected_questions_of_this_host_are_answered() {
    let net = Net::new();
    net.server.ip("address add 203.0.113.77/32 dev lo");
    let rules = "table inet test {
        chain output {
            type nat hook output priority -105
            oifname != \"lo\" meta l4proto { tcp, udp } th dport 53 redirect to :1053
        }
    }";
    net.server.run(|| assert!(Command::new("nft").arg(rules).status().unwrap().success()));
    let _serve = net.serve();
    for (from, to) in [
        ("203.0.113.77", "203.0.113.200:53"),
        ("192.0.2.1", "203.0.113.200:53"),
        ("2001:db8:2::1", "[2001:db8:99::1]:53"),
    ] {
        assert!(net.server.run(|| by_udp(from, to, PATIENCE)), "UDP {from}");
        assert!(net.server.run(|| by_tcp(from, to)), "TCP {from}");
    }
}

/// A network that this host comes to be in is known soon.
#[test]
fn a_network_that_comes_later_is_known_soon() {
    let net = Net::new();
    net.neighbour.ip("address add 2001:db8:77::2/64 dev lan nodad");
    net.neighbour.ip("-6 route add default via 2001:db8:1::1");
    let _serve = net.serve();
    let asks = |patience| net.neighbour.run(|| by_udp("2001:db8:77::2", "[2001:db8:1::1]:1053", patience));
    assert!(!asks(A_MOMENT));
    net.server.ip("address add 2001:db8:77::1/64 dev lan nodad");
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !asks(A_MOMENT) {
        assert!(std::time::Instant::now() < end);
    }
}
