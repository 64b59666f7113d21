//! The users of the tunnel. Like tasks, they act when they are woken, and only then.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use tokio::io::ReadBuf;

use crate::Moment;
use crate::stack::{TcpFlow, UdpFlow};

/// The most that a stream may carry each way.
pub(super) const LONGEST: usize = 192 << 10;

static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; LONGEST + (64 << 10)];
    StdRng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
});

/// What `stream` sends us.
pub(super) fn down(stream: usize, len: usize) -> &'static [u8] {
    &CONTENT[1 + 1024 * stream..][..len]
}

/// What we send in `stream`.
pub(super) fn up(stream: usize, len: usize) -> &'static [u8] {
    &CONTENT[514 + 1024 * stream..][..len]
}

/// Whether somebody was woken.
pub(super) struct Woken(AtomicBool);

impl Woken {
    pub(super) fn yes() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    pub(super) fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

/// How an end of a stream behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Finishes when it has sent all, whatever the other does.
    First,
    /// Finishes after the other.
    Last,
    /// Resets after it received so many bytes, and is like [`Ending::Last`] before.
    Abort(usize),
}

/// A stream that is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) to: SocketAddr,
    pub(super) up: usize,
    pub(super) down: usize,
    /// How much is written at a time.
    pub(super) piece: usize,
    /// After so many bytes were written, nothing is for so long.
    pub(super) pause: Option<(usize, Duration)>,
    /// Nothing is read for so long.
    pub(super) deaf: Duration,
    pub(super) near: Ending,
    /// Whether an abort of ours is a drop.
    pub(super) drops: bool,
    pub(super) far: Ending,
    pub(super) far_buffer: usize,
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Finished,
    /// As planned.
    Aborted,
    Failed(ErrorKind),
}

pub(super) struct Stream {
    number: usize,
    pub(super) plan: Plan,
    pub(super) opened: Moment,
    flow: Option<TcpFlow>,
    woken: Arc<Woken>,
    connected: bool,
    written: usize,
    read: usize,
    shut: bool,
    end: bool,
    paused: Option<Moment>,
    /// When it begins to read.
    ears: Option<Moment>,
    pub(super) outcome: Option<(Moment, Outcome)>,
}

impl Stream {
    pub(super) fn new(number: usize, plan: Plan, flow: TcpFlow, opened: Moment) -> Self {
        Self {
            number,
            plan,
            opened,
            flow: Some(flow),
            woken: Woken::yes(),
            connected: false,
            written: 0,
            read: 0,
            shut: false,
            end: false,
            paused: None,
            ears: Some(opened + plan.deaf),
            outcome: None,
        }
    }

    /// When it acts by itself.
    pub(super) fn next(&self) -> Option<Moment> {
        self.outcome.is_none().then(|| self.paused.into_iter().chain(self.ears).min())?
    }

    pub(super) fn is_woken(&self, now: Moment) -> bool {
        self.outcome.is_none() && (self.woken.is() || self.next().is_some_and(|at| at <= now))
    }

    /// How far it is.
    pub(super) fn progress(&self) -> String {
        let Self { connected, written, read, shut, end, .. } = self;
        format!("connected: {connected}, written: {written}, read: {read}, shut: {shut}, end: {end}")
    }

    pub(super) fn act(&mut self, now: Moment) {
        self.woken.take();
        self.ears.take_if(|at| *at <= now);
        let Some(flow) = self.flow.take() else { return };
        let outcome = match self.step(&flow, now) {
            Poll::Ready(Ok(outcome)) => outcome,
            Poll::Ready(Err(kind)) => Outcome::Failed(kind),
            Poll::Pending => {
                self.flow = Some(flow);
                return;
            }
        };
        if outcome == Outcome::Aborted && !self.plan.drops {
            flow.abort();
        }
        self.outcome = Some((now, outcome));
    }

    fn step(&mut self, flow: &TcpFlow, now: Moment) -> Poll<Result<Outcome, ErrorKind>> {
        let waker = Waker::from(self.woken.clone());
        let mut cx = Context::from_waker(&waker);
        if !self.connected {
            match flow.poll_connected(&mut cx) {
                Poll::Ready(Ok(())) => self.connected = true,
                Poll::Ready(Err(why)) => return Poll::Ready(Err(std::io::Error::from(why).kind())),
                Poll::Pending => return Poll::Pending,
            }
        }
        let wrote = self.write(flow, &mut cx, now);
        if self.ears.is_none() {
            self.read(flow, &mut cx)?;
        }
        // What came before an error was read by now.
        wrote?;
        match self.plan.near {
            Ending::Abort(after) if self.read + self.written >= after => Poll::Ready(Ok(Outcome::Aborted)),
            _ if self.shut && self.end => Poll::Ready(Ok(Outcome::Finished)),
            _ => Poll::Pending,
        }
    }

    fn write(&mut self, flow: &TcpFlow, cx: &mut Context<'_>, now: Moment) -> Result<(), ErrorKind> {
        let content = up(self.number, self.plan.up);
        while self.written < content.len() {
            let mut until = content.len().min(self.written + self.plan.piece);
            if let Some((after, lasts)) = self.plan.pause.filter(|(after, _)| *after < content.len()) {
                if self.written == after && *self.paused.get_or_insert(now + lasts) > now {
                    return Ok(());
                }
                if self.written < after {
                    until = until.min(after);
                }
                if self.written >= after {
                    (self.plan.pause, self.paused) = (None, None);
                }
            }
            match flow.poll_write(cx, &content[self.written..until]) {
                Poll::Ready(Ok(len)) => self.written += len,
                Poll::Ready(Err(error)) => return Err(error.kind()),
                Poll::Pending => return Ok(()),
            }
        }
        if !self.shut && (self.plan.near != Ending::Last || self.end) {
            self.shut = flow.poll_shutdown(cx).is_ready();
        }
        Ok(())
    }

    fn read(&mut self, flow: &TcpFlow, cx: &mut Context<'_>) -> Result<(), ErrorKind> {
        let expected = down(self.number, self.plan.down);
        let mut space = [0; 4096];
        while !self.end {
            let mut buf = ReadBuf::new(&mut space);
            match flow.poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                    assert_eq!(self.read, expected.len(), "stream {}: an early end", self.number);
                    self.end = true;
                    // A user that finishes last does so now.
                    self.woken.set();
                }
                Poll::Ready(Ok(())) => {
                    let right = expected[self.read..].starts_with(buf.filled());
                    assert!(right, "stream {}: what we got was changed at {}", self.number, self.read);
                    self.read += buf.filled().len();
                }
                Poll::Ready(Err(error)) => return Err(error.kind()),
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

/// A UDP socket whose datagrams all come back, but for those that are lost.
pub(super) struct Talk {
    number: usize,
    flow: UdpFlow,
    to: SocketAddr,
    woken: Arc<Woken>,
    next: Moment,
    /// So many more, how long each is, and how often they go.
    left: usize,
    len: usize,
    every: Duration,
    heard: Vec<bool>,
}

impl Talk {
    pub(super) fn new(number: usize, flow: UdpFlow, plan: TalkPlan, now: Moment) -> Self {
        let TalkPlan { to, count, len, every } = plan;
        Self { number, flow, to, woken: Woken::yes(), next: now, left: count, len, every, heard: Vec::new() }
    }

    pub(super) fn next(&self) -> Option<Moment> {
        (self.left > 0).then_some(self.next)
    }

    pub(super) fn is_woken(&self, now: Moment) -> bool {
        self.woken.is() || (self.left > 0 && self.next <= now)
    }

    /// How many came back.
    pub(super) fn heard(&self) -> usize {
        self.heard.iter().filter(|heard| **heard).count()
    }

    pub(super) fn act(&mut self, now: Moment) {
        self.woken.take();
        let waker = Waker::from(self.woken.clone());
        let mut cx = Context::from_waker(&waker);
        let mut space = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut space);
            match self.flow.poll_recv(&mut cx, &mut buf) {
                Poll::Ready(Ok(from)) => {
                    assert_eq!(from, self.to);
                    self.hear(buf.filled());
                }
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => break,
            }
        }
        if self.left > 0 && self.next <= now {
            let mut payload = (self.heard.len() as u32).to_be_bytes().to_vec();
            payload.extend(up(self.number, self.len));
            if self.flow.poll_send(&mut cx, &payload, self.to).is_ready() {
                self.heard.push(false);
                self.left -= 1;
            }
            self.next = now + self.every.max(Duration::from_millis(1));
        }
    }

    fn hear(&mut self, payload: &[u8]) {
        let (number, content) = payload.split_first_chunk().unwrap();
        assert_eq!(content, up(self.number, self.len), "a datagram was changed");
        let heard = &mut self.heard[u32::from_be_bytes(*number) as usize];
        assert!(!std::mem::replace(heard, true), "a datagram came twice");
    }
}

/// Datagrams that are to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct TalkPlan {
    pub(super) to: SocketAddr,
    pub(super) count: usize,
    /// Of each, beside its number.
    pub(super) len: usize,
    pub(super) every: Duration,
}
