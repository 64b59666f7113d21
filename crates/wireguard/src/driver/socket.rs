//! One UDP socket: trains of datagrams in and out, many to a system call.

use std::array::from_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};

use adit_net::SocketOptions;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState, is_msg_size_err};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::Train;

/// What the kernel should hold for us at most, either way, in bytes: it drops what does not fit while we are busy. The
/// kernel's own limit (`net.core.rmem_max`) is often lower, and binds those without CAP_NET_ADMIN.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;

/// Trains that one system call receives.
const TRAINS: usize = 8;

/// The longest train, in bytes: the kernel coalesces no further (udp(7), UDP_GRO).
const TRAIN: usize = 64 * 1024;

/// Room for what one system call receives.
pub(super) struct Received {
    bytes: Vec<u8>,
    metas: [RecvMeta; TRAINS],
}

impl Received {
    /// Half a MiB of address space; pages become real when they are first written to.
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; TRAINS * TRAIN], metas: [RecvMeta::default(); TRAINS] }
    }

    /// The rooms, to be filled one by one.
    pub(super) fn rooms(&mut self) -> impl Iterator<Item = (&mut [u8], &mut RecvMeta)> {
        self.bytes.chunks_exact_mut(TRAIN).zip(&mut self.metas)
    }

    /// The first `count` trains: from where, all bytes, and the length of each datagram but the last.
    pub(super) fn trains(&mut self, count: usize) -> impl Iterator<Item = (SocketAddr, &mut [u8], usize)> {
        self.bytes.chunks_exact_mut(TRAIN).zip(&self.metas).take(count).map(|(bytes, meta)| {
            let len = meta.len.min(bytes.len());
            let (bytes, _) = bytes.split_at_mut(len);
            (meta.addr, bytes, meta.stride)
        })
    }
}

/// A socket of one address family.
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    /// How much of the train that is due has been sent, when it goes piece by piece.
    sent: usize,
    /// Datagrams of this length and more do not fit the path in one piece; the kernel takes no trains of such.
    too_long: usize,
}

impl Socket {
    /// A socket for the family of `to`.
    pub(super) fn open(options: &SocketOptions, to: IpAddr) -> io::Result<Self> {
        let io = options.udp_of_family(to)?;
        let state = UdpSocketState::new((&io).into())?;
        if to.is_ipv4() {
            // That was just set to "don't fragment". WireGuard lets its packets be fragmented on IPv4, which is slow where
            // the path is narrower than the tunnel believes, and better than silence.
            sockopt::set_ip_mtu_discover(&io, Ipv4PathMtuDiscovery::DONT)?;
        }
        // Less is slower, and no reason to fail.
        let socket = SockRef::from(&io);
        if sockopt::set_socket_recv_buffer_size_force(&io, KERNEL_BUFFER).is_err() {
            let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        }
        if sockopt::set_socket_send_buffer_size_force(&io, KERNEL_BUFFER).is_err() {
            let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        }
        Ok(Self { io, state, sent: 0, too_long: usize::MAX })
    }

    /// Receives up to [`TRAINS`] trains and returns how many.
    pub(super) fn poll_receive(&self, cx: &mut Context<'_>, into: &mut Option<Received>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let into = into.get_or_insert_with(Received::new);
            let mut rooms = into.bytes.chunks_exact_mut(TRAIN);
            let mut slices: [_; TRAINS] = from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
            let receive = || self.state.recv((&self.io).into(), &mut slices, &mut into.metas);
            match self.io.try_io(Interest::READABLE, receive) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Sends a train. After `Pending` the same train has to come again.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, train: &Train) -> Poll<io::Result<()>> {
        while let Some(rest) = train.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            ready!(self.io.poll_send_ready(cx))?;
            let together = if train.stride < self.too_long { self.state.max_gso_segments().max(1) } else { 1 };
            let (now, _) = rest.split_at(rest.len().min(together.saturating_mul(train.stride)));
            let transmit = Transmit {
                destination: train.to,
                ecn: None,
                contents: now,
                segment_size: (now.len() > train.stride).then_some(train.stride),
                src_ip: None,
            };
            match self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), &transmit)) {
                Ok(()) => self.sent += now.len(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The device cannot cut trains: from now on they go piece by piece.
                Err(_) if self.state.max_gso_segments() < together => {}
                Err(error) if is_msg_size_err(&error) && now.len() > train.stride => self.too_long = train.stride,
                Err(error) if is_msg_size_err(&error) => self.sent += now.len(),
                Err(error) => {
                    self.sent = 0;
                    return Poll::Ready(Err(error));
                }
            }
        }
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
