//! Datagrams on their way to the UDP socket, in trains that one system call can send.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Datagrams to one address, one behind the other; all have the same length but for the last, which may be shorter.
/// That is what Linux sends in one go (UDP_SEGMENT, udp(7)).
#[derive(Debug)]
pub struct Train {
    /// Where to.
    pub to: SocketAddr,
    /// The length of each datagram but the last, in bytes.
    pub stride: usize,
    /// All of them.
    pub bytes: Vec<u8>,
}

impl Train {
    /// Linux' UDP_MAX_SEGMENTS.
    const MAX_DATAGRAMS: usize = 64;
    /// The most that an IPv4 datagram carries; the kernel checks the whole train against it.
    const MAX_BYTES: usize = 65_507;

    /// Whether a datagram of `len` bytes to `to` can still be hung on.
    fn takes(&self, to: SocketAddr, len: usize) -> bool {
        self.to == to
            && len <= self.stride
            && self.bytes.len().is_multiple_of(self.stride)
            && self.bytes.len() / self.stride < Self::MAX_DATAGRAMS
            && self.bytes.len() + len <= Self::MAX_BYTES
    }
}

/// Datagrams that wait for the socket. Buffers are used again and again.
#[derive(Debug, Default)]
pub struct Outbox {
    trains: VecDeque<Train>,
    spare: Vec<Vec<u8>>,
    bytes: usize,
}

impl Outbox {
    /// Beyond this much, in bytes, nothing more should be made to wait here: what waits cannot be overtaken by what is
    /// more urgent, so it is the latency that a bulk transfer adds to a new connection.
    pub const LIMIT: usize = 256 * 1024;
    /// Buffers kept for later, some 64 KiB each.
    const SPARE: usize = 4;

    /// Whether more may be pushed; see [`Outbox::LIMIT`]. Timers and handshakes push regardless.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes < Self::LIMIT
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// Appends a datagram of `len` bytes (at least one) for `to` and returns its place, zeroed, to be filled in.
    pub fn push(&mut self, to: SocketAddr, len: usize) -> &mut [u8] {
        if !self.trains.back().is_some_and(|train| train.takes(to, len)) {
            let bytes = self.spare.pop().unwrap_or_default();
            self.trains.push_back(Train { to, stride: len.max(1), bytes });
        }
        self.bytes += len;
        match self.trains.back_mut() {
            Some(train) => {
                let start = train.bytes.len();
                train.bytes.resize(start + len, 0);
                train.bytes.get_mut(start..).unwrap_or_default()
            }
            None => &mut [],
        }
    }

    /// The train that is due.
    #[must_use]
    pub fn front(&self) -> Option<&Train> {
        self.trains.front()
    }

    /// Forgets the train that is due: it was sent, or cannot be.
    pub fn pop(&mut self) {
        if let Some(mut train) = self.trains.pop_front() {
            self.bytes -= train.bytes.len();
            if self.spare.len() < Self::SPARE {
                train.bytes.clear();
                self.spare.push(train.bytes);
            }
        }
    }

    /// Gives back the memory of spare buffers; for a tunnel that went quiet.
    pub fn shrink(&mut self) {
        self.spare = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn shape(outbox: &Outbox) -> Vec<(u16, usize, usize)> {
        outbox.trains.iter().map(|train| (train.to.port(), train.stride, train.bytes.len())).collect()
    }

    #[test]
    fn equal_datagrams_share_a_train_that_a_shorter_one_ends() {
        let mut outbox = Outbox::default();
        for len in [100, 100, 60, 100] {
            outbox.push(to(1), len);
        }
        outbox.push(to(2), 100);
        outbox.push(to(2), 200);
        assert_eq!(shape(&outbox), [(1, 100, 260), (1, 100, 100), (2, 100, 100), (2, 200, 200)]);
    }

    #[test]
    fn trains_keep_to_what_the_kernel_takes() {
        let mut outbox = Outbox::default();
        for _ in 0..65 {
            outbox.push(to(1), 96);
        }
        for _ in 0..46 {
            outbox.push(to(2), 1440);
        }
        assert_eq!(shape(&outbox), [(1, 96, 64 * 96), (1, 96, 96), (2, 1440, 45 * 1440), (2, 1440, 1440)]);
    }

    #[test]
    fn a_place_is_zeroed_although_buffers_are_used_again() {
        let mut outbox = Outbox::default();
        outbox.push(to(1), 8).fill(0xff);
        outbox.pop();
        assert!(outbox.is_empty());
        assert_eq!(outbox.push(to(1), 16), [0; 16]);
    }
}
