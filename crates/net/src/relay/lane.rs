//! One direction of a relay: what it holds, how it moves bytes, how it ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::{AsyncRead as _, AsyncWrite as _, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::counters::{By, Tally};
use super::pipe::Pipe;
use super::scratch;
use crate::BoxStream;

/// A lane copies until it has moved this much: a short connection never pays for a pipe, a long one loses nothing.
const PROMOTE_AFTER: u64 = 128 * 1024;

/// A lane that was refused a pipe asks again after this much.
const ASK_AGAIN_AFTER: u64 = 4 * 1024 * 1024;

/// Chunks below this are moved with fewer system calls by copying.
const SMALL: usize = 8 * 1024;

/// A lane lets others run after this much.
const TURN: usize = 4 * 1024 * 1024;

/// No room is left worth another read of a layered stream before what has been read is written.
const LITTLE_ROOM: usize = 16 * 1024;

/// One direction. It reads only when it holds nothing, so whatever its source says (an end, an error) is said after
/// every byte before it has left.
#[derive(Debug)]
pub(super) struct Lane {
    state: State,
    /// What the source said right after the bytes that are held.
    ended: Option<io::Result<()>>,
    moved: u64,
    splice_from: u64,
    /// The last chunk was small.
    small: bool,
    /// The next read must be a copying one, whatever else speaks for splicing.
    probe: bool,
    unflushed: bool,
}

#[derive(Debug)]
enum State {
    /// Reads into the thread's scratch buffer; holds what the sink has not taken yet.
    Copy(Rest),
    /// Moves bytes through a pipe, which it has only while there are bytes in it.
    Splice(Option<Pipe>),
    /// The source has ended; the sink is being told.
    Closing,
    Done,
}

/// Bytes read and not written. Owns no memory when empty.
#[derive(Debug, Default)]
struct Rest {
    bytes: Vec<u8>,
    written: usize,
}

/// What a poll of a lane can find out besides "nothing more for now".
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The source ended and everything it sent has left. Poll again to tell the sink.
    SourceEnded,
    /// The sink was told; the lane is done.
    Closed,
}

/// The end that failed.
#[derive(Debug)]
pub(super) enum Fault {
    Read(io::Error),
    Write(io::Error),
}

/// The streams and counters of a lane for the time of one poll.
pub(super) struct Ends<'a> {
    pub(super) source: &'a mut BoxStream,
    pub(super) sink: &'a mut BoxStream,
    pub(super) tally: Tally<'a>,
}

/// What filling the scratch buffer came to, besides the bytes.
enum Source {
    HasMore,
    /// Has no more for now; the waker is registered.
    Waits,
    Ended(io::Result<()>),
}

enum Step {
    Again,
    SourceEnded,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            state: State::Copy(Rest::default()),
            ended: None,
            moved: 0,
            splice_from: PROMOTE_AFTER,
            small: false,
            probe: false,
            unflushed: false,
        }
    }

    /// Bytes that have left.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether the source has ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Closing | State::Done)
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Gives the lane up; what it holds is lost.
    pub(super) fn cut(&mut self) {
        self.state = State::Done;
    }

    /// Moves what can be moved. `Pending` means that a waker is registered with whatever the lane waits for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, ends: &mut Ends<'_>) -> Poll<Result<Event, Fault>> {
        let mut turn = TURN;
        loop {
            let step = match self.state {
                State::Copy(_) => ready!(self.poll_copy(cx, ends, &mut turn))?,
                State::Splice(_) => ready!(self.poll_splice(cx, ends, &mut turn))?,
                State::Closing => {
                    ready!(self.poll_close(cx, ends.sink)).map_err(Fault::Write)?;
                    self.state = State::Done;
                    return Poll::Ready(Ok(Event::Closed));
                }
                State::Done => return Poll::Ready(Ok(Event::Closed)),
            };
            if let Step::SourceEnded = step {
                self.state = State::Closing;
                return Poll::Ready(Ok(Event::SourceEnded));
            }
        }
    }

    /// Writes what is held, then either becomes a splicing lane or reads once and writes that.
    fn poll_copy(&mut self, cx: &mut Context<'_>, ends: &mut Ends<'_>, turn: &mut usize) -> Poll<Result<Step, Fault>> {
        ready!(self.poll_rest(cx, ends)).map_err(Fault::Write)?;
        match self.ended.take() {
            Some(Ok(())) => return Poll::Ready(Ok(Step::SourceEnded)),
            Some(Err(error)) => return Poll::Ready(Err(Fault::Read(error))),
            None => {}
        }
        if self.may_splice(ends) {
            ready!(self.poll_flush(cx, ends.sink)).map_err(Fault::Write)?;
            self.state = State::Splice(None);
            return Poll::Ready(Ok(Step::Again));
        }
        if *turn == 0 {
            return yield_now(cx);
        }
        scratch::with(|buffer| self.poll_once(cx, ends, turn, &mut ReadBuf::new(buffer)))
    }

    fn may_splice(&self, ends: &Ends<'_>) -> bool {
        self.moved >= self.splice_from
            && !self.small
            && !self.probe
            && ends.source.raw_reader().is_some()
            && ends.sink.raw_writer().is_some()
    }

    /// Reads into `buffer` and writes from it; keeps what the sink does not take.
    fn poll_once(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut Ends<'_>,
        turn: &mut usize,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<Step, Fault>> {
        let source = fill(cx, ends.source, buffer);
        self.probe = false;
        let bytes = buffer.filled();
        if !bytes.is_empty() {
            self.small = bytes.len() < SMALL;
            *turn = turn.saturating_sub(bytes.len());
            let written = self.write(cx, ends, bytes).map_err(Fault::Write)?;
            if let Some(left) = bytes.get(written..).filter(|left| !left.is_empty()) {
                self.state = State::Copy(Rest::of(left));
            }
        }
        match source {
            Source::HasMore => {}
            Source::Ended(how) => self.ended = Some(how),
            // The rest, if there is one, has to be polled for; otherwise the source's waker is enough.
            Source::Waits if self.holds_bytes() => {}
            Source::Waits => {
                if let Poll::Ready(outcome) = self.poll_flush(cx, ends.sink) {
                    outcome.map_err(Fault::Write)?;
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(Step::Again))
    }

    /// Writes `bytes` until they are gone or the sink must be waited for. Returns how many went.
    fn write(&mut self, cx: &mut Context<'_>, ends: &mut Ends<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while let Some(left) = bytes.get(written..).filter(|left| !left.is_empty()) {
            match Pin::new(&mut *ends.sink).poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    written += n;
                    self.left(n, By::Copy, ends.tally);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.unflushed |= written > 0;
        Ok(written)
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>, ends: &mut Ends<'_>) -> Poll<io::Result<()>> {
        let State::Copy(rest) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        if rest.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut rest = std::mem::take(rest);
        rest.written += self.write(cx, ends, rest.left())?;
        if rest.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.state = State::Copy(rest);
        Poll::Pending
    }

    /// Moves bytes through a pipe until the source has no more, or has only little at a time.
    fn poll_splice(&mut self, cx: &mut Context<'_>, ends: &Ends<'_>, turn: &mut usize) -> Poll<Result<Step, Fault>> {
        loop {
            ready!(self.poll_drain(cx, ends)).map_err(Fault::Write)?;
            if self.small {
                return self.copy_on();
            }
            if *turn == 0 {
                self.rest_pipe();
                return yield_now(cx);
            }
            let Some(source) = ends.source.raw_reader() else {
                return self.copy_on();
            };
            match source.poll_read_ready(cx) {
                Poll::Ready(ready) => ready.map_err(Fault::Read)?,
                Poll::Pending => {
                    self.rest_pipe();
                    return Poll::Pending;
                }
            }
            match self.fill_pipe(source) {
                // Neither is the last word. splice(2) also stops at TCP urgent data, before the end and with bytes
                // behind it, and would stop there for ever: only a read passes it. The read that follows also takes
                // care of the readiness that the runtime remembers.
                Ok(0) | Err(Errno::AGAIN) => {
                    self.probe = true;
                    return self.copy_on();
                }
                Ok(n) => {
                    self.small = n < SMALL;
                    *turn = turn.saturating_sub(n);
                }
                Err(error) if is_refusal(error) => {
                    self.splice_from = self.moved.saturating_add(ASK_AGAIN_AFTER);
                    return self.copy_on();
                }
                Err(error) => return Poll::Ready(Err(Fault::Read(error.into()))),
            }
        }
    }

    fn fill_pipe(&mut self, source: &TcpStream) -> Result<usize, Errno> {
        let State::Splice(slot) = &mut self.state else {
            return Ok(0);
        };
        let pipe = match slot {
            Some(pipe) => pipe,
            None => slot.insert(Pipe::take()?),
        };
        pipe.fill(source)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>, ends: &Ends<'_>) -> Poll<io::Result<()>> {
        while let State::Splice(Some(pipe)) = &mut self.state
            && pipe.held() > 0
        {
            let Some(sink) = ends.sink.raw_writer() else {
                return Poll::Ready(Err(io::Error::other("a raw stream is raw no more")));
            };
            ready!(sink.poll_write_ready(cx))?;
            match sink.try_io(Interest::WRITABLE, || Ok(pipe.drain(sink)?)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.left(n, By::Splice, ends.tally),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn copy_on(&mut self) -> Poll<Result<Step, Fault>> {
        self.rest_pipe();
        self.state = State::Copy(Rest::default());
        Poll::Ready(Ok(Step::Again))
    }

    fn rest_pipe(&mut self) {
        if let State::Splice(slot) = &mut self.state
            && let Some(pipe) = slot.take()
        {
            pipe.give_back();
        }
    }

    fn left(&mut self, n: usize, by: By, tally: Tally<'_>) {
        self.moved = self.moved.saturating_add(n as u64);
        tally.left(n, by);
    }

    fn holds_bytes(&self) -> bool {
        matches!(&self.state, State::Copy(rest) if !rest.is_empty())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &mut BoxStream) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(sink).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, sink: &mut BoxStream) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx, sink))?;
        match ready!(Pin::new(sink).poll_shutdown(cx)) {
            // It is gone already; if that was a failure, the lane that reads from it says so.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome),
        }
    }
}

impl Rest {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), written: 0 }
    }

    fn left(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.left().is_empty()
    }
}

/// Reads once from a bare socket; from a layered stream, which hands out a record at a time, until the buffer is nearly
/// full.
fn fill(cx: &mut Context<'_>, source: &mut BoxStream, buffer: &mut ReadBuf<'_>) -> Source {
    loop {
        let before = buffer.filled().len();
        match Pin::new(&mut *source).poll_read(cx, buffer) {
            Poll::Pending => return Source::Waits,
            Poll::Ready(Err(error)) => return Source::Ended(Err(error)),
            Poll::Ready(Ok(())) if buffer.filled().len() == before => return Source::Ended(Ok(())),
            Poll::Ready(Ok(())) if buffer.remaining() < LITTLE_ROOM || source.raw_reader().is_some() => {
                return Source::HasMore;
            }
            Poll::Ready(Ok(())) => {}
        }
    }
}

/// Whether no pipe or no splice(2) is to be had, now (descriptors, memory, the user's quota of pipe pages) or here
/// (seccomp, a socket that cannot). None of these says anything about the connection.
fn is_refusal(error: Errno) -> bool {
    matches!(
        error,
        Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM
            | Errno::PERM
            | Errno::BUSY
            | Errno::INVAL
            | Errno::NOSYS
            | Errno::OPNOTSUPP
    )
}

fn yield_now<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}
