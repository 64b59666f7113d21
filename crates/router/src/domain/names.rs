//! Membership of plain names and suffixes, by hash.
//!
//! A name is hashed label by label from its end, so one pass over it yields the hash of each of its suffixes. The table
//! holds one word per name, the upper 62 bits of its hash and two bits that say what was meant, in ascending order with
//! gaps, such that the hash itself tells where to look: one cache line per look-up of a suffix.
//!
//! Names themselves are not kept. The hash has a key drawn at random when the process starts, so that nobody can make a
//! name that collides, and the chance that a name is mistaken for one in a set of 500,000 is below one in 10¹².

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use super::Scope;

/// A frozen table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// INVARIANT: words that are not 0 ascend; the word with the hash `h` is found by going up from slot `home(h)`
    /// before the first 0 or greater one.
    slots: Box<[u64]>,
    homes: u32,
}

/// The name itself is meant.
const EXACT: u64 = 1;
/// Names below it are meant.
const BELOW: u64 = 2;
const FLAGS: u64 = EXACT | BELOW;

impl Names {
    /// Whether a name, or a suffix with what is below it, is in the table. `name` is in lower case.
    pub(super) fn contains(&self, name: &str) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let mut hash = Hash::start();
        let mut labels = name.rsplit('.').peekable();
        while let Some(label) = labels.next() {
            hash.add(label.as_bytes());
            let wanted = if labels.peek().is_some() { BELOW } else { EXACT };
            if self.flags(hash.word()) & wanted != 0 {
                return true;
            }
        }
        false
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.len() * 8
    }

    fn flags(&self, word: u64) -> u64 {
        let from = self.slots.get(home(word, self.homes)..).unwrap_or_default();
        for slot in from {
            if *slot & !FLAGS == word {
                return slot & FLAGS;
            }
            if *slot == 0 || *slot > word {
                return 0;
            }
        }
        0
    }
}

/// Slots in proportion to the hash, so that ascending words have ascending homes.
fn home(word: u64, homes: u32) -> usize {
    (((word >> 32) * u64::from(homes)) >> 32) as usize
}

/// Collects names for [`Names`]: eight bytes each.
#[derive(Debug, Default)]
pub(super) struct NamesBuilder {
    words: Vec<u64>,
}

impl NamesBuilder {
    /// `name` is in lower case.
    pub(super) fn add(&mut self, scope: Scope, name: &str) {
        let mut hash = Hash::start();
        for label in name.rsplit('.') {
            hash.add(label.as_bytes());
        }
        let flags = match scope {
            Scope::Exact => EXACT,
            Scope::Below => BELOW,
            Scope::ExactAndBelow => EXACT | BELOW,
        };
        self.words.push(hash.word() | flags);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(super) fn build(mut self) -> Names {
        self.words.sort_unstable();
        self.words.dedup_by(|later, earlier| {
            let same = *later & !FLAGS == *earlier & !FLAGS;
            if same {
                *earlier |= *later;
            }
            same
        });
        // Two thirds full: gaps are near enough that a miss reads five words on average.
        let homes = u32::try_from(self.words.len() + self.words.len() / 2).unwrap_or(u32::MAX);
        let mut slots = Vec::with_capacity(homes as usize + 16);
        for word in self.words {
            let home = home(word, homes);
            if slots.len() < home {
                slots.resize(home, 0);
            }
            slots.push(word);
        }
        Names { slots: slots.into(), homes }
    }
}

/// A keyed hash over labels: each eight bytes are multiplied into the state, and the halves of the product folded.
#[derive(Clone, Copy)]
struct Hash(u64);

static KEYS: LazyLock<[u64; 2]> = LazyLock::new(|| [random() | 1, random() | 1]);

fn random() -> u64 {
    RandomState::new().hash_one(0)
}

impl Hash {
    fn start() -> Self {
        Self(KEYS[0])
    }

    fn add(&mut self, label: &[u8]) {
        let (words, rest) = label.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        // A label has no more than 63 bytes in a name, and its length keeps `a`, `b` apart from `ab`, `` and so on.
        self.fold(u64::from_le_bytes(last) ^ (label.len() as u64) << 56);
    }

    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(KEYS[1]);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    /// The upper 62 bits; never zero, which stands for an empty slot.
    fn word(self) -> u64 {
        let product = u128::from(self.0 ^ KEYS[1]) * 0x9e37_79b9_7f4a_7c15;
        (((product >> 64) as u64 ^ product as u64) & !FLAGS).max(FLAGS + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_at_both_ends_of_the_table_are_found() {
        for words in [vec![4 | EXACT, 8 | BELOW], vec![!FLAGS | EXACT, (!FLAGS - 4) | BELOW, (!FLAGS - 8) | EXACT]] {
            let names = NamesBuilder { words: words.clone() }.build();
            for word in words {
                assert_eq!(names.flags(word & !FLAGS), word & FLAGS);
            }
            assert_eq!(names.flags(1 << 40), 0);
        }
        assert!(!NamesBuilder::default().build().contains("a"));
    }

    #[test]
    fn what_is_said_twice_adds_up() {
        let mut builder = NamesBuilder::default();
        builder.add(Scope::Exact, "a.b");
        builder.add(Scope::Below, "a.b");
        let names = builder.build();
        assert_eq!(names.slots.iter().filter(|slot| **slot != 0).count(), 1);
        assert!(names.contains("a.b") && names.contains("x.a.b") && !names.contains("b"));
    }

    #[test]
    fn labels_do_not_run_together() {
        let mut builder = NamesBuilder::default();
        for name in ["ab.c", "12345678.9", "x.y.z"] {
            builder.add(Scope::Exact, name);
        }
        let names = builder.build();
        for other in ["a.bc", "abc", "c.ab", "1234567.89", "123456789", "xy.z", "x.yz", "z.y.x", "ab.c.", "ab..c"] {
            assert!(!names.contains(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(
            entries in prop::collection::hash_map("[a-c]{1,2}(\\.[a-c]{1,2}){0,3}", 0..3_usize, 0..80),
            probes in prop::collection::vec("[a-c]{1,2}(\\.[a-c]{1,2}){0,4}", 0..80),
        ) {
            let scopes = [Scope::Exact, Scope::Below, Scope::ExactAndBelow];
            let mut builder = NamesBuilder::default();
            for (name, scope) in &entries {
                builder.add(scopes[*scope], name);
            }
            let names = builder.build();
            let naive = |name: &str, entries: &HashMap<String, usize>| {
                let mut left = Some(name);
                std::iter::from_fn(|| {
                    let name = left?;
                    left = name.split_once('.').map(|(_, rest)| rest);
                    Some(name)
                })
                .any(|suffix| entries.get(suffix).is_some_and(|scope| match scopes[*scope] {
                    Scope::Exact => suffix == name,
                    Scope::Below => suffix != name,
                    Scope::ExactAndBelow => true,
                }))
            };
            for probe in probes.iter().chain(entries.keys()) {
                prop_assert_eq!(names.contains(probe), naive(probe, &entries), "{}", probe);
            }
        }
    }
}
