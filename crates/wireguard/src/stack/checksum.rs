//! The checksums of TCP and UDP (RFC 1071): whether one is right, and filling one in.

use std::net::IpAddr;

use smoltcp::wire::IpProtocol;
use smoltcp::wire::checksum::{combine, pseudo_header};

/// The sum of 16-bit words in network order, without the final complement.
///
/// Adds native words of four bytes into eight-byte sums and turns the bytes round once at the end (RFC 1071 §2.B): the
/// compiler makes vector instructions of it, and nothing overflows below 16 GiB.
pub(crate) fn sum(data: &[u8]) -> u16 {
    let (words, rest) = data.as_chunks::<4>();
    let mut total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total += u64::from(u32::from_ne_bytes(last));
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    // The loop left 16 bits.
    u16::to_be(total as u16)
}

/// The sum over the pseudo-header and `payload`: 0xffff if the checksum inside is right.
pub(crate) fn with_pseudo_header(from: IpAddr, to: IpAddr, protocol: IpProtocol, payload: &[u8]) -> u16 {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    combine(&[pseudo_header(&from.into(), &to.into(), protocol, len), sum(payload)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_that_smoltcp_computes() {
        let data: Vec<u8> = (0..1500u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in (0..70).chain([1499, 1500]) {
            assert_eq!(sum(&data[..len]), smoltcp::wire::checksum::data(&data[..len]), "{len}");
        }
        assert_eq!(sum(&[0xff; 65_535]), smoltcp::wire::checksum::data(&[0xff; 65_535]));
    }
}
