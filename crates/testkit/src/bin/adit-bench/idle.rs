//! Memory and descriptors of tunnels on which nothing happens.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use adit_testkit::Process;
use adit_testkit::client::{To, socks5};
use adit_testkit::subject::Way;

use crate::Plan;
use crate::table::{head, mib, row};

/// Takes connections, sends each one byte, and keeps them until dropped, all in one thread.
pub(crate) struct Keeper {
    pub(crate) addr: SocketAddr,
    stop: mpsc::Sender<()>,
}

impl Keeper {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let addr = listener.local_addr().expect("a bound socket");
        let (stop, stopped) = mpsc::channel();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                if stopped.try_recv() != Err(mpsc::TryRecvError::Empty) {
                    return;
                }
                let mut stream = stream.expect("a connection; is the descriptor limit high enough?");
                let _ = stream.write_all(b"!");
                kept.push(stream);
            }
        });
        Self { addr, stop }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        let _ = TcpStream::connect(self.addr);
    }
}

/// Lets allocators and collectors come to rest.
fn settle(process: &Process, seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
    let _ = process.usage();
}

pub(crate) fn run(plan: &Plan) {
    let (few, many) = (1_000 / plan.cut, 9_000 / plan.cut);
    head(
        "Idle tunnels, SOCKS5 → direct (resident MiB)",
        &[
            "",
            "started",
            &format!("{few} tunnels"),
            &format!("{many} tunnels"),
            "user KiB per tunnel",
            "descriptors per tunnel",
            "5 s after closing",
            "above the start",
        ],
    );
    for &(name, subject) in &plan.subjects {
        let keeper = Keeper::start();
        let to = To::from(keeper.addr);
        let proxy = subject.start(Way::Direct);
        settle(&proxy.process, 2);
        let start = proxy.process.usage();
        let mut tunnels = Vec::new();
        // A proxy that runs out of descriptors stops here, and its row says where.
        let mut open_until = |count: u64| {
            while (tunnels.len() as u64) < count {
                let opened =
                    socks5(proxy.addr, &to).and_then(|mut stream| stream.read_exact(&mut [0]).map(|()| stream));
                match opened {
                    Ok(stream) => tunnels.push(stream),
                    Err(error) => {
                        eprintln!("{name}, tunnel {}: {error}\n{}", tunnels.len(), proxy.process.tail(3));
                        break;
                    }
                }
            }
            settle(&proxy.process, 3);
            (proxy.process.usage(), tunnels.len() as u64)
        };
        let (at_few, _) = open_until(few);
        let (at_many, reached) = open_until(many);
        drop(tunnels);
        drop(keeper);
        settle(&proxy.process, 5);
        let after = proxy.process.usage();
        let per = |grown: u64| grown as f64 / reached as f64;
        let stopped = if reached < many { format!(" (stopped at {reached})") } else { String::new() };
        row(&[
            name.to_owned(),
            mib(start.rss),
            mib(at_few.rss),
            mib(at_many.rss) + &stopped,
            format!("{:.2}", per(at_many.anonymous.saturating_sub(start.anonymous))),
            format!("{:.2}", per(at_many.descriptors.saturating_sub(start.descriptors) as u64)),
            mib(after.rss),
            mib(after.rss.saturating_sub(start.rss)),
        ]);
    }
}
