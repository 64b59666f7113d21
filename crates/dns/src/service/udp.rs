//! Questions in datagrams: many to a system call, answered in place where nobody has to be asked. Answers of one length
//! to one client go back together, too: sending is most of what an answer costs.

use std::array::from_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::audience::Audience;
use super::{Now, Service};
use crate::reply::Limit;

/// Trains of datagrams that one system call receives.
const TRAINS: usize = 16;
/// The longest train, in bytes: the kernel coalesces no further (udp(7), UDP_GRO).
const TRAIN: usize = 64 * 1024;
/// Answers that are sent together at most: as long as they may be (1,232 bytes), they fit into one packet before it is cut.
const SEGMENTS: usize = 48;
/// What the kernel should hold for us while we are busy, in bytes. Less is no reason to fail.
const KERNEL_BUFFER: usize = 1024 * 1024;

pub(super) struct Door {
    socket: Arc<Socket>,
    audience: Arc<Audience>,
    service: Arc<dyn Fn() -> Service + Send + Sync>,
}

struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
}

/// Where a datagram came from, and to which of our addresses: the answer goes back the same way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Path {
    client: SocketAddr,
    ours: Option<IpAddr>,
}

impl Door {
    pub(super) fn new(
        io: UdpSocket,
        audience: Arc<Audience>,
        service: Arc<dyn Fn() -> Service + Send + Sync>,
    ) -> io::Result<Self> {
        let state = UdpSocketState::new((&io).into())?;
        let _ = SockRef::from(&io).set_recv_buffer_size(KERNEL_BUFFER);
        let _ = SockRef::from(&io).set_send_buffer_size(KERNEL_BUFFER);
        Ok(Self { socket: Arc::new(Socket { io, state }), audience, service })
    }

    /// Never returns: a socket's errors are some datagram's, and the next one is received all the same.
    pub(super) async fn run(self) {
        let mut bytes = vec![0; TRAINS * TRAIN];
        let mut metas = [RecvMeta::default(); TRAINS];
        let mut answer = Vec::with_capacity(512);
        let mut ready = Ready::default();
        let mut open = JoinSet::new();
        loop {
            let count = match self.socket.receive(&mut bytes, &mut metas).await {
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(%error, "a datagram was not received");
                    continue;
                }
            };
            while open.try_join_next().is_some() {}
            let service = (self.service)();
            for (train, meta) in bytes.chunks_exact(TRAIN).zip(&metas).take(count) {
                let path = Path { client: meta.addr, ours: meta.dst_ip };
                if !self.audience.admits(path.client.ip(), || path.ours, Instant::now) {
                    continue;
                }
                let train = train.get(..meta.len).unwrap_or_default();
                for datagram in train.chunks(meta.stride.max(1)) {
                    match service.answer_now(datagram, Limit::Datagram, &mut answer) {
                        Now::Answered => ready.add(&answer, path),
                        Now::Silence => {}
                        Now::Later(_) => self.ask(&service, datagram, path, &mut open),
                    }
                }
            }
            self.socket.send_all(&mut ready).await;
        }
    }

    /// Answers when somebody else has; a question that finds no place is dropped.
    fn ask(&self, service: &Service, datagram: &[u8], path: Path, open: &mut JoinSet<()>) {
        let Some(place) = service.enter(path.client.ip()) else { return };
        let (service, socket, datagram) = (service.clone(), Arc::clone(&self.socket), datagram.to_vec());
        open.spawn(async move {
            if let Some(answer) = service.handle_entered(&datagram, Limit::Datagram, place).await {
                socket.send(&answer, path).await;
            }
        });
    }
}

/// Answers that wait until a batch of questions is done.
#[derive(Default)]
struct Ready {
    bytes: Vec<u8>,
    answers: Vec<Answer>,
    /// Those that are sent together, one behind the other.
    train: Vec<u8>,
}

/// One of them, and where it lies.
struct Answer {
    path: Path,
    at: usize,
    length: usize,
}

impl Ready {
    fn add(&mut self, answer: &[u8], path: Path) {
        self.answers.push(Answer { path, at: self.bytes.len(), length: answer.len() });
        self.bytes.extend_from_slice(answer);
    }
}

impl Socket {
    async fn receive(&self, bytes: &mut [u8], metas: &mut [RecvMeta; TRAINS]) -> io::Result<usize> {
        self.io
            .async_io(Interest::READABLE, || {
                let mut rooms = bytes.chunks_exact_mut(TRAIN);
                let mut slices: [_; TRAINS] = from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
                self.state.recv((&self.io).into(), &mut slices, metas)
            })
            .await
    }

    /// Sends all answers and leaves none.
    async fn send_all(&self, ready: &mut Ready) {
        // Clients do not care in which order they are answered.
        ready.answers.sort_unstable_by_key(|answer| (answer.path, answer.length));
        let mut rest = ready.answers.as_slice();
        while let Some(first) = rest.first() {
            let alike = |answer: &&Answer| (answer.path, answer.length) == (first.path, first.length);
            let most = self.state.max_gso_segments().clamp(1, SEGMENTS);
            let count = rest.iter().take(most).take_while(alike).count();
            let (together, others) = rest.split_at(count);
            rest = others;
            ready.train.clear();
            for answer in together {
                let bytes = ready.bytes.get(answer.at..answer.at.saturating_add(answer.length));
                ready.train.extend_from_slice(bytes.unwrap_or_default());
            }
            self.send_train(&ready.train, (count > 1).then_some(first.length), first.path).await;
        }
        ready.answers.clear();
        ready.bytes.clear();
    }

    async fn send(&self, answer: &[u8], path: Path) {
        self.send_train(answer, None, path).await;
    }

    /// Waits while the socket is full: what comes meanwhile waits in the kernel.
    async fn send_train(&self, contents: &[u8], segment_size: Option<usize>, path: Path) {
        let transmit = Transmit { destination: path.client, ecn: None, contents, segment_size, src_ip: path.ours };
        let send = || self.state.try_send((&self.io).into(), &transmit);
        if let Err(error) = self.io.async_io(Interest::WRITABLE, send).await {
            tracing::debug!(client = %path.client, %error, "an answer was not sent");
        }
    }
}
