//! Between a byte stream and a record layer: what has arrived and is not yet opened, what is sealed and has not yet
//! left. Neither holds memory while it is empty.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use adit_net::Stream;
use adit_reality::{Alert, Content, Error, Opened, Opener, Sealer};
use tokio::io::AsyncReadExt as _;

/// The receiving half of a record layer. A seam, so that ordinary TLS fits as well as REALITY, and tests need neither.
pub(super) trait Open: Send + Unpin {
    /// As [`Opener::open`]: the record at the front of `buf`, in place, and nothing behind it.
    fn open<'a>(&mut self, buf: &'a mut [u8]) -> Result<Opened<'a>, Error>;
}

/// The sending half of a record layer.
pub(super) trait Seal: Send + Unpin {
    /// Appends `plaintext` as whole records.
    fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error>;
    /// Appends a KeyUpdate that asks for none in return, and changes the key.
    fn key_update(&mut self, out: &mut Vec<u8>) -> Result<(), Error>;
    /// Appends an alert; close_notify is one. Nothing may follow.
    fn alert(&mut self, alert: Alert, out: &mut Vec<u8>) -> Result<(), Error>;
}

impl Open for Opener {
    fn open<'a>(&mut self, buf: &'a mut [u8]) -> Result<Opened<'a>, Error> {
        Self::open(self, buf)
    }
}

impl Seal for Sealer {
    fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        Self::seal(self, plaintext, out);
        Ok(())
    }

    fn key_update(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        Self::key_update(self, out);
        Ok(())
    }

    fn alert(&mut self, alert: Alert, out: &mut Vec<u8>) -> Result<(), Error> {
        self.seal_alert(alert, out);
        Ok(())
    }
}

/// Bytes received. They are read ahead, as many as come, and opened one record at a time: whether the next record is one
/// at all is known only once this one has been looked at.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    /// Opened or given up, and not yet taken. INVARIANT: `plain_at <= plain_end <= sealed_at <= bytes.len()`.
    plain_at: usize,
    plain_end: usize,
    /// Where the bytes begin that were not opened.
    sealed_at: usize,
    /// How much room the next read gets; 0 is [`FIRST_READ`].
    room: usize,
}

/// What a record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Its content is in [`Incoming::plain`].
    Data,
    /// The peer changed its key and wants us to change ours.
    KeyUpdateWanted,
    /// close_notify.
    Closed,
    /// The stream ended without close_notify.
    Cut,
}

/// A received record that cannot be.
#[derive(Debug)]
pub(super) enum Failed {
    /// The stream below.
    Io(io::Error),
    /// The record layer.
    Record(Error),
}

impl Incoming {
    /// Starts with bytes that were received already.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Opens the next record that says something, reading more when there is none. Call only when [`plain`](Self::plain)
    /// is empty.
    pub(super) fn poll_record<S: Stream, O: Open>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut S,
        opener: &mut O,
    ) -> Poll<Result<Received, Failed>> {
        loop {
            let start = self.bytes.as_ptr().addr();
            let sealed = self.bytes.get_mut(self.sealed_at..).unwrap_or_default();
            let needed = match opener.open(sealed).map_err(Failed::Record)? {
                Opened::Incomplete { need_total } => need_total,
                Opened::Record { consumed, content } => {
                    let received = match content {
                        Content::Data(data) => {
                            self.plain_at = data.as_ptr().addr() - start;
                            self.plain_end = self.plain_at + data.len();
                            Some(Received::Data)
                        }
                        Content::KeyUpdate { reply: true } => Some(Received::KeyUpdateWanted),
                        Content::Closed => Some(Received::Closed),
                        Content::KeyUpdate { reply: false } | Content::Nothing => None,
                    };
                    self.sealed_at += consumed;
                    match received {
                        Some(received) => return Poll::Ready(Ok(received)),
                        None => continue,
                    }
                }
            };
            if ready!(self.poll_read_ahead(cx, io, needed)).map_err(Failed::Io)? == 0 {
                return Poll::Ready(Ok(Received::Cut));
            }
        }
    }

    /// Content of the opened record that has not been taken.
    pub(super) fn plain(&self) -> &[u8] {
        self.bytes.get(self.plain_at..self.plain_end).unwrap_or_default()
    }

    /// Marks the first `n` bytes of [`plain`](Self::plain) as taken.
    pub(super) fn take(&mut self, n: usize) {
        self.plain_at = (self.plain_at + n).min(self.plain_end);
    }

    /// Makes everything that was read ahead plain, as it is. Call only when [`plain`](Self::plain) is empty. Frees the
    /// memory when there is nothing.
    pub(super) fn surrender(&mut self) {
        if self.sealed_at == self.bytes.len() {
            *self = Self::default();
            return;
        }
        self.plain_at = self.sealed_at;
        self.plain_end = self.bytes.len();
        self.sealed_at = self.bytes.len();
    }

    /// Memory held.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.plain_at == self.plain_end && self.sealed_at == self.bytes.len()
    }

    /// Reads once, so that in the end `needed` bytes from the front of the unopened ones fit; 0 is the end of the
    /// stream.
    fn poll_read_ahead<S: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut S,
        needed: usize,
    ) -> Poll<io::Result<usize>> {
        self.bytes.drain(..self.sealed_at);
        (self.plain_at, self.plain_end, self.sealed_at) = (0, 0, 0);
        if self.bytes.is_empty() {
            // Memory is taken only when there is something to put into it.
            let quiet = match io.raw_reader() {
                Some(socket) => socket.poll_read_ready(cx)?.is_pending(),
                None => false,
            };
            if quiet {
                *self = Self::default();
                return Poll::Pending;
            }
        }
        let room = self.room.max(FIRST_READ);
        self.bytes.reserve_exact(room.max(needed).saturating_sub(self.bytes.len()).max(1));
        let free = self.bytes.capacity() - self.bytes.len();
        let read = pin!(io.read_buf(&mut self.bytes)).poll(cx);
        match read {
            Poll::Pending if self.bytes.is_empty() => *self = Self::default(),
            Poll::Ready(Ok(n)) if n == free => self.room = (room * 4).min(LARGEST_READ),
            _ => {}
        }
        read
    }
}

/// Bytes that must leave before anything else may.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// Starts with bytes that should have left already.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, sent: 0 }
    }

    /// Where to append.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether everything has left.
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Sends until all has left. The memory stays, for the next bytes.
    pub(super) fn poll_send<S: Stream>(&mut self, cx: &mut Context<'_>, io: &mut S) -> Poll<io::Result<()>> {
        while let Some(left @ [_, ..]) = self.bytes.get(self.sent..) {
            match ready!(Pin::new(&mut *io).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.sent += n,
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Gives memory back: the stream is idle. A little is kept, so that datagrams do not allocate each time.
    pub(super) fn rest(&mut self) {
        if self.is_empty() && self.bytes.capacity() > KEPT {
            *self = Self::default();
        }
    }
}

/// Enough for interactive traffic.
const FIRST_READ: usize = 4 * 1024;
/// Beyond this, larger reads gain nothing.
const LARGEST_READ: usize = 64 * 1024;
/// Room for one datagram.
const KEPT: usize = 2 * 1024;
