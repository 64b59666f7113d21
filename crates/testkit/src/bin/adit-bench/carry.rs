//! CPU per GiB carried downwards.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use adit_testkit::certificate::{Authority, TARGET};
use adit_testkit::client::{To, socks5};
use adit_testkit::origin::TcpOrigin;
use adit_testkit::peers::Era;
use adit_testkit::stage::{Door, Route, Stage};
use adit_testkit::subject::Way;
use adit_testkit::tls::{self, Exchange, Version};
use adit_testkit::{Process, Scratch, free_port};
use rustls::{ServerConnection, StreamOwned};

use crate::Plan;
use crate::table::{Samples, adit_against, head, row};

pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const MIB: u64 = 1 << 20;

/// Answers every 8-byte number with so many bytes.
pub(crate) fn serve(stream: &mut (impl Read + Write)) {
    let block = vec![0x5a; MIB as usize];
    let mut wanted = [0; 8];
    while stream.read_exact(&mut wanted).is_ok() {
        let mut left = u64::from_be_bytes(wanted);
        while left > 0 {
            let n = left.min(MIB) as usize;
            if stream.write_all(&block[..n]).is_err() {
                return;
            }
            left -= n as u64;
        }
        let _ = stream.flush();
    }
}

/// Asks for `length` bytes and reads them.
pub(crate) fn fetch(stream: &mut (impl Read + Write), length: u64) {
    stream.write_all(&length.to_be_bytes()).expect("a request");
    stream.flush().expect("a request");
    let mut buffer = vec![0; MIB as usize];
    let mut left = length;
    while left > 0 {
        let want = left.min(MIB) as usize;
        let n = stream.read(&mut buffer[..want]).expect("an answer");
        assert!(n > 0, "the answer ended {left} bytes early");
        left -= n as u64;
    }
}

/// The name of its row.
pub(crate) const FLOOR: &str = "bare splice relay (floor)";

/// Starts the least that a relay can do; it listens at `listen`.
pub(crate) fn floor(listen: Ipv4Addr, origin: SocketAddr) -> (Process, SocketAddr) {
    let listen = SocketAddr::from((listen, free_port()));
    let mut command = Command::new(std::env::current_exe().expect("our own file").with_file_name("splice-floor"));
    command.arg(listen.to_string()).arg(origin.to_string());
    let process = Process::start("splice-floor", command, Scratch::new("floor")).listening(&[listen.port()]);
    (process, listen)
}

/// What is inside the tunnel.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Raw,
    Tls13,
}

fn origin(inside: Inside) -> TcpOrigin {
    let config = tls::server(Authority::shared().small(), Version::Tls13, Exchange::X25519, &[]);
    TcpOrigin::start(move |mut stream| match inside {
        Inside::Raw => serve(&mut stream),
        Inside::Tls13 => {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a server connection");
            serve(&mut StreamOwned::new(connection, stream));
        }
    })
}

/// One program of the comparison.
struct Runner {
    name: String,
    process: Process,
    proxy: SocketAddr,
    /// The floor is no proxy: it goes to its one target without being asked.
    speaks_socks: bool,
}

impl Runner {
    fn all(plan: &Plan, way: Way<'_>, origin: SocketAddr) -> Vec<Self> {
        let (process, proxy) = floor(Ipv4Addr::LOCALHOST, origin);
        let floor = Self { name: FLOOR.to_owned(), process, proxy, speaks_socks: false };
        let proxies = plan.subjects.iter().map(|&(name, subject)| {
            let proxy = subject.start(way);
            Self { name: name.to_owned(), process: proxy.process, proxy: proxy.addr, speaks_socks: true }
        });
        std::iter::once(floor).chain(proxies).collect()
    }

    fn open(&self, origin: SocketAddr) -> TcpStream {
        if self.speaks_socks {
            return socks5(self.proxy, &To::from(origin)).expect("a tunnel");
        }
        let stream = TcpStream::connect(self.proxy).expect("the floor");
        stream.set_nodelay(true).expect("a socket option");
        stream
    }

    /// CPU seconds and wall seconds per GiB for one download. A small exchange goes first, so that a Vision sender has switched
    /// (it does so on a batch that ends with a record, which a busy download may never be).
    fn measure(&self, origin: SocketAddr, inside: Inside, length: u64) -> (f64, f64) {
        let stream = self.open(origin);
        let run = |stream: &mut dyn ReadWrite| {
            let mut stream = stream;
            fetch(&mut stream, 10);
            fetch(&mut stream, MIB);
            let (cpu, wall) = (self.process.usage().cpu, Instant::now());
            fetch(&mut stream, length);
            let gib = length as f64 / GIB as f64;
            ((self.process.usage().cpu - cpu) / gib, wall.elapsed().as_secs_f64() / gib)
        };
        match inside {
            Inside::Raw => run(&mut { stream }),
            Inside::Tls13 => run(&mut tls::connect(stream, TARGET, Version::Tls13)),
        }
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn leg(plan: &Plan, title: &str, way: Way<'_>, inside: Inside, length: u64) {
    let origin = origin(inside);
    let runners = Runner::all(plan, way, origin.addr());
    let mut cpu = vec![Samples::default(); runners.len()];
    let mut wall = vec![Samples::default(); runners.len()];
    // The first round warms up and is not counted.
    for round in 0..=plan.rounds {
        for (n, runner) in runners.iter().enumerate() {
            let length = if round == 0 { length / 8 } else { length };
            let (cpu_per_gib, wall_per_gib) = runner.measure(origin.addr(), inside, length);
            if round > 0 {
                cpu[n].0.push(cpu_per_gib);
                wall[n].0.push(1.0 / wall_per_gib);
            }
        }
    }
    head(title, &["", "CPU-s/GiB", "× floor", "adit ÷ this one", "GiB/s"]);
    let names: Vec<_> = runners.iter().map(|runner| runner.name.as_str()).collect();
    for (n, runner) in runners.iter().enumerate() {
        row(&[
            runner.name.clone(),
            cpu[n].shown(3),
            cpu[n].ratio(&cpu[0]).shown(2),
            adit_against(&names, &cpu, n),
            wall[n].shown(2),
        ]);
    }
}

pub(crate) fn run(plan: &Plan) {
    let stage = Stage::shared(Era::Xray26_10);
    let legs: [(&str, Option<Route>, Inside, u64); 3] = [
        ("SOCKS5 → direct", None, Inside::Raw, 4 * GIB),
        (
            "SOCKS5 → REALITY with Vision, inner TLS 1.3, after the switch",
            Some(stage.route(Door::Vision)),
            Inside::Tls13,
            2 * GIB,
        ),
        ("SOCKS5 → REALITY without Vision", Some(stage.route(Door::Plain)), Inside::Raw, GIB),
    ];
    for (title, route, inside, length) in &legs {
        let way = route.as_ref().map_or(Way::Direct, Way::Vless);
        leg(plan, title, way, *inside, length / plan.cut);
    }
}
