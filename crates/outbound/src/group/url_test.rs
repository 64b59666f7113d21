//! `url-test`: the fastest member, with some inertia. Spec: mihomo-surface §6.3.

use std::time::{Duration, Instant};

use adit_net::Tag;
use parking_lot::Mutex;

use super::Members;

/// How long a decision stands while the member it is for can be used.
const STANDS: Duration = Duration::from_secs(10);

/// The state of one group.
#[derive(Debug, Default)]
pub(crate) struct UrlTest(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    fixed: Option<Tag>,
    current: Option<Tag>,
    decided: Option<Instant>,
}

impl UrlTest {
    /// The place of the member to use. `tolerance` is in milliseconds.
    pub(super) fn now(&self, members: &Members<'_>, tolerance: u16, now: Instant) -> usize {
        let mut state = self.0.lock();
        if let Some(fixed) = state.fixed.as_ref().and_then(|name| members.place(name)).filter(|at| members.alive(*at)) {
            return fixed;
        }
        let current = state.current.as_ref().and_then(|name| members.place(name)).filter(|at| members.alive(*at));
        if let Some(current) = current
            && state.decided.is_some_and(|at| now.saturating_duration_since(at) < STANDS)
        {
            return current;
        }
        let best = members.fastest();
        let keeps = |current: usize| members.delay(current) <= members.delay(best).saturating_add(tolerance.into());
        let decided = current.filter(|current| keeps(*current)).unwrap_or(best);
        state.current = members.name(decided).cloned();
        state.decided = Some(now);
        decided
    }

    /// Pins `member` for as long as it lives, or lets the delays decide again.
    pub(super) fn fix(&self, member: Option<Tag>) {
        *self.0.lock() = State { fixed: member, ..State::default() };
    }

    pub(super) fn fixed(&self) -> Option<Tag> {
        self.0.lock().fixed.clone()
    }

    /// Decides anew the next time.
    pub(super) fn reconsider(&self) {
        self.0.lock().decided = None;
    }
}
