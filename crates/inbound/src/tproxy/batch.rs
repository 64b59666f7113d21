//! Many datagrams in one system call, each with where it was going.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{sockaddr_in, sockaddr_in6};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrStorage,
};

/// Datagrams per system call.
pub(super) const BATCH: usize = 32;

/// The largest datagram. Memory for it is the kernel's until one of that size comes.
const MAX_DATAGRAM: usize = 65_535;

/// What one datagram brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) dscp: u8,
    pub(super) payload: &'a [u8],
}

thread_local! {
    /// One per worker thread: a listener that waits holds nothing.
    static ROOM: RefCell<Room> = RefCell::new(Room::new());
}

struct Room {
    buffer: Box<[u8]>,
    v4: MultiHeaders<SockaddrStorage>,
    v6: MultiHeaders<SockaddrStorage>,
}

impl Room {
    fn new() -> Self {
        Self { buffer: vec![0; BATCH * MAX_DATAGRAM].into(), v4: headers(), v6: headers() }
    }
}

fn headers() -> MultiHeaders<SockaddrStorage> {
    // Room for either family, and a little more; what does not fit would be cut.
    MultiHeaders::preallocate(BATCH, Some(cmsg_space!(sockaddr_in, sockaddr_in6, i32, i32)))
}

/// Receives what is there, at most [`BATCH`] datagrams, and shows each to `take`. Returns how many there were.
///
/// Datagrams without an original destination (F-B12) are skipped.
///
/// # Errors
/// The system's, `WouldBlock` among them.
pub(super) fn receive(socket: &impl AsRawFd, is_ipv4: bool, mut take: impl FnMut(Datagram<'_>)) -> io::Result<usize> {
    ROOM.with_borrow_mut(|Room { buffer, v4, v6 }| {
        let headers = if is_ipv4 { v4 } else { v6 };
        let (received, whole) = receive_into(buffer, headers, socket, &mut take)?;
        if !whole {
            // The kernel wrote how much control data there was where the next call reads how much room there is.
            *headers = self::headers();
        }
        Ok(received)
    })
}

/// Also whether each datagram brought all its control messages.
fn receive_into(
    buffer: &mut [u8],
    headers: &mut MultiHeaders<SockaddrStorage>,
    socket: &impl AsRawFd,
    take: &mut impl FnMut(Datagram<'_>),
) -> io::Result<(usize, bool)> {
    let mut rest = buffer;
    let mut rooms: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
        let (room, others) = std::mem::take(&mut rest).split_at_mut(MAX_DATAGRAM);
        rest = others;
        [IoSliceMut::new(room)]
    });
    let flags = MsgFlags::MSG_DONTWAIT;
    let messages = nix::sys::socket::recvmmsg(socket.as_raw_fd(), headers, rooms.iter_mut(), flags, None)?;
    let (mut received, mut whole) = (0, true);
    for message in messages {
        received += 1;
        let payload = message.iovs().next().unwrap_or_default();
        match read(&message) {
            Some((from, to, dscp)) => take(Datagram { from, to, dscp, payload }),
            None => whole = false,
        }
    }
    Ok((received, whole))
}

/// Source, original destination and code point.
fn read(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<(SocketAddr, SocketAddr, u8)> {
    let from = message.address.as_ref().and_then(socket_addr)?;
    let (mut to, mut class) = (None, None);
    for control in message.cmsgs().ok()? {
        match control {
            ControlMessageOwned::Ipv4OrigDstAddr(addr) => {
                to = Some(std::net::SocketAddrV4::from(SockaddrIn::from(addr)).into())
            }
            ControlMessageOwned::Ipv6OrigDstAddr(addr) => to = Some(SocketAddrV6::from(SockaddrIn6::from(addr)).into()),
            ControlMessageOwned::Ipv4Tos(tos) => class = Some(tos),
            ControlMessageOwned::Ipv6TClass(value) => class = u8::try_from(value).ok(),
            _ => {}
        }
    }
    // RFC 2474 §3: the code point is the upper six bits.
    Some((from, to?, class? >> 2))
}

fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(std::net::SocketAddrV4::from(*v4).into());
    }
    storage.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into())
}
