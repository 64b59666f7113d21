//! The server name of a TLS connection: a ClientHello in one or several records (RFC 8446 §5.1).
//!
//! ```text
//!  0      1         3        5
//!  +------+---------+--------+----------------------------------+------+---------+--------+-----
//!  | 0x16 | 3.x     | length | part of the handshake            | 0x16 | 3.x     | length | …
//!  +------+---------+--------+----------------------------------+------+---------+--------+-----
//! ```

use crate::hello::{self, Extent};
use crate::reader::Reader;
use crate::{LIMIT, Verdict};

/// Looks at a stream from its first byte on.
///
/// Hand it everything seen so far, again and again as that grows: until the hello is whole, a call looks at the heads of
/// the records only. Bytes beyond [`LIMIT`] are not looked at; what follows the hello does not matter.
///
/// With Encrypted Client Hello the name is that of the outer hello: the public one of whoever serves the client, not
/// the one it wants. Browsers send such an extension to everybody, mostly without meaning, so it cannot be told.
#[must_use]
pub fn sniff(seen: &[u8]) -> Verdict {
    let (seen, full) = match seen.get(..LIMIT) {
        Some(start) => (start, true),
        None => (seen, false),
    };
    match sniff_within(seen) {
        Verdict::NeedMore if full => Verdict::NotThis,
        verdict => verdict,
    }
}

fn sniff_within(seen: &[u8]) -> Verdict {
    let mut records = Reader::new(seen);
    // The hello's own header may be cut by a record boundary too.
    let mut head = [0; hello::HEADER];
    let mut gathered = 0;
    loop {
        let Some(fragment) = next_fragment(&mut records) else { return Verdict::NotThis };
        for (slot, byte) in head.iter_mut().skip(gathered).zip(fragment.present) {
            *slot = *byte;
        }
        let first = gathered == 0;
        gathered = gathered.saturating_add(fragment.present.len());
        let end = match hello::extent(head.get(..gathered).unwrap_or(&head)) {
            Extent::Refused => return Verdict::NotThis,
            Extent::Known(end) if gathered >= end => end,
            Extent::Known(_) | Extent::Open if !fragment.whole => return Verdict::NeedMore,
            Extent::Known(_) | Extent::Open => continue,
        };
        return match first {
            true => hello::sniff(fragment.present),
            false => hello::sniff(&joined(seen, end)),
        };
    }
}

/// What is there of a record's content.
struct Fragment<'a> {
    present: &'a [u8],
    /// Nothing of the record is missing.
    whole: bool,
}

/// The next record; none if what is there of it cannot be part of a ClientHello.
fn next_fragment<'a>(records: &mut Reader<'a>) -> Option<Fragment<'a>> {
    const OPEN: Fragment<'_> = Fragment { present: &[], whole: false };
    let Some(kind) = records.u8() else { return Some(OPEN) };
    if kind != HANDSHAKE {
        return None;
    }
    let Some(major) = records.u8() else { return Some(OPEN) };
    if major != 3 {
        return None;
    }
    let (Some(_minor), Some(length)) = (records.u8(), records.u16()) else { return Some(OPEN) };
    // §5.1: at most 2^14 bytes, and no handshake record without content.
    if length == 0 || length > 1 << 14 {
        return None;
    }
    Some(match records.take(length.into()) {
        Some(present) => Fragment { present, whole: true },
        None => Fragment { present: records.rest(), whole: false },
    })
}

/// The first `wanted` bytes of the handshake, put together from several records. `wanted` is at most [`LIMIT`].
fn joined(seen: &[u8], wanted: usize) -> Vec<u8> {
    let mut records = Reader::new(seen);
    let mut handshake = Vec::with_capacity(wanted);
    while let Some(missing) = wanted.checked_sub(handshake.len()).filter(|missing| *missing > 0) {
        let Some(Fragment { present, whole }) = next_fragment(&mut records) else { break };
        handshake.extend_from_slice(present.get(..missing).unwrap_or(present));
        if !whole {
            break;
        }
    }
    handshake
}

const HANDSHAKE: u8 = 0x16;

#[cfg(test)]
mod tests {
    use super::*;

    /// F-A16: the rest of a record behind the hello is not copied.
    #[test]
    fn f_a16_no_more_is_joined_than_the_hello() {
        let seen = [&b"\x16\x03\x01\x00\x02ab\x16\x03\x01\x10\x00"[..], &[b'c'; 4096]].concat();
        let handshake = joined(&seen, 5);
        assert_eq!((handshake.as_slice(), handshake.capacity()), (&b"abccc"[..], 5));
        assert_eq!(joined(&seen[..13], 5), b"abc");
    }
}
