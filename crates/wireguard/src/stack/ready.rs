//! What the faces of flows tell the stack.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::Touched;

/// Flows that something was done to. One lock holds both the queue and the waker, so no wake-up is lost between looking
/// and waiting.
#[derive(Default)]
pub(crate) struct Ready(Mutex<State>);

#[derive(Default)]
struct State {
    queue: VecDeque<Touched>,
    waker: Option<Waker>,
}

impl Ready {
    pub(crate) fn shared() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn push(&self, touched: Touched) {
        let waker = {
            let mut state = self.0.lock();
            state.queue.push_back(touched);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn drain_into(&self, into: &mut VecDeque<Touched>) {
        into.append(&mut self.0.lock().queue);
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if !state.queue.is_empty() {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("waiting", &self.0.lock().queue.len()).finish()
    }
}
