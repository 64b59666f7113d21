//! Where datagrams wait until their flow's task takes them.
//!
//! The task takes everything that waits at once, so a burst costs one wake-up and two locks, however long it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use adit_net::{Entry, ReturnPath, Target};
use bytes::Bytes;
use parking_lot::Mutex;

/// Datagrams waiting in one flow's inbox.
pub(super) const INBOX: usize = 64;

/// Room for as many datagrams is kept when none waits.
const KEPT: usize = 4;

/// A datagram that counts against the bytes that all flows together may hold, until it is dropped.
pub(crate) struct Datagram {
    /// Where to, as the client wrote it, or as the outbound is asked.
    pub(crate) target: Target,
    pub(crate) payload: Bytes,
    pub(crate) dscp: u8,
    held: Arc<AtomicUsize>,
}

impl Datagram {
    /// `None` if that would make more than `most` bytes in `held`: it is dropped, as a network would.
    pub(crate) fn new(target: Target, payload: Bytes, dscp: u8, held: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let size = payload.len();
        let before = held.fetch_add(size, Ordering::Relaxed);
        let datagram = Self { target, payload, dscp, held: Arc::clone(held) };
        // Too much: dropping it takes its bytes out again.
        (before.saturating_add(size) <= most).then_some(datagram)
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        self.held.fetch_sub(self.payload.len(), Ordering::Relaxed);
    }
}

/// How a client's datagrams come in, and how answers go back.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) entry: Arc<Entry>,
    pub(crate) back: Arc<dyn ReturnPath>,
}

impl Door {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.back, &other.back) && Arc::ptr_eq(&self.entry, &other.entry)
    }
}

/// See the module.
pub(crate) struct Inbox(Mutex<State>);

struct State {
    waiting: VecDeque<Datagram>,
    /// The latest door. A client may come again through another, with the same address.
    door: Door,
    is_new_door: bool,
    /// There while the task waits.
    waker: Option<Waker>,
    is_closed: bool,
}

impl Inbox {
    /// An inbox in which `first` waits.
    pub(crate) fn new(door: Door, first: Datagram) -> Self {
        let waiting = VecDeque::from([first]);
        Self(Mutex::new(State { waiting, door, is_new_door: false, waker: None, is_closed: false }))
    }

    /// Lets `datagram` wait, or drops it if too many do.
    ///
    /// # Errors
    /// The flow has ended: here is the datagram again.
    pub(crate) fn push(&self, door: &Door, datagram: Datagram) -> Result<(), Datagram> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(datagram);
        }
        if !state.door.is(door) {
            state.door = door.clone();
            state.is_new_door = true;
        }
        if state.waiting.len() >= INBOX {
            drop(state);
            return Ok(());
        }
        state.waiting.push_back(datagram);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Appends everything that waits to `batch`, and says if there is a new door.
    pub(super) fn poll_take(&self, cx: &Context<'_>, batch: &mut VecDeque<Datagram>) -> Poll<Option<Door>> {
        let mut state = self.0.lock();
        if state.waiting.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        batch.append(&mut state.waiting);
        if state.waiting.capacity() > KEPT {
            state.waiting = VecDeque::new();
        }
        let is_new = std::mem::take(&mut state.is_new_door);
        Poll::Ready(is_new.then(|| state.door.clone()))
    }

    /// Takes nothing more: whoever pushes learns that the flow has ended.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

/// Lets `item` wait; the oldest goes when more than `most` would.
pub(super) fn enqueue<T>(waiting: &mut VecDeque<T>, item: T, most: usize) {
    if waiting.len() >= most {
        waiting.pop_front();
    }
    waiting.push_back(item);
}
