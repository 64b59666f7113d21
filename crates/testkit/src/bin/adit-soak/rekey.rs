//! 400 s of bulk and light traffic over the real rekeys every 120 s: no request is lost, and nothing stands still.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::client::{Association, socks5};
use adit_testkit::data;
use adit_testkit::lab::{Lab, PeerOptions, WireGuardPeer};
use adit_testkit::origin::{TcpOrigin, UdpOrigin};
use adit_testkit::subject::{Subject, Way};

use crate::verdict::{Pulse, Verdict};

const TIME: Duration = Duration::from_secs(400);
/// A rekey is due every 120 s (the WireGuard paper §6.1), so three of them follow the first handshake.
const REKEYS: usize = 3;
/// No answer and no byte of bulk may take longer. A tunnel that is deaf after a handshake takes 15 s and more.
const LONGEST: Duration = Duration::from_secs(5);
/// Bulk is about 100 Mbit/s each way: so many bytes every [`TICK`].
const PORTION: usize = 64 * 1024;
const TICK: Duration = Duration::from_millis(5);

pub(crate) fn run(subject: Subject, verdict: &mut Verdict) {
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions::default());
    let (source, sink) = lab.inside(|| (TcpOrigin::start(send_paced), TcpOrigin::answers_after_eof(0)));
    let (echo, udp) = lab.inside(|| (TcpOrigin::echo(), UdpOrigin::echo("")));
    let watch = lab.watch(&[peer.endpoint_v4()]);
    lab.client().run(|| {
        let proxy = subject.start(Way::WireGuard(&peer.route()));
        let open = |to: SocketAddr| socks5(proxy.addr, &to.into());
        let mut stream = open(echo.addr()).expect("a stream");
        let association = Association::open(proxy.addr).expect("an association");
        let mut once = || exchange(&mut open(echo.addr())?);
        let mut held = || exchange(&mut stream);
        let mut datagram = || match association.ask(&udp.addr().into(), b"datagram")? {
            (_, answer) if answer == b"datagram" => Ok(()),
            _ => Err(io::Error::other("another answer")),
        };
        let stop = AtomicBool::new(false);
        let stop = &stop;
        thread::scope(|scope| {
            let lights = [
                ("requests on one stream, 4 a second", scope.spawn(|| light(stop, 4, &mut held))),
                ("requests on a new stream, 2 a second", scope.spawn(|| light(stop, 2, &mut once))),
                ("datagrams, 4 a second", scope.spawn(|| light(stop, 4, &mut datagram))),
                ("reads of a download", scope.spawn(|| download(stop, open(source.addr())))),
                ("writes of an upload", scope.spawn(|| upload(stop, open(sink.addr())))),
            ];
            let handshakes = scope.spawn(|| handshakes(stop, &peer));
            thread::sleep(TIME);
            stop.store(true, Ordering::Relaxed);
            for (what, light) in lights {
                let pulse = light.join().expect("a thread that does not panic");
                let good = pulse.lost.is_empty() && pulse.count > 0 && pulse.longest.0 < LONGEST;
                verdict.require(good, pulse.summary(what));
            }
            let times = handshakes.join().expect("a thread that does not panic");
            verdict.require(times.len() > REKEYS, format!("handshakes at {times:.0?} s"));
        });
    });
    verdict.require(watch.leaks() == 0, "nothing went around the tunnel");
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"over and back")?;
    let mut back = [0; 13];
    stream.read_exact(&mut back)?;
    if &back == b"over and back" { Ok(()) } else { Err(io::Error::other("another answer")) }
}

/// Asks so many times a second.
fn light(stop: &AtomicBool, per_second: u32, ask: &mut impl FnMut() -> io::Result<()>) -> Pulse {
    let mut pulse = Pulse::new();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        match ask() {
            Ok(()) => pulse.took(start),
            Err(error) => pulse.lose(error),
        }
        thread::sleep((Duration::from_secs(1) / per_second).saturating_sub(start.elapsed()));
    }
    pulse
}

fn send_paced(mut stream: TcpStream) {
    let mut at = 0;
    while let Ok(n) = stream.write(data::content(at, PORTION)) {
        at += n as u64;
        thread::sleep(TICK);
    }
}

fn download(stop: &AtomicBool, stream: io::Result<TcpStream>) -> Pulse {
    let mut pulse = Pulse::new();
    let read = || {
        let mut stream = stream?;
        let mut buffer = vec![0; PORTION];
        let mut at = 0;
        while !stop.load(Ordering::Relaxed) {
            let n = stream.read(&mut buffer)?;
            if n == 0 || !data::is_content(at, &buffer[..n]) {
                return Err(io::Error::other(format!("an end or wrong bytes after {at}")));
            }
            at += n as u64;
            pulse.beat();
        }
        Ok(())
    };
    if let Err(error) = read() {
        pulse.lose(error);
    }
    pulse
}

fn upload(stop: &AtomicBool, stream: io::Result<TcpStream>) -> Pulse {
    let mut pulse = Pulse::new();
    let write = || {
        let mut stream = stream?;
        let mut at = 0;
        while !stop.load(Ordering::Relaxed) {
            at += stream.write(data::content(at, PORTION))? as u64;
            pulse.beat();
            thread::sleep(TICK);
        }
        stream.shutdown(Shutdown::Write)?;
        let mut count = [0; 8];
        stream.read_exact(&mut count)?;
        let count = u64::from_be_bytes(count);
        if count == at { Ok(()) } else { Err(io::Error::other(format!("{at} bytes were sent, {count} arrived"))) }
    };
    if let Err(error) = write() {
        pulse.lose(error);
    }
    pulse
}

/// Seconds after the start at which handshakes were completed.
fn handshakes(stop: &AtomicBool, peer: &WireGuardPeer) -> Vec<f64> {
    let start = Instant::now();
    let (mut last, mut times) = (None, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let latest = peer.stats().last_handshake;
        if latest != last {
            last = latest;
            times.push(start.elapsed().as_secs_f64());
        }
        thread::sleep(Duration::from_millis(200));
    }
    times
}
