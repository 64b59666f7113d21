//! Reading and writing the presentation language of RFC 8446 §3: big-endian integers and vectors with a length in front.

/// Bytes still to be read. Every read is checked; `None` means that the input ends too early.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| *b)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(|b| u16::from_be_bytes(*b))
    }

    pub(crate) fn u24(&mut self) -> Option<usize> {
        self.array().map(|&[a, b, c]| usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
    }

    /// A vector with a one-byte length.
    pub(crate) fn vec8(&mut self) -> Option<&'a [u8]> {
        let n = self.u8()?;
        self.take(usize::from(n))
    }

    /// A vector with a two-byte length.
    pub(crate) fn vec16(&mut self) -> Option<&'a [u8]> {
        let n = self.u16()?;
        self.take(usize::from(n))
    }

    /// A vector with a three-byte length.
    pub(crate) fn vec24(&mut self) -> Option<&'a [u8]> {
        let n = self.u24()?;
        self.take(n)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// `Some` when everything was read.
    pub(crate) fn end(self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes what `body` writes, with its length in `N` bytes in front.
///
/// INVARIANT: callers write bounded content; a length that does not fit would be cut, which a debug build notices.
pub(crate) fn put_vec<const N: usize>(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; N]);
    body(out);
    let length = out.len() - at - N;
    debug_assert!(N >= 8 || length >> (8 * N) == 0, "a vector too long for its length field");
    let bytes = length.to_be_bytes();
    out[at..at + N].copy_from_slice(&bytes[bytes.len() - N..]);
}

/// Writes a handshake message: type, three-byte length, body.
pub(crate) fn put_message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    put_vec::<3>(out, body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut out = Vec::new();
        put_message(&mut out, 1, |out| {
            put_u16(out, 0x0303);
            put_vec::<2>(out, |out| put_vec::<1>(out, |out| out.extend_from_slice(b"abc")));
        });
        assert_eq!(out, [1, 0, 0, 8, 3, 3, 0, 4, 3, b'a', b'b', b'c']);

        let mut message = Reader::new(&out);
        assert_eq!(message.u8(), Some(1));
        let mut body = Reader::new(message.vec24().unwrap());
        assert_eq!(body.u16(), Some(0x0303));
        assert_eq!(Reader::new(body.vec16().unwrap()).vec8(), Some(&b"abc"[..]));
        assert_eq!(body.end(), Some(()));
        assert_eq!(message.end(), Some(()));
    }

    #[test]
    fn short_input_is_none() {
        assert_eq!(Reader::new(&[]).u8(), None);
        assert_eq!(Reader::new(&[0]).u16(), None);
        assert_eq!(Reader::new(&[0, 0]).u24(), None);
        assert_eq!(Reader::new(&[3, 1, 2]).vec8(), None);
        assert_eq!(Reader::new(&[0, 3, 1, 2]).vec16(), None);
        assert_eq!(Reader::new(&[0, 0, 3, 1, 2]).vec24(), None);
    }
}
