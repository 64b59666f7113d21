//! The compiled binary format.
//!
//! ```text
//! one Zstandard frame of:   (all numbers big-endian)
//!  0        4          5           13            21       21+e
//!  +--------+----------+-----------+-------------+--------+------
//!  | M R S 1| behavior | count (8) | e (8)       | extra  | body
//!  +--------+----------+-----------+-------------+--------+------
//! ipcidr body:  1, n (8), n × { first address (16), last address (16) }
//! domain body:  1, n (8), n × leaves (8), n (8), n × bitmap (8), n (8), n × label (1)
//! ```
//! Source: spec page 4.5.

use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr};

use ruzstd::decoding::StreamingDecoder;

use super::{Behavior, Content, MAX_BYTES, MAX_ENTRIES, ProviderError, RuleSet};
use crate::domain::DomainSet;
use crate::ip_set::{IpSet, IpSetBuilder};

pub(super) fn parse(bytes: &[u8], behavior: Behavior) -> Result<RuleSet, ProviderError> {
    if behavior == Behavior::Classical {
        return Err(ProviderError::ClassicalMrs);
    }
    let plain = decompressed(bytes)?;
    let mut file = Cursor(&plain);
    if file.take(4) != Ok(b"MRS\x01") {
        return Err(ProviderError::Magic);
    }
    let expected = match behavior {
        Behavior::Domain => 0,
        _ => 1,
    };
    if file.byte()? != expected {
        return Err(ProviderError::WrongBehavior);
    }
    let count = usize::try_from(file.number()?).map_err(|_| ProviderError::Length)?;
    let extra = usize::try_from(file.number()?).map_err(|_| ProviderError::Length)?;
    file.take(extra)?;
    if file.byte()? != 1 {
        return Err(ProviderError::Version);
    }
    let content = match behavior {
        Behavior::Domain => Content::Domain(domains(&mut file)?),
        _ => Content::IpCidr(addresses(&mut file)?),
    };
    Ok(RuleSet { count, content })
}

/// F-D2: a bomb is cut at the limit, and no buffer is taken because a header asks for it.
fn decompressed(bytes: &[u8]) -> Result<Vec<u8>, ProviderError> {
    let frame = StreamingDecoder::new_with_max_window_size(bytes, MAX_BYTES as u64)
        .map_err(|error| ProviderError::Compression(error.to_string()))?;
    let mut plain = Vec::new();
    frame
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| ProviderError::Compression(error.to_string()))?;
    if plain.len() > MAX_BYTES {
        return Err(ProviderError::TooLarge);
    }
    Ok(plain)
}

fn domains(file: &mut Cursor<'_>) -> Result<DomainSet, ProviderError> {
    let leaves = file.words()?;
    // A source entry has two keys at most. F-D2: the entries of a hostile trie are never unpacked.
    let keys: usize = leaves.iter().map(|word| word.count_ones() as usize).sum();
    if keys > 2 * MAX_ENTRIES {
        return Err(ProviderError::TooMany);
    }
    let bitmap = file.words()?;
    let labels = file.array(1)?.to_vec();
    Ok(DomainSet::from_mrs(leaves, bitmap, labels)?)
}

fn addresses(file: &mut Cursor<'_>) -> Result<IpSet, ProviderError> {
    let mut builder = IpSetBuilder::default();
    let (pairs, _) = file.array(32)?.as_chunks::<32>();
    for pair in pairs {
        let (first, last) = pair.split_at(16);
        builder.add_range(address(first)?, address(last)?);
    }
    Ok(builder.build())
}

fn address(bytes: &[u8]) -> Result<IpAddr, ProviderError> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| ProviderError::Length)?;
    Ok(Ipv6Addr::from(bytes).into())
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], ProviderError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(ProviderError::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ProviderError> {
        self.take(1)?.first().copied().ok_or(ProviderError::Length)
    }

    fn number(&mut self) -> Result<i64, ProviderError> {
        let bytes = self.take(8)?.try_into().map_err(|_| ProviderError::Length)?;
        Ok(i64::from_be_bytes(bytes))
    }

    /// A count of at least 1, and so many items of `size` bytes.
    fn array(&mut self, size: usize) -> Result<&'a [u8], ProviderError> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count > 0);
        let len = count.and_then(|count| count.checked_mul(size)).ok_or(ProviderError::Length)?;
        self.take(len)
    }

    fn words(&mut self) -> Result<Vec<u64>, ProviderError> {
        let (words, _) = self.array(8)?.as_chunks::<8>();
        Ok(words.iter().map(|word| u64::from_be_bytes(*word)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn frame(plain: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
    }

    /// Spec page 4.5, test vectors.
    fn domain_vector() -> Vec<u8> {
        hex("4d525301 00 0000000000000002 0000000000000000 01 0000000000000001 0000000000000288
             0000000000000001 000000000006d554 0000000000000009 6e7463652e6e2b2e61")
    }

    fn address_vector() -> Vec<u8> {
        hex("4d525301 01 0000000000000004 0000000000000000 01 0000000000000003
             00000000000000000000ffff0a000000 00000000000000000000ffff0affffff
             00000000000000000000ffffc0a80000 00000000000000000000ffffc0a8ffff
             20010db8000000000000000000000000 20010db8ffffffffffffffffffffffff")
    }

    #[test]
    fn the_domain_vector() {
        assert_eq!(domain_vector().len(), 71);
        let set = parse(&frame(&domain_vector()), Behavior::Domain).unwrap();
        assert_eq!(set.rule_count(), 2);
        let Content::Domain(found) = &set.content else { panic!() };
        let plain: DomainSet =
            ["+.cn", "a.net"].map(|text| crate::DomainPattern::parse(text).unwrap()).into_iter().collect();
        assert_eq!(*found, plain, "the same arrays as building the set from its source");
    }

    #[test]
    fn the_address_vector() {
        let set = parse(&frame(&address_vector()), Behavior::IpCidr).unwrap();
        assert_eq!(set.rule_count(), 4);
        let Content::IpCidr(found) = &set.content else { panic!() };
        let plain: IpSet = ["10.0.0.0/8", "2001:db8::/32", "192.168.0.0/17", "192.168.128.0/17"]
            .map(|text| crate::parse_prefix(text).unwrap())
            .into_iter()
            .collect();
        assert_eq!(*found, plain);
        assert_eq!(found.range_count(), 3);
    }

    #[test]
    fn wrong_headers_are_named() {
        let with = |at: usize, value: u8| {
            let mut plain = domain_vector();
            plain[at] = value;
            parse(&frame(&plain), Behavior::Domain).unwrap_err()
        };
        assert_eq!(with(3, 2), ProviderError::Magic);
        assert_eq!(with(4, 1), ProviderError::WrongBehavior);
        assert_eq!(with(5, 0x80), ProviderError::Length, "negative count");
        assert_eq!(with(13, 0xff), ProviderError::Length, "negative extra length");
        assert_eq!(with(20, 255), ProviderError::Length, "extra data beyond the end");
        assert_eq!(with(21, 2), ProviderError::Version);
        assert_eq!(with(29, 0), ProviderError::Length, "no leaves");
        assert_eq!(with(22, 0x7f), ProviderError::Length, "a count that no memory could hold");
        let mut unsorted = domain_vector();
        unsorted.swap(62, 63);
        assert!(matches!(parse(&frame(&unsorted), Behavior::Domain), Err(ProviderError::Trie(_))));
        assert_eq!(parse(&frame(&domain_vector()), Behavior::Classical).unwrap_err(), ProviderError::ClassicalMrs);
        assert!(matches!(parse(b"payload:\n", Behavior::Domain), Err(ProviderError::Compression(_))));
        assert!(matches!(parse(b"", Behavior::Domain), Err(ProviderError::Compression(_))));
    }

    /// F-D2: run-length blocks of 128 KiB from four bytes each, a gigabyte in all.
    #[test]
    fn bombs_are_cut_at_the_limit() {
        let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        for at in 0..8192_u32 {
            let header = 128 << 10 << 3 | 1 << 1 | u32::from(at == 8191);
            bomb.extend(&header.to_le_bytes()[..3]);
            bomb.push(0);
        }
        let before = std::time::Instant::now();
        assert_eq!(parse(&bomb, Behavior::Domain).unwrap_err(), ProviderError::TooLarge);
        assert!(before.elapsed() < std::time::Duration::from_secs(5));
    }

    /// F-D2: more leaves than any list has entries.
    #[test]
    fn a_trie_that_is_all_leaves_is_refused() {
        let words = 100_000_u64;
        let mut plain = domain_vector()[..22].to_vec();
        plain.extend(words.to_be_bytes());
        plain.extend(vec![0xff; 8 * words as usize]);
        assert_eq!(parse(&frame(&plain), Behavior::Domain).unwrap_err(), ProviderError::TooMany);
    }

    #[test]
    fn cut_at_every_byte() {
        for (plain, behavior) in [(domain_vector(), Behavior::Domain), (address_vector(), Behavior::IpCidr)] {
            for cut in 0..plain.len() {
                assert!(parse(&frame(&plain[..cut]), behavior).is_err(), "plain cut at {cut}");
            }
            let whole = frame(&plain);
            for cut in 0..whole.len() {
                assert!(parse(&whole[..cut], behavior).is_err(), "frame cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn flipped_bytes_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
            for (plain, behavior) in [(domain_vector(), Behavior::Domain), (address_vector(), Behavior::IpCidr)] {
                let mut damaged = plain.clone();
                let mut compressed = frame(&plain);
                for (at, value) in &flips {
                    let in_plain = at.index(damaged.len());
                    damaged[in_plain] = *value;
                    let in_frame = at.index(compressed.len());
                    compressed[in_frame] = *value;
                }
                for bytes in [frame(&damaged), compressed] {
                    if let Ok(set) = parse(&bytes, behavior) {
                        let _ = match &set.content {
                            Content::Domain(set) => set.contains("x.y.cn"),
                            Content::IpCidr(set) => set.contains([10, 0, 0, 1].into()),
                            Content::Classical(_) => false,
                        };
                    }
                }
            }
        }
    }
}
