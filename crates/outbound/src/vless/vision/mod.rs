//! XTLS Vision: a stream that leaves its outer encryption once the inner one has begun (spec: vless-reality §5).
//!
//! Sans-IO parts: [`Pad`] and [`Unpad`] frame the inner handshake, [`Observer`] looks at it. `VisionStream` moves the
//! bytes. Its two directions switch at different times, and a switch is a change of variant: nobody is told, the relay
//! finds out by asking for the socket.

mod frame;
mod observe;
mod pad;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adit_net::Stream;
use adit_reality::{Alert, Error, SystemRandom};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub use frame::{Then, UnknownCommand, Unpad, Unpadded};
pub use observe::Observer;
pub use pad::{Pad, Padded};

use super::header::Answer;
use super::opening::Opening;
use super::record::{Failed, Incoming, Open, Outgoing, Received, Seal};
use super::{UserId, closed_before_answer, not_vless};

/// A stream inside a record layer, with Vision's framing or without any.
///
/// An end without close_notify is an error as long as the direction is sealed; afterwards TCP's word is taken. Xray ends
/// its connections with a close_notify even after the switch. Those 24 bytes reach the client, whose inner connection
/// is over by then: to hold them back, a raw stream would have to look at every read, and splicing could not begin.
pub(super) struct VisionStream<S, O, W> {
    io: S,
    reading: Reading<O>,
    writing: Writing<W>,
    incoming: Incoming,
    /// Unframed, waiting for the reader: the content of at most one record.
    content: Vec<u8>,
    content_at: usize,
    outgoing: Outgoing,
    observer: Observer,
    /// The peer asked for a new key of ours before we send anything else (RFC 8446 §4.6.3).
    key_update_due: bool,
}

enum Reading<O> {
    Padded {
        tls: Box<O>,
        answer: Answer,
        frames: Unpad,
    },
    Sealed {
        tls: Box<O>,
    },
    Raw,
    /// close_notify arrived.
    Ended,
}

enum Writing<W> {
    Padded {
        tls: Box<W>,
        opening: Option<Opening>,
        frames: Pad,
    },
    Sealed {
        tls: Box<W>,
    },
    Raw,
    /// close_notify is sent, or on its way.
    Ended,
}

impl<S: Stream, O: Open, W: Seal> VisionStream<S, O, W> {
    /// Frames both directions until the switch. `received` is what has been read from `io` beyond the handshake.
    pub(super) fn new(io: S, opener: O, sealer: W, received: Vec<u8>, id: UserId, opening: Opening) -> Self {
        let reading = Reading::Padded { tls: Box::new(opener), answer: Answer::default(), frames: Unpad::new(id) };
        let writing = Writing::Padded { tls: Box::new(sealer), opening: Some(opening), frames: Pad::new(id) };
        Self::with(io, reading, writing, received)
    }

    /// The bare record layer: no header, no frames, no switch.
    pub(super) fn sealed(io: S, opener: O, sealer: W, received: Vec<u8>) -> Self {
        let reading = Reading::Sealed { tls: Box::new(opener) };
        let writing = Writing::Sealed { tls: Box::new(sealer) };
        Self::with(io, reading, writing, received)
    }

    fn with(io: S, reading: Reading<O>, writing: Writing<W>, received: Vec<u8>) -> Self {
        Self {
            io,
            reading,
            writing,
            incoming: Incoming::new(received),
            content: Vec::new(),
            content_at: 0,
            outgoing: Outgoing::default(),
            observer: Observer::default(),
            key_update_due: false,
        }
    }

    /// Sends the request header alone when nobody has come to go with it, and sees it on its way.
    fn poll_opening(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Writing::Padded { opening: opening @ Some(_), .. } = &mut self.writing
            && opening.as_mut().is_some_and(|opening| opening.poll_alone(cx).is_ready())
        {
            self.open()?;
        }
        // Without the request there will be no answer, and maybe nobody writes or flushes.
        match &self.reading {
            Reading::Padded { answer, .. } if !answer.is_complete() => {
                match self.outgoing.poll_send(cx, &mut self.io) {
                    Poll::Ready(sent) => sent,
                    Poll::Pending => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Queues the request header if it has not been sent, with an empty frame to hide its length.
    fn open(&mut self) -> io::Result<()> {
        if let Writing::Padded { tls, opening, frames } = &mut self.writing
            && let Some(opening) = opening.take()
        {
            let mut first = opening.into_header();
            frames.opening(&mut SystemRandom, &mut first);
            tls.seal(&first, self.outgoing.end()).map_err(broken)?;
        }
        Ok(())
    }

    /// Hands out what is ready; `false` when nothing is.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if let Some(content @ [_, ..]) = self.content.get(self.content_at..) {
            let n = content.len().min(buf.remaining());
            buf.put_slice(&content[..n]);
            self.content_at += n;
            if self.content_at == self.content.len() {
                self.content = Vec::new();
                self.content_at = 0;
            }
            return true;
        }
        let framed = matches!(self.reading, Reading::Padded { .. });
        let plain = self.incoming.plain();
        if framed || plain.is_empty() {
            return false;
        }
        let n = plain.len().min(buf.remaining());
        buf.put_slice(&plain[..n]);
        self.incoming.take(n);
        true
    }

    /// Takes the header and the frames out of the record just opened. What remains of it is no longer framed.
    fn unframe(&mut self) -> io::Result<()> {
        if let Reading::Padded { answer, frames, .. } = &mut self.reading {
            let header = answer.feed(self.incoming.plain()).map_err(not_vless)?;
            self.incoming.take(header);
            if !answer.is_complete() {
                return Ok(());
            }
            let found = frames
                .feed(self.incoming.plain(), &mut self.content)
                .map_err(|unknown| io::Error::new(io::ErrorKind::InvalidData, unknown))?;
            self.incoming.take(found.consumed);
            self.observer.see(&self.content);
            if found.then == Then::Frames {
                return Ok(());
            }
            self.reading = match (found.then, std::mem::replace(&mut self.reading, Reading::Raw)) {
                (Then::Sealed, Reading::Padded { tls, .. }) => Reading::Sealed { tls },
                // The keys of this direction are dropped here.
                (_, _) => Reading::Raw,
            };
        }
        if matches!(self.writing, Writing::Padded { .. }) {
            self.observer.see(self.incoming.plain());
        }
        Ok(())
    }

    fn received(&mut self, what: Result<Received, Failed>) -> io::Result<()> {
        match what {
            Ok(Received::Data) => self.unframe(),
            Ok(Received::KeyUpdateWanted) => {
                self.key_update_due = true;
                Ok(())
            }
            Ok(Received::Closed) => {
                let unanswered = matches!(&self.reading, Reading::Padded { answer, .. } if !answer.is_complete());
                // Whoever has said all it wanted may never get an answer; anybody else was turned away.
                if unanswered && !matches!(self.writing, Writing::Ended) {
                    return Err(closed_before_answer());
                }
                self.reading = Reading::Ended;
                self.incoming = Incoming::default();
                Ok(())
            }
            Ok(Received::Cut) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server's connection was cut: it ended without close_notify",
            )),
            Err(Failed::Io(error)) => Err(error),
            Err(Failed::Record(error)) => {
                self.refuse(&error);
                Err(broken(error))
            }
        }
    }

    /// Queues the alert that belongs to `error`, as the last thing we send.
    fn refuse(&mut self, error: &Error) {
        if let Writing::Padded { tls, .. } | Writing::Sealed { tls } = &mut self.writing {
            if let Some(alert) = error.alert() {
                // The connection is lost already.
                let _ = tls.alert(alert, self.outgoing.end());
            }
            self.writing = Writing::Ended;
        }
    }

    /// Frames or seals a front part of `buf` and returns its length.
    fn accept(&mut self, buf: &[u8]) -> io::Result<usize> {
        let out = self.outgoing.end();
        if std::mem::take(&mut self.key_update_due)
            && let Writing::Padded { tls, .. } | Writing::Sealed { tls } = &mut self.writing
        {
            tls.key_update(out).map_err(broken)?;
        }
        let (padded, sealed) = match &mut self.writing {
            Writing::Padded { tls, opening, frames } => {
                let header = opening.take().map(Opening::into_header).unwrap_or_default();
                let mut sealed = Ok(());
                let padded = frames.feed(&mut self.observer, buf, header, &mut SystemRandom, |frame| {
                    if sealed.is_ok() {
                        sealed = tls.seal(frame, out);
                    }
                });
                (padded, sealed)
            }
            Writing::Sealed { tls } => {
                let batch = &buf[..buf.len().min(BATCH)];
                let padded = Padded { consumed: batch.len(), then: Then::Frames };
                (padded, tls.seal(batch, out))
            }
            Writing::Raw | Writing::Ended => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        sealed.map_err(broken)?;
        if padded.then != Then::Frames {
            self.writing = match (padded.then, std::mem::replace(&mut self.writing, Writing::Raw)) {
                (Then::Sealed, Writing::Padded { tls, .. }) => Writing::Sealed { tls },
                // The keys of this direction are dropped here; not even an alert can follow.
                (_, _) => Writing::Raw,
            };
        }
        Ok(padded.consumed)
    }

    /// Queues the end of our direction: close_notify while sealed, nothing afterwards (spec §5.5, §12.5.10).
    fn finish(&mut self) -> io::Result<()> {
        self.open()?;
        if let Writing::Padded { tls, .. } | Writing::Sealed { tls } = &mut self.writing {
            tls.alert(Alert::CLOSE_NOTIFY, self.outgoing.end()).map_err(broken)?;
            self.writing = Writing::Ended;
        }
        Ok(())
    }
}

impl<S: Stream, O: Open, W: Seal> AsyncRead for VisionStream<S, O, W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.poll_opening(cx)?;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.deliver(buf) {
                return Poll::Ready(Ok(()));
            }
            let received = match &mut this.reading {
                Reading::Padded { tls, .. } | Reading::Sealed { tls } => {
                    ready!(this.incoming.poll_record(cx, &mut this.io, &mut **tls))
                }
                Reading::Raw => {
                    // What was read ahead of the switch comes first, as it is.
                    this.incoming.surrender();
                    if this.incoming.is_empty() {
                        return Pin::new(&mut this.io).poll_read(cx, buf);
                    }
                    continue;
                }
                Reading::Ended => return Poll::Ready(Ok(())),
            };
            if let Err(error) = this.received(received) {
                // One attempt: whoever sees the error will drop the stream.
                let _ = this.outgoing.poll_send(cx, &mut this.io);
                return Poll::Ready(Err(error));
            }
        }
    }
}

impl<S: Stream, O: Open, W: Seal> AsyncWrite for VisionStream<S, O, W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.outgoing.poll_send(cx, &mut this.io))?;
        if matches!(this.writing, Writing::Raw) {
            this.outgoing.rest();
            return Pin::new(&mut this.io).poll_write(cx, buf);
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let taken = this.accept(buf)?;
        // What does not leave now is in front of the next write or flush.
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
        this.finish()?;
        ready!(this.outgoing.poll_send(cx, &mut this.io))?;
        this.outgoing.rest();
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl<S: Stream, O: Open, W: Seal> Stream for VisionStream<S, O, W> {
    fn raw_reader(&self) -> Option<&TcpStream> {
        let drained = self.content.is_empty() && self.incoming.is_empty();
        if matches!(self.reading, Reading::Raw) && drained { self.io.raw_reader() } else { None }
    }

    fn raw_writer(&self) -> Option<&TcpStream> {
        if matches!(self.writing, Writing::Raw) && self.outgoing.is_empty() { self.io.raw_writer() } else { None }
    }

    fn socket(&self) -> Option<&TcpStream> {
        self.io.socket()
    }

    fn abort(&mut self) {
        self.io.abort();
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Plaintext sealed at once: four full records. Bounds what waits for a slow server.
const BATCH: usize = 4 * 16_384;
