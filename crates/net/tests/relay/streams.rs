//! Stand-ins for layered streams.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use adit_net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Never raw.
pub(crate) struct Opaque(pub(crate) TcpStream);

impl Stream for Opaque {
    fn socket(&self) -> Option<&TcpStream> {
        Some(&self.0)
    }

    fn abort(&mut self) {
        self.0.abort();
    }
}

impl AsyncRead for Opaque {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

const MASK: u8 = 0x5a;

/// Masks the first bytes of each direction and is raw after them, as Vision is after its switch. It reads ahead of the
/// switch, and holds written bytes back until it is flushed or has enough.
pub(crate) struct TurnsRaw {
    socket: TcpStream,
    to_unmask: usize,
    to_mask: usize,
    /// Received and not yet handed out; already unmasked.
    ahead: Vec<u8>,
    /// Masked and not yet handed to the socket.
    behind: Vec<u8>,
}

impl TurnsRaw {
    pub(crate) fn new(socket: TcpStream, after: usize) -> Self {
        Self { socket, to_unmask: after, to_mask: after, ahead: Vec::new(), behind: Vec::new() }
    }

    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.behind.is_empty() {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.behind))?;
            self.behind.drain(..n);
        }
        Poll::Ready(Ok(()))
    }
}

/// What travels on the socket of a [`TurnsRaw`] for `bytes`, and the other way round.
pub(crate) fn masked(mut bytes: Vec<u8>, after: usize) -> Vec<u8> {
    bytes.iter_mut().take(after).for_each(|b| *b ^= MASK);
    bytes
}

impl Stream for TurnsRaw {
    fn raw_reader(&self) -> Option<&TcpStream> {
        (self.to_unmask == 0 && self.ahead.is_empty()).then_some(&self.socket)
    }

    fn raw_writer(&self) -> Option<&TcpStream> {
        (self.to_mask == 0 && self.behind.is_empty()).then_some(&self.socket)
    }

    fn abort(&mut self) {
        self.socket.abort();
    }
}

impl AsyncRead for TurnsRaw {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.to_unmask == 0 && this.ahead.is_empty() {
            return Pin::new(&mut this.socket).poll_read(cx, buf);
        }
        if this.ahead.is_empty() {
            let mut chunk = [0; 10_000];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut chunk))?;
            this.ahead = masked(chunk.filled().to_vec(), this.to_unmask);
            this.to_unmask -= this.ahead.len().min(this.to_unmask);
        }
        let n = this.ahead.len().min(buf.remaining()).min(7_000);
        buf.put_slice(&this.ahead[..n]);
        this.ahead.drain(..n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TurnsRaw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.behind.len() >= 5_000 || this.to_mask == 0 {
            ready!(this.poll_behind(cx))?;
        }
        if this.to_mask == 0 {
            return Pin::new(&mut this.socket).poll_write(cx, buf);
        }
        let n = buf.len().min(this.to_mask).min(6_000);
        this.behind.extend(masked(buf[..n].to_vec(), n));
        this.to_mask -= n;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_behind(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_behind(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

/// Always has more to read, never takes a byte. Counts what was read.
pub(crate) struct EndlessAndStuck(pub(crate) Arc<AtomicUsize>);

impl Stream for EndlessAndStuck {}

impl AsyncRead for EndlessAndStuck {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = buf.remaining().min(16 * 1024);
        buf.put_slice(&[7; 16 * 1024][..n]);
        self.0.fetch_add(n, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for EndlessAndStuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}
