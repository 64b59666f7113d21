//! One alarm clock.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::Moment;

/// Wakes the driver. It is set to an earlier time at once, to a later one when it has fired: deadlines move with every
/// packet, and setting a timer costs more than a packet should.
///
/// It counts while the machine is awake. After a sleep it fires late, unless something else wakes the driver, which looks
/// at the clock then.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    set_to: Option<Moment>,
}

impl Timer {
    /// Ready when it is `deadline`, or is already.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Moment, deadline: Moment) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        let later = self.set_to.is_some_and(|at| now < at && at <= deadline);
        if later && self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_pending()) {
            return Poll::Pending;
        }
        let at = Instant::now() + deadline.since(now);
        self.set_to = Some(deadline);
        match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(at);
                sleep.as_mut().poll(cx)
            }
            none => none.insert(Box::pin(sleep_until(at))).as_mut().poll(cx),
        }
    }
}
