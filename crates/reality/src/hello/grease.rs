//! GREASE (RFC 8701): values that mean nothing, sent so that servers stay tolerant.

use crate::random::{self, Random};

/// Stands in the tables for "a value of the browser's own choice".
pub(crate) const GREASE: u16 = 0x0a0a;

/// The values of one hello: independent, but for the group that is the same in supported_groups and key_share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grease {
    pub(super) cipher: u16,
    pub(super) group: u16,
    pub(super) version: u16,
    pub(super) signature: u16,
    /// Never equal.
    pub(super) extensions: [u16; 2],
}

impl Grease {
    pub(super) fn draw(random: &mut dyn Random) -> Self {
        let [cipher, group, first, second, version, signature] = random::bytes::<6>(random).map(|r| {
            let byte = u16::from(r & 0xf0 | 0x0a);
            byte << 8 | byte
        });
        let second = if first == second { second ^ 0x1010 } else { second };
        Self { cipher, group, version, signature, extensions: [first, second] }
    }
}
