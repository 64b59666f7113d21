//! A set of offsets as ranges, merged where they touch.

use std::collections::BTreeMap;
use std::ops::Range;

/// Everything costs O(log n) in the number of ranges, and holds no memory when empty.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// INVARIANT: start → end, not empty, neither overlapping nor touching.
    map: BTreeMap<u64, u64>,
}

impl Ranges {
    pub(crate) const fn new() -> Self {
        Self { map: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn clear(&mut self) {
        self.map.clear();
    }

    /// Where the last range ends.
    pub(crate) fn end(&self) -> Option<u64> {
        self.map.last_key_value().map(|(_, &end)| end)
    }

    /// The range that holds `point`.
    pub(crate) fn around(&self, point: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.map.range(..=point).next_back()?;
        (point < end).then_some(start..end)
    }

    /// The first part of `range` that is not in the set.
    pub(crate) fn gap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let start = self.around(range.start).map_or(range.start, |known| known.end);
        let end = self.map.range(start..).next().map_or(range.end, |(&next, _)| next.min(range.end));
        (start < end).then_some(start..end)
    }

    pub(crate) fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        while let Some((&first, &last)) = self.map.range(..=end).next_back().filter(|&(_, &last)| last >= start) {
            self.map.remove(&first);
            start = start.min(first);
            end = end.max(last);
        }
        self.map.insert(start, end);
    }

    /// Takes out everything below `offset`.
    pub(crate) fn remove_below(&mut self, offset: u64) {
        while let Some(first) = self.map.first_entry().filter(|first| *first.key() < offset) {
            let end = first.remove();
            if end > offset {
                self.map.insert(offset, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_set_of_numbers() {
        use rand::{Rng as _, SeedableRng as _};
        let mut random = rand::rngs::SmallRng::seed_from_u64(7);
        for _ in 0..200 {
            let mut ranges = Ranges::default();
            let mut model = [false; 64];
            for _ in 0..40 {
                let start = random.random_range(0..64u64);
                let end = random.random_range(start..=64);
                if random.random_ratio(1, 8) {
                    ranges.remove_below(start);
                    model[..start as usize].fill(false);
                } else {
                    ranges.insert(start..end);
                    model[start as usize..end as usize].fill(true);
                }
                for point in 0..64u64 {
                    assert_eq!(ranges.around(point).is_some(), model[point as usize]);
                }
                let expected = (start..end).find(|&at| !model[at as usize]);
                assert_eq!(ranges.gap(start..end).map(|gap| gap.start), expected);
                let runs = (0..64).filter(|&at| model[at] && (at == 0 || !model[at - 1])).count();
                assert_eq!(ranges.len(), runs);
            }
        }
    }
}
