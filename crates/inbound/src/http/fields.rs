//! Header fields that concern one hop, and the two that say where a message ends.

use httparse::Header;
use thiserror::Error;

/// A Connection field with more options than this is refused; each is compared with every other field.
const MAX_OPTIONS: usize = 64;

/// What the Connection and Proxy-Connection fields of a message say, RFC 9110 §7.6.1.
#[derive(Debug, Default)]
pub(crate) struct Connection<'a> {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Every option: each may name a field of this hop.
    named: Vec<&'a str>,
}

/// Where a message says it ends, RFC 9112 §6.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) length: Option<u64>,
    /// The length was given more than once, each time the same.
    pub(crate) repeated: bool,
    pub(crate) chunked: bool,
}

/// Fields that no reading makes right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadField {
    #[error("a content length that is not one number")]
    Length,
    #[error("a transfer coding other than chunked")]
    Coding,
    #[error("a connection field that never ends")]
    Connection,
}

impl<'a> Connection<'a> {
    pub(crate) fn of(headers: &[Header<'a>]) -> Result<Self, BadField> {
        let mut found = Self::default();
        for header in headers {
            let is_proxys = header.name.eq_ignore_ascii_case("proxy-connection");
            if !is_proxys && !header.name.eq_ignore_ascii_case("connection") {
                continue;
            }
            for option in tokens(header.value) {
                found.close |= option.eq_ignore_ascii_case("close");
                found.keep_alive |= option.eq_ignore_ascii_case("keep-alive");
                found.upgrade |= !is_proxys && option.eq_ignore_ascii_case("upgrade");
                found.named.push(option);
                if found.named.len() > MAX_OPTIONS {
                    return Err(BadField::Connection);
                }
            }
        }
        Ok(found)
    }

    /// Whether a field is meant for the other end, not for the next hop.
    pub(crate) fn is_end_to_end(&self, name: &str) -> bool {
        let is = |other: &&str| name.eq_ignore_ascii_case(other);
        !OF_ONE_HOP.iter().any(is) && !self.named.iter().any(is)
    }
}

/// Fields of one hop whether the Connection field names them or not.
const OF_ONE_HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-authentication-info",
];

impl Declared {
    pub(crate) fn by(headers: &[Header<'_>]) -> Result<Self, BadField> {
        let mut found = Self::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = number(header.value).ok_or(BadField::Length)?;
                found.repeated |= found.length.is_some();
                if found.length.replace(length).is_some_and(|other| other != length) {
                    return Err(BadField::Length);
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if found.chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadField::Coding);
                }
                found.chunked = true;
            }
        }
        Ok(found)
    }
}

/// The single field called `name`; an error if there are two.
pub(crate) fn single<'h>(headers: &[Header<'h>], name: &str) -> Result<Option<&'h [u8]>, Repeated> {
    let mut values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Repeated),
    }
}

/// A field that must not be there twice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeated;

/// Appends `name: value` and the end of the line.
pub(crate) fn put(into: &mut Vec<u8>, name: &str, value: &[u8]) {
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

/// A list's members that are text; others name nothing we know.
fn tokens(value: &[u8]) -> impl Iterator<Item = &str> {
    value
        .split(|byte| *byte == b',')
        .filter_map(|token| std::str::from_utf8(token).ok())
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// `1*DIGIT`: no sign, no space, no list, no overflow.
fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(name: &'a str, value: &'a str) -> Header<'a> {
        Header { name, value: value.as_bytes() }
    }

    /// F-A11
    #[test]
    fn connection_options_name_fields_of_this_hop() {
        let headers =
            [header("Connection", "close, X-Private ,, te"), header("Proxy-Connection", "Keep-Alive, upgrade")];
        let connection = Connection::of(&headers).unwrap();
        assert!(connection.close && connection.keep_alive && !connection.upgrade);
        for (name, passes) in [
            ("x-private", false),
            ("X-Other", true),
            ("TE", false),
            ("Keep-Alive", false),
            ("Proxy-Authorization", false),
            ("Authorization", true),
            ("Trailer", true),
        ] {
            assert_eq!(connection.is_end_to_end(name), passes, "{name}");
        }
        let endless = "a,".repeat(100);
        assert!(Connection::of(&[header("Connection", &endless)]).is_err());
    }

    /// F-A9
    #[test]
    fn lengths_are_one_number_and_codings_are_chunked() {
        for bad in ["", "+5", "-5", "0x5", "5 5", "5,5", "5.0", "18446744073709551616", "٥"] {
            assert_eq!(Declared::by(&[header("Content-Length", bad)]), Err(BadField::Length), "{bad:?}");
        }
        for bad in ["", "gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked"] {
            assert_eq!(Declared::by(&[header("Transfer-Encoding", bad)]), Err(BadField::Coding), "{bad:?}");
        }
        let twice = [header("content-length", "5"), header("Content-Length", "5")];
        assert_eq!(Declared::by(&twice), Ok(Declared { length: Some(5), repeated: true, chunked: false }));
        let differing = [header("content-length", "5"), header("Content-Length", "6")];
        assert_eq!(Declared::by(&differing), Err(BadField::Length));
        let chunked = [header("Transfer-Encoding", "Chunked")];
        assert!(Declared::by(&chunked).unwrap().chunked);
        let twice = [header("Transfer-Encoding", "chunked"), header("Transfer-Encoding", "chunked")];
        assert_eq!(Declared::by(&twice), Err(BadField::Coding));
    }
}
