//! Bulk through a path, counted in windows of time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::client::PATIENCE;
use adit_testkit::origin::BulkOrigin;
use adit_testkit::reset_on_close;

use super::Path;

/// How often a stream on which nothing moves looks whether it is over.
const TICK: Duration = Duration::from_millis(200);
/// How long a path may take to empty its buffers after its load is over.
const DRAIN: Duration = Duration::from_secs(10);
const BLOCK: usize = 256 * 1024;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the client.
    Down,
    /// To the origin.
    Up,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::Down, Self::Up];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}

/// What is put on a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) direction: Direction,
    pub(crate) streams: usize,
    /// Not counted.
    pub(crate) warm_up: Duration,
    /// Counted, one after the other.
    pub(crate) windows: &'a [Duration],
    /// Whether uploads end in order and the origin's count is compared. Otherwise they are cut off.
    pub(crate) confirm: bool,
}

/// What arrived in a window, and what it cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Seconds of the path's process.
    pub(crate) cpu: f64,
}

impl Window {
    pub(crate) fn bits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.seconds
    }

    pub(crate) fn cpu_per_gib(&self) -> f64 {
        self.cpu / self.bytes as f64 * f64::from(1 << 30)
    }
}

/// What a load has shown.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) windows: Vec<Window>,
    /// Why an upload that was to be confirmed was not.
    pub(crate) unconfirmed: Option<io::Error>,
}

/// Puts a load on a path and waits until nothing of it is left.
pub(crate) fn carry(path: &Path, load: Load<'_>) -> io::Result<Carried> {
    let lingering = path.origin.busy();
    let (received, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let arrived = || match load.direction {
        Direction::Down => received.load(Ordering::Relaxed),
        Direction::Up => path.origin.taken(),
    };
    let mark = || (arrived(), path.process().usage().cpu, Instant::now());
    let carried = thread::scope(|scope| {
        let work = || match load.direction {
            Direction::Down => download(path, &stop, &received).map(Ok),
            Direction::Up => upload(path, &stop, load.confirm),
        };
        let streams: Vec<_> = (0..load.streams).map(|_| scope.spawn(work)).collect();
        thread::sleep(load.warm_up);
        let mut last = mark();
        let count = |&length: &Duration| {
            thread::sleep(length);
            let now = mark();
            let window = Window {
                bytes: now.0 - last.0,
                cpu: now.1 - last.1,
                seconds: now.2.duration_since(last.2).as_secs_f64(),
            };
            last = now;
            window
        };
        let windows = load.windows.iter().map(count).collect();
        stop.store(true, Ordering::Relaxed);
        let mut unconfirmed = None;
        for stream in streams {
            unconfirmed = stream.join().expect("a stream that does not panic")?.err().or(unconfirmed);
        }
        Ok(Carried { windows, unconfirmed })
    });
    // An upload that the path forgot does not end, and carries nothing more.
    if carried.as_ref().is_ok_and(|carried| carried.unconfirmed.is_none()) {
        wait_until_over(path, lingering, load.direction);
    }
    carried
}

/// Waits until the origin has no more streams than `lingering`, as before a load.
fn wait_until_over(path: &Path, lingering: usize, direction: Direction) {
    let end = Instant::now() + DRAIN;
    while path.origin.busy() > lingering {
        if Instant::now() > end {
            let still =
                format!("{} streams are not over {DRAIN:?} later", path.origin.busy().saturating_sub(lingering));
            return path.complain(direction.name(), &io::Error::other(still));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Opens a stream and says which way it is; errors that mean "not yet" come after [`TICK`].
fn open(path: &Path, wish: u8) -> io::Result<TcpStream> {
    let mut stream = path.open(path.origin.addr())?;
    stream.write_all(&[wish])?;
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(TICK))?;
    Ok(stream)
}

/// A result without the error that means "not yet".
fn moved(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        other => other.map(Some),
    }
}

fn download(path: &Path, stop: &AtomicBool, received: &AtomicU64) -> io::Result<()> {
    let mut stream = open(path, BulkOrigin::SEND)?;
    let mut block = vec![0; BLOCK];
    while !stop.load(Ordering::Relaxed) {
        let n = moved(stream.read(&mut block))?.unwrap_or_default();
        received.fetch_add(n as u64, Ordering::Relaxed);
    }
    reset_on_close(&stream);
    Ok(())
}

/// The inner result is that of the confirmation.
fn upload(path: &Path, stop: &AtomicBool, confirm: bool) -> io::Result<io::Result<()>> {
    let mut stream = open(path, BulkOrigin::TAKE)?;
    let block = vec![0x5a; BLOCK];
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        sent += moved(stream.write(&block))?.unwrap_or_default() as u64;
    }
    if confirm {
        return Ok(confirmed(stream, sent));
    }
    reset_on_close(&stream);
    Ok(Ok(()))
}

/// Half-closes and compares the origin's count.
fn confirmed(mut stream: TcpStream, sent: u64) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    let count = u64::from_be_bytes(count);
    if count == sent { Ok(()) } else { Err(io::Error::other(format!("{sent} bytes were sent, {count} arrived"))) }
}
