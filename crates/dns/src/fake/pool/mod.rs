//! One family's fake addresses and their names: no I/O, no clock.

use std::hash::{BuildHasher as _, RandomState};

use adit_net::Domain;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

#[cfg(test)]
mod tests;

/// No place.
const NONE: u32 = u32::MAX;

/// Places in the order they are first given out, each with its name; then the one that was not used for longest is given
/// to another name. All operations take constant time.
///
/// INVARIANT: `index` holds exactly the places that have a name, found by it; the list from `oldest` to `newest` holds
/// exactly those that are not held, in the order of their last use.
pub(super) struct Pool {
    slots: Vec<Slot>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// How many places there are in all.
    len: u32,
    oldest: u32,
    newest: u32,
    /// Places whose names have changed since [`Pool::take_changes`], each once.
    changed: Vec<u32>,
    /// How many namings there have been.
    count: u64,
}

/// That a place got a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Naming {
    pub(super) at: u32,
    /// How many namings there were before.
    pub(super) count: u64,
    pub(super) name: Domain,
}

/// Where a process began to give out places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// How many namings there were before, those of processes before included.
    pub(super) count: u64,
    pub(super) at: u32,
}

struct Slot {
    /// `None`: passed over, free to be used.
    name: Option<Domain>,
    /// See [`Naming::count`].
    count: u64,
    older: u32,
    newer: u32,
    holds: u32,
    is_changed: bool,
}

impl Pool {
    /// All `len` places are free.
    pub(super) fn new(len: u32) -> Self {
        Self {
            slots: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            len: len.min(NONE - 1),
            oldest: NONE,
            newest: NONE,
            changed: Vec::new(),
            count: 0,
        }
    }

    /// The place of `name`, which counts as used now; a new one if it has none. `None` if all are held.
    pub(super) fn place(&mut self, name: &Domain) -> Option<u32> {
        let hash = self.hasher.hash_one(name.as_str());
        let slots = &self.slots;
        if let Some(&known) = self.index.find(hash, |at| is_named(slots, *at, name)) {
            self.touch(known);
            return Some(known);
        }
        let at = if self.used() < self.len { self.append() } else { self.recycle()? };
        self.name(Naming { at, count: self.count, name: name.clone() }, hash);
        self.mark(at);
        Some(at)
    }

    /// The name in a place, which counts as used now.
    pub(super) fn original(&mut self, at: u32) -> Option<Domain> {
        let name = self.slot(at)?.name.clone()?;
        self.touch(at);
        Some(name)
    }

    /// The name in a place.
    pub(super) fn peek(&self, at: u32) -> Option<&Domain> {
        self.slot(at)?.name.as_ref()
    }

    /// Keeps a place with a name from being given to another, until as many [`Pool::release`]s.
    pub(super) fn hold(&mut self, at: u32) -> bool {
        let Some(slot) = self.slot_mut(at).filter(|slot| slot.name.is_some()) else { return false };
        slot.holds = slot.holds.saturating_add(1);
        if slot.holds == 1 {
            self.unlink(at);
        }
        true
    }

    /// Ends a [`Pool::hold`].
    pub(super) fn release(&mut self, at: u32) {
        let Some(slot) = self.slot_mut(at).filter(|slot| slot.holds > 0) else { return };
        slot.holds -= 1;
        if slot.holds == 0 {
            self.link_newest(at);
        }
    }

    /// Takes back a name that had a place before; later ones count as used more recently.
    ///
    /// Places, in whatever order they come, must be less than the pool's length, and neither they nor names come twice:
    /// what breaks that is left out.
    pub(super) fn restore(&mut self, naming: Naming) {
        let Naming { at, name, .. } = &naming;
        let (at, hash) = (*at, self.hasher.hash_one(name.as_str()));
        let slots = &self.slots;
        let is_known = self.index.find(hash, |at| is_named(slots, *at, name)).is_some();
        if at >= self.len || is_known || self.peek(at).is_some() {
            return;
        }
        while self.used() <= at {
            self.append_free();
        }
        self.touch(at);
        self.name(naming, hash);
    }

    /// After every [`Pool::restore`]: lets places without a name follow each other from the one behind the last naming on,
    /// around the end, as if they had been given out all the time; the first `passed_over` of them come last. `known` is
    /// where the last process began. Returns where this one does.
    pub(super) fn resume(&mut self, known: Option<Start>, passed_over: u32) -> Start {
        let from = match known.filter(|known| known.count >= self.count) {
            // That process has named nothing, as far as is known.
            Some(known) => known.at,
            None => self.last_named().map_or(0, |at| at + 1),
        };
        let from = if from < self.len { from } else { 0 };
        // Places that were never used are given out before all others: those ahead of `from` must not be among them.
        let end = if from < self.used() { self.len } else { from.saturating_add(passed_over).min(self.len) };
        while self.used() < end {
            self.append_free();
        }
        let used = self.used();
        let circle = (from..used).chain(0..from.min(used));
        let mut free: Vec<u32> = circle.filter(|at| self.peek(*at).is_none()).collect();
        let passed_over = usize::try_from(passed_over).map_or(free.len(), |count| count.min(free.len()));
        free.rotate_left(passed_over);
        for at in free.iter().rev() {
            self.unlink(*at);
            self.link_oldest(*at);
        }
        let first = if used < self.len { used } else { free.first().copied().unwrap_or_default() };
        Start { count: self.count, at: first }
    }

    fn last_named(&self) -> Option<u32> {
        let named = (0_u32..).zip(&self.slots).filter(|(_, slot)| slot.name.is_some());
        named.max_by_key(|(_, slot)| slot.count).map(|(at, _)| at)
    }

    /// Whether [`Pool::take_changes`] has something.
    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Up to `most` places whose names have changed, in the order of the changes, with their names as they are now.
    pub(super) fn take_changes(&mut self, most: usize) -> Vec<Naming> {
        let taken: Vec<u32> = self.changed.drain(..most.min(self.changed.len())).collect();
        let mut changes = Vec::with_capacity(taken.len());
        for at in taken {
            if let Some(slot) = self.slot_mut(at) {
                slot.is_changed = false;
                changes.extend(slot.name.clone().map(|name| Naming { at, count: slot.count, name }));
            }
        }
        changes
    }

    /// Counts a place as changed, again.
    pub(super) fn mark(&mut self, at: u32) {
        if let Some(slot) = self.slot_mut(at).filter(|slot| !slot.is_changed) {
            slot.is_changed = true;
            self.changed.push(at);
        }
    }

    /// How many places have ever been given out or passed over: they are the first ones.
    fn used(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NONE)
    }

    fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(at).ok()?)
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    /// A place that was never used, without a name.
    fn append(&mut self) -> u32 {
        let at = self.used();
        self.slots.push(Slot { name: None, count: 0, older: NONE, newer: NONE, holds: 0, is_changed: false });
        self.link_newest(at);
        at
    }

    /// A place that was passed over.
    fn append_free(&mut self) {
        let free = self.append();
        self.unlink(free);
        self.link_oldest(free);
    }

    /// The place that was not used for longest, without its name.
    fn recycle(&mut self) -> Option<u32> {
        let at = Some(self.oldest).filter(|at| *at != NONE)?;
        if let Some(name) = self.slot_mut(at)?.name.take() {
            let hash = self.hasher.hash_one(name.as_str());
            if let Ok(entry) = self.index.find_entry(hash, |other| *other == at) {
                entry.remove();
            }
        }
        self.touch(at);
        Some(at)
    }

    /// Gives a name to a place without one. No other has that name.
    fn name(&mut self, Naming { at, count, name }: Naming, hash: u64) {
        self.count = self.count.max(count.saturating_add(1));
        if let Some(slot) = self.slot_mut(at) {
            (slot.name, slot.count) = (Some(name), count);
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash = |at: &u32| {
            let name = usize::try_from(*at).ok().and_then(|at| slots.get(at)?.name.as_ref());
            name.map_or(0, |name| hasher.hash_one(name.as_str()))
        };
        if let Entry::Vacant(vacant) = self.index.entry(hash, |other| *other == at, rehash) {
            vacant.insert(at);
        }
    }

    fn touch(&mut self, at: u32) {
        let is_listed = self.slot(at).is_some_and(|slot| slot.holds == 0);
        if is_listed && self.newest != at {
            self.unlink(at);
            self.link_newest(at);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(slot) = self.slot_mut(at) else { return };
        let older = std::mem::replace(&mut slot.older, NONE);
        let newer = std::mem::replace(&mut slot.newer, NONE);
        match self.slot_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slot_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    /// `at` is in no list.
    fn link_newest(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.newest, at);
        match self.slot_mut(before) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        if let Some(slot) = self.slot_mut(at) {
            slot.older = before;
        }
    }

    /// `at` is in no list.
    fn link_oldest(&mut self, at: u32) {
        let after = std::mem::replace(&mut self.oldest, at);
        match self.slot_mut(after) {
            Some(slot) => slot.older = at,
            None => self.newest = at,
        }
        if let Some(slot) = self.slot_mut(at) {
            slot.newer = after;
        }
    }
}

fn is_named(slots: &[Slot], at: u32, name: &Domain) -> bool {
    usize::try_from(at).ok().and_then(|at| slots.get(at)).is_some_and(|slot| slot.name.as_ref() == Some(name))
}
