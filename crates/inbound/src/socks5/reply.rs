//! How a SOCKS5 client hears yes or no.

use std::borrow::Cow;

use adit_net::{DialError, Reply};

use super::wire::VERSION;

/// Reply codes, RFC 1928 §6.
pub(crate) mod code {
    pub(crate) const SUCCEEDED: u8 = 0;
    pub(crate) const GENERAL_FAILURE: u8 = 1;
    pub(crate) const NOT_ALLOWED: u8 = 2;
    pub(crate) const NETWORK_UNREACHABLE: u8 = 3;
    pub(crate) const HOST_UNREACHABLE: u8 = 4;
    pub(crate) const CONNECTION_REFUSED: u8 = 5;
    pub(crate) const COMMAND_NOT_SUPPORTED: u8 = 7;
    pub(crate) const ADDRESS_TYPE_NOT_SUPPORTED: u8 = 8;
}

/// For CONNECT. BND.ADDR is the address of a socket that may be several proxies away, so it is left unspecified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socks5Reply;

impl Reply for Socks5Reply {
    fn accepted(&self) -> Cow<'static, [u8]> {
        answer(code::SUCCEEDED)
    }

    fn refused(&self, why: &DialError) -> Cow<'static, [u8]> {
        answer(match why {
            DialError::Dropped => return Cow::Borrowed(&[]),
            DialError::Refused(_) => code::CONNECTION_REFUSED,
            DialError::Unreachable(_) => code::NETWORK_UNREACHABLE,
            DialError::TimedOut(_) | DialError::Down(_) | DialError::Unresolved(_) => code::HOST_UNREACHABLE,
            DialError::Denied(_) => code::NOT_ALLOWED,
            DialError::Unsupported(_) => code::COMMAND_NOT_SUPPORTED,
            _ => code::GENERAL_FAILURE,
        })
    }
}

/// A reply that names no address.
pub(crate) fn answer(code: u8) -> Cow<'static, [u8]> {
    Cow::Owned(vec![VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use adit_net::Network;

    use super::*;

    /// F-B6
    #[test]
    fn every_failure_has_a_code() {
        let io = || std::io::Error::other("x");
        for (why, code) in [
            (DialError::Refused("x".into()), 5),
            (DialError::Unreachable("x".into()), 3),
            (DialError::TimedOut("x".into()), 4),
            (DialError::Unresolved("x".into()), 4),
            (DialError::Denied("x".into()), 2),
            (DialError::Unsupported(Network::Tcp), 7),
            (DialError::Protocol("x".into()), 1),
            (DialError::Io { context: "x".into(), source: io() }, 1),
        ] {
            assert_eq!(*Socks5Reply.refused(&why), [5, code, 0, 1, 0, 0, 0, 0, 0, 0], "{why}");
        }
        assert!(Socks5Reply.refused(&DialError::Dropped).is_empty());
        assert_eq!(*Socks5Reply.accepted(), [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
}
