//! One buffer per thread, into which every copying lane of that thread reads.

use std::cell::Cell;

/// The most a lane reads before it writes, and so the most it can be left with when its sink stalls.
pub(super) const SIZE: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer of [`SIZE`] bytes to `work`. A stream that polls another relay on the way gets one of its
/// own.
pub(super) fn with<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = SCRATCH.take();
    buffer.resize(SIZE, 0);
    let outcome = work(&mut buffer);
    SCRATCH.set(buffer);
    outcome
}
