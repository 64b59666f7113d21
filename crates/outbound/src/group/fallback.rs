//! `fallback`: the first member that works. Spec: mihomo-surface §6.3.

use adit_net::Tag;
use parking_lot::Mutex;

use super::Members;

/// The state of one group.
#[derive(Debug, Default)]
pub(crate) struct Fallback(Mutex<Option<Tag>>);

impl Fallback {
    /// The place of the member to use: the pinned one while it lives, then the first that does, or the first.
    ///
    /// A pin on a member that has died is taken away. One on a name that is no member now is kept and has no effect: its
    /// provider may bring it back.
    pub(super) fn now(&self, members: &Members<'_>) -> usize {
        let mut fixed = self.0.lock();
        match fixed.as_ref().and_then(|name| members.place(name)) {
            Some(at) if members.alive(at) => return at,
            Some(_) => *fixed = None,
            None => {}
        }
        members.first_alive()
    }

    /// Pins `member`, or nobody.
    pub(super) fn fix(&self, member: Option<Tag>) {
        *self.0.lock() = member;
    }

    pub(super) fn fixed(&self) -> Option<Tag> {
        self.0.lock().clone()
    }
}
