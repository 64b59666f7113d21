//! Keys of a client's Initial packets (RFC 9001 §5.2, RFC 9369 §3.3): no secret, but proof that both sides speak the
//! same version.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey, quic};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Okm, Prk, Salt};

use super::packet::{Initial, Version};

/// What opens the Initial packets of one client.
pub(super) struct Keys {
    header: quic::HeaderProtectionKey,
    packet: LessSafeKey,
    iv: [u8; NONCE_LEN],
}

/// An Initial packet, opened.
pub(super) struct Opened {
    pub(super) number: u64,
    pub(super) frames: Vec<u8>,
}

impl Keys {
    /// The client's keys, from the Destination Connection ID of the first packet it sent.
    pub(super) fn of_client(version: Version, dcid: &[u8]) -> Result<Self, Unspecified> {
        let initial = Salt::new(HKDF_SHA256, version.salt()).extract(dcid);
        let client = expand(&initial, b"client in", HKDF_SHA256, |okm| Ok(Prk::from(okm)))?;
        let labels = version.labels();
        let mut iv = [0; NONCE_LEN];
        expand(&client, labels.iv, IvLength, |okm| okm.fill(&mut iv))?;
        Ok(Self {
            header: expand(&client, labels.header, &quic::AES_128, |okm| Ok(okm.into()))?,
            packet: LessSafeKey::new(expand(&client, labels.packet, &AES_128_GCM, |okm| Ok(UnboundKey::from(okm)))?),
            iv,
        })
    }

    /// Removes both protections of `initial` (RFC 9001 §5.4 and §5.3). `largest` is the largest packet number that was
    /// opened before.
    ///
    /// None if the packet is too short or was not sealed by the client with these keys.
    pub(super) fn open(&self, initial: &Initial<'_>, largest: Option<u64>) -> Option<Opened> {
        let mut packet = initial.bytes.to_vec();
        let (header, protected) = packet.split_at_mut_checked(initial.number_at)?;
        // §5.4.2: the sample begins where the packet number would end if it had four bytes.
        let mask = self.header.new_mask(protected.get(4..4 + self.header.algorithm().sample_len())?).ok()?;
        let (first_mask, number_mask) = mask.split_first()?;
        let first = header.first_mut()?;
        *first ^= first_mask & 0x0f;
        let number_length = usize::from(*first & 0x03) + 1;
        let mut truncated = 0;
        for (byte, mask) in protected.iter_mut().zip(number_mask).take(number_length) {
            *byte ^= mask;
            truncated = truncated << 8 | u64::from(*byte);
        }
        let number = full_number(truncated, 8 * number_length, largest);

        let header_length = initial.number_at.checked_add(number_length)?;
        let (header, sealed) = packet.split_at_mut_checked(header_length)?;
        let plain = self.packet.open_in_place(self.nonce(number), Aad::from(&*header), sealed).ok()?.len();
        packet.truncate(header_length.checked_add(plain)?);
        packet.drain(..header_length);
        Some(Opened { number, frames: packet })
    }

    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, part) in nonce.iter_mut().skip(NONCE_LEN - 8).zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// HKDF-Expand-Label of TLS 1.3 (RFC 8446 §7.1) without a context, to a key or secret of `length`.
fn expand<L: KeyType, T>(
    secret: &Prk,
    label: &[u8],
    length: L,
    make: impl FnOnce(Okm<'_, L>) -> Result<T, Unspecified>,
) -> Result<T, Unspecified> {
    const PREFIX: &[u8] = b"tls13 ";
    let key_length = u16::try_from(length.len()).map_err(|_| Unspecified)?.to_be_bytes();
    let label_length = u8::try_from(PREFIX.len() + label.len()).map_err(|_| Unspecified)?;
    make(secret.expand(&[&key_length, &[label_length], PREFIX, label, &[0]], length)?)
}

/// The packet number whose last `bits` bits are `truncated` and which is closest to the next one expected
/// (RFC 9000 appendix A.3). `bits` is 8 to 32.
fn full_number(truncated: u64, bits: usize, largest: Option<u64>) -> u64 {
    let expected = largest.map_or(0, |largest| largest.saturating_add(1));
    let window = 1 << bits;
    let candidate = (expected & !(window - 1)) | truncated;
    if candidate.saturating_add(window / 2) <= expected && candidate < (1 << 62) - window {
        candidate.saturating_add(window)
    } else if candidate > expected.saturating_add(window / 2) && candidate >= window {
        candidate.saturating_sub(window)
    } else {
        candidate
    }
}

/// Length of the part of the nonce that does not change.
#[derive(Clone, Copy)]
struct IvLength;

impl KeyType for IvLength {
    fn len(&self) -> usize {
        NONCE_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_numbers_are_completed_as_in_rfc_9000_appendix_a3() {
        assert_eq!(full_number(0x9b32, 16, Some(0xa82f_30ea)), 0xa82f_9b32);
        assert_eq!(full_number(7, 8, None), 7);
        assert_eq!(full_number(0xff, 8, None), 0xff);
        assert_eq!(full_number(2, 8, Some(0xfe)), 0x102);
        assert_eq!(full_number(0xfe, 8, Some(0x101)), 0xfe);
        assert_eq!(full_number(0xffff_ffff, 32, Some(u64::MAX)), u64::MAX);
    }
}
