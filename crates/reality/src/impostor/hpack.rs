//! Writing HTTP/2 header blocks as Chromium does (RFC 7541): every field is remembered, Huffman where that is shorter.

/// A field that the static table holds with its value (§6.1).
pub(super) fn indexed(out: &mut Vec<u8>, index: u8) {
    out.push(0x80 | index);
}

/// A literal field with incremental indexing (§6.2.1).
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    match NAMES.iter().find(|(known, _)| *known == name) {
        Some((_, index)) => out.push(0x40 | index),
        None => {
            out.push(0x40);
            string(out, name);
        }
    }
    string(out, value);
}

/// §5.2.
fn string(out: &mut Vec<u8>, text: &str) {
    match huffman(text) {
        Some(coded) if coded.len() < text.len() => {
            length(out, 0x80, coded.len());
            out.extend_from_slice(&coded);
        }
        _ => {
            length(out, 0, text.len());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// An integer with a 7-bit prefix (§5.1).
fn length(out: &mut Vec<u8>, flag: u8, length: usize) {
    let Some(mut rest) = length.checked_sub(0x7f) else { return out.push(flag | length as u8) };
    out.push(flag | 0x7f);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// `None` when the text is not printable ASCII.
fn huffman(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let (mut pending, mut bits) = (0_u64, 0_u32);
    for symbol in text.bytes() {
        let (code, length) = code(symbol)?;
        pending = pending << length | u64::from(code);
        bits += length;
        while bits >= 8 {
            bits -= 8;
            out.push((pending >> bits) as u8);
        }
    }
    if bits > 0 {
        out.push((pending << (8 - bits)) as u8 | 0xff >> bits); // filled up with ones
    }
    Some(out)
}

/// Code and length in bits.
fn code(symbol: u8) -> Option<(u32, u32)> {
    let (mut code, mut bits) = (0, 5);
    for (length, symbols) in LENGTHS {
        code <<= length - bits;
        bits = *length;
        for candidate in *symbols {
            if *candidate == symbol {
                return Some((code, bits));
            }
            code += 1;
        }
    }
    None
}

/// Appendix B, whose code is canonical: lengths in bits say it all. Symbols in order, up to the last printable one but
/// the backslash (19 bits).
const LENGTHS: &[(u32, &[u8])] = &[
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

/// Names that are in the static table (Appendix A).
const NAMES: [(&str, u8); 5] =
    [(":authority", 1), ("accept-encoding", 16), ("accept-language", 17), ("accept", 19), ("user-agent", 58)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    /// RFC 7541, Appendix C.4.
    #[test]
    fn huffman_codes_of_the_rfc() {
        for (text, coded) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            (
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ),
        ] {
            assert_eq!(huffman(text).unwrap(), hex(coded), "{text}");
        }
        assert_eq!(code(b'{'), Some((0x7ffe, 15)), "the end of the list, Appendix B");
        assert_eq!(huffman("ä"), None);
    }

    #[test]
    fn long_strings_have_long_lengths() {
        let mut out = Vec::new();
        string(&mut out, &"\\".repeat(127 + 128 + 1));
        assert_eq!(out[..3], [0x7f, 0x81, 0x01]);
        assert_eq!(out.len(), 3 + 256);
    }
}
