//! VLESS without a flow: a header each way in front of the bytes of any stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adit_net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::header::Answer;
use super::opening::Opening;
use super::record::Outgoing;
use super::{closed_before_answer, not_vless};

/// Bare as soon as both headers are behind it, if the stream below is.
#[derive(Debug)]
pub(super) struct HeaderStream<S> {
    io: S,
    opening: Option<Opening>,
    answer: Answer,
    outgoing: Outgoing,
    finished: bool,
}

impl<S: Stream> HeaderStream<S> {
    pub(super) fn new(io: S, opening: Opening) -> Self {
        Self { io, opening: Some(opening), answer: Answer::default(), outgoing: Outgoing::default(), finished: false }
    }

    /// Queues the header, and as much of `payload` as fits into the same TLS record.
    fn open(&mut self, payload: &[u8]) -> usize {
        let Some(opening) = self.opening.take() else { return 0 };
        let mut first = opening.into_header();
        let taken = payload.len().min(ONE_RECORD.saturating_sub(first.len()));
        first.extend_from_slice(&payload[..taken]);
        self.outgoing = Outgoing::new(first);
        taken
    }
}

impl<S: Stream> AsyncRead for HeaderStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(opening) = &mut this.opening
            && opening.poll_alone(cx).is_ready()
        {
            this.open(&[]);
        }
        // Without the request there will be no answer, and maybe nobody writes or flushes.
        if !this.answer.is_complete()
            && let Poll::Ready(sent) = this.outgoing.poll_send(cx, &mut this.io)
        {
            sent?;
        }
        while !this.answer.is_complete() && buf.remaining() > 0 {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let header = match buf.filled().get(before..) {
                None | Some([]) if this.finished => return Poll::Ready(Ok(())),
                None | Some([]) => return Poll::Ready(Err(closed_before_answer())),
                Some(received) => this.answer.feed(received).map_err(not_vless)?,
            };
            buf.filled_mut().copy_within(before + header.., before);
            buf.set_filled(buf.filled().len() - header);
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        Pin::new(&mut this.io).poll_read(cx, buf)
    }
}

impl<S: Stream> AsyncWrite for HeaderStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.outgoing.poll_send(cx, &mut this.io))?;
        if this.opening.is_none() {
            this.outgoing.rest();
            return Pin::new(&mut this.io).poll_write(cx, buf);
        }
        let taken = this.open(buf);
        if let Poll::Ready(sent) = this.outgoing.poll_send(cx, &mut this.io) {
            sent?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.outgoing.poll_send(cx, &mut this.io))?;
        this.outgoing.rest();
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // The client has nothing to say, but may still want to listen.
        this.open(&[]);
        this.finished = true;
        ready!(this.outgoing.poll_send(cx, &mut this.io))?;
        this.outgoing.rest();
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for HeaderStream<S> {
    fn raw_reader(&self) -> Option<&tokio::net::TcpStream> {
        if self.answer.is_complete() { self.io.raw_reader() } else { None }
    }

    fn raw_writer(&self) -> Option<&tokio::net::TcpStream> {
        let flushed = self.opening.is_none() && self.outgoing.is_empty();
        if flushed { self.io.raw_writer() } else { None }
    }

    fn abort(&mut self) {
        self.io.abort();
    }
}

/// Plaintext of one TLS record (RFC 8446 §5.1).
const ONE_RECORD: usize = 16_384;
