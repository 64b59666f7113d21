//! The pool beside a slow one.

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
    pool.resume(None, 2);
    assert_eq!((pool.place(&name(1)), pool.place(&name(2))), (Some(3), Some(4)));
    let mut got: Vec<_> = (3..5).map(|n| pool.place(&name(n)).unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, [1, 2]);
    assert_eq!(pool.place(&name(9)), Some(0));
    pool.resume(None, 7);
}

/// Takes over what a process knew, and begins as after a kill.
fn after_kill(len: u32, namings: &[Naming], known: Option<Start>) -> (Pool, Start) {
    let mut pool = Pool::new(len);
    namings.iter().cloned().for_each(|naming| pool.restore(naming));
    let start = pool.resume(known, 3);
    (pool, start)
}

/// F-E12: after sixteen kills a range of 65,000 addresses was passed over once, and nothing was passed over any more: the
/// addresses of names that were lost with a kill went to other names at once.
#[test]
fn f_e12_places_are_passed_over_around_the_end_too() {
    let (len, mut stored, mut start) = (40, Vec::new(), None);
    let mut lost: Vec<u32> = Vec::new();
    for round in 0..12 {
        let (mut pool, began) = after_kill(len, &stored, start);
        let given: Vec<u32> = (0..3).map(|n| pool.place(&name(round * 3 + n)).unwrap()).collect();
        assert!(given.iter().all(|at| !lost.contains(at)), "round {round}: {given:?} after {lost:?}");
        // The first one gets written in every other round, the others are lost.
        let written = pool.take_changes(usize::try_from(round % 2).unwrap());
        lost = given.into_iter().filter(|at| written.iter().all(|naming| naming.at != *at)).collect();
        stored.extend(written);
        start = Some(began);
    }
    let (mut pool, _) = after_kill(len, &stored, start);
    for naming in &stored {
        assert_eq!(pool.place(&naming.name), Some(naming.at), "free ones were used first");
    }
}

#[test]
fn a_pool_without_free_places_begins_all_the_same() {
    let all: Vec<_> = (0..3).map(|n| naming(n, n.into(), n)).collect();
    let (mut pool, _) = after_kill(3, &all, None);
    assert_eq!(pool.place(&name(9)), Some(0), "the oldest goes");
    let (mut pool, start) = after_kill(2, &[], Some(Start { count: 0, at: 7 }));
    assert_eq!((pool.place(&name(0)), start), (Some(0), Start { count: 0, at: 0 }));
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
