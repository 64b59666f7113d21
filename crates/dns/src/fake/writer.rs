//! Writes names down, behind the back of those who wait for addresses.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::file::{Family, File};
use super::pool::Naming;

/// Between two writes: a disk must not suffer from a client that asks a lot.
const PAUSE: Duration = Duration::from_millis(100);
/// After a write that failed (F-D11: one warning a minute).
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);
/// Names in one transaction: bounds its memory.
const BATCH: usize = 4096;

/// The thread that writes. Dropped, it has written everything.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(file: File, shared: Arc<Shared>) -> Option<Self> {
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("fake addresses".into()).spawn(move || run(file, &theirs));
        match thread {
            Ok(thread) => Some(Self { shared, thread: Some(thread) }),
            Err(error) => {
                tracing::warn!(%error, "no thread to write fake addresses down with; they end with this process");
                None
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.state.lock().is_closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What is to be written at once.
struct Batch {
    clear: bool,
    names: Vec<(Family, Vec<Naming>)>,
    is_last: bool,
}

fn run(file: File, shared: &Shared) {
    loop {
        let batch = next(shared);
        if (batch.clear || !batch.names.is_empty())
            && let Err(error) = file.write(batch.clear, &batch.names)
        {
            tracing::warn!(%error, "fake addresses cannot be written to disk; they are kept in memory");
            give_back(shared, &batch);
            if batch.is_last {
                return;
            }
            rest(shared, PAUSE_AFTER_FAILURE);
            continue;
        }
        if batch.is_last {
            if let Err(error) = file.close() {
                tracing::warn!(%error, "the file of fake addresses was not closed");
            }
            return;
        }
        rest(shared, PAUSE);
    }
}

/// Waits for something to write, or for the end.
fn next(shared: &Shared) -> Batch {
    let mut state = shared.state.lock();
    loop {
        let clear = std::mem::take(&mut state.is_cleared);
        let mut names = Vec::new();
        for family in Family::BOTH {
            if let Some(half) = state.half(family).filter(|half| half.pool.has_changes()) {
                names.push((family, half.pool.take_changes(BATCH)));
            }
        }
        let is_full = names.iter().any(|(_, names)| names.len() >= BATCH);
        let is_last = state.is_closing && !is_full;
        if clear || !names.is_empty() || is_last {
            return Batch { clear, names, is_last };
        }
        shared.wake.wait(&mut state);
    }
}

/// What was not written is to be written later, as it is then.
fn give_back(shared: &Shared, batch: &Batch) {
    let mut state = shared.state.lock();
    state.is_cleared |= batch.clear;
    for (family, names) in &batch.names {
        if let Some(half) = state.half(*family) {
            for Naming { at, name, .. } in names {
                // After a flush meanwhile, the place has another name or none.
                if half.pool.peek(*at) == Some(name) {
                    half.pool.mark(*at);
                }
            }
        }
    }
}

/// Waits, unless it is time to end.
fn rest(shared: &Shared, pause: Duration) {
    let until = Instant::now() + pause;
    let mut state = shared.state.lock();
    while !state.is_closing {
        if shared.wake.wait_until(&mut state, until.into_std()).timed_out() {
            return;
        }
    }
}
