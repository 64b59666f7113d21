//! Membership of names in very large sets of patterns.
//!
//! Nearly all patterns of real lists are plain names and suffixes. Those go into a hash table, which answers in some
//! hundred nanoseconds from twelve bytes a name. The few with `*` labels go into a succinct trie. A trie for all of
//! them, the layout of `.mrs` files, needs eight bytes a name, but walking it takes a step and several cache misses
//! per *byte* of the name: over a microsecond for half a million names. `examples/domain_set_cost.rs` measures.

use super::names::{Names, NamesBuilder};
use super::pattern::lower;
use super::{DamagedTrie, DomainPattern, Louds, Scope};

/// A frozen set of [`DomainPattern`]s. Look-ups allocate nothing.
///
/// ```
/// use adit_router::{DomainPattern, DomainSet};
///
/// let set: DomainSet = ["+.example.com", "*.lan"].into_iter().map(DomainPattern::parse).collect::<Result<_, _>>()?;
/// assert!(set.contains("a.b.example.com") && set.contains("nas.lan"));
/// assert!(!set.contains("badexample.com"));
/// # Ok::<(), adit_router::BadPattern>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainSet {
    names: Names,
    patterns: Option<Louds>,
}

/// Names longer than this are in no set; DNS names have 253 bytes at most.
const MAX_NAME: usize = 255;

/// Bytes of patterns with `*` that the trie of a file may spell. F-D2: it shares what keys have in common, and we do
/// not; names cost the same whatever their length.
const MAX_SPELT: usize = 16 << 20;

impl DomainSet {
    /// Whether a pattern matches `name`, whatever its case. Names of more than 255 bytes and names that begin with a dot
    /// are in no set.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') {
            return false;
        }
        let name = lower(name);
        self.names.contains(&name) || self.patterns.as_ref().is_some_and(|patterns| fits(patterns, &name))
    }

    /// Takes over the three arrays of an `.mrs` domain body.
    ///
    /// # Errors
    /// The arrays contradict each other, or spell more than 16 MiB of patterns with `*`.
    pub fn from_mrs(leaves: Vec<u64>, bitmap: Vec<u64>, labels: Vec<u8>) -> Result<Self, DamagedTrie> {
        let trie = Louds::from_parts(leaves, bitmap, labels)?;
        let mut builder = DomainSetBuilder::default();
        let mut spelt = 0;
        trie.for_each_key(MAX_NAME + 2, |key| {
            spelt += if key.contains(&b'*') { key.len() } else { 0 };
            if spelt > MAX_SPELT {
                return;
            }
            // Keys that are not text match no name.
            if let Ok(key) = std::str::from_utf8(key) {
                let pattern: String = key.chars().rev().collect();
                let (scope, name) = match pattern.strip_prefix("+.") {
                    Some(name) => (Scope::Below, name),
                    None if pattern == "+" => (Scope::Below, ""),
                    None => (Scope::Exact, &*pattern),
                };
                builder.push(scope, name);
            }
        });
        if spelt > MAX_SPELT { Err(DamagedTrie) } else { Ok(builder.build()) }
    }

    /// Bytes of heap that the set occupies.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.names.heap_bytes() + self.patterns.as_ref().map_or(0, Louds::heap_bytes)
    }
}

fn fits(patterns: &Louds, name: &str) -> bool {
    if name.is_ascii() {
        return patterns.matches(name.as_bytes());
    }
    // Keys are reversed character by character, so the bytes of each character must stay in order when the trie
    // reads from the end. Never the case for host names that came through `Domain`.
    let mirrored: String = name.chars().rev().collect();
    let mirrored: Vec<u8> = mirrored.bytes().rev().collect();
    patterns.matches(&mirrored)
}

impl<'a> FromIterator<DomainPattern<'a>> for DomainSet {
    fn from_iter<I: IntoIterator<Item = DomainPattern<'a>>>(patterns: I) -> Self {
        let mut builder = DomainSetBuilder::default();
        for pattern in patterns {
            builder.add(&pattern);
        }
        builder.build()
    }
}

/// Collects patterns for a [`DomainSet`]: eight bytes for each plain one until the set is built.
#[derive(Debug, Default)]
pub struct DomainSetBuilder {
    names: NamesBuilder,
    /// Keys of patterns with `*`, reversed.
    patterns: Vec<Box<[u8]>>,
}

impl DomainSetBuilder {
    /// Adds a pattern. Patterns that cannot match any name (too long, `+` behind the first label) are left out.
    pub fn add(&mut self, pattern: &DomainPattern<'_>) {
        self.push(pattern.scope, &pattern.name);
    }

    /// Adds a name as it stands: `*` and `+` in it are not special, so such a name matches nothing. `name` is lower case.
    pub fn add_literal(&mut self, scope: Scope, name: &str) {
        if !name.contains('*') && !name.is_empty() {
            self.push(scope, name);
        }
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.patterns.is_empty()
    }

    /// Sorts and freezes.
    #[must_use]
    pub fn build(mut self) -> DomainSet {
        self.patterns.sort_unstable();
        let patterns = &self.patterns;
        DomainSet {
            names: self.names.build(),
            patterns: (!patterns.is_empty())
                .then(|| Louds::build(patterns.len(), |at| patterns.get(at).map_or(&[][..], |key| key))),
        }
    }

    fn push(&mut self, scope: Scope, name: &str) {
        if name.len() > MAX_NAME || name.contains('+') {
            return;
        }
        if !name.is_empty() && !name.contains('*') {
            self.names.add(scope, name);
            return;
        }
        let key: String = name.chars().rev().collect();
        if scope != Scope::Exact {
            let below = if key.is_empty() { "+".into() } else { format!("{key}.+") };
            self.patterns.push(below.into_bytes().into());
        }
        if scope != Scope::Below && !key.is_empty() {
            self.patterns.push(key.into_bytes().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pattern::model;
    use super::*;

    fn set(patterns: &[&str]) -> DomainSet {
        patterns.iter().map(|text| DomainPattern::parse(text).unwrap()).collect()
    }

    #[test]
    fn each_row_of_the_pattern_table() {
        for (pattern, yes, no) in model::TABLE {
            let set = set(&[pattern]);
            for name in *yes {
                assert!(set.contains(name), "{pattern} {name}");
                assert!(set.contains(&name.to_uppercase()), "{pattern} {name}");
                assert!(!set.contains(&format!(".{name}")), "{pattern} .{name}");
            }
            for name in *no {
                assert!(!set.contains(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn a_literal_that_fails_falls_back_to_the_star() {
        let set = set(&["a.b.c", "x.*.c", "*.*.*.d", "e.e.e.d", "f.*.e.d"]);
        assert!(set.contains("x.b.c") && set.contains("a.b.c") && !set.contains("y.b.c"));
        assert!(set.contains("q.e.e.d") && set.contains("e.x.e.d") && set.contains("f.z.e.d"));
    }

    #[test]
    fn names_that_are_not_ascii_are_reversed_by_character() {
        let set = set(&["+.bücher.de", "münchen", "*.ä.de"]);
        assert!(set.contains("bücher.de") && set.contains("www.BÜCHER.de") && set.contains("münchen"));
        assert!(set.contains("ö.ä.de") && !set.contains("ö.ö.de"));
        assert!(!set.contains("bucher.de"));
    }

    /// F-D2: a trie of some hundred kilobytes that spells twenty megabytes.
    #[test]
    fn tries_that_spell_too_much_are_refused() {
        let beginning = format!("*{}", "a".repeat(248));
        let letter = |at: usize| char::from(b'A' + at as u8);
        let keys = |last: usize| -> Vec<String> {
            let all = (0..44 * 44 * last).map(|at| [letter(at / last / 44), letter(at / last % 44), letter(at % last)]);
            all.map(|end| format!("{beginning}{}", String::from_iter(end))).collect()
        };
        for (last, allowed) in [(1, true), (44, false)] {
            let keys = keys(last);
            let (leaves, bitmap, labels) = Louds::build(keys.len(), |at| keys[at].as_bytes()).into_parts();
            assert!(labels.len() < 100_000);
            assert_eq!(DomainSet::from_mrs(leaves, bitmap, labels).is_ok(), allowed);
        }
    }

    #[test]
    fn literals_have_no_wildcards() {
        let mut builder = DomainSetBuilder::default();
        builder.add_literal(Scope::ExactAndBelow, "*.com");
        builder.add_literal(Scope::Exact, "a.+.com");
        assert!(builder.is_empty());
        let set = builder.build();
        assert!(!set.contains("a.com") && !set.contains("b.a.com"));
        assert!(!self::set(&["a.+.b"]).contains("a.x.b"));
    }

    #[test]
    fn long_names_do_not_recurse_or_match() {
        let long = vec!["a"; 200].join(".");
        assert!(!set(&[&long, "+.a"]).contains(&long));
        assert!(set(&["+.a"]).contains(&vec!["a"; 128].join(".")));
    }

    /// F-rule 7: a list cannot make one look-up expensive.
    #[test]
    fn colliding_stars_are_bounded() {
        let patterns: Vec<String> = (0..1u32 << 14)
            .map(|bits| {
                let labels: Vec<&str> = (0..14).map(|at| if bits >> at & 1 == 1 { "*" } else { "a" }).collect();
                format!("z.{}", labels.join("."))
            })
            .collect();
        let set = set(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
        let before = std::time::Instant::now();
        assert!(!set.contains(&format!("b.{}", vec!["a"; 14].join("."))));
        assert!(before.elapsed() < std::time::Duration::from_millis(500));
    }

    #[test]
    fn an_mrs_trie_may_match_everything() {
        let (leaves, bitmap, labels) = Louds::build(1, |_| b"+").into_parts();
        let set = DomainSet::from_mrs(leaves, bitmap, labels).unwrap();
        assert!(set.contains("a") && set.contains("a.b") && !set.contains(""));
    }

    fn pattern() -> impl Strategy<Value = String> {
        let label = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("*")];
        (prop_oneof![Just(""), Just("+."), Just(".")], prop::collection::vec(label, 1..5))
            .prop_map(|(scope, labels)| format!("{scope}{}", labels.join(".")))
    }

    proptest! {
        #[test]
        fn an_mrs_trie_agrees_with_the_plain_set(
            patterns in prop::collection::vec(pattern(), 1..12),
            names in prop::collection::vec("(a|b|ab|ba)(\\.(a|b|ab|ba)){0,5}", 1..20),
        ) {
            let plain: DomainSet = patterns.iter().map(|text| DomainPattern::parse(text).unwrap()).collect();
            let mut keys: Vec<String> = Vec::new();
            for pattern in patterns.iter().map(|text| DomainPattern::parse(text).unwrap()) {
                let reversed: String = pattern.name.chars().rev().collect();
                if pattern.scope != Scope::Exact {
                    keys.push(format!("{reversed}.+"));
                }
                if pattern.scope != Scope::Below {
                    keys.push(reversed);
                }
            }
            keys.sort_unstable();
            let trie = Louds::build(keys.len(), |at| keys[at].as_bytes());
            let walked: Vec<bool> = names.iter().map(|name| trie.matches(name.as_bytes())).collect();
            let (leaves, bitmap, labels) = trie.into_parts();
            let read = DomainSet::from_mrs(leaves, bitmap, labels).unwrap();
            for (name, walked) in names.iter().zip(walked) {
                prop_assert_eq!(read.contains(name), plain.contains(name), "{} in {:?}", name, patterns);
                prop_assert_eq!(walked, plain.contains(name), "{} in the trie of {:?}", name, patterns);
            }
        }

        #[test]
        fn agrees_with_the_naive_model(
            patterns in prop::collection::vec(pattern(), 0..12),
            names in prop::collection::vec("(a|b|ab|ba)(\\.(a|b|ab|ba)){0,5}", 1..20),
        ) {
            let parsed: Vec<_> = patterns.iter().map(|text| DomainPattern::parse(text).unwrap()).collect();
            let set: DomainSet = parsed.iter().cloned().collect();
            for name in names {
                let naive = parsed.iter().any(|pattern| model::matches(pattern, &name));
                prop_assert_eq!(set.contains(&name), naive, "{} in {:?}", name, patterns);
            }
        }

        #[test]
        fn any_text_is_a_pattern_or_an_error(text in "\\PC{0,30}") {
            if let Ok(pattern) = DomainPattern::parse(&text) {
                let set: DomainSet = [pattern].into_iter().collect();
                let _ = set.contains(&text);
            }
        }
    }
}
