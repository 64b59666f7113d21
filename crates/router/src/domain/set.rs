//! Membership of names in very large sets of patterns.
//!
//! Why a succinct trie: it costs about a third of what the names themselves take, knows `*`, and is the very layout of
//! `.mrs` files, so those load without touching single entries. The alternative, a hash table of names, is a
//! little faster per look-up and needs twice to three times the memory. `examples/domain_set_cost.rs` measures it.

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSet {
    trie: Louds,
}

impl DomainSet {
    /// Whether a pattern matches `name`, whatever its case. Names of more than 255 bytes and names that begin with a dot
    /// are in no set.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') {
            return false;
        }
        if name.is_ascii() {
            return self.trie.matches(name.as_bytes());
        }
        // Keys are reversed character by character, so the bytes of each character must stay in order when the trie
        // reads from the end. Never the case for host names that came through `Domain`.
        let mirrored: Vec<u8> = name
            .to_lowercase()
            .chars()
            .flat_map(|c| {
                let mut bytes = [0; 4];
                let len = c.encode_utf8(&mut bytes).len();
                bytes.into_iter().take(len).rev().collect::<Vec<_>>()
            })
            .collect();
        self.trie.matches(&mirrored)
    }

    /// Adopts the three arrays of an `.mrs` domain body.
    ///
    /// # Errors
    /// The arrays contradict each other.
    pub fn from_mrs(leaves: Vec<u64>, bitmap: Vec<u64>, labels: Vec<u8>) -> Result<Self, DamagedTrie> {
        Louds::from_parts(leaves, bitmap, labels).map(|trie| Self { trie })
    }

    /// Bytes of heap that the set occupies.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.trie.heap_bytes()
    }
}

impl Default for DomainSet {
    fn default() -> Self {
        DomainSetBuilder::default().build()
    }
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

/// Names longer than this are in no set; DNS names have 253 bytes at most.
const MAX_NAME: usize = 255;

/// Collects patterns for a [`DomainSet`]. Needs about 40 bytes per pattern until the set is built.
#[derive(Debug, Default)]
pub struct DomainSetBuilder {
    /// All keys, reversed, one after the other.
    arena: Vec<u8>,
    keys: Vec<Key>,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    /// The first bytes of the key, so that most comparisons while sorting stay inside this table.
    head: u64,
    start: u32,
    len: u16,
}

impl DomainSetBuilder {
    /// Adds a pattern. Patterns that cannot match any name (too long, `+` behind the first label) are left out.
    pub fn add(&mut self, pattern: &DomainPattern<'_>) {
        if pattern.name.contains('+') {
            return;
        }
        self.push(pattern.scope, &pattern.name);
    }

    /// Adds a name as it stands: `*` and `+` in it are not special, so such a name matches nothing. `name` is lower case.
    pub fn add_literal(&mut self, scope: Scope, name: &str) {
        if name.contains(['*', '+']) || name.is_empty() {
            return;
        }
        self.push(scope, name);
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Sorts and freezes.
    #[must_use]
    pub fn build(mut self) -> DomainSet {
        let arena = &self.arena;
        self.keys.sort_unstable_by(|a, b| a.head.cmp(&b.head).then_with(|| a.bytes(arena).cmp(b.bytes(arena))));
        let keys = &self.keys;
        DomainSet { trie: Louds::build(keys.len(), |at| keys.get(at).map_or(&[][..], |key| key.bytes(arena))) }
    }

    fn push(&mut self, scope: Scope, name: &str) {
        if name.len() > MAX_NAME {
            return;
        }
        let Ok(start) = u32::try_from(self.arena.len()) else {
            return; // 4 GiB of names: every caller is bounded far below
        };
        if name.is_ascii() {
            self.arena.extend(name.bytes().rev());
        } else {
            self.arena.extend(name.chars().rev().collect::<String>().bytes());
        }
        let apex = self.arena.len();
        if scope != Scope::Exact {
            self.arena.extend_from_slice(if name.is_empty() { b"+" } else { b".+" });
            self.key(start, self.arena.len());
        }
        if scope != Scope::Below && !name.is_empty() {
            self.key(start, apex);
        }
    }

    fn key(&mut self, start: u32, end: usize) {
        let bytes = self.arena.get(start as usize..end).unwrap_or_default();
        let mut head = [0; 8];
        for (to, from) in head.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.keys.push(Key {
            head: u64::from_be_bytes(head),
            start,
            len: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
        });
    }
}

impl Key {
    fn bytes(self, arena: &[u8]) -> &[u8] {
        let start = self.start as usize;
        arena.get(start..start + usize::from(self.len)).unwrap_or_default()
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
        let set = set(&["+.bücher.de", "münchen"]);
        assert!(set.contains("bücher.de") && set.contains("www.BÜCHER.de") && set.contains("münchen"));
        assert!(!set.contains("bucher.de"));
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

    fn pattern() -> impl Strategy<Value = String> {
        let label = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("*")];
        (prop_oneof![Just(""), Just("+."), Just(".")], prop::collection::vec(label, 1..5))
            .prop_map(|(scope, labels)| format!("{scope}{}", labels.join(".")))
    }

    proptest! {
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
                set.contains(&text);
            }
        }
    }
}
