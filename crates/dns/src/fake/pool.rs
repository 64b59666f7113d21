//! One family's fake addresses and their names: no I/O, no clock.

use std::hash::{BuildHasher as _, RandomState};

use adit_net::Domain;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

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
            let free = self.append();
            self.unlink(free);
            self.link_oldest(free);
        }
        self.touch(at);
        self.name(naming, hash);
    }

    /// Passes over `count` places that were never used: they are given out last.
    pub(super) fn skip(&mut self, count: u32) {
        for _ in 0..count {
            if self.used() >= self.len {
                return;
            }
            let free = self.append();
            self.unlink(free);
            self.link_oldest(free);
        }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn name(n: u32) -> Domain {
        format!("n{n}.example").parse().unwrap()
    }

    fn naming(at: u32, count: u64, n: u32) -> Naming {
        Naming { at, count, name: name(n) }
    }

    #[test]
    fn places_are_given_out_in_order_and_kept_until_all_are_used() {
        let mut pool = Pool::new(65_531);
        for n in 0..65_531 {
            assert_eq!(pool.place(&name(n)), Some(n));
        }
        for n in [0, 7, 65_530, 30_000] {
            assert_eq!(pool.place(&name(n)), Some(n), "nobody lost a place before all were used");
            assert_eq!(pool.original(n), Some(name(n)));
        }
        // Now the one that nobody asked for goes.
        assert_eq!(pool.place(&name(70_000)), Some(1));
        assert_eq!(pool.place(&name(70_001)), Some(2));
        assert_eq!(pool.original(1), Some(name(70_000)));
        // Its name gets another.
        assert_eq!(pool.place(&name(1)), Some(3));
    }

    #[test]
    fn a_held_place_keeps_its_name_and_a_full_pool_says_so() {
        let mut pool = Pool::new(2);
        assert!(!pool.hold(0));
        pool.place(&name(0));
        assert!(pool.hold(0) && pool.hold(0));
        for n in 1..5 {
            assert_eq!(pool.place(&name(n)), Some(1));
        }
        assert!(pool.hold(1));
        assert_eq!(pool.place(&name(5)), None);
        assert_eq!(pool.place(&name(0)), Some(0));
        pool.release(0);
        assert_eq!(pool.place(&name(5)), None);
        pool.release(0);
        pool.release(0);
        assert_eq!(pool.place(&name(5)), Some(0));
        assert_eq!(pool.original(1), Some(name(4)));
    }

    #[test]
    fn what_is_restored_is_as_it_was() {
        let mut pool = Pool::new(6);
        pool.restore(naming(4, 8, 4));
        pool.restore(naming(1, 8, 1));
        // Nonsense that a damaged file might say.
        pool.restore(naming(4, 8, 9));
        pool.restore(naming(3, 8, 1));
        pool.restore(naming(6, 8, 6));
        assert_eq!((pool.place(&name(4)), pool.place(&name(1))), (Some(4), Some(1)));
        // The last one was never used; then the gaps, then the names.
        let mut got: Vec<_> = (20..24).map(|n| pool.place(&name(n)).unwrap()).collect();
        assert_eq!(got.remove(0), 5);
        got.sort_unstable();
        assert_eq!(got, [0, 2, 3]);
        assert_eq!(pool.place(&name(30)), Some(4));
        assert!(pool.has_changes());
    }

    #[test]
    fn places_that_were_skipped_come_last() {
        let mut pool = Pool::new(5);
        pool.place(&name(0));
        pool.skip(2);
        assert_eq!((pool.place(&name(1)), pool.place(&name(2))), (Some(3), Some(4)));
        let mut got: Vec<_> = (3..5).map(|n| pool.place(&name(n)).unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        assert_eq!(pool.place(&name(9)), Some(0));
        pool.skip(7);
    }

    #[test]
    fn each_change_is_told_once_with_its_last_name() {
        let mut pool = Pool::new(2);
        for n in 0..3 {
            pool.place(&name(n));
        }
        assert_eq!(pool.take_changes(1), [naming(0, 2, 2)]);
        assert_eq!(pool.take_changes(9), [naming(1, 1, 1)]);
        pool.place(&name(1));
        assert!(!pool.has_changes());
        pool.mark(1);
        pool.mark(1);
        assert_eq!(pool.take_changes(9), [naming(1, 1, 1)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Place(u32),
        Original(u32),
        Hold(u32),
        Release(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..24_u32).prop_map(Step::Place),
            2 => (0..12_u32).prop_map(Step::Original),
            1 => (0..12_u32).prop_map(Step::Hold),
            1 => (0..12_u32).prop_map(Step::Release),
        ]
    }

    /// What a pool should do, slowly: names with their holds, the last used at the end.
    #[derive(Default)]
    struct Model {
        places: Vec<(u32, Domain, u32)>,
    }

    impl Model {
        fn touch(&mut self, at: usize) -> u32 {
            let entry = self.places.remove(at);
            let place = entry.0;
            self.places.push(entry);
            place
        }

        fn place(&mut self, len: u32, name: &Domain) -> Option<u32> {
            if let Some(at) = self.places.iter().position(|(_, known, _)| known == name) {
                return Some(self.touch(at));
            }
            let used = u32::try_from(self.places.len()).unwrap();
            if used < len {
                self.places.push((used, name.clone(), 0));
                return Some(used);
            }
            let at = self.places.iter().position(|(_, _, holds)| *holds == 0)?;
            self.places[at].1 = name.clone();
            Some(self.touch(at))
        }

        fn find(&self, place: u32) -> Option<usize> {
            self.places.iter().position(|(at, ..)| *at == place)
        }
    }

    proptest! {
        #[test]
        fn it_does_what_the_slow_one_does(len in 1..9_u32, steps in prop::collection::vec(step(), 0..200)) {
            let (mut pool, mut model) = (Pool::new(len), Model::default());
            for step in steps {
                match step {
                    Step::Place(n) => prop_assert_eq!(pool.place(&name(n)), model.place(len, &name(n))),
                    Step::Original(at) => {
                        let known = model.find(at);
                        let expected = known.map(|known| model.places[known].1.clone());
                        if let Some(known) = known.filter(|known| model.places[*known].2 == 0) {
                            model.touch(known);
                        }
                        prop_assert_eq!(pool.original(at), expected);
                    }
                    Step::Hold(at) => {
                        let known = model.find(at);
                        if let Some(known) = known {
                            model.places[known].2 += 1;
                        }
                        prop_assert_eq!(pool.hold(at), known.is_some());
                    }
                    Step::Release(at) => {
                        if let Some(known) = model.find(at).filter(|known| model.places[*known].2 > 0) {
                            model.places[known].2 -= 1;
                            if model.places[known].2 == 0 {
                                model.touch(known);
                            }
                        }
                        pool.release(at);
                    }
                }
            }
            let changes = pool.take_changes(usize::MAX).into_iter();
            let stored: HashMap<u32, Domain> = changes.map(|Naming { at, name, .. }| (at, name)).collect();
            let expected = model.places.into_iter().map(|(at, name, _)| (at, name)).collect();
            prop_assert_eq!(stored, expected);
        }
    }
}
