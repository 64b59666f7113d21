//! How many answers per second the server gives, beside a client that asks as fast as answers come.
//!
//! `cargo run --release -p adit-dns --example flood [fake|cached|handle|ADDRESS:PORT] [seconds]`; with an address, another
//! server is asked.

#![expect(clippy::unwrap_used, reason = "a measurement that fails is to say so and end")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit_dns::hickory_proto::op::{Message, MessageType, OpCode, Query};
use adit_dns::hickory_proto::rr::{Name, RecordType};
use adit_dns::{
    DnsServer, FakeFilter, FakeIp, FakeOptions, FakeRanges, Habits, Limit, Mode, Nameserver, Now, Resolvers, Service,
    ServiceOptions, Upstreams, Via,
};
use adit_net::{BoxFuture, BoxStream, Dial, DialError, Dialer, Shutdown};

/// Questions that are under way at once.
const WINDOW: usize = 64;
const NAMES: usize = 1000;

/// Nobody is asked.
struct Nowhere;

impl Dialer for Nowhere {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move { Err(DialError::Denied(dial.target.to_string())) })
    }
}

fn service(is_fake: bool) -> Service {
    // SERVFAIL, which is remembered for five seconds: an answer from memory like any other.
    let upstreams = Upstreams {
        main: vec![Nameserver::parse("192.0.2.1").unwrap()],
        habits: Habits::default(),
        ..Upstreams::default()
    };
    let ways = |_: Option<&Via>| Some(Arc::new(Nowhere) as Arc<dyn Dialer>);
    let resolver = Resolvers::new(&upstreams, &ways).unwrap().main;
    let addresses = FakeIp::new(FakeRanges { v4: "198.18.0.1/16".parse().ok(), v6: None }).unwrap();
    let fake = FakeOptions {
        addresses: Arc::new(addresses),
        filter: FakeFilter::Blacklist(Arc::new(|name: &str| name == "real.example")),
        ttl: 1,
    };
    let mode = if is_fake { Mode::FakeIp(fake) } else { Mode::RedirHost };
    Service::new(ServiceOptions { resolver, hosts: Vec::new(), mode, ipv6: false })
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
    let service = service(what != "cached");
    if what == "handle" {
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
    let server = DnsServer::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).unwrap();
    let at = server.local_addr();
    println!("asking {at}");
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = std::thread::spawn({
        let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
        move || client(at, stop, answers)
    });
    let shutdown = Shutdown::new();
    runtime.block_on(async {
        let end = shutdown.clone();
        let timer = async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            end.start();
        };
        let (ran, ()) = tokio::join!(server.run(move || service.clone(), shutdown), timer);
        ran.unwrap();
    });
    stop.store(true, Ordering::Relaxed);
    println!("{} answers per second", answers.load(Ordering::Relaxed) / seconds);
    client.join().unwrap();
}
