//! A far end, two links and a clock.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tokio::io::ReadBuf;

use crate::Moment;
use crate::options::{Addresses, Mtu};
use crate::stack::{ConnectError, Egress, Stack, TcpFlow};

pub(super) const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(super) const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
pub(super) const NEAR6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
pub(super) const FAR6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);
pub(super) const PORT: u16 = 80;

pub(super) fn far(port: u16) -> SocketAddr {
    (FAR, port).into()
}

/// The byte that belongs at `offset` of every stream in these tests.
pub(super) fn pattern(offset: usize) -> u8 {
    (offset.wrapping_mul(31) ^ (offset >> 8).wrapping_mul(17)) as u8
}

pub(super) fn bytes(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(pattern).collect()
}

/// One direction of a path.
pub(super) struct Link {
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    /// Of a thousand packets.
    pub(super) lost: u32,
    pub(super) repeated: u32,
    /// Longer packets vanish.
    pub(super) mtu: usize,
    pub(super) up: bool,
    pub(super) packets: usize,
    pub(super) longest: usize,
    queue: BTreeMap<(Moment, u64), Vec<u8>>,
    count: u64,
}

impl Link {
    fn new() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            lost: 0,
            repeated: 0,
            mtu: 65_535,
            up: true,
            packets: 0,
            longest: 0,
            queue: BTreeMap::new(),
            count: 0,
        }
    }

    fn push(&mut self, packet: Vec<u8>, now: Moment, random: &mut StdRng) {
        self.packets += 1;
        self.longest = self.longest.max(packet.len());
        if !self.up || packet.len() > self.mtu || random.random_range(0..1000) < self.lost {
            return;
        }
        let copies = 1 + usize::from(random.random_range(0..1000) < self.repeated);
        for _ in 0..copies {
            let late = self.jitter.mul_f64(random.random());
            self.queue.insert((now + self.delay + late, self.count), packet.clone());
            self.count += 1;
        }
    }

    fn pop(&mut self, now: Moment) -> Option<Vec<u8>> {
        let (&key, _) = self.queue.first_key_value()?;
        if key.0 <= now { self.queue.remove(&key) } else { None }
    }
}

/// What the far end does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum App {
    /// Sends back what comes, and finishes when we do.
    Echo,
    /// Checks what comes, and finishes when we do.
    Sink,
    /// Sends so much and finishes.
    Source(usize),
    /// Reads nothing.
    Deaf,
}

pub(super) struct Connection {
    pub(super) handle: SocketHandle,
    pub(super) app: App,
    pub(super) received: usize,
    pub(super) sent: usize,
}

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) stack: Stack,
    pub(super) up: Link,
    pub(super) down: Link,
    pub(super) random: StdRng,
    pub(super) sockets: SocketSet<'static>,
    pub(super) connections: Vec<Connection>,
    interface: Interface,
    card: Card,
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) keep_sent: bool,
}

#[derive(Default)]
struct Card {
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

impl phy::Device for Card {
    type RxToken<'a> = Packet;
    type TxToken<'a> = Slot<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Packet, Slot<'_>)> {
        Some((Packet(self.incoming.pop_front()?), Slot(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Slot<'_>> {
        Some(Slot(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

struct Packet(Vec<u8>);

impl RxToken for Packet {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Slot<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

/// Collects packets; has room for so many.
#[derive(Default)]
pub(super) struct Basket {
    pub(super) packets: Vec<Vec<u8>>,
    pub(super) limit: Option<usize>,
}

impl Egress for Basket {
    fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.packets.len() < limit)
    }

    fn send(&mut self, _: IpAddr, len: usize, write: &mut dyn FnMut(&mut [u8])) {
        let mut packet = vec![0; len];
        write(&mut packet);
        self.packets.push(packet);
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        eprintln!("seed {seed}");
        let addresses = Addresses::Both(NEAR, NEAR6);
        let mut random = StdRng::seed_from_u64(seed);
        let mut card = Card::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = random.random();
        let mut interface = Interface::new(config, &mut card, Instant::ZERO);
        interface.update_ip_addrs(|to| {
            to.push(IpCidr::new(IpAddress::from(IpAddr::V4(FAR)), 24)).unwrap();
            to.push(IpCidr::new(IpAddress::from(IpAddr::V6(FAR6)), 64)).unwrap();
        });
        Self {
            now: Moment::from_micros(1_000_000),
            stack: Stack::new(addresses, Mtu::new(1408, addresses).unwrap(), random.random()),
            up: Link::new(),
            down: Link::new(),
            random,
            sockets: SocketSet::new(vec![]),
            connections: Vec::new(),
            interface,
            card,
            sent: Vec::new(),
            keep_sent: false,
        }
    }

    pub(super) fn listen(&mut self, app: App, buffer: usize) {
        let mut socket = Socket::new(SocketBuffer::new(vec![0; buffer]), SocketBuffer::new(vec![0; buffer]));
        socket.set_nagle_enabled(false);
        socket.listen(PORT).unwrap();
        let handle = self.sockets.add(socket);
        self.connections.push(Connection { handle, app, received: 0, sent: 0 });
    }

    pub(super) fn far_socket(&mut self, n: usize) -> &mut Socket<'static> {
        self.sockets.get_mut(self.connections[n].handle)
    }

    /// Lets everything happen that happens now, then moves the clock to when something happens next. `false` if nothing
    /// ever will.
    pub(super) fn step(&mut self) -> bool {
        while let Some(mut packet) = self.down.pop(self.now) {
            self.stack.receive(&mut packet, self.now);
        }
        let mut basket = Basket::default();
        let near = self.stack.turn(self.now, &mut basket);
        for packet in basket.packets {
            if self.keep_sent {
                self.sent.push(packet.clone());
            }
            self.up.push(packet, self.now, &mut self.random);
        }
        while let Some(packet) = self.up.pop(self.now) {
            // One at a time: a far end that acknowledges whole trains lets smoltcp's window grow by a segment for each.
            self.card.incoming.push_back(packet);
            self.interface.poll(Instant::from_micros(self.now.micros() as i64), &mut self.card, &mut self.sockets);
        }
        let instant = Instant::from_micros(self.now.micros() as i64);
        self.interface.poll(instant, &mut self.card, &mut self.sockets);
        for connection in &mut self.connections {
            connection.serve(self.sockets.get_mut(connection.handle));
        }
        self.interface.poll(instant, &mut self.card, &mut self.sockets);
        for packet in std::mem::take(&mut self.card.outgoing) {
            self.down.push(packet, self.now, &mut self.random);
        }
        let far =
            self.interface.poll_at(instant, &self.sockets).map(|at| Moment::from_micros(at.total_micros() as u64));
        let links = [&self.up, &self.down].into_iter().filter_map(|link| link.queue.keys().next().map(|key| key.0));
        let Some(next) = links.chain(near).chain(far).min() else { return false };
        self.now = next.max(self.now + Duration::from_micros(10));
        true
    }

    /// Steps until `done`, at most for `limit` of simulated time.
    pub(super) fn run(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            if !self.step() {
                self.now = end;
            }
            assert!(self.now < end || done(self), "not done within {limit:?}");
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end && self.step() {}
        self.now = self.now.max(end);
    }

    pub(super) fn connect_to(&mut self, to: SocketAddr) -> Result<TcpFlow, ConnectError> {
        let flow = self.stack.connect(to, self.now)?;
        let mut result = None;
        self.run(Duration::from_secs(200), |_| {
            if let Poll::Ready(why) = flow.poll_connected(&mut cx()) {
                result = Some(why);
            }
            result.is_some()
        });
        result.unwrap().map(|()| flow)
    }

    pub(super) fn connect(&mut self) -> TcpFlow {
        self.connect_to(far(PORT)).unwrap()
    }
}

impl Connection {
    fn serve(&mut self, socket: &mut Socket<'_>) {
        while matches!(self.app, App::Echo | App::Sink) && socket.can_recv() {
            let room = if self.app == App::Echo { socket.send_capacity() - socket.send_queue() } else { usize::MAX };
            if room == 0 {
                break;
            }
            let received = self.received;
            let chunk = socket.recv(|data| {
                let n = data.len().min(room);
                (n, data[..n].to_vec())
            });
            let chunk = chunk.unwrap();
            assert!(chunk.iter().enumerate().all(|(n, byte)| *byte == pattern(received + n)), "upload is broken");
            self.received += chunk.len();
            if self.app == App::Echo {
                assert_eq!(socket.send_slice(&chunk).unwrap(), chunk.len());
            }
        }
        if let App::Source(total) = self.app {
            while socket.can_send() && self.sent < total {
                let chunk = bytes(self.sent, (total - self.sent).min(16 << 10));
                self.sent += socket.send_slice(&chunk).unwrap();
            }
            if self.sent == total && socket.may_send() {
                socket.close();
            }
        }
        if socket.state() == State::CloseWait && self.app != App::Deaf && !socket.can_recv() {
            socket.close();
        }
    }
}

pub(super) fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The user of a connection: writes the pattern, checks what comes.
#[derive(Default)]
pub(super) struct User {
    pub(super) written: usize,
    pub(super) read: usize,
    pub(super) end: bool,
    pub(super) error: Option<io::ErrorKind>,
}

impl User {
    /// Writes up to `total`, then finishes.
    pub(super) fn write(&mut self, flow: &TcpFlow, total: usize) {
        while self.written < total && self.error.is_none() {
            match flow.poll_write(&mut cx(), &bytes(self.written, (total - self.written).min(16 << 10))) {
                Poll::Ready(Ok(n)) => self.written += n,
                Poll::Ready(Err(why)) => self.error = Some(why.kind()),
                Poll::Pending => return,
            }
        }
        let _ = flow.poll_shutdown(&mut cx());
    }

    pub(super) fn read(&mut self, flow: &TcpFlow) {
        let mut space = [0; 16 << 10];
        while !self.end && self.error.is_none() {
            let mut buf = ReadBuf::new(&mut space);
            match flow.poll_read(&mut cx(), &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => self.end = true,
                Poll::Ready(Ok(())) => {
                    let right = buf.filled().iter().enumerate().all(|(n, byte)| *byte == pattern(self.read + n));
                    assert!(right, "download is broken");
                    self.read += buf.filled().len();
                }
                Poll::Ready(Err(why)) => self.error = Some(why.kind()),
                Poll::Pending => return,
            }
        }
    }
}
