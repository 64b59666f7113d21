//! Many datagrams in one system call, either way.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmsg};

use crate::unmapped;

/// Datagrams that one system call receives at most.
pub const BATCH: usize = 32;

/// Room that each received datagram needs: the largest there is.
const LARGEST: usize = 65_535;

/// Segments of one train (`UDP_MAX_SEGMENTS` of kernels before 6.9).
const SEGMENTS: usize = 64;

/// Bytes of one train: it travels the stack as one packet, behind an IPv6 and a UDP header.
const TRAIN: usize = 65_535 - 48;

thread_local! {
    /// Where the kernel writes who sent what, for sockets of either family: it shortens the room for an address to what
    /// it has written. One per thread: a socket that waits holds nothing.
    static HEADERS: RefCell<[Headers; 2]> = const { RefCell::new([Headers(None), Headers(None)]) };
}

struct Headers(Option<MultiHeaders<SockaddrStorage>>);

/// Datagrams that one system call has received. They lie in the room that they were received into.
#[derive(Debug)]
pub struct Batch {
    /// Lengths and senders.
    seen: [(usize, Option<SocketAddr>); BATCH],
    received: usize,
    is_full: bool,
}

impl Batch {
    /// Whether there was room for no more, so that more may be there.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The datagrams in `room`, each with its sender.
    pub fn datagrams<'r>(&self, room: &'r [u8]) -> impl Iterator<Item = (SocketAddr, &'r [u8])> {
        let seen = self.seen.into_iter().take(self.received);
        room.chunks_exact(LARGEST).zip(seen).filter_map(|(room, (length, from))| Some((from?, room.get(..length)?)))
    }
}

/// Receives what is there into `room`. Never waits.
///
/// `room` takes one datagram for each 65,535 bytes of it, and up to [`BATCH`]. Memory for it is touched only as far as
/// datagrams are long.
///
/// # Errors
/// The system's, `WouldBlock` among them; `InvalidInput` for too little room.
pub fn receive_batch(socket: &impl AsRawFd, is_ipv4: bool, room: &mut [u8]) -> io::Result<Batch> {
    let most = BATCH.min(room.len() / LARGEST);
    if most == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut batch = Batch { seen: [(0, None); BATCH], received: 0, is_full: false };
    HEADERS.with_borrow_mut(|[v6, v4]| {
        let Headers(headers) = if is_ipv4 { v4 } else { v6 };
        let headers = headers.get_or_insert_with(|| MultiHeaders::preallocate(BATCH, None));
        let mut rooms = room.chunks_exact_mut(LARGEST);
        let mut slices: [_; BATCH] = std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let slices = slices.iter_mut().take(most);
        let messages = recvmmsg(socket.as_raw_fd(), headers, slices, MsgFlags::MSG_DONTWAIT, None)?;
        for (message, seen) in messages.zip(&mut batch.seen) {
            *seen = (message.bytes, message.address.as_ref().and_then(socket_addr).map(unmapped));
            batch.received += 1;
        }
        batch.is_full = batch.received == most;
        Ok(batch)
    })
}

fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddrV4::from(*v4).into());
    }
    storage.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into())
}

/// Sends from one socket, datagrams of one length together: the kernel carries them through its stack as one and cuts
/// them at the end (udp(7), `UDP_SEGMENT`).
#[derive(Debug)]
pub struct Trains {
    /// Datagrams of this length and more go one by one, because the way there does not take them together.
    too_long: AtomicUsize,
}

impl Default for Trains {
    fn default() -> Self {
        Self { too_long: AtomicUsize::new(usize::MAX) }
    }
}

impl Trains {
    /// Sends the first of `datagrams`, and with it as many of those behind it as one system call takes. Never waits.
    /// Returns how many were sent; 0 if there is none.
    ///
    /// # Errors
    /// The system's, `WouldBlock` among them. It concerns the first datagram; none was sent.
    pub fn send(&self, socket: &impl AsRawFd, to: SocketAddr, datagrams: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(first) = datagrams.first() else { return Ok(0) };
        let (socket, to) = (socket.as_raw_fd(), SockaddrStorage::from(to));
        let train = train(datagrams, self.too_long.load(Ordering::Relaxed));
        if let Some(stride) = u16::try_from(first.len()).ok().filter(|_| train.len() > 1) {
            let cut = [ControlMessage::UdpGsoSegments(&stride)];
            match sendmsg(socket, train, &cut, MsgFlags::MSG_DONTWAIT, Some(&to)) {
                Ok(_) => return Ok(train.len()),
                // Longer than the path takes in one piece.
                Err(Errno::EMSGSIZE | Errno::EINVAL) => self.too_long.store(first.len(), Ordering::Relaxed),
                // The device, or the kernel, cannot cut trains.
                Err(Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT) => self.too_long.store(0, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        sendmsg(socket, &[IoSlice::new(first)], &[], MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(1)
    }
}

/// The datagrams at the front that one train takes: all as long as the first, but the last, which may be shorter.
fn train<'a, 'd>(datagrams: &'a [IoSlice<'d>], too_long: usize) -> &'a [IoSlice<'d>] {
    let stride = datagrams.first().map_or(0, |first| first.len());
    let most = if stride == 0 || stride >= too_long { 1 } else { (TRAIN / stride).clamp(1, SEGMENTS) };
    let same = datagrams.iter().take(most).take_while(|datagram| datagram.len() == stride).count();
    let is_last = |next: &IoSlice<'_>| same < most && !next.is_empty() && next.len() < stride;
    let length = same + usize::from(datagrams.get(same).is_some_and(is_last));
    datagrams.get(..length).unwrap_or(datagrams)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    fn lengths(lengths: &[usize], too_long: usize) -> usize {
        let bytes = vec![0; 65_507];
        let datagrams: Vec<IoSlice<'_>> = lengths.iter().map(|length| IoSlice::new(&bytes[..*length])).collect();
        train(&datagrams, too_long).len()
    }

    #[test]
    fn a_train_has_one_length_and_a_shorter_end() {
        for (datagrams, expected) in [
            (&[][..], 0),
            (&[5], 1),
            (&[5, 5, 5], 3),
            (&[5, 5, 3, 5], 3),
            (&[5, 6], 1),
            (&[0, 0], 1),
            (&[5, 0], 1),
            (&[9, 5], 2),
            (&[65_507, 65_507], 1),
            (&[30_000, 30_000, 30_000], 2),
            (&[1; 100], SEGMENTS),
        ] {
            assert_eq!(lengths(datagrams, usize::MAX), expected, "{datagrams:?}");
        }
        assert_eq!((lengths(&[5, 5], 5), lengths(&[5, 5], 6)), (1, 2));
    }

    #[test]
    fn what_is_sent_together_arrives_datagram_by_datagram() {
        let (ours, theirs) = pair();
        let sent: Vec<Vec<u8>> = [1200, 1200, 1200, 7, 0, 1, 65_507, 3].iter().map(|length| vec![7; *length]).collect();
        let slices: Vec<IoSlice<'_>> = sent.iter().map(|datagram| IoSlice::new(datagram)).collect();
        let (trains, mut at, mut calls) = (Trains::default(), 0, 0);
        while at < slices.len() {
            at += trains.send(&ours, theirs.local_addr().unwrap(), &slices[at..]).unwrap();
            calls += 1;
        }
        assert!(calls < slices.len(), "{calls}");
        let mut room = vec![0; 4 * LARGEST];
        let mut got = Vec::new();
        while got.len() < sent.len() {
            let batch = receive_batch(&theirs, true, &mut room).unwrap();
            let before = got.len();
            for (from, datagram) in batch.datagrams(&room) {
                assert_eq!(from, ours.local_addr().unwrap());
                got.push(datagram.to_vec());
            }
            assert_eq!(batch.is_full(), got.len() - before == 4);
        }
        assert_eq!(got, sent);
        let error = receive_batch(&theirs, true, &mut room).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn both_families_take_turns_on_a_thread() {
        let any = UdpSocket::bind("[::]:0").unwrap();
        let (ours, theirs) = pair();
        let mut room = vec![0; LARGEST];
        for _ in 0..3 {
            ours.send_to(b"4", theirs.local_addr().unwrap()).unwrap();
            ours.send_to(b"6", ("127.0.0.1", any.local_addr().unwrap().port())).unwrap();
            for (socket, is_ipv4) in [(&theirs, true), (&any, false)] {
                let batch = receive_batch(socket, is_ipv4, &mut room).unwrap();
                let senders: Vec<SocketAddr> = batch.datagrams(&room).map(|(from, _)| from).collect();
                assert_eq!(senders, [ours.local_addr().unwrap()]);
            }
        }
    }
}
