//! Which names are believed.

use adit_net::Domain;

/// The host that `text` names, if it may be one: not an address, nor anything that a resolver might take for one.
///
/// A name whose last label is a number is an IPv4 address in disguise (WHATWG URL, "ends in a number": `127.1`,
/// `0x7f.1`). Taken as a name, a client could send us to an address that no rule has seen.
pub(crate) fn plausible(text: &[u8]) -> Option<Domain> {
    let name = Domain::new(std::str::from_utf8(text).ok()?).ok()?;
    let last = name.as_str().rsplit('.').next()?;
    let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    let ends_in_number = last.bytes().all(|b| b.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(is_hex);
    (!ends_in_number).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_disguise_are_no_names() {
        for good in ["Example.COM", "localhost", "a_b.example", "1.2.3.4.example", "0xyz", "xn--bcher-kva.example"] {
            assert_eq!(plausible(good.as_bytes()).unwrap().as_str(), good.to_ascii_lowercase());
        }
        for bad in ["", ".", "1.2.3.4", "127.1", "2130706433", "0x7f.1", "1.0x", "1.0X7F", "::1", "a\0b", "a b", "ä"] {
            assert_eq!(plausible(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(plausible(b"\xff.example"), None);
    }
}
