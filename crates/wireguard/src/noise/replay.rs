//! Which counters were seen: a sliding window (RFC 6479).

/// Remembers the last [`Window::SIZE`] counters.
#[derive(Clone)]
pub(crate) struct Window {
    /// One more than the highest counter seen.
    next: u64,
    bitmap: [u64; Self::WORDS],
}

impl Window {
    const WORDS: usize = 256;
    /// How far back a counter may lie: one word less than there are, because the newest is only partly used. Linux has room
    /// for 8,192 bits; faults F-G2 wants a window of no less.
    pub(crate) const SIZE: u64 = (Self::WORDS as u64 - 1) * 64;

    pub(crate) fn new() -> Self {
        Self { next: 0, bitmap: [0; Self::WORDS] }
    }

    /// Whether `counter` is new. Cheap, so it comes before decryption.
    pub(crate) fn accepts(&self, counter: u64) -> bool {
        if counter >= self.next {
            return true;
        }
        self.next - counter <= Self::SIZE && self.word(counter) & Self::bit(counter) == 0
    }

    /// Marks `counter`, which was authentic; false if it is not new.
    pub(crate) fn mark(&mut self, counter: u64) -> bool {
        if !self.accepts(counter) {
            return false;
        }
        if counter >= self.next {
            self.advance(counter);
        }
        let word = Self::index(counter);
        if let Some(word) = self.bitmap.get_mut(word) {
            *word |= Self::bit(counter);
        }
        true
    }

    /// Forgets the words that `counter` moves into the window.
    fn advance(&mut self, counter: u64) {
        let first = if self.next == 0 { 0 } else { (self.next - 1) / 64 + 1 };
        let last = counter / 64;
        let fresh = last.saturating_sub(first).saturating_add(1).min(Self::WORDS as u64);
        if first <= last {
            for word in (0..fresh).map(|back| Self::index((last - back) * 64)) {
                if let Some(word) = self.bitmap.get_mut(word) {
                    *word = 0;
                }
            }
        }
        self.next = counter.saturating_add(1);
    }

    fn word(&self, counter: u64) -> u64 {
        self.bitmap.get(Self::index(counter)).copied().unwrap_or(u64::MAX)
    }

    fn index(counter: u64) -> usize {
        (counter / 64 % Self::WORDS as u64) as usize
    }

    fn bit(counter: u64) -> u64 {
        1 << (counter % 64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn f_g2_the_window_is_wide_enough() {
        const { assert!(Window::SIZE >= 8192) };
        let mut window = Window::new();
        assert!(window.mark(Window::SIZE));
        assert!(window.mark(1) && !window.mark(1));
        assert!(!window.mark(0), "one beyond the window");
    }

    proptest! {
        #[test]
        fn f_g2_agrees_with_a_list_of_all_counters(steps in prop::collection::vec((0u64..40_000, any::<bool>()), 1..400)) {
            let mut window = Window::new();
            let mut seen = HashSet::new();
            let mut next = 0u64;
            for (step, forward) in steps {
                let counter = if forward { next + step % 300 } else { next.saturating_sub(step) };
                let fresh = (counter >= next || next - counter <= Window::SIZE) && !seen.contains(&counter);
                prop_assert_eq!(window.accepts(counter), fresh);
                prop_assert_eq!(window.mark(counter), fresh);
                if fresh {
                    seen.insert(counter);
                    next = next.max(counter + 1);
                }
            }
        }
    }
}
