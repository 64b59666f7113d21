//! Content that both ends know without telling each other.

use std::sync::OnceLock;

/// One period of the content. A prime, so that no buffer size divides it and a shifted copy never matches.
const PERIOD: usize = 1_048_573;

fn period() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        // Two periods in a row, so that any slice of up to PERIOD bytes is contiguous.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes: Vec<u8> = Vec::with_capacity(2 * PERIOD);
        while bytes.len() < PERIOD {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(PERIOD);
        bytes.extend_from_within(..);
        bytes
    })
}

/// The content from `offset` on: at least one byte, at most `max` and at most 1 MiB of it.
#[must_use]
pub fn content(offset: u64, max: usize) -> &'static [u8] {
    let start = (offset % PERIOD as u64) as usize;
    &period()[start..start + max.clamp(1, PERIOD)]
}

/// Whether `bytes` is the content from `offset` on.
#[must_use]
pub fn is_content(offset: u64, bytes: &[u8]) -> bool {
    let mut at = offset;
    bytes.chunks(PERIOD).all(|chunk| {
        let same = content(at, chunk.len()) == chunk;
        at += chunk.len() as u64;
        same
    })
}

/// The first `length` bytes of the content.
#[must_use]
pub fn first(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        bytes.extend_from_slice(content(bytes.len() as u64, length - bytes.len()));
    }
    bytes
}

/// SHA-256 of the first `length` bytes, in hex, for programs that print one.
#[must_use]
pub fn sha256(length: u64) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut at = 0;
    while at < length {
        let chunk = content(at, (length - at).min(PERIOD as u64) as usize);
        context.update(chunk);
        at += chunk.len() as u64;
    }
    hex(context.finish().as_ref())
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_itself_wherever_it_is_cut() {
        let whole = first(3 * PERIOD + 17);
        assert!(is_content(0, &whole));
        assert!(is_content(5, &whole[5..]));
        assert!(!is_content(6, &whole[5..100]));
        assert_eq!(content(PERIOD as u64 * 2 + 3, 10), &whole[3..13]);
        assert_eq!(sha256(0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
