//! A succinct trie over byte strings (LOUDS: level-order unary degree sequence), in the layout of `.mrs` files.
//!
//! Nodes are numbered in breadth-first order, the root is 0. For each node in order the bitmap holds one 0-bit per
//! outgoing edge and then a 1-bit; `labels` holds the edge bytes in the same order. So the edge at bitmap position
//! `p` of node `v` has the label number `p - v` and leads to the node of that number plus one, and a node's edges begin
//! after as many 1-bits as its number says. The only thing to look up while walking is "where is the n-th 1-bit".
//!
//! Source: spec page 4.5 (`.mrs` domain body); G. Jacobson, "Space-efficient static trees and graphs" (1989).

use thiserror::Error;

/// The arrays of a trie contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the domain trie is damaged")]
pub struct DamagedTrie;

/// INVARIANT: `bitmap` has one more 1-bit than 0-bits up to its last 1-bit, as many 0-bits as there are labels, and
/// the labels of each node ascend strictly.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Louds {
    leaves: Box<[u64]>,
    bitmap: Box<[u64]>,
    labels: Box<[u8]>,
    /// Bit positions of the 1-bits number 0, `SAMPLE`, 2 × `SAMPLE` …
    samples: Box<[u32]>,
}

const SAMPLE: usize = 64;

/// A match that needs more steps than this is given up as no match. Only a list with tens of thousands of `*` patterns
/// made to collide with one name gets here; it may waste its own entries, not our time (faults page, rule 7).
const MAX_STEPS: u32 = 1 << 16;

impl Louds {
    /// Adopts arrays that came from a file.
    pub(crate) fn from_parts(leaves: Vec<u64>, bitmap: Vec<u64>, labels: Vec<u8>) -> Result<Self, DamagedTrie> {
        let last = bitmap.iter().rposition(|word| *word != 0).ok_or(DamagedTrie)?;
        let top = bitmap.get(last).map_or(0, |word| 64 - word.leading_zeros() as usize);
        let bits = last.checked_mul(64).and_then(|below| below.checked_add(top)).ok_or(DamagedTrie)?;
        let ones: usize = bitmap.iter().map(|word| word.count_ones() as usize).sum();
        if u32::try_from(bits).is_err() || bits - ones != labels.len() || ones != labels.len() + 1 {
            return Err(DamagedTrie);
        }
        let samples = ones_of(&bitmap)
            .step_by(SAMPLE)
            .map(|at| u32::try_from(at).map_err(|_| DamagedTrie))
            .collect::<Result<_, _>>()?;
        let trie = Self { leaves: leaves.into(), bitmap: bitmap.into(), labels: labels.into(), samples };
        if trie.labels_ascend() { Ok(trie) } else { Err(DamagedTrie) }
    }

    /// Builds a trie from keys that are sorted bytewise. Duplicates are allowed. Whatever is below an edge `+` that ends
    /// a key is left out, because [`Louds::matches`] never looks at it.
    pub(crate) fn build<'k>(keys: usize, key: impl Fn(usize) -> &'k [u8]) -> Self {
        let mut leaves = Bits::default();
        let mut bitmap = Bits::default();
        let mut labels = Vec::new();
        let mut level = vec![(0, keys)];
        let mut depth = 0;
        while !level.is_empty() {
            let mut below = Vec::new();
            for (mut from, to) in level {
                let first = from;
                while from < to && key(from).len() == depth {
                    from += 1;
                }
                leaves.push(from > first);
                let edges = below.len();
                let all = labels.len();
                while from < to {
                    let label = key(from)[depth];
                    let end = (from..to).find(|at| key(*at)[depth] != label).unwrap_or(to);
                    if label == b'+' && key(from).len() == depth + 1 {
                        below.truncate(edges);
                        labels.truncate(all);
                        labels.push(label);
                        below.push((from, from + 1));
                        break;
                    }
                    labels.push(label);
                    below.push((from, end));
                    from = end;
                }
                for _ in edges..below.len() {
                    bitmap.push(false);
                }
                bitmap.push(true);
            }
            level = below;
            depth += 1;
        }
        Self::from_parts(leaves.words, bitmap.words, labels).unwrap_or_else(|DamagedTrie| Self::empty())
    }

    /// Whether a key, read as a reversed pattern, matches `name`: `+` swallows the rest, `*` the rest of a label.
    /// The name is read from its end, ASCII letters in lower case.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        let mut steps = MAX_STEPS;
        self.walk(0, name, &mut steps)
    }

    /// Calls `each` with every key that has at most `longest` bytes.
    pub(crate) fn for_each_key(&self, longest: usize, mut each: impl FnMut(&[u8])) {
        let mut key = Vec::new();
        let mut pending = vec![(0, 0, 0)];
        while let Some((node, depth, label)) = pending.pop() {
            key.truncate(usize::saturating_sub(depth, 1));
            if depth > 0 {
                key.push(label);
            }
            if self.is_leaf(node) {
                each(&key);
            }
            if depth < longest
                && let Some((first, edges)) = self.edges(node)
            {
                // A child's number is greater than its parent's in every well-formed trie; the others would be cycles.
                let children = edges.iter().enumerate().map(|(at, label)| (first + at + 1, depth + 1, *label));
                pending.extend(children.filter(|(child, ..)| *child > node));
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (Vec<u64>, Vec<u64>, Vec<u8>) {
        (self.leaves.into(), self.bitmap.into(), self.labels.into())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        (self.leaves.len() + self.bitmap.len()) * 8 + self.labels.len() + self.samples.len() * 4
    }

    /// Recursion is as deep as there are `*` on the path that also have a literal alternative: at most one per byte of
    /// `left`, which callers keep under 256.
    fn walk(&self, mut node: usize, mut left: &[u8], steps: &mut u32) -> bool {
        while let Some((byte, rest)) = left.split_last() {
            *steps = steps.saturating_sub(1);
            let Some((first, edges)) = self.edges(node).filter(|_| *steps > 0) else {
                return false;
            };
            let mut star = None;
            for (at, label) in edges.iter().enumerate() {
                match *label {
                    b'+' => return true,
                    b'*' => star = Some(first + at + 1),
                    label if label > b'+' => break,
                    _ => {}
                }
            }
            let literal = edges.binary_search(&byte.to_ascii_lowercase()).ok().map(|at| first + at + 1);
            (node, left) = match (literal, star) {
                (None, None) => return false,
                (Some(child), None) => (child, rest),
                (literal, Some(star)) => {
                    if literal.is_some_and(|child| self.walk(child, rest, steps)) {
                        return true;
                    }
                    let end = left.iter().rposition(|b| *b == b'.').map_or(0, |dot| dot + 1);
                    (star, left.get(..end).unwrap_or_default())
                }
            };
        }
        self.is_leaf(node)
    }

    fn is_leaf(&self, node: usize) -> bool {
        self.leaves.get(node / 64).is_some_and(|word| word >> (node % 64) & 1 == 1)
    }

    /// The number of the first edge of `node`, and the labels of all its edges.
    fn edges(&self, node: usize) -> Option<(usize, &[u8])> {
        let start = match node.checked_sub(1) {
            Some(before) => self.select(before)? + 1,
            None => 0,
        };
        let first = start.checked_sub(node)?;
        let mut at = start / 64;
        let mut word = self.bitmap.get(at)? & (u64::MAX << (start % 64));
        while word == 0 {
            at += 1;
            word = *self.bitmap.get(at)?;
        }
        let end = at * 64 + word.trailing_zeros() as usize;
        Some((first, self.labels.get(first..end.checked_sub(node)?)?))
    }

    /// Position of the 1-bit number `n`, counted from 0.
    fn select(&self, n: usize) -> Option<usize> {
        let sample = *self.samples.get(n / SAMPLE)? as usize;
        let mut left = (n % SAMPLE) as u64;
        let mut at = sample / 64;
        let mut word = self.bitmap.get(at)? & (u64::MAX << (sample % 64));
        loop {
            let sums = byte_sums(word);
            let ones = sums >> 56;
            if left < ones {
                return Some(at * 64 + select_in_word(word, sums, left));
            }
            left -= ones;
            at += 1;
            word = *self.bitmap.get(at)?;
        }
    }

    fn labels_ascend(&self) -> bool {
        let mut from = 0;
        ones_of(&self.bitmap).enumerate().all(|(node, at)| {
            let to = at - node;
            let ascending = self
                .labels
                .get(from..to)
                .is_some_and(|labels| labels.windows(2).all(|pair| matches!(pair, [a, b] if a < b)));
            from = to;
            ascending
        })
    }

    fn empty() -> Self {
        Self { leaves: Box::default(), bitmap: Box::new([1]), labels: Box::default(), samples: Box::new([0]) }
    }
}

/// Positions of all 1-bits, ascending.
fn ones_of(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(at, word)| {
        let mut left = *word;
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(at * 64 + bit)
        })
    })
}

/// Byte `i` of the result is the number of 1-bits in bytes 0 to `i`.
fn byte_sums(word: u64) -> u64 {
    let pairs = word - (word >> 1 & 0x5555_5555_5555_5555);
    let nibbles = (pairs & 0x3333_3333_3333_3333) + (pairs >> 2 & 0x3333_3333_3333_3333);
    let bytes = (nibbles + (nibbles >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    bytes.wrapping_mul(0x0101_0101_0101_0101)
}

/// Position of the 1-bit number `n` in a word that has more than `n` of them.
fn select_in_word(word: u64, sums: u64, n: u64) -> usize {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The high bit of byte i stays set where n >= sums of byte i, that is, where the wanted bit lies further up.
    let before = (((((n * ONES) | HIGH) - sums) & HIGH) >> 7).wrapping_mul(ONES) >> 56;
    let shift = (before * 8) as u32 & 63;
    let mut left = n - ((sums << 8) >> shift & 0xff);
    let mut byte = word >> shift;
    while left > 0 {
        byte &= byte.wrapping_sub(1);
        left -= 1;
    }
    shift as usize + byte.trailing_zeros() as usize
}

#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut() {
            *word |= u64::from(bit) << (self.len % 64);
        }
        self.len += 1;
    }
}

impl std::fmt::Debug for Louds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Louds").field("labels", &self.labels.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn build(keys: &[&str]) -> Louds {
        let mut keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        keys.sort_unstable();
        Louds::build(keys.len(), |at| keys[at])
    }

    /// Spec page 4.5, first test vector: `+.cn` and `a.net`.
    #[test]
    fn the_published_vector_comes_out_bit_for_bit() {
        let trie = build(&["nc", "nc.+", "ten.a"]);
        assert_eq!(&*trie.leaves, [0x288]);
        assert_eq!(&*trie.bitmap, [0x6d554]);
        assert_eq!(&*trie.labels, b"ntce.n+.a");
        let read = Louds::from_parts(vec![0x288], vec![0x6d554], b"ntce.n+.a".to_vec()).unwrap();
        assert_eq!(read, trie);
        for yes in ["cn", "x.cn", "x.y.cn", "a.net", "A.NET"] {
            assert!(trie.matches(yes.as_bytes()), "{yes}");
        }
        for no in ["", "n", "xcn", "net", "b.net", "x.a.net", ".net"] {
            assert!(!trie.matches(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn nothing_matches_the_empty_trie() {
        let trie = build(&[]);
        assert!(!trie.matches(b"") && !trie.matches(b"a"));
    }

    #[test]
    fn what_plus_covers_is_left_out() {
        assert_eq!(build(&["a.+", "a.b", "a.*", "a.+x"]).labels.len(), build(&["a.+"]).labels.len());
    }

    #[test]
    fn keys_come_back_out() {
        let keys = ["nc", "nc.+", "ten.a", "a", "abc"];
        let mut found = Vec::new();
        build(&keys).for_each_key(4, |key| found.push(String::from_utf8(key.to_vec()).unwrap()));
        found.sort_unstable();
        assert_eq!(found, ["a", "abc", "nc", "nc.+"], "all but the one that is too long");
    }

    #[test]
    fn selecting_in_a_word() {
        for word in [1, 0x8000_0000_0000_0000, u64::MAX, 0x6d554, 0xaaaa_5555_0f0f_8001] {
            for (n, at) in ones_of(&[word]).enumerate() {
                assert_eq!(select_in_word(word, byte_sums(word), n as u64), at);
            }
        }
    }

    #[test]
    fn contradicting_arrays_are_refused() {
        let from = |leaves: &[u64], bitmap: &[u64], labels: &[u8]| {
            Louds::from_parts(leaves.to_vec(), bitmap.to_vec(), labels.to_vec())
        };
        assert!(from(&[], &[], b"").is_err());
        assert!(from(&[0], &[0], b"").is_err());
        assert!(from(&[0x288], &[0x6d554], b"ntce.n+.").is_err(), "a label too few");
        assert!(from(&[0x288], &[0x6d554, 1], b"ntce.n+.a").is_err(), "a node too many");
        assert!(from(&[0x288], &[0x6d554], b"tnce.n+.a").is_err(), "unsorted");
        let without_leaves = from(&[], &[0x6d554], b"ntce.n+.a").unwrap();
        assert!(!without_leaves.matches(b"a.net"));
    }

    proptest! {
        #[test]
        fn random_arrays_never_panic(
            leaves in prop::collection::vec(any::<u64>(), 0..3),
            bitmap in prop::collection::vec(any::<u64>(), 0..3),
            fill in any::<u8>(),
            name in "[a-z.*+]{0,20}",
        ) {
            let ones: usize = bitmap.iter().map(|word| word.count_ones() as usize).sum();
            let labels = (0..ones.saturating_sub(1)).map(|at| (at as u8).wrapping_add(fill)).collect();
            if let Ok(trie) = Louds::from_parts(leaves, bitmap, labels) {
                trie.matches(name.as_bytes());
            }
        }

        #[test]
        fn plain_keys_are_found_exactly(
            keys in prop::collection::btree_set("[a-c.]{1,6}", 0..60),
            probes in prop::collection::vec("[a-c.]{0,7}", 0..60),
        ) {
            let reversed: Vec<String> = keys.iter().map(|key| key.chars().rev().collect()).collect();
            let trie = build(&reversed.iter().map(String::as_str).collect::<Vec<_>>());
            for probe in probes.iter().chain(&keys) {
                prop_assert_eq!(trie.matches(probe.as_bytes()), keys.contains(probe), "{}", probe);
            }
        }
    }
}
