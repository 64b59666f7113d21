//! What the TCP endpoint makes of a lossy path, in simulated time; and what a segment costs, in real time.
//!
//! `cargo bench -p adit-wireguard --bench tcp`

#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::time::{Duration, Instant};

#[path = "../src/stack/tcp/tests/sim.rs"]
#[expect(dead_code, unreachable_pub, reason = "the tests use it, too")]
mod sim;

mod tcp {
    pub(super) use adit_wireguard::Moment;
    pub(super) use adit_wireguard::stack::tcp::{Error, Read, Segment, Settings, State, Tcp};
}

use adit_wireguard::stack::tcp::Algorithm;
use sim::{App, End, Ours, Path, Smol, World};
use tcp::{Moment, Segment, Settings, Tcp};

const MTU: usize = 1408;
/// smoltcp's buffers: the bandwidth-delay product of the path twice.
const BUFFER: usize = 2 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Sender {
    Ours(Algorithm),
    Smoltcp,
}

fn sender(kind: Sender) -> Box<dyn End> {
    match kind {
        Sender::Ours(algorithm) => Box::new(Ours::connect(Settings { algorithm, ..Settings::default() }, 1)),
        Sender::Smoltcp => Box::new(Smol::connect(BUFFER, MTU)),
    }
}

/// Mbit/s from a sender to a receiver over so many seconds, and how much was sent for each byte that arrived.
fn goodput(ends: [Box<dyn End>; 2], path: Path, seed: u64) -> (f64, f64) {
    let seconds = if std::env::args().any(|argument| argument == "--bench") { 20 } else { 5 };
    let apps = [App { to_send: u64::MAX / 2, ..App::default() }, App::default()];
    let back = Path { loss: 0.0, ..path };
    let mut world = World::new(ends, [path, back], apps, seed);
    world.run(Duration::from_secs(seconds), |_| false);
    let received = world.apps[1].received as f64;
    (received * 8.0 / seconds as f64 / 1e6, world.packets[0] as f64 * (MTU - 52) as f64 / received)
}

fn path(rtt: u64, loss: f64, queue: u64) -> Path {
    Path { delay: Duration::from_millis(rtt / 2), rate: 12_500_000, queue, loss, ..Path::default() }
}

fn table(title: &str, rtt: u64, queue: u64, burst: u32) {
    println!("\n{title}: 100 Mbit/s, {rtt} ms, queue of {} KiB; Mbit/s (sent per byte)", queue / 1024);
    println!("{:>8} {:>16} {:>16} {:>16} {:>16}", "loss", "CUBIC", "BBR", "smoltcp", "BBR -> smoltcp");
    for loss in [0.0, 0.001, 0.01, 0.02, 0.03, 0.05] {
        let path = Path { burst, ..path(rtt, loss, queue) };
        let average = |run: &dyn Fn(u64) -> (f64, f64)| {
            let runs = [run(1), run(2), run(3)];
            let sum = runs.iter().fold((0.0, 0.0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
            format!("{:.1} ({:.2})", sum.0 / 3.0, sum.1 / 3.0)
        };
        let to_ours = |kind| {
            average(&|seed| {
                let receiver = Ours::Listening(Settings::default(), 9);
                goodput([sender(kind), Box::new(receiver)], path, seed)
            })
        };
        let to_smoltcp = average(&|seed| {
            goodput([sender(Sender::Ours(Algorithm::Bbr)), Box::new(Smol::listen(BUFFER, MTU))], path, seed)
        });
        println!(
            "{:>7.1}% {:>16} {:>16} {:>16} {to_smoltcp:>16}",
            loss * 100.0,
            to_ours(Sender::Ours(Algorithm::Cubic)),
            to_ours(Sender::Ours(Algorithm::Bbr)),
            to_ours(Sender::Smoltcp),
        );
    }
}

/// Nanoseconds for a segment through both ends, without a link; with the copies and the checksums.
fn speed() {
    let mut client = Tcp::connect(sim::client(), sim::server(), Settings::default(), 1, Moment::default());
    let mut server = Tcp::connect(sim::server(), sim::client(), Settings::default(), 2, Moment::default());
    let mut wire: Vec<Vec<u8>> = Vec::new();
    let mut spare: Vec<Vec<u8>> = Vec::new();
    let data = vec![7; 64 * 1024];
    let mut place = vec![0; 64 * 1024];
    let (mut sending, mut receiving, mut segments, mut acks) = (Duration::ZERO, Duration::ZERO, 0u64, 0u64);
    let mut now = 0;
    while segments < 400_000 {
        now += 500;
        let moment = Moment::from_micros(now);
        for turn in 0..2 {
            let (from, to) = if turn == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let begin = Instant::now();
            if turn == 0 {
                while from.write(&data).unwrap() == data.len() {}
            }
            from.poll(moment, &mut |len, write| {
                let mut packet: Vec<u8> = spare.pop().unwrap_or_default();
                packet.clear();
                packet.resize(len, 0);
                write(&mut packet);
                wire.push(packet);
                true
            });
            let middle = Instant::now();
            for packet in &wire {
                let source = if turn == 0 { sim::client() } else { sim::server() };
                let target = if turn == 0 { sim::server() } else { sim::client() };
                let segment = Segment::parse(&packet[20..], source.ip(), target.ip()).unwrap();
                to.receive(&segment, moment);
            }
            if turn == 0 {
                while to.unread() > 0 {
                    to.read(&mut place, moment).unwrap();
                }
                segments += wire.len() as u64;
                sending += middle - begin;
                receiving += middle.elapsed();
            } else {
                acks += wire.len() as u64;
                sending += middle.elapsed();
                receiving += middle - begin;
            }
            spare.append(&mut wire);
        }
    }
    println!(
        "\n{segments} segments, {acks} acknowledgements; for each segment: sender {} ns, receiver {} ns",
        sending.as_nanos() / u128::from(segments),
        receiving.as_nanos() / u128::from(segments)
    );
}

fn main() {
    table("random loss", 50, 625 * 1024, 1);
    if std::env::args().any(|argument| argument == "--bench") {
        table("shallow queue", 50, 100 * 1024, 1);
        table("bursts of four", 50, 625 * 1024, 4);
        table("long path", 200, 2500 * 1024, 1);
    }
    speed();
}
