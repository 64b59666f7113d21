//! Taking choices off the front of the fuzzer's bytes.

use std::fmt::Debug;

/// The bytes that are left. When there are none, every choice is 0.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// At most `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// At most as many bytes as the next one says.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = self.byte();
        self.take(len.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where to cut `input`: two places that `seed` chooses.
pub(crate) fn cuts(seed: u16, input: &[u8]) -> [usize; 2] {
    let places = input.len() + 1;
    let [high, low] = seed.to_be_bytes();
    let (a, b) = (usize::from(seed) % places, (usize::from(high) * 7 + usize::from(low) * 31) % places);
    [a.min(b), a.max(b)]
}

/// Checks a reader of messages that arrive bit by bit: it takes no more than there is, looks at nothing behind the
/// message, and of a prefix says only what it will say of the whole.
pub(crate) fn whole_or_nothing<T: PartialEq + Debug, E: PartialEq + Debug>(
    seed: u16,
    input: &[u8],
    read: impl Fn(&[u8]) -> Result<Option<(T, usize)>, E>,
) -> Option<(T, usize)> {
    let whole = read(input);
    if let Ok(Some((_, length))) = &whole {
        assert!(*length <= input.len(), "took {length} of {}", input.len());
        assert_eq!(read(&input[..*length]), whole, "what follows the message matters");
    }
    for cut in cuts(seed, input) {
        match (read(&input[..cut]), &whole) {
            (Ok(None), Ok(Some((_, length)))) => assert!(cut < *length, "not seen to be whole"),
            (Ok(None), _) => {}
            (said, whole) => assert_eq!(&said, whole, "cut at {cut}"),
        }
    }
    whole.ok().flatten()
}
