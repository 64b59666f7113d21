//! Moves bytes both ways between two streams.
//!
//! One future polls both directions. Each direction is a [`lane`]: it copies through a buffer that the thread owns, and
//! once it proves busy and both its ends are bare sockets, splice(2) moves the bytes inside the kernel. A connection on
//! which nothing happens holds neither a buffer nor a pipe.

mod counters;
mod lane;
mod pipe;
mod scratch;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::AsyncWrite as _;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

pub use self::counters::Counters;
use self::counters::Tally;
use self::lane::{Ends, Event, Fault, Lane};
use crate::{BoxStream, Stream};

/// How often the socket of a side that has ended is asked whether its peer still exists: nobody reads from it any more,
/// so nobody would be told that keep-alive gave up or that it was reset (F-B3).
const VANISHED_CHECK: Duration = Duration::from_secs(15);

/// How long the bytes that arrived before a failure may take to leave.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Time limits of a relay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Both directions silent for this long: the relay ends. Default 2 h (keep-alive finds dead peers much earlier).
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(2 * 60 * 60) }
    }
}

/// Which side of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that asked.
    Client,
    /// The one that was asked for.
    Upstream,
}

/// A relay that ended by an error.
#[derive(Debug)]
pub struct Broken {
    /// The side whose read or write failed.
    pub side: Side,
    /// What the system said.
    pub error: io::Error,
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions ended with an orderly end of stream; the side that ended first.
    Done(Side),
    /// Nothing moved for [`Limits::idle`]; both sides were aborted.
    Idle,
    /// A side failed. Bytes that had arrived before were delivered, and the other side was aborted.
    Broken(Broken),
}

/// Relays until both directions have ended, one has failed, or nothing moved for too long.
///
/// The end of one direction is passed on and the other goes on. A failure is passed on as a reset, after every byte that
/// had arrived, so that a cut transfer never looks complete. While one side does not read, at most 64 KiB per direction
/// are held in user space, or 256 KiB in a kernel pipe, and the other side is not read from.
///
/// # Cancel safety
/// Dropping the future closes both streams, with a reset ([`Stream::abort`]): what it carried is not complete.
pub async fn relay(client: BoxStream, upstream: BoxStream, counters: &Counters, limits: Limits) -> End {
    let mut relay = Relay::new(client, upstream, counters, limits);
    let end = {
        let mut timer = pin!(sleep_until(relay.due()));
        poll_fn(|cx| relay.poll(cx, timer.as_mut())).await
    };
    match &end {
        End::Done(_) => relay.complete = true,
        End::Idle => {}
        End::Broken(Broken { side, .. }) => deliver(relay.stream(side.other())).await,
    }
    end
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

impl Direction {
    fn source(self) -> Side {
        match self {
            Self::Up => Side::Client,
            Self::Down => Side::Upstream,
        }
    }

    fn sink(self) -> Side {
        self.source().other()
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }

    /// The direction that reads from this side.
    fn outward(self) -> Direction {
        match self {
            Self::Client => Direction::Up,
            Self::Upstream => Direction::Down,
        }
    }
}

struct Relay<'a> {
    client: BoxStream,
    upstream: BoxStream,
    up: Lane,
    down: Lane,
    counters: &'a Counters,
    limits: Limits,
    last_activity: Instant,
    /// Set while exactly one side has ended.
    next_check: Option<Instant>,
    ended_first: Option<Side>,
    /// A side that failed while it is still read from: what it sent before has to be delivered.
    broken: Option<Broken>,
    /// Everything was carried. If not, dropping resets.
    complete: bool,
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.client.abort();
            self.upstream.abort();
        }
    }
}

impl<'a> Relay<'a> {
    fn new(client: BoxStream, upstream: BoxStream, counters: &'a Counters, limits: Limits) -> Self {
        Self {
            client,
            upstream,
            up: Lane::new(),
            down: Lane::new(),
            counters,
            limits,
            last_activity: Instant::now(),
            next_check: None,
            ended_first: None,
            broken: None,
            complete: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<End> {
        let before = self.moved();
        let end = self.poll_lanes(cx);
        if self.moved() != before {
            self.last_activity = Instant::now();
        }
        match end {
            Some(end) => Poll::Ready(end),
            None => self.poll_timer(cx, timer),
        }
    }

    fn moved(&self) -> u64 {
        self.up.moved().wrapping_add(self.down.moved())
    }

    fn poll_lanes(&mut self, cx: &mut Context<'_>) -> Option<End> {
        loop {
            let whole = self.broken.is_none();
            for direction in [Direction::Up, Direction::Down] {
                if let Some(end) = self.poll_lane(cx, direction) {
                    return Some(end);
                }
            }
            // The lane that survives a failure may have been polled before it.
            if whole == self.broken.is_none() {
                return None;
            }
        }
    }

    fn poll_lane(&mut self, cx: &mut Context<'_>, direction: Direction) -> Option<End> {
        loop {
            let (lane, source, sink) = match direction {
                Direction::Up => (&mut self.up, &mut self.client, &mut self.upstream),
                Direction::Down => (&mut self.down, &mut self.upstream, &mut self.client),
            };
            let tally = Tally::new(self.counters, direction);
            match lane.poll(cx, &mut Ends { source, sink, tally }) {
                Poll::Pending => return None,
                Poll::Ready(Ok(Event::SourceEnded)) => {
                    // The end of a side that failed is no orderly one, even if the system now says so.
                    if let Some(broken) = self.broken.take() {
                        return Some(End::Broken(broken));
                    }
                    self.ended_first.get_or_insert_with(|| direction.source());
                    self.next_check = Some(Instant::now() + VANISHED_CHECK);
                }
                Poll::Ready(Ok(Event::Closed)) => return self.done(),
                Poll::Ready(Err(fault)) => return self.failed(direction, fault),
            }
        }
    }

    fn done(&self) -> Option<End> {
        let first = self.ended_first?;
        (self.broken.is_none() && self.up.is_done() && self.down.is_done()).then_some(End::Done(first))
    }

    /// Decides whether the relay ends now or first delivers what the failed side sent before.
    fn failed(&mut self, direction: Direction, fault: Fault) -> Option<End> {
        if let Some(broken) = self.broken.take() {
            return Some(End::Broken(broken));
        }
        let (side, error) = match fault {
            // A lane reads only after all it had read has left: there is nothing more to deliver.
            Fault::Read(error) => {
                let side = direction.source();
                return Some(End::Broken(Broken { side, error }));
            }
            Fault::Write(error) => (direction.sink(), error),
        };
        let broken = Broken { side, error };
        if self.lane(side.outward()).has_ended() {
            return Some(End::Broken(broken));
        }
        self.lane(direction).cut();
        self.broken = Some(broken);
        None
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    fn stream(&mut self, side: Side) -> &mut BoxStream {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }

    /// When the timer has to look next.
    fn due(&self) -> Instant {
        let silent = self.silent_at();
        self.next_check.map_or(silent, |check| check.min(silent))
    }

    fn silent_at(&self) -> Instant {
        let limit = match self.broken {
            Some(_) => AFTERMATH.min(self.limits.idle),
            None => self.limits.idle,
        };
        let never = Duration::from_secs(365 * 24 * 60 * 60);
        self.last_activity + limit.min(never)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<End> {
        loop {
            // It is moved forward only when something new is due earlier, never for mere activity.
            if self.due() < timer.deadline() {
                timer.as_mut().reset(self.due());
            }
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            if now >= self.silent_at() {
                return Poll::Ready(self.broken.take().map_or(End::Idle, End::Broken));
            }
            if self.next_check.is_some_and(|check| now >= check) {
                if let Some(broken) = self.vanished() {
                    return Poll::Ready(End::Broken(broken));
                }
                self.next_check = Some(now + VANISHED_CHECK);
            }
            timer.as_mut().reset(self.due());
        }
    }

    /// A side that nobody reads from any more, if its socket has failed.
    fn vanished(&self) -> Option<Broken> {
        let sides = [(Side::Client, &self.up, &self.client), (Side::Upstream, &self.down, &self.upstream)];
        sides.into_iter().find_map(|(side, lane, stream)| {
            let socket = stream.socket().filter(|_| lane.has_ended())?;
            let error = SockRef::from(socket).take_error().ok().flatten()?;
            Some(Broken { side, error })
        })
    }
}

/// Waits until what was written to `stream` is on its way, because a reset discards what is not.
async fn deliver(stream: &mut BoxStream) {
    let sent = async {
        // An error means that nothing will be delivered any more.
        if poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await.is_err() {
            return;
        }
        let mut pause = Duration::from_millis(1);
        while has_unsent(&**stream) {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    };
    // Too slow a reader is cut; it sees a reset either way.
    let _ = timeout(AFTERMATH, sent).await;
}

/// Whether the socket below still has bytes that it never sent. tcp(7), `TCP_NOTSENT_LOWAT`: a socket is reported
/// writable when fewer unsent bytes than that are left.
fn has_unsent(stream: &dyn Stream) -> bool {
    let Some(socket) = stream.socket() else {
        return false;
    };
    if SockRef::from(socket).set_tcp_notsent_lowat(1).is_err() {
        return false;
    }
    let mut asked = [PollFd::new(socket, PollFlags::OUT)];
    matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
}
