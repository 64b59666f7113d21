//! How many answers per second the server gives, beside a client that asks as fast as answers come.
//!
//! `cargo run --release -p adit-dns --example flood [fake|cached|handle|ADDRESS:PORT] [seconds]`; with an address, another
//! server is asked.

#![expect(clippy::unwrap_used, reason = "a measurement that fails is to say so and end")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use adit_dns::hickory_proto::op::{Message, MessageType, OpCode, Query};
use adit_dns::hickory_proto::rr::{Name, RecordType};
use adit_dns::{
    DnsServer, FakeFilter, FakeIp, FakeOptions, FakeRanges, Limit, Mode, Nameserver, Now, Resolvers, Service,
    ServiceOptions, Upstreams, Via,
};
use adit_net::{
    BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, RecvDatagram, SendDatagram, Shutdown, Target, Task,
};
use tokio::io::ReadBuf;

/// Questions that are under way at once.
const WINDOW: usize = 64;
const NAMES: usize = 1000;

/// Datagrams on loopback, and nothing else.
struct Loopback;

struct Half(Arc<tokio::net::UdpSocket>);

impl Dialer for Loopback {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move { Err(DialError::Denied(dial.target.to_string())) })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(async move {
            let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await;
            let socket = Arc::new(socket.map_err(|error| DialError::from_connect(error, dial.target))?);
            Ok(Datagrams { recv: Box::new(Half(Arc::clone(&socket))), send: Box::new(Half(socket)) })
        })
    }
}

impl RecvDatagram for Half {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Target>> {
        self.0.poll_recv_from(cx, buf).map_ok(Target::from)
    }
}

impl SendDatagram for Half {
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>> {
        self.0.poll_send_to(cx, payload, to.socket_addr().unwrap()).map_ok(drop)
    }
}

fn service(upstream: SocketAddr, mode: Mode) -> Service {
    let main = vec![Nameserver::parse(&upstream.to_string()).unwrap()];
    let upstreams = Upstreams { main, ..Upstreams::default() };
    let ways = |_: Option<&Via>| Some(Arc::new(Loopback) as Arc<dyn Dialer>);
    let resolver = Resolvers::new(&upstreams, &ways).unwrap().main;
    Service::new(ServiceOptions { resolver, hosts: Vec::new(), mode, ipv6: false })
}

/// A service whose answers may be kept for an hour.
fn fake() -> Service {
    let addresses = FakeIp::new(FakeRanges { v4: "198.18.0.1/16".parse().ok(), v6: None }).unwrap();
    let filter = FakeFilter::Blacklist(Arc::new(|name: &str| name == "real.example"));
    let fake = FakeOptions { addresses: Arc::new(addresses), filter, ttl: 3600 };
    service(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9), Mode::FakeIp(fake))
}

fn questions() -> Vec<Vec<u8>> {
    let question = |n| {
        let mut message = Message::new(n as u16, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(format!("host{n}.example.com.")).unwrap(), RecordType::A));
        message.to_vec().unwrap()
    };
    (0..NAMES).map(question).collect()
}

/// Asks and counts, on a thread of its own.
fn client(at: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicU64>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(at).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let questions = questions();
    let mut next = questions.iter().cycle();
    let mut buffer = [0; 1500];
    let mut ask = || socket.send(next.next().unwrap()).unwrap();
    for _ in 0..WINDOW {
        ask();
    }
    while !stop.load(Ordering::Relaxed) {
        if socket.recv(&mut buffer).is_ok() {
            answers.fetch_add(1, Ordering::Relaxed);
        }
        ask();
    }
}

/// Asks a server of another process.
fn ask_other(at: SocketAddr, seconds: u64) {
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let asking = std::thread::spawn({
        let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
        move || client(at, stop, answers)
    });
    std::thread::park_timeout(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    asking.join().unwrap();
    println!("{} answers per second", answers.load(Ordering::Relaxed) / seconds);
}

fn main() {
    let what = std::env::args().nth(1).unwrap_or_else(|| "fake".into());
    let seconds = std::env::args().nth(2).map_or(5, |text| text.parse().unwrap());
    if let Ok(other) = what.parse() {
        return ask_other(other, seconds);
    }
    if what == "handle" {
        let service = fake();
        let (questions, mut answer, start) = (questions(), Vec::new(), Instant::now());
        let mut count = 0_u64;
        while start.elapsed() < Duration::from_secs(seconds) {
            for question in &questions {
                assert!(matches!(service.answer_now(question, Limit::Datagram, &mut answer), Now::Answered));
                count += 1;
            }
        }
        println!("{} ns for an answer, without sockets", start.elapsed().as_nanos() / u128::from(count));
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let (server, upstream) = (DnsServer::bind(any).unwrap(), DnsServer::bind(any).unwrap());
    let at = server.local_addr();
    let service = if what == "cached" { service(upstream.local_addr(), Mode::RedirHost) } else { fake() };
    println!("asking {at}");
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = std::thread::spawn({
        let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
        move || client(at, stop, answers)
    });
    let shutdown = Shutdown::new();
    let run = |server: DnsServer, service: Service| {
        let ended = shutdown.clone();
        Task::spawn("dns server", async move { server.run(move || service.clone(), ended).await.unwrap() })
    };
    let tasks = [run(server, service), run(upstream, fake())];
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        shutdown.start();
        for task in tasks {
            task.join().await.unwrap();
        }
    });
    stop.store(true, Ordering::Relaxed);
    println!("{} answers per second", answers.load(Ordering::Relaxed) / seconds);
    client.join().unwrap();
}
