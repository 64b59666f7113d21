//! Sequence numbers, which wrap, and offsets, which do not.
//!
//! On the wire a byte is known by its [`Seq`], modulo 2³² (RFC 9293 §3.4). Inside, it is known by its offset from the
//! SYN, as a `u64`: the SYN is at 0, the first byte of data at 1, the FIN behind the last. Offsets are ordered and can be
//! keys. Only here one is made of the other.

/// A sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seq(u32);

impl Seq {
    /// The number as it is on the wire.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number as it is on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The number of what lies `offset` behind this.
    pub(crate) const fn at(self, offset: u64) -> Self {
        // Only the low 32 bits count.
        Self(self.0.wrapping_add(offset as u32))
    }

    /// The offset, counted from the SYN `self`, that `number` means if it is less than 2³¹ away from offset `near`.
    /// `None` if that lies before the SYN.
    pub(crate) const fn offset(self, number: Self, near: u64) -> Option<u64> {
        let distance = number.0.wrapping_sub(self.at(near).0).cast_signed();
        near.checked_add_signed(distance as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_survive_the_wrap() {
        let first = Seq::new(0xffff_fff0);
        for near in [0, 0x20, 0xffff_fff0, 0x1_0000_0010, 0x7_1234_5678] {
            for distance in [-16i64, -1, 0, 1, 100_000] {
                let offset = near as i64 + distance;
                let number = Seq::new(0xffff_fff0u32.wrapping_add(offset as u32));
                assert_eq!(first.offset(number, near), u64::try_from(offset).ok());
            }
        }
    }
}
