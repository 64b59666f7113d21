//! The frames of Initial packets (RFC 9000 §12.4), and the handshake data that their CRYPTO frames carry in any order.

use crate::reader::Reader;
use crate::{LIMIT, Verdict, hello};

/// The handshake data of one client, put together from the payloads of its Initial packets.
///
/// Browsers cut their hello into many small frames and shuffle these across packets, so nothing is assumed about their
/// order. Holds at most [`LIMIT`] bytes of data, and one flag for each.
#[derive(Debug, Default)]
pub struct CryptoStream {
    data: Vec<u8>,
    /// INVARIANT: as long as `data`; tells which of its bytes have arrived.
    arrived: Vec<bool>,
    /// INVARIANT: how many bytes have arrived without a gap from the first on.
    contiguous: usize,
}

impl CryptoStream {
    /// Nothing has arrived.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads all frames of one decrypted Initial payload, and says what the data so far amounts to.
    ///
    /// [`Verdict::NotThis`] stands for a damaged frame, one that Initial packets do not carry, data beyond [`LIMIT`], and data
    /// that contradicts what came before; reading on makes no sense then.
    pub fn read(&mut self, payload: &[u8]) -> Verdict {
        let mut frames = Reader::new(payload);
        while !frames.is_empty() {
            if self.frame(&mut frames).is_none() {
                return Verdict::NotThis;
            }
        }
        hello::sniff(self.data.get(..self.contiguous).unwrap_or_default())
    }

    /// RFC 9000 §17.2.2: PADDING, PING, ACK, CRYPTO; a CONNECTION_CLOSE ends the wait like everything else.
    fn frame(&mut self, frames: &mut Reader<'_>) -> Option<()> {
        match frames.varint()? {
            PADDING | PING => Some(()),
            ACK => skip_ack(frames),
            ACK_ECN => {
                skip_ack(frames)?;
                (0..3).try_for_each(|_count| frames.varint().map(drop))
            }
            CRYPTO => {
                let offset = usize::try_from(frames.varint()?).ok()?;
                self.insert(offset, frames.varint_prefixed()?)
            }
            _ => None,
        }
    }

    /// Stores `bytes` at `offset`; none if they end beyond the limit or differ from what is there.
    fn insert(&mut self, offset: usize, bytes: &[u8]) -> Option<()> {
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= LIMIT)?;
        if end > self.data.len() {
            // Doubles, and ends at the limit: a vector left to itself may grow beyond.
            let more = end.next_power_of_two().saturating_sub(self.data.len());
            self.data.reserve_exact(more);
            self.data.resize(end, 0);
            self.arrived.reserve_exact(more);
            self.arrived.resize(end, false);
        }
        let stored = self.data.get_mut(offset..end)?.iter_mut();
        for ((slot, arrived), byte) in stored.zip(self.arrived.get_mut(offset..end)?).zip(bytes) {
            if *arrived && slot != byte {
                return None;
            }
            *slot = *byte;
            *arrived = true;
        }
        let behind = self.arrived.get(self.contiguous..)?;
        self.contiguous = self.contiguous.checked_add(behind.iter().take_while(|arrived| **arrived).count())?;
        Some(())
    }
}

/// RFC 9000 §19.3. Every range takes bytes, so their count needs no bound of its own.
fn skip_ack(frames: &mut Reader<'_>) -> Option<()> {
    let (_largest, _delay) = (frames.varint()?, frames.varint()?);
    let ranges = frames.varint()?;
    let _first = frames.varint()?;
    for _ in 0..ranges {
        let (_gap, _length) = (frames.varint()?, frames.varint()?);
    }
    Some(())
}

// The sizes it grows to.
const _: () = assert!(LIMIT.is_power_of_two());

const PADDING: u64 = 0x00;
const PING: u64 = 0x01;
const ACK: u64 = 0x02;
const ACK_ECN: u64 = 0x03;
const CRYPTO: u64 = 0x06;

#[cfg(test)]
mod tests {
    use super::*;

    /// F-A16: no allocation larger than 16 KiB, whatever the order that data comes in.
    #[test]
    fn f_a16_memory_ends_at_the_limit() {
        let mut stream = CryptoStream::new();
        for offset in (0..LIMIT).step_by(97).chain([LIMIT - 1]) {
            assert_eq!(stream.insert(offset, b"x"), Some(()));
            assert!(stream.data.capacity() <= LIMIT && stream.arrived.capacity() <= LIMIT);
        }
        assert_eq!(stream.insert(LIMIT, b""), Some(()));
        assert_eq!(stream.insert(LIMIT, b"x"), None);
        assert_eq!(stream.insert(usize::MAX, b"x"), None);
        assert_eq!((stream.data.capacity(), stream.arrived.capacity()), (LIMIT, LIMIT));
    }
}
