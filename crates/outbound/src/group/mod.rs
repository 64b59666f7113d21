//! A group is a name for one of its members; which one depends on its kind.
//!
//! What chooses is pure: conditions and the time go in, a place in the member list comes out. What it remembers is kept
//! apart from the member list ([`Choice`]), because it outlives reloads and providers that bring other members.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use adit_net::{Session, Tag};

use crate::health::Condition;
use crate::options::{self, GroupKind};

mod fallback;
mod load_balance;
mod select;
#[cfg(test)]
mod tests;
mod url_test;

use fallback::Fallback;
use load_balance::LoadBalance;
use select::Select;
use url_test::UrlTest;

/// One entry of `proxy-groups:`.
pub(crate) struct Group {
    /// INVARIANT: `members` is not empty.
    pub(crate) options: options::Group,
    pub(crate) choice: Arc<Choice>,
}

/// What a group remembers of its choices.
#[derive(Debug)]
pub(crate) struct Choice {
    how: How,
    /// Connections that were given a member, for groups that are only tested while they are used.
    uses: AtomicU64,
}

#[derive(Debug)]
enum How {
    Select(Select),
    UrlTest(UrlTest),
    Fallback(Fallback),
    LoadBalance(LoadBalance),
}

/// Why a choice by hand is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChoosesByItself;

impl Choice {
    fn new(kind: &GroupKind) -> Self {
        let how = match kind {
            GroupKind::Select { default } => {
                let select = Select::default();
                select.choose(default.clone());
                How::Select(select)
            }
            GroupKind::UrlTest { .. } => How::UrlTest(UrlTest::default()),
            GroupKind::Fallback => How::Fallback(Fallback::default()),
            GroupKind::LoadBalance(strategy) => How::LoadBalance(LoadBalance::new(*strategy)),
        };
        Self { how, uses: AtomicU64::new(0) }
    }

    /// Whether it can go on as the choice of a group of `kind`.
    fn suits(&self, kind: &GroupKind) -> bool {
        match (&self.how, kind) {
            (How::Select(_), GroupKind::Select { .. })
            | (How::UrlTest(_), GroupKind::UrlTest { .. })
            | (How::Fallback(_), GroupKind::Fallback) => true,
            (How::LoadBalance(balance), GroupKind::LoadBalance(strategy)) => match balance {
                LoadBalance::ConsistentHashing => *strategy == options::Strategy::ConsistentHashing,
                LoadBalance::RoundRobin(_) => *strategy == options::Strategy::RoundRobin,
                LoadBalance::StickySessions(_) => *strategy == options::Strategy::StickySessions,
            },
            _ => false,
        }
    }
}

impl Group {
    /// A group that goes on with the choice of `before`, if that was of the same kind.
    pub(crate) fn new(options: options::Group, before: Option<&Self>) -> Self {
        let kept = before.map(|before| &before.choice).filter(|choice| choice.suits(&options.kind));
        let choice = kept.map_or_else(|| Arc::new(Choice::new(&options.kind)), Arc::clone);
        Self { options, choice }
    }

    /// The place of the member that is used now; for `session` in particular, if there is one.
    pub(crate) fn now(&self, condition: &dyn Fn(&Tag) -> Condition, session: Option<&Session>, now: Instant) -> usize {
        if session.is_some() {
            self.choice.uses.fetch_add(1, Ordering::Relaxed);
        }
        let members = Members { names: &self.options.members, condition };
        match (&self.choice.how, &self.options.kind) {
            (How::Select(select), _) => select.now(members.names),
            (How::UrlTest(test), GroupKind::UrlTest { tolerance }) => test.now(&members, *tolerance, now),
            (How::UrlTest(test), _) => test.now(&members, 0, now),
            (How::Fallback(fallback), _) => fallback.now(&members),
            (How::LoadBalance(balance), _) => balance.now(&members, session, now),
        }
    }

    /// Chooses `member` by hand: for good in a selector, for as long as it lives in groups that choose by themselves.
    pub(crate) fn choose(&self, member: Option<Tag>) -> Result<(), ChoosesByItself> {
        match &self.choice.how {
            How::Select(select) => select.choose(member),
            How::UrlTest(test) => test.fix(member),
            How::Fallback(fallback) => fallback.fix(member),
            How::LoadBalance(_) => return Err(ChoosesByItself),
        }
        Ok(())
    }

    /// Lets a group that chooses by itself do so again.
    pub(crate) fn unpin(&self) -> Result<(), ChoosesByItself> {
        match &self.choice.how {
            How::UrlTest(_) | How::Fallback(_) => self.choose(None),
            How::Select(_) | How::LoadBalance(_) => Err(ChoosesByItself),
        }
    }

    /// What was chosen by hand.
    pub(crate) fn chosen(&self) -> Option<Tag> {
        match &self.choice.how {
            How::Select(select) => select.chosen(),
            How::UrlTest(test) => test.fixed(),
            How::Fallback(fallback) => fallback.fixed(),
            How::LoadBalance(_) => None,
        }
    }

    /// Does not wait with the next decision until the last one has stood for its time.
    pub(crate) fn reconsider(&self) {
        if let How::UrlTest(test) = &self.choice.how {
            test.reconsider();
        }
    }

    /// How many connections it was asked for so far.
    pub(crate) fn uses(&self) -> u64 {
        self.choice.uses.load(Ordering::Relaxed)
    }
}

/// The members of a group, with what is known of them.
pub(crate) struct Members<'a> {
    names: &'a [Tag],
    condition: &'a dyn Fn(&Tag) -> Condition,
}

impl Members<'_> {
    fn len(&self) -> usize {
        self.names.len()
    }

    fn name(&self, place: usize) -> Option<&Tag> {
        self.names.get(place)
    }

    fn place(&self, name: &Tag) -> Option<usize> {
        self.names.iter().position(|member| member == name)
    }

    fn condition(&self, place: usize) -> Condition {
        self.name(place).map_or(Condition { alive: false, delay: None }, self.condition)
    }

    fn alive(&self, place: usize) -> bool {
        self.condition(place).alive
    }

    /// Milliseconds; more than any measured one if it is unknown.
    fn delay(&self, place: usize) -> u32 {
        self.condition(place).delay.unwrap_or(u16::MAX).into()
    }

    fn first_alive(&self) -> usize {
        (0..self.len()).find(|place| self.alive(*place)).unwrap_or_default()
    }

    /// The next one behind `place`, around the end; itself last; the first if none works.
    fn next_alive(&self, place: usize) -> usize {
        let count = self.len().max(1);
        let next = |step: usize| place.wrapping_add(step) % count;
        (1..=count).map(next).find(|place| self.alive(*place)).unwrap_or_default()
    }

    /// The one with the least delay, the first of several; dead ones only if all are.
    fn fastest(&self) -> usize {
        let alive = (0..self.len()).filter(|place| self.alive(*place));
        alive.min_by_key(|place| self.delay(*place)).unwrap_or_default()
    }
}
