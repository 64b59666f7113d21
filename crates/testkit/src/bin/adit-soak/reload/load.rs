//! What goes on during reloads.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use adit_testkit::client::{Association, To, socks5};
use adit_testkit::data;

use super::scene::{Scene, Target};
use crate::verdict::Pulse;

/// Streams that last, of each way.
const STREAMS: usize = 25;
/// Bytes that a stream sends and gets back at a time.
const PORTION: usize = 1500;
/// Between two of them.
const BEAT: Duration = Duration::from_millis(50);
/// Between two short connections, or two datagrams.
const CHURN: Duration = Duration::from_millis(60);

const GOING: u8 = 0;
const PAUSED: u8 = 1;
const STOPPED: u8 = 2;

/// Everybody who works, and when they do.
#[derive(Default)]
pub(super) struct Load {
    state: AtomicU8,
}

type Working<'s> = (String, ScopedJoinHandle<'s, Pulse>);

impl Load {
    pub(super) fn pause(&self) {
        self.state.store(PAUSED, Ordering::SeqCst);
    }

    pub(super) fn go_on(&self) {
        self.state.store(GOING, Ordering::SeqCst);
    }

    pub(super) fn stop(&self) {
        self.state.store(STOPPED, Ordering::SeqCst);
    }

    pub(super) fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, scene: &Scene<'_>) -> Vec<Working<'s>> {
        let proxy = scene.home.proxy;
        let mut working = Vec::new();
        for target in scene.targets() {
            let Target { way, tcp, udp, mirror } = target;
            let streams = scope.spawn(move || self.streams(proxy, tcp));
            working.push((format!("portions on {STREAMS} streams through {way}"), streams));
            let mut short = move || leaves_as(&mut socks5(proxy, &mirror.0.into())?, &mirror.1);
            working.push((format!("short connections through {way}"), scope.spawn(move || self.churn(&mut short))));
            let Some(udp) = udp else { continue };
            let datagrams = scope.spawn(move || {
                let association = Association::open(proxy).expect("an association");
                self.churn(&mut || datagram(&association, udp))
            });
            working.push((format!("datagrams through {way}"), datagrams));
        }
        working
    }

    /// Streams that are opened now and last until the end.
    fn streams(&self, proxy: SocketAddr, to: SocketAddr) -> Pulse {
        let mut pulse = Pulse::new();
        let streams = || (0..STREAMS).map(|_| socks5(proxy, &to.into())).collect::<io::Result<Vec<_>>>();
        let mut streams = match streams() {
            Ok(streams) => streams,
            Err(error) => {
                pulse.lose(error);
                return pulse;
            }
        };
        let mut at = 0;
        while self.is_going() {
            let start = Instant::now();
            for (n, stream) in streams.iter_mut().enumerate() {
                match portion(stream, at) {
                    Ok(()) => pulse.took(start),
                    Err(error) => pulse.lose(format!("stream {n}, byte {at}: {error}")),
                }
            }
            at += PORTION as u64;
            thread::sleep(BEAT.saturating_sub(start.elapsed()));
        }
        pulse
    }

    /// Something short again and again.
    fn churn(&self, once: &mut impl FnMut() -> io::Result<()>) -> Pulse {
        let mut pulse = Pulse::new();
        while self.is_going() {
            let start = Instant::now();
            match once() {
                Ok(()) => pulse.took(start),
                Err(error) => pulse.lose(error),
            }
            thread::sleep(CHURN.saturating_sub(start.elapsed()));
        }
        pulse
    }

    /// Waits during a pause.
    fn is_going(&self) -> bool {
        loop {
            match self.state.load(Ordering::SeqCst) {
                GOING => return true,
                STOPPED => return false,
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Sends the content from `at` on and gets it back.
fn portion(stream: &mut TcpStream, at: u64) -> io::Result<()> {
    stream.write_all(data::content(at, PORTION))?;
    let mut back = [0; PORTION];
    stream.read_exact(&mut back)?;
    if data::is_content(at, &back) { Ok(()) } else { Err(io::Error::other("other bytes came back")) }
}

/// Asks an origin who it talks to.
fn leaves_as(stream: &mut TcpStream, expected: &str) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: mirror\r\n\r\n")?;
    let mut answer = Vec::new();
    // Not until the end: Xray takes a second to pass one on.
    while !answer.ends_with(format!("\r\n\r\n{expected}").as_bytes()) {
        let mut buffer = [0; 512];
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::other(format!("not as {expected}: {}", String::from_utf8_lossy(&answer)))),
            n => answer.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(())
}

fn datagram(association: &Association, to: SocketAddr) -> io::Result<()> {
    match association.ask(&To::from(to), b"datagram")? {
        (_, answer) if answer == b"datagram" => Ok(()),
        _ => Err(io::Error::other("another answer")),
    }
}
