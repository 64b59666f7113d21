//! How an HTTP client hears yes or no.

use std::borrow::Cow;

use adit_net::{DialError, Reply};

use super::request::Version;

/// For CONNECT. The status line of a success repeats the client's version; some old clients insist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectReply(Version);

/// For requests that we forward. It speaks to our own end of a pipe, see [`CONNECTED`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForwardReply;

/// What our end of the pipe hears first once the origin is connected. Without it, an answer is a refusal, and an end
/// means that there is to be no answer. No response begins with this byte (ASCII ACK).
pub(crate) const CONNECTED: u8 = 0x06;

static CONNECT_10: ConnectReply = ConnectReply(Version::Http10);
static CONNECT_11: ConnectReply = ConnectReply(Version::Http11);

/// The reply for a CONNECT from a client of this version.
pub(crate) fn to_connect(version: Version) -> &'static dyn Reply {
    match version {
        Version::Http10 => &CONNECT_10,
        Version::Http11 => &CONNECT_11,
    }
}

impl Reply for ConnectReply {
    fn accepted(&self) -> Cow<'static, [u8]> {
        Cow::Borrowed(match self.0 {
            Version::Http10 => b"HTTP/1.0 200 Connection established\r\n\r\n",
            Version::Http11 => b"HTTP/1.1 200 Connection established\r\n\r\n",
        })
    }

    fn refused(&self, why: &DialError) -> Cow<'static, [u8]> {
        match status_of(why) {
            Some(status) => answer(status, "Connection: close\r\n"),
            None => Cow::Borrowed(&[]),
        }
    }
}

impl Reply for ForwardReply {
    fn accepted(&self) -> Cow<'static, [u8]> {
        Cow::Borrowed(&[CONNECTED])
    }

    fn refused(&self, why: &DialError) -> Cow<'static, [u8]> {
        match status_of(why) {
            Some(status) => answer(status, ""),
            None => Cow::Borrowed(&[]),
        }
    }
}

/// `None`: no answer at all.
fn status_of(why: &DialError) -> Option<u16> {
    match why {
        DialError::Dropped => None,
        DialError::Denied(_) => Some(403),
        DialError::TimedOut(_) | DialError::Down(_) => Some(504),
        _ => Some(502),
    }
}

/// A response without a body. `fields`: more header lines, each with its end.
pub(crate) fn answer(status: u16, fields: &str) -> Cow<'static, [u8]> {
    let reason = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        407 => "Proxy Authentication Required",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        504 => "Gateway Timeout",
        _ => "",
    };
    Cow::Owned(format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\n{fields}\r\n").into_bytes())
}

/// The same, and the connection ends with it.
pub(crate) fn last_answer(status: u16) -> Cow<'static, [u8]> {
    answer(status, "Connection: close\r\n")
}

/// RFC 9110 §11.7.1. RFC 7617 wants a realm; ours names no product.
pub(crate) fn challenge() -> Cow<'static, [u8]> {
    answer(407, "Proxy-Authenticate: Basic realm=\"proxy\"\r\nConnection: close\r\n")
}

#[cfg(test)]
mod tests {
    use adit_net::Network;

    use super::*;

    /// F-B6
    #[test]
    fn every_failure_has_a_status() {
        let io = std::io::Error::other("x");
        for (why, status) in [
            (DialError::Refused("x".into()), "502 Bad Gateway"),
            (DialError::Unreachable("x".into()), "502 Bad Gateway"),
            (DialError::TimedOut("x".into()), "504 Gateway Timeout"),
            (DialError::Unresolved("x".into()), "502 Bad Gateway"),
            (DialError::Denied("x".into()), "403 Forbidden"),
            (DialError::Unsupported(Network::Tcp), "502 Bad Gateway"),
            (DialError::Protocol("x".into()), "502 Bad Gateway"),
            (DialError::Io { context: "x".into(), source: io }, "502 Bad Gateway"),
        ] {
            let told = to_connect(Version::Http11).refused(&why);
            let expected = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            assert_eq!(std::str::from_utf8(&told), Ok(&*expected));
            let told = ForwardReply.refused(&why);
            let expected = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(std::str::from_utf8(&told), Ok(&*expected));
        }
        assert!(to_connect(Version::Http10).refused(&DialError::Dropped).is_empty());
        assert!(ForwardReply.refused(&DialError::Dropped).is_empty());
    }

    #[test]
    fn connect_repeats_the_clients_version() {
        for (version, first) in [(Version::Http10, "HTTP/1.0 200 "), (Version::Http11, "HTTP/1.1 200 ")] {
            assert!(to_connect(version).accepted().starts_with(first.as_bytes()));
        }
    }
}
