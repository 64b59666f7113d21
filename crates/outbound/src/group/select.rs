//! `select`: the member that somebody chose, the first one until then.

use std::sync::atomic::{AtomicUsize, Ordering};

use adit_net::Tag;

/// A choice by hand, as the member's place in the list.
pub(crate) struct Select(AtomicUsize);

impl Select {
    /// Starts with `default`, if it is a member.
    pub(super) fn new(members: &[Tag], default: Option<&Tag>) -> Self {
        let first = default.and_then(|name| members.iter().position(|member| member == name));
        Self(AtomicUsize::new(first.unwrap_or_default()))
    }

    pub(super) fn now<'a>(&self, members: &'a [Tag]) -> Option<&'a Tag> {
        members.get(self.0.load(Ordering::Relaxed)).or_else(|| members.first())
    }

    /// Chooses the member at `place`. Connections that exist keep the way they have.
    pub(crate) fn choose(&self, place: usize) {
        self.0.store(place, Ordering::Relaxed);
    }
}
