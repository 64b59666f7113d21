//! Two ends and a link between them, in simulated time. `benches/tcp.rs` uses it as well.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp as smol;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Packet};

use super::tcp::{Error, Moment, Read, Segment, Settings, State, Tcp};

pub fn client() -> SocketAddr {
    ([10, 0, 0, 2], 40_000).into()
}

pub fn server() -> SocketAddr {
    ([10, 0, 0, 1], 80).into()
}

/// What can be connected.
pub trait End {
    fn receive(&mut self, packet: &[u8], now: Moment);
    fn poll(&mut self, now: Moment, out: &mut Vec<Vec<u8>>) -> Option<Moment>;
    fn read(&mut self, place: &mut [u8], now: Moment) -> Result<Read, Error>;
    fn write(&mut self, data: &[u8]) -> usize;
    fn shutdown(&mut self);
    fn closed(&self) -> bool;
    fn show(&self) -> String {
        String::new()
    }
    fn listens(&self) -> bool {
        false
    }
}

/// Our own endpoint; passive if it was not told to connect.
pub enum Ours {
    Listening(Settings, u32),
    Tcp(Box<Tcp>),
}

impl Ours {
    pub fn connect(settings: Settings, isn: u32) -> Self {
        Self::Tcp(Box::new(Tcp::connect(client(), server(), settings, isn, Moment::default())))
    }

    pub fn tcp(&mut self) -> &mut Tcp {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Listening(..) => panic!("not connected"),
        }
    }
}

impl End for Ours {
    fn receive(&mut self, packet: &[u8], now: Moment) {
        let ip = Ipv4Packet::new_checked(packet).unwrap();
        let segment = Segment::parse(ip.payload(), ip.src_addr().into(), ip.dst_addr().into()).unwrap();
        if let Self::Listening(settings, isn) = *self {
            // A SYN that crosses ours, which is never sent alone, is all that a listener has to know.
            *self = Self::Tcp(Box::new(Tcp::connect(server(), client(), settings, isn, now)));
        }
        self.tcp().receive(&segment, now);
    }

    fn poll(&mut self, now: Moment, out: &mut Vec<Vec<u8>>) -> Option<Moment> {
        let Self::Tcp(tcp) = self else { return None };
        tcp.poll(now, &mut |len, write| {
            let mut packet = vec![0; len];
            write(&mut packet);
            out.push(packet);
            true
        })
    }

    fn read(&mut self, place: &mut [u8], now: Moment) -> Result<Read, Error> {
        match self {
            Self::Tcp(tcp) => tcp.read(place, now),
            Self::Listening(..) => Ok(Read::Nothing),
        }
    }

    fn write(&mut self, data: &[u8]) -> usize {
        match self {
            Self::Tcp(tcp) => tcp.write(data).unwrap_or(0),
            Self::Listening(..) => 0,
        }
    }

    fn shutdown(&mut self) {
        self.tcp().shutdown();
    }

    fn listens(&self) -> bool {
        matches!(self, Self::Listening(..))
    }

    fn show(&self) -> String {
        match self {
            Self::Tcp(tcp) => format!("{tcp:?}"),
            Self::Listening(..) => String::new(),
        }
    }

    fn closed(&self) -> bool {
        matches!(self, Self::Tcp(tcp) if matches!(tcp.state(), State::Closed | State::TimeWait))
    }
}

/// smoltcp's endpoint.
pub struct Smol {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    device: Wire,
}

#[derive(Default)]
struct Wire {
    mtu: usize,
    inbound: VecDeque<Vec<u8>>,
    outbound: Vec<Vec<u8>>,
}

impl Smol {
    fn new(buffer: usize, mtu: usize, address: SocketAddr) -> Self {
        let mut device = Wire { mtu, ..Wire::default() };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = 1;
        let mut interface = Interface::new(config, &mut device, Instant::from_micros(0));
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(address.ip().into(), 24)).unwrap());
        let storage = || smol::SocketBuffer::new(vec![0; buffer]);
        let mut socket = smol::Socket::new(storage(), storage());
        socket.set_congestion_control(smol::CongestionControl::Cubic);
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(vec![]);
        let handle = sockets.add(socket);
        Self { interface, sockets, handle, device }
    }

    pub fn listen(buffer: usize, mtu: usize) -> Self {
        let mut end = Self::new(buffer, mtu, server());
        end.socket().listen(server().port()).unwrap();
        end
    }

    pub fn connect(buffer: usize, mtu: usize) -> Self {
        let mut end = Self::new(buffer, mtu, client());
        let socket = end.sockets.get_mut::<smol::Socket<'_>>(end.handle);
        socket.connect(end.interface.context(), (server().ip(), server().port()), client().port()).unwrap();
        end
    }

    fn socket(&mut self) -> &mut smol::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

fn instant(now: Moment) -> Instant {
    Instant::from_micros(now.micros() as i64)
}

impl End for Smol {
    fn receive(&mut self, packet: &[u8], _now: Moment) {
        self.device.inbound.push_back(packet.to_vec());
    }

    fn poll(&mut self, now: Moment, out: &mut Vec<Vec<u8>>) -> Option<Moment> {
        self.interface.poll(instant(now), &mut self.device, &mut self.sockets);
        out.append(&mut self.device.outbound);
        let delay = self.interface.poll_delay(instant(now), &self.sockets)?;
        Some(now + Duration::from_micros(delay.total_micros()))
    }

    fn read(&mut self, place: &mut [u8], _now: Moment) -> Result<Read, Error> {
        match self.socket().recv_slice(place) {
            Ok(0) => Ok(Read::Nothing),
            Ok(len) => Ok(Read::Bytes(len)),
            Err(smol::RecvError::Finished) => Ok(Read::End),
            Err(smol::RecvError::InvalidState) => Ok(Read::Nothing),
        }
    }

    fn write(&mut self, data: &[u8]) -> usize {
        if self.socket().can_send() { self.socket().send_slice(data).unwrap() } else { 0 }
    }

    fn shutdown(&mut self) {
        self.socket().close();
    }

    fn closed(&self) -> bool {
        matches!(self.sockets.get::<smol::Socket<'_>>(self.handle).state(), smol::State::Closed | smol::State::TimeWait)
    }
}

pub struct Received(Vec<u8>);
pub struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl phy::Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sending<'_>)> {
        let packet = self.inbound.pop_front()?;
        Some((Received(packet), Sending(&mut self.outbound)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.outbound))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

/// One direction of a link.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub delay: Duration,
    /// Bytes per second; 0 is without limit.
    pub rate: u64,
    /// Bytes that wait for the rate, at most.
    pub queue: u64,
    /// Of packets, how many are lost.
    pub loss: f64,
    /// How many are lost in a row, once one is.
    pub burst: u32,
    pub reorder: f64,
    pub duplicate: f64,
    /// Larger ones vanish.
    pub mtu: usize,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(25),
            rate: 0,
            queue: u64::MAX,
            loss: 0.0,
            burst: 1,
            reorder: 0.0,
            duplicate: 0.0,
            mtu: usize::MAX,
        }
    }
}

struct Line {
    path: Path,
    /// By arrival.
    under_way: BTreeMap<(Moment, u64), Vec<u8>>,
    count: u64,
    free_at: Moment,
    /// So many more, if they come soon.
    dropping: u32,
    dropped_at: Moment,
}

impl Line {
    fn send(&mut self, packet: Vec<u8>, now: Moment, random: &mut SmallRng) {
        let path = self.path;
        if packet.len() > path.mtu {
            return;
        }
        let mut departs = now;
        if path.rate > 0 {
            let begins = self.free_at.max(now);
            let waiting = begins.since(now).as_micros() as u64 * path.rate / 1_000_000;
            if waiting + packet.len() as u64 > path.queue {
                return;
            }
            departs = begins + Duration::from_micros(packet.len() as u64 * 1_000_000 / path.rate);
            self.free_at = departs;
        }
        if self.dropping > 0 && now.since(self.dropped_at) < Duration::from_secs(1) {
            self.dropping -= 1;
            return;
        }
        if path.loss > 0.0 && random.random_bool(path.loss / f64::from(path.burst)) {
            (self.dropping, self.dropped_at) = (path.burst - 1, now);
            return;
        }
        let late = path.reorder > 0.0 && random.random_bool(path.reorder);
        let extra = if late { path.delay.mul_f64(random.random_range(0.0..0.5)) } else { Duration::ZERO };
        if path.duplicate > 0.0 && random.random_bool(path.duplicate) {
            self.count += 1;
            self.under_way.insert((departs + path.delay + extra / 2, self.count), packet.clone());
        }
        self.count += 1;
        self.under_way.insert((departs + path.delay + extra, self.count), packet);
    }
}

/// What an application does: sends so many bytes, then ends; reads all.
#[derive(Clone, Copy, Debug, Default)]
pub struct App {
    pub to_send: u64,
    /// Bytes for each write; 0 is as many as possible.
    pub piece: usize,
    /// Whether it ends after having sent.
    pub ends: bool,
    /// When it begins to read.
    pub reads_from: Moment,
    pub sent: u64,
    pub received: u64,
    pub finished: bool,
    pub saw_end: bool,
}

/// What byte `at` of the stream is.
fn byte(at: u64, salt: u64) -> u8 {
    ((at ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

pub struct World {
    pub now: Moment,
    pub ends: [Box<dyn End>; 2],
    lines: [Line; 2],
    pub apps: [App; 2],
    random: SmallRng,
    wake: [Option<Moment>; 2],
    /// Packets sent, by end.
    pub packets: [u64; 2],
    pub trace: bool,
    table: [Vec<u8>; 2],
}

const TABLE: usize = 1 << 16;

impl World {
    pub fn new(ends: [Box<dyn End>; 2], paths: [Path; 2], apps: [App; 2], seed: u64) -> Self {
        let line = |path| Line {
            path,
            under_way: BTreeMap::new(),
            count: 0,
            free_at: Moment::default(),
            dropping: 0,
            dropped_at: Moment::default(),
        };
        let table = |salt| (0..2 * TABLE as u64).map(|at| byte(at % TABLE as u64, salt)).collect();
        Self {
            now: Moment::default(),
            ends,
            lines: paths.map(line),
            apps,
            random: SmallRng::seed_from_u64(seed),
            wake: [Some(Moment::default()); 2],
            packets: [0; 2],
            trace: false,
            table: [table(0), table(1 << 20)],
        }
    }

    fn act(&mut self, end: usize) {
        let mut out = Vec::new();
        // smoltcp looks at what arrived only now.
        self.ends[end].poll(self.now, &mut out);
        self.read(end);
        self.write(end);
        self.wake[end] = self.ends[end].poll(self.now, &mut out);
        for packet in out {
            self.packets[end] += 1;
            if self.trace {
                self.show(end, &packet);
            }
            self.lines[end].send(packet, self.now, &mut self.random);
        }
    }

    fn show(&self, end: usize, packet: &[u8]) {
        let ip = Ipv4Packet::new_unchecked(packet);
        let segment = Segment::parse(ip.payload(), ip.src_addr().into(), ip.dst_addr().into()).unwrap();
        println!(
            "{:>10} {end} {:?} seq {} len {} ack {} win {} {:?}",
            self.now.micros(),
            segment.control,
            segment.seq.number(),
            segment.payload.len(),
            segment.ack.map_or(0, |ack| ack.number()),
            segment.window,
            segment.sacks.iter().flatten().map(|(a, b)| (a.number(), b.number())).collect::<Vec<_>>()
        );
    }

    fn write(&mut self, end: usize) {
        let app = &mut self.apps[end];
        while app.sent < app.to_send {
            let at = (app.sent % TABLE as u64) as usize;
            let most = if app.piece == 0 { TABLE } else { app.piece };
            let len = most.min((app.to_send - app.sent) as usize);
            let len = self.ends[end].write(&self.table[end][at..at + len]);
            app.sent += len as u64;
            if len == 0 || app.piece > 0 {
                break;
            }
        }
        if app.sent == app.to_send && app.ends && !app.finished && !self.ends[end].listens() {
            app.finished = true;
            self.ends[end].shutdown();
        }
    }

    fn read(&mut self, end: usize) {
        let app = &mut self.apps[end];
        if self.now < app.reads_from {
            return;
        }
        let mut place = vec![0; TABLE];
        while let Ok(read) = self.ends[end].read(&mut place, self.now) {
            match read {
                Read::Bytes(len) => {
                    let at = (app.received % TABLE as u64) as usize;
                    assert!(place[..len] == self.table[1 - end][at..at + len], "wrong bytes at {}", app.received);
                    app.received += len as u64;
                }
                Read::Nothing => return,
                Read::End => {
                    app.saw_end = true;
                    return;
                }
            }
        }
    }

    /// Goes on to what happens next; `false` if nothing ever will.
    pub fn step(&mut self) -> bool {
        let arrival = |line: &Line| line.under_way.first_key_value().map(|((at, _), _)| *at);
        let arrivals = [arrival(&self.lines[0]), arrival(&self.lines[1])];
        let readers = self.apps.map(|app| (app.reads_from > self.now).then_some(app.reads_from));
        let Some(at) = arrivals.into_iter().chain(self.wake).chain(readers).flatten().min() else { return false };
        self.now = self.now.max(at);
        for (end, reader) in readers.into_iter().enumerate() {
            let mut due = self.wake[end].is_some_and(|at| at <= self.now) || reader == Some(self.now);
            while let Some(first) =
                self.lines[1 - end].under_way.first_entry().filter(|first| first.key().0 <= self.now)
            {
                let packet = first.remove();
                self.ends[end].receive(&packet, self.now);
                due = true;
            }
            if due {
                self.act(end);
            }
        }
        true
    }

    /// Until `done`, for so long at most; whether it was done.
    pub fn run(&mut self, most: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + most;
        let (mut steps, mut last) = (0, self.now);
        while !done(self) {
            if !self.step() || self.now > end {
                return done(self);
            }
            steps = if self.now == last { steps + 1 } else { 0 };
            last = self.now;
            assert!(steps < 1000, "runs in circles at {:?}, for {:?}: {}", self.now, self.wake, self.ends[0].show());
        }
        true
    }

    /// Whether all was sent, received, ended and closed.
    pub fn complete(&self) -> bool {
        let [one, other] = &self.apps;
        let received = one.received == other.to_send && other.received == one.to_send;
        received && one.saw_end == other.ends && other.saw_end == one.ends
    }
}
