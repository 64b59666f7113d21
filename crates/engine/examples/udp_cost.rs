//! What UDP through a transparent listener costs: packets per second of CPU from TPROXY to DIRECT and back, and the heap
//! of a flow that waits.
//!
//! ```text
//! cargo run --release -p adit-engine --example udp_cost
//! ```
//!
//! Needs root: it makes three network namespaces, a client's, our own and an origin's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use adit_engine::{Engine, World};
use adit_inbound::{Access, Interception, TransparentInbound, TransparentOptions};
use adit_net::{Domain, HostsEntry, KeepAlive, Shutdown, SystemResolver};
use adit_outbound::Book;
use adit_router::{Geo, Mode, Rules, Sources};
use adit_testkit::lab::Namespace;
use rustix::time::{ClockId, clock_gettime};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ORIGIN: &str = "10.79.1.2:4000";
const PAYLOAD: usize = 1200;
const TIME: Duration = Duration::from_secs(4);
const QUIET_FLOWS: usize = 2000;

/// The system's allocator, counting.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "echo"] => return echo(),
        [_, "ask", flows, window] => return ask(flows.parse()?, window.parse()?),
        [_, "touch"] => return touch(),
        _ => {}
    }
    let (client, ours, origin) = (Namespace::new(), Namespace::new(), Namespace::new());
    link(&client, &ours, "lan", 0);
    link(&origin, &ours, "wan", 1);
    let port = start(&ours)?;
    capture(&ours, port)?;
    let mut echo = origin.run(|| child(&["echo"]).spawn())?;
    for (flows, window) in [(1, 1), (1, 32), (4, 32), (64, 4)] {
        let (cpu, calls) = (cpu_time(), CALLS.load(Ordering::Relaxed));
        let asked = client.run(|| child(&["ask", &flows.to_string(), &window.to_string()]).output())?;
        let cpu = cpu_time() - cpu;
        let calls = CALLS.load(Ordering::Relaxed) - calls;
        let answers: f64 = String::from_utf8(asked.stdout)?.trim().parse()?;
        let packets = 2.0 * answers;
        println!(
            "{flows:>3} flows, {window:>3} in flight each: {:>7.0} packets per CPU-second ({:.0}/s, {:.2} allocations per packet)",
            packets / cpu.as_secs_f64(),
            packets / TIME.as_secs_f64(),
            calls as f64 / packets,
        );
    }
    let before = LIVE.load(Ordering::Relaxed);
    client.run(|| child(&["touch"]).status())?;
    let bytes = LIVE.load(Ordering::Relaxed).saturating_sub(before);
    println!("{} bytes of heap for each of {QUIET_FLOWS} flows that wait", bytes / QUIET_FLOWS);
    echo.kill()?;
    echo.wait()?;
    Ok(())
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn child(arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}

/// 10.79.`net`.0/24 between `side` (2) and `ours` (1).
fn link(side: &Namespace, ours: &Namespace, name: &str, net: u8) {
    side.ip(&format!("link add {name} type veth peer name {name} netns {}", ours.path().display()));
    side.ip(&format!("address add 10.79.{net}.2/24 dev {name}"));
    ours.ip(&format!("address add 10.79.{net}.1/24 dev {name}"));
    side.ip(&format!("link set {name} up"));
    ours.ip(&format!("link set {name} up"));
    side.ip(&format!("route add default via 10.79.{net}.1"));
}

fn capture(ours: &Namespace, port: u16) -> Result<(), Failure> {
    ours.ip("rule add fwmark 1 lookup 100");
    ours.ip("route add local default dev lo table 100");
    ours.run(|| {
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        let rules = format!(
            "table ip bench {{ chain prerouting {{ type filter hook prerouting priority mangle;
            iifname lan meta l4proto udp tproxy to :{port} meta mark set 1 accept
            }}
            }}"
        );
        let mut input = nft.stdin.take().ok_or("no standard input")?;
        std::io::Write::write_all(&mut input, rules.as_bytes())?;
        drop(input);
        nft.wait()?;
        Ok(())
    })
}

/// Starts the listener and the engine in `ours`.
fn start(ours: &Namespace) -> Result<u16, Failure> {
    let (bound, port) = mpsc::channel();
    ours.run(|| {
        std::thread::spawn(move || -> Result<(), Failure> {
            // The workers inherit the namespace of the thread that starts them.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async {
                let inbound = TransparentInbound::bind(TransparentOptions {
                    name: "bench".into(),
                    interception: Interception::Tproxy,
                    listen: "[::]:0".parse()?,
                    access: Access::everyone(),
                    udp: true,
                    mark: 0,
                    keep_alive: KeepAlive::default(),
                })?;
                bound.send(inbound.local_addr().port())?;
                inbound.run(Arc::new(engine()?), Shutdown::new()).await;
                Ok(())
            })
        })
    });
    Ok(port.recv()?)
}

fn engine() -> Result<Engine, Failure> {
    let resolver = Arc::new(SystemResolver);
    let rules = Rules::compile(Sources {
        rules: &["MATCH,DIRECT".into()],
        sub_rules: &[],
        providers: &HashMap::new(),
        geo: &Geo::default(),
        known_target: &|_| true,
        no_resolve_all: false,
        processes: false,
    })
    .map_err(|errors| format!("{errors:?}"))?;
    Ok(Engine::new(World {
        mode: Mode::Rule,
        rules: Arc::new(rules),
        book: Book::build(Vec::new(), Vec::new(), resolver.clone(), resolver.clone())?,
        hosts: Arc::new(HashMap::<Domain, HostsEntry>::new()),
        resolver,
        pins: HashMap::new(),
        dns: None,
        captures_dns: false,
        sniffer: None,
        processes: None,
    }))
}

/// The origin: sends back what it gets.
fn echo() -> Result<(), Failure> {
    let socket = UdpSocket::bind("0.0.0.0:4000")?;
    let mut room = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut room)?;
        socket.send_to(&room[..length], from)?;
    }
}

/// A client: keeps `window` datagrams of each of `flows` sockets under way, and prints how many came back.
fn ask(flows: usize, window: usize) -> Result<(), Failure> {
    let origin: SocketAddr = ORIGIN.parse()?;
    let sockets: Vec<UdpSocket> = (0..flows).map(|_| UdpSocket::bind("0.0.0.0:0")).collect::<Result<_, _>>()?;
    let mut room = [0; 2048];
    for socket in &sockets {
        socket.connect(origin)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    }
    let begun = Instant::now();
    let mut answers = 0_usize;
    while begun.elapsed() < TIME {
        for socket in &sockets {
            for _ in 0..window {
                socket.send(&[7; PAYLOAD])?;
            }
        }
        for socket in &sockets {
            for _ in 0..window {
                match socket.recv(&mut room) {
                    Ok(_) => answers += 1,
                    // Lost.
                    Err(_) => break,
                }
            }
        }
    }
    println!("{answers}");
    Ok(())
}

/// A client: one datagram and its answer for each of many sockets.
fn touch() -> Result<(), Failure> {
    let origin: SocketAddr = ORIGIN.parse()?;
    let mut sockets = Vec::new();
    let mut room = [0; 64];
    while sockets.len() < QUIET_FLOWS {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.send_to(b"hello", origin)?;
        socket.recv(&mut room)?;
        sockets.push(socket);
    }
    Ok(())
}
