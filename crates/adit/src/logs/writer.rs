//! Lines to standard output, by a thread of their own: whoever reads them may be slow, or have stopped reading, and nothing
//! that carries traffic may wait for it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that may wait; what comes while so many do is left out and counted.
const WAITING: usize = 1024;
/// How long the end of the process waits for a reader.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where lines go. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    queue: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

enum Order {
    Write(String),
    /// Tell when everything before is written.
    Tell(SyncSender<()>),
}

impl Writer {
    /// Starts the thread. `lost` makes the line that tells of lines left out.
    pub(super) fn start(out: impl Write + Send + 'static, lost: impl Fn(u64) -> String + Send + 'static) -> Self {
        let (queue, orders) = sync_channel(WAITING);
        let writer = Self { queue, lost: Arc::default() };
        let count = Arc::clone(&writer.lost);
        let thread = thread::Builder::new().name("log".into()).stack_size(64 << 10);
        // Without a thread everything is left out, which is better than no proxy.
        let _ = thread.spawn(move || write(out, &orders, &count, lost));
        writer
    }

    /// Never waits.
    pub(super) fn write(&self, line: String) {
        if self.queue.try_send(Order::Write(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a moment until what was logged is written.
    pub(super) fn finish(&self) {
        let (told, written) = sync_channel(1);
        if self.queue.try_send(Order::Tell(told)).is_ok() {
            let _ = written.recv_timeout(FAREWELL);
        }
    }
}

fn write(mut out: impl Write, orders: &Receiver<Order>, lost: &AtomicU64, tell: impl Fn(u64) -> String) {
    while let Ok(order) = orders.recv() {
        // Logging must not end a proxy whose standard output was closed (F-H10).
        match order {
            Order::Write(line) => drop(out.write_all(line.as_bytes())),
            Order::Tell(told) => drop(told.try_send(())),
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            n => drop(out.write_all(tell(n).as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A reader that takes a line when it is told to.
    struct Slow {
        go: Mutex<Receiver<()>>,
        seen: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go.lock().unwrap().recv().map_err(io::Error::other)?;
            self.seen.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn f_h10_nobody_waits_for_a_reader_that_has_stopped() {
        let ((go, gone), (seen, lines)) = (channel(), channel());
        let writer = Writer::start(Slow { go: Mutex::new(gone), seen }, |n| format!("{n} lost"));
        for n in 0..3 * WAITING {
            writer.write(n.to_string());
        }
        // The reader goes on, and the writer ends when there is nothing left.
        (0..3 * WAITING).for_each(|_| go.send(()).unwrap());
        drop(writer);
        let got: Vec<String> = lines.iter().collect();
        let lost: usize = got.iter().filter_map(|line| line.strip_suffix(" lost")?.parse::<usize>().ok()).sum();
        // One may have been with the reader while the others waited.
        assert!((2 * WAITING - 1..=2 * WAITING).contains(&lost), "{lost}");
        assert!(got.contains(&"0".to_owned()) && !got.contains(&(3 * WAITING - 1).to_string()));
    }

    #[test]
    fn the_end_waits_for_what_was_logged() {
        let ((go, gone), (seen, lines)) = (channel(), channel());
        let writer = Writer::start(Slow { go: Mutex::new(gone), seen }, |n| n.to_string());
        go.send(()).unwrap();
        writer.write("last words".into());
        writer.finish();
        assert_eq!(lines.try_recv().as_deref(), Ok("last words"));
    }
}
