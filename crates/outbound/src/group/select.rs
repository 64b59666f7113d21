//! `select`: the member that somebody chose, the first one until then.

use adit_net::Tag;
use parking_lot::Mutex;

/// A choice by hand. A name that is no member now is kept: its provider may bring it back.
#[derive(Debug, Default)]
pub(crate) struct Select(Mutex<Option<Tag>>);

impl Select {
    pub(super) fn now(&self, members: &[Tag]) -> usize {
        let chosen = self.0.lock();
        chosen.as_ref().and_then(|name| members.iter().position(|member| member == name)).unwrap_or_default()
    }

    /// Chooses `member`, or nobody in particular. Connections that exist keep the way they have.
    pub(super) fn choose(&self, member: Option<Tag>) {
        *self.0.lock() = member;
    }

    pub(super) fn chosen(&self) -> Option<Tag> {
        self.0.lock().clone()
    }
}
