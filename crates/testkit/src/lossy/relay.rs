//! Sockets and threads around two lanes.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::lane::{Counts, Faults, Lane};

/// What a socket may hold while its thread is busy. A relay that loses packets itself would falsify every table.
const SOCKET_BUFFER: usize = 8 * 1024 * 1024;

/// A UDP relay between one client and one server. Stops when dropped.
///
/// Client is who sent to it last. In front of a [`crate::lab::WireGuardPeer`], make it with [`crate::lab::Lab::relay`]: the
/// peer's address means something else outside.
#[derive(Debug)]
pub struct LossyRelay {
    addr: SocketAddr,
    seed: u64,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// One direction of a [`LossyRelay`].
#[derive(Debug)]
pub struct Direction {
    lane: Mutex<Lane>,
    wake: OwnedFd,
}

#[derive(Debug)]
struct Shared {
    near: Socket,
    far: Mutex<Arc<Socket>>,
    server: SocketAddr,
    client: Mutex<Option<SocketAddr>>,
    up: Direction,
    down: Direction,
    /// Somebody wants another far socket. A thread of the relay makes it: the caller may be in another namespace.
    moving: AtomicBool,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl LossyRelay {
    /// Starts one on loopback, in the server's family.
    #[must_use]
    pub fn start(server: SocketAddr, up: Faults, down: Faults, seed: u64) -> Self {
        let near = Socket::bind(match server {
            SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
        });
        let addr = near.socket.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            near,
            far: Mutex::new(Arc::new(Socket::towards(server))),
            server,
            client: Mutex::new(None),
            up: Direction::new(up, seed),
            down: Direction::new(down, !seed),
            moving: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let (ups, downs) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::Builder::new().name("relay-up".to_owned()).spawn(move || carry_up(&ups)),
            thread::Builder::new().name("relay-down".to_owned()).spawn(move || carry_down(&downs)),
        ];
        let threads = threads.into_iter().map(|thread| thread.expect("a thread")).collect();
        Self { addr, seed, shared, threads }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Towards the server.
    #[must_use]
    pub fn up(&self) -> &Direction {
        &self.shared.up
    }

    /// Towards the client.
    #[must_use]
    pub fn down(&self) -> &Direction {
        &self.shared.down
    }

    /// Loses everything, both ways, until called again with `false`.
    pub fn pause(&self, pause: bool) {
        self.up().pause(pause);
        self.down().pause(pause);
    }

    /// Goes on from another port, as after a NAT has forgotten the first one: what the server sends there is lost.
    pub fn move_port(&self) {
        let before = self.shared.far();
        self.shared.moving.store(true, Ordering::Relaxed);
        self.shared.up.wake();
        while Arc::ptr_eq(&before, &self.shared.far()) {
            thread::yield_now();
        }
    }

    /// The port that the server sees.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.shared.far().socket.local_addr().expect("a bound socket").port()
    }
}

impl Drop for LossyRelay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.up.wake();
        self.shared.down.wake();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if thread::panicking() {
            let (up, down) = (self.up().counts(), self.down().counts());
            eprintln!("--- the relay's seed was {}; up {up:?}; down {down:?}", self.seed);
        }
    }
}

impl Direction {
    fn new(faults: Faults, seed: u64) -> Self {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("a descriptor");
        Self { lane: Mutex::new(Lane::new(faults, seed)), wake }
    }

    /// Treats packets that come from now on in this way.
    pub fn set(&self, faults: Faults) {
        self.lane().faults = faults;
    }

    /// Loses everything until called again with `false`. What is on its way arrives.
    pub fn pause(&self, pause: bool) {
        self.lane().paused = pause;
    }

    /// What became of its packets so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lane().counts
    }

    /// Keeps the next `most` packets as they come in, instead of those kept so far.
    pub fn record(&self, most: usize) {
        self.lane().record = (most, Vec::new());
    }

    /// The packets kept so far.
    #[must_use]
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        self.lane().record.1.clone()
    }

    /// Sends a packet as if it had come in, without faults or delay. Towards the client: once there is one.
    pub fn inject(&self, packet: &[u8]) {
        self.lane().inject(Instant::now(), packet);
        self.wake();
    }

    fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().expect("a lane")
    }

    fn next_due(&self) -> Option<Instant> {
        self.lane().next_due()
    }

    fn wake(&self) {
        // Full means that a wake-up is pending.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Waits for `socket`, for a time, or until somebody wakes us.
    fn wait(&self, socket: &UdpSocket, until: Option<Instant>) {
        let timeout = until.map(|due| due.saturating_duration_since(Instant::now()));
        let timeout = timeout.map(|time| Timespec::try_from(time).expect("a short time"));
        let mut events = [PollFd::new(socket, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
        let _ = poll(&mut events, timeout.as_ref());
        if !events[1].revents().is_empty() {
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
    }

    /// Takes in everything that `socket` has, some batches at most; returns who sent last.
    fn take_in(&self, socket: &Socket, buffers: &mut Buffers) -> Option<SocketAddr> {
        /// Then it is time to send.
        const BATCHES: usize = 4;

        let mut from = None;
        for _ in 0..BATCHES {
            let Ok(count) = socket.receive(buffers) else { break };
            let now = Instant::now();
            let mut lane = self.lane();
            for (meta, buffer) in buffers.metas.iter().zip(&buffers.bytes).take(count) {
                for packet in buffer[..meta.len].chunks(meta.stride.max(1)) {
                    lane.accept(now, packet);
                }
                from = Some(meta.addr);
            }
        }
        from
    }

    /// Sends everything that is due.
    fn send_due(&self, socket: &Socket, to: SocketAddr, train: &mut Vec<u8>) {
        let most = socket.state.max_gso_segments();
        loop {
            let departing = self.lane().depart(Instant::now(), most, train);
            let Some(segment) = departing else { return };
            socket.send(to, segment, train);
        }
    }
}

impl Shared {
    fn far(&self) -> Arc<Socket> {
        Arc::clone(&self.far.lock().expect("a socket"))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn carry_up(shared: &Shared) {
    let mut buffers = Buffers::new();
    let mut train = Vec::new();
    while !shared.stopped() {
        if let Some(from) = shared.up.take_in(&shared.near, &mut buffers)
            && shared.client.lock().expect("an address").replace(from) != Some(from)
        {
            shared.down.wake();
        }
        if shared.moving.swap(false, Ordering::Relaxed) {
            *shared.far.lock().expect("a socket") = Arc::new(Socket::towards(shared.server));
            shared.down.wake();
        }
        shared.up.send_due(&shared.far(), shared.server, &mut train);
        shared.up.wait(&shared.near.socket, shared.up.next_due());
    }
}

fn carry_down(shared: &Shared) {
    let mut buffers = Buffers::new();
    let mut train = Vec::new();
    while !shared.stopped() {
        let far = shared.far();
        shared.down.take_in(&far, &mut buffers);
        let client = *shared.client.lock().expect("an address");
        if let Some(client) = client {
            shared.down.send_due(&shared.near, client, &mut train);
        }
        // Without a client, what is due must wait for one.
        shared.down.wait(&far.socket, client.and_then(|_| shared.down.next_due()));
    }
}

/// Room for one batch of trains.
struct Buffers {
    bytes: Vec<Vec<u8>>,
    metas: Vec<RecvMeta>,
}

impl Buffers {
    fn new() -> Self {
        Self { bytes: vec![vec![0; 65_536]; BATCH_SIZE], metas: vec![RecvMeta::default(); BATCH_SIZE] }
    }
}

impl Socket {
    fn bind(addr: SocketAddr) -> Self {
        let socket = UdpSocket::bind(addr).expect("a socket");
        let sock = socket2::SockRef::from(&socket);
        sock.set_recv_buffer_size(SOCKET_BUFFER).expect("a larger buffer");
        sock.set_send_buffer_size(SOCKET_BUFFER).expect("a larger buffer");
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("a UDP socket");
        Self { socket, state }
    }

    fn towards(server: SocketAddr) -> Self {
        Self::bind(match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        })
    }

    fn receive(&self, buffers: &mut Buffers) -> io::Result<usize> {
        let mut slices: Vec<_> = buffers.bytes.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut buffers.metas)
    }

    /// Sends a train. What the kernel does not take, because it is too large for the interface or nobody is there, is lost.
    fn send(&self, to: SocketAddr, segment: usize, train: &[u8]) {
        let transmit =
            Transmit { destination: to, ecn: None, contents: train, segment_size: Some(segment), src_ip: None };
        while let Err(error) = self.state.try_send(UdpSockRef::from(&self.socket), &transmit) {
            if error.kind() != io::ErrorKind::WouldBlock {
                return;
            }
            let mut events = [PollFd::new(&self.socket, PollFlags::OUT)];
            let limit = Timespec::try_from(Duration::from_millis(100)).expect("a short time");
            let _ = poll(&mut events, Some(&limit));
        }
    }
}
