//! Datagrams that come back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Bytes of a datagram's payload.
pub(super) const PAYLOAD: usize = 1_200;

/// How often a paced load sends.
const TICK: Duration = Duration::from_millis(1);

/// How long answers may still come after the last datagram was sent.
const REST: Duration = Duration::from_millis(200);

/// What the client's sockets should hold while they are not looked at. Less is no reason to fail.
const BUFFER: usize = 4 * 1024 * 1024;

/// A load of datagrams to an echo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Client sockets, which take turns.
    pub(super) flows: usize,
    /// Datagrams a second, of all flows together; none sends as fast as one thread can.
    pub(super) rate: Option<u32>,
}

/// What a client has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Echoed {
    pub(super) sent: u64,
    pub(super) came_back: u64,
    pub(super) seconds: f64,
}

/// The sockets of a load, and what they have seen. One thread, so that a client costs little: each socket is emptied before
/// it sends.
struct Flows {
    sockets: Vec<UdpSocket>,
    next: usize,
    seen: Echoed,
}

impl Load {
    /// Sends to `echo` for as long as `time` says.
    pub(super) fn run(self, echo: SocketAddr, time: Duration) -> io::Result<Echoed> {
        let sockets = (0..self.flows).map(|_| socket(echo)).collect::<io::Result<_>>()?;
        let mut flows = Flows { sockets, next: 0, seen: Echoed::default() };
        let start = Instant::now();
        while start.elapsed() < time {
            let due = match self.rate {
                Some(rate) => (f64::from(rate) * start.elapsed().as_secs_f64()) as u64,
                None => flows.seen.sent + 64,
            };
            while flows.seen.sent < due {
                flows.exchange();
            }
            if self.rate.is_some() {
                thread::sleep(TICK);
            }
        }
        flows.seen.seconds = start.elapsed().as_secs_f64();
        thread::sleep(REST);
        (0..self.flows).for_each(|at| flows.take(at));
        Ok(flows.seen)
    }
}

impl Flows {
    /// Takes what has come for the next socket, and sends from it. A datagram that the system has no room for is lost.
    fn exchange(&mut self) {
        let at = self.next;
        self.next = (at + 1) % self.sockets.len();
        self.take(at);
        let _ = self.sockets[at].send(&[0x5a; PAYLOAD]);
        self.seen.sent += 1;
    }

    fn take(&mut self, at: usize) {
        let mut room = [0; PAYLOAD + 1];
        while let Ok(n) = self.sockets[at].recv(&mut room) {
            assert_eq!(n, PAYLOAD, "an echo that has changed");
            self.seen.came_back += 1;
        }
    }
}

/// Connected, so that only answers from the echo's own address come in.
fn socket(echo: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER);
    socket.connect(echo)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
