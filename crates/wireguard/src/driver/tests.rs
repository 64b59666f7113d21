//! A tunnel over loopback sockets. The far end is a [`Core`] as well, on a thread with a socket of its own.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_net::{BoxFuture, DialError, RecvDatagram as _, SocketOptions, Target};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::io::ReadBuf;

use super::clock;
use super::{Locate, Outer, Tunnel, Way};
use crate::PrivateKey;
use crate::core::Core;
use crate::options::{Addresses, Keepalive, Mtu, Options, Peer};

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn key(byte: u8) -> PrivateKey {
    PrivateKey::from_bytes([byte; 32])
}

fn options(own: u8, peer: u8, address: Ipv4Addr) -> Options {
    let addresses = Addresses::V4(address);
    let peer = Peer {
        public_key: key(peer).public_key(),
        preshared_key: None,
        allowed_ips: vec!["10.0.0.0/24".parse().unwrap()],
        reserved: [0; 3],
        keepalive: Keepalive::Off,
    };
    Options { private_key: key(own), addresses, peers: vec![peer], mtu: Mtu::DEFAULT, obfuscation: None }
}

/// Echoes datagrams inside a tunnel, and refuses connections.
struct Far {
    at: SocketAddr,
    echo: SocketAddr,
    datagrams: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Far {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut core = Core::new(&options(2, 1, FAR), StdRng::seed_from_u64(2));
        let flow = core.bind().unwrap();
        let (stop, datagrams) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let at = socket.local_addr().unwrap();
        let echo = SocketAddr::from((FAR, flow.local_port()));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&datagrams));
        let thread = std::thread::spawn(move || {
            let mut cx = Context::from_waker(Waker::noop());
            let mut bytes = vec![0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                match socket.recv_from(&mut bytes) {
                    Ok((len, from)) => {
                        counted.fetch_add(1, Ordering::Relaxed);
                        core.receive(from, &mut bytes[..len], len, clock::read());
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(error) => panic!("{error}"),
                }
                let mut payload = [0; 2048];
                let mut buf = ReadBuf::new(&mut payload);
                if let Poll::Ready(Ok(from)) = flow.poll_recv(&mut cx, &mut buf) {
                    flow.try_send(buf.filled(), from).unwrap();
                }
                core.turn(clock::read());
                while let Some(train) = core.outbox().front() {
                    for datagram in train.bytes.chunks(train.stride) {
                        socket.send_to(datagram, train.to).unwrap();
                    }
                    core.outbox().pop();
                }
            }
        });
        Self { at, echo, datagrams, stop, thread: Some(thread) }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().unwrap();
        assert!(thread.join().is_ok() || std::thread::panicking());
    }
}

/// Knows one address for every endpoint, after so many failures.
struct Fixed {
    at: SocketAddr,
    failures: AtomicUsize,
}

impl Locate for Fixed {
    fn locate<'a>(&'a self, endpoint: &'a Target) -> BoxFuture<'a, Result<Vec<SocketAddr>, DialError>> {
        Box::pin(async move {
            let left = |n: usize| n.checked_sub(1);
            match self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left) {
                Ok(_) => Err(DialError::Unresolved(endpoint.to_string())),
                Err(_) => Ok(vec![self.at]),
            }
        })
    }
}

fn tunnel(at: SocketAddr, failures: usize) -> (Tunnel, Arc<Fixed>) {
    let locate = Arc::new(Fixed { at, failures: AtomicUsize::new(failures) });
    let outer = Outer {
        endpoints: vec!["wg.test:51820".parse().unwrap()],
        locate: Arc::clone(&locate) as Arc<dyn Locate>,
        refresh: None,
        way: Way::Sockets(SocketOptions::default()),
    };
    (Tunnel::new(options(1, 2, NEAR), outer), locate)
}

#[tokio::test]
async fn datagrams_go_and_come_back() {
    let far = Far::start();
    let (tunnel, _) = tunnel(far.at, 0);
    assert!(tunnel.status().await.is_empty());
    let mut socket = tunnel.socket(far.echo).await.unwrap();
    for n in 0..20u8 {
        let sent = vec![n; 1 + 60 * usize::from(n)];
        poll_fn(|cx| socket.poll_send(cx, &sent, far.echo)).await;
        let mut bytes = [0; 2048];
        let mut buf = ReadBuf::new(&mut bytes);
        let from = poll_fn(|cx| socket.poll_recv(cx, &mut buf)).await.unwrap();
        assert_eq!((from.socket_addr(), buf.filled()), (Some(far.echo), &sent[..]));
    }
    let status = tunnel.status().await;
    assert!(status[0].connected && status[0].endpoint == Some(far.at) && status[0].received > 10_000, "{status:?}");
}

#[tokio::test]
async fn a_refusal_inside_is_told_at_once() {
    let far = Far::start();
    let (tunnel, _) = tunnel(far.at, 0);
    let refused = tunnel.connect(SocketAddr::from((FAR, 9))).await.unwrap_err();
    assert!(matches!(refused, DialError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn nothing_happens_before_the_first_dial_or_after_the_last_user() {
    let far = Far::start();
    let (tunnel, locate) = tunnel(far.at, 0);
    tokio::task::yield_now().await;
    assert_eq!(far.datagrams.load(Ordering::Relaxed), 0);
    let socket = tunnel.socket(far.echo).await.unwrap();
    drop(tunnel);
    poll_fn(|cx| socket.poll_send(cx, b"still here", far.echo)).await;
    drop(socket);
    while Arc::strong_count(&locate) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_tunnel_can_be_started_early() {
    let far = Far::start();
    let (tunnel, _) = tunnel(far.at, 0);
    tunnel.start();
    while !tunnel.status().await[0].connected {
        tokio::task::yield_now().await;
    }
}

/// A boot without DNS recovers: whoever dials meanwhile is told.
#[tokio::test]
async fn an_endpoint_that_cannot_be_found_is_looked_up_by_the_next_dial() {
    let far = Far::start();
    let (tunnel, _) = tunnel(far.at, 2);
    for _ in 0..2 {
        let failed = tunnel.connect(far.echo).await.unwrap_err();
        assert!(matches!(&failed, DialError::Unresolved(text) if text.contains("wg.test:51820")), "{failed}");
    }
    tunnel.socket(far.echo).await.unwrap();
}

#[tokio::test]
async fn an_address_of_nobody_is_denied() {
    let (tunnel, _) = tunnel(SocketAddr::from(([127, 0, 0, 1], 9)), 0);
    let stranger = SocketAddr::from(([192, 0, 2, 1], 80));
    for denied in [tunnel.connect(stranger).await.map(drop), tunnel.socket(stranger).await.map(drop)] {
        let denied = denied.unwrap_err();
        assert!(matches!(&denied, DialError::Denied(why) if why.contains("allowed-ips")), "{denied}");
    }
}

/// F-G15: a dial hears in five seconds that the peer is dead.
#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_named() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let (tunnel, _) = tunnel(at, 0);
    for dead in [
        tunnel.connect(SocketAddr::from((FAR, 80))).await.map(drop),
        tunnel.socket(SocketAddr::from((FAR, 80))).await.map(drop),
    ] {
        let name = key(2).public_key().to_string();
        let expected = format!("WireGuard peer {}… at {at} does not answer", &name[..8]);
        assert!(matches!(dead, Err(DialError::Down(why)) if why == expected));
    }
}
