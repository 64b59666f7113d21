//! SOCKS4 and SOCKS4a.
//!
//! There is no RFC; see "SOCKS: A protocol for TCP proxy across firewalls" (Ying-Da Lee) and "SOCKS 4A" (same author).
//!
//! ```text
//! request   04 | command | port (2) | IPv4 (4) | user id | 00 [ | name | 00 ]     the name only for 0.0.0.x, x ≠ 0
//! reply     00 | code | port (2) | IPv4 (4)
//! ```

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use adit_net::{BadAddress, DialError, Host, Reply, Target};
use thiserror::Error;

use crate::client::{Client, Refusal};
use crate::door::Door;

/// The first byte of a request.
pub const VERSION: u8 = 4;

/// A request is cut here: a user id and a name have no length of their own.
pub const MAX_REQUEST: usize = 512;

/// Why bytes are not a request, or not one that we serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The version byte is wrong.
    #[error("wrong version {0:#04x}")]
    Version(u8),
    /// Anything but CONNECT.
    #[error("unsupported command {0:#04x}")]
    Command(u8),
    /// No end within [`MAX_REQUEST`] bytes.
    #[error("longer than {MAX_REQUEST} bytes")]
    TooLong,
    /// A name that no host has, or a name that is not text.
    #[error("bad host name: {0}")]
    Name(BadAddress),
    /// Port 0.
    #[error("port 0")]
    Port,
}

/// A CONNECT request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Where to.
    pub target: Target,
    /// Who says so; often empty.
    pub user_id: &'a [u8],
}

/// Reads a request from all bytes that have arrived so far: `Ok(None)` while they are the beginning of one, the
/// request with its length once it is whole.
///
/// # Errors
/// As soon as no further byte can mend it.
pub fn request(input: &[u8]) -> Result<Option<(Connect<'_>, usize)>, Malformed> {
    match input {
        [version, ..] if *version != VERSION => return Err(Malformed::Version(*version)),
        [_, command, ..] if *command != 1 => return Err(Malformed::Command(*command)),
        _ => {}
    }
    let found = connect(input.get(..MAX_REQUEST).unwrap_or(input))?;
    if found.is_none() && input.len() >= MAX_REQUEST {
        return Err(Malformed::TooLong);
    }
    Ok(found)
}

fn connect(input: &[u8]) -> Result<Option<(Connect<'_>, usize)>, Malformed> {
    let Some((head, rest)) = input.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let [_, _, port @ .., a, b, c, d] = *head;
    let port = u16::from_be_bytes(port);
    let Some((user_id, rest)) = terminated(rest) else {
        return Ok(None);
    };
    let (host, rest) = if [a, b, c] == [0, 0, 0] && d != 0 {
        let Some((name, rest)) = terminated(rest) else {
            return Ok(None);
        };
        (named(name)?, rest)
    } else {
        (Host::from(IpAddr::V4(Ipv4Addr::new(a, b, c, d))), rest)
    };
    if port == 0 {
        return Err(Malformed::Port);
    }
    let target = Target::new(host, port);
    Ok(Some((Connect { target, user_id }, input.len() - rest.len())))
}

fn named(name: &[u8]) -> Result<Host, Malformed> {
    std::str::from_utf8(name).map_err(|_| BadAddress::BadCharacter).and_then(str::parse).map_err(Malformed::Name)
}

/// The bytes before the next NUL, and those after it.
fn terminated(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|byte| *byte == 0)?;
    let (text, rest) = input.split_at_checked(end)?;
    Some((text, rest.get(1..)?))
}

/// Waits for a whole request, which is not answered yet.
pub(crate) async fn hear(client: &mut Client, door: &Door) -> Result<(Target, Option<Arc<str>>), Refusal> {
    let users = &door.options.users;
    let addr = client.addr;
    let (target, judged) = client
        .message(
            |input| {
                let found = request(input)?;
                Ok(found.map(|(connect, length)| {
                    // There is no password in SOCKS4: a user without one is meant.
                    let judged = users.judge(addr, connect.user_id, b"");
                    ((connect.target, judged), length)
                }))
            },
            |why: Malformed| Refusal::told(&FAILED[..], why),
        )
        .await?;
    match judged {
        Ok(user) => Ok((target, user)),
        Err(_) => Err(Refusal::told(&WRONG_USER[..], "unknown user id")),
    }
}

/// Request rejected or failed.
const FAILED: [u8; 8] = [0, 0x5B, 0, 0, 0, 0, 0, 0];

/// Request rejected because of the user id.
const WRONG_USER: [u8; 8] = [0, 0x5D, 0, 0, 0, 0, 0, 0];

const GRANTED: [u8; 8] = [0, 0x5A, 0, 0, 0, 0, 0, 0];

/// How a SOCKS4 client hears yes or no. The address in a reply to CONNECT has no meaning and is zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socks4Reply;

impl Reply for Socks4Reply {
    fn accepted(&self) -> Cow<'static, [u8]> {
        Cow::Borrowed(&GRANTED)
    }

    fn refused(&self, why: &DialError) -> Cow<'static, [u8]> {
        match why {
            DialError::Dropped => Cow::Borrowed(&[]),
            _ => Cow::Borrowed(&FAILED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F-A1, F-A3
    #[test]
    fn whole_requests_at_every_cut() {
        for (bytes, target, user_id) in [
            (&b"\x04\x01\x00\x50\x01\x02\x03\x04\0"[..], "1.2.3.4:80", &b""[..]),
            (b"\x04\x01\x00\x50\x01\x02\x03\x04ann\0", "1.2.3.4:80", b"ann"),
            (b"\x04\x01\x01\xbb\0\0\0\x01ann\0a.Example\0", "a.example:443", b"ann"),
            (b"\x04\x01\x01\xbb\0\0\0\xff\x001.2.3.4\0", "1.2.3.4:443", b""),
            (b"\x04\x01\x00\x50\0\0\0\0\0", "0.0.0.0:80", b""),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(request(&bytes[..cut]), Ok(None), "cut at {cut} of {bytes:02x?}");
            }
            let glued = [bytes, b"payload\0"].concat();
            let target = target.parse().unwrap();
            assert_eq!(request(&glued), Ok(Some((Connect { target, user_id }, bytes.len()))));
        }
    }

    #[test]
    fn what_cannot_be_mended_is_an_error() {
        assert_eq!(request(&[5]), Err(Malformed::Version(5)));
        assert_eq!(request(&[4, 2]), Err(Malformed::Command(2)));
        assert_eq!(request(b"\x04\x01\0\0\x01\x02\x03\x04\0"), Err(Malformed::Port));
        for (name, why) in
            [("", BadAddress::Empty), ("a b", BadAddress::BadCharacter), ("a\u{1b}b", BadAddress::BadCharacter)]
        {
            let bytes = format!("\u{4}\u{1}\0P\0\0\0\u{1}\0{name}\0");
            assert_eq!(request(bytes.as_bytes()), Err(Malformed::Name(why)), "{name:?}");
        }
    }

    /// F-A5
    #[test]
    fn endless_texts_are_cut() {
        for start in [&b"\x04\x01\x00\x50\x01\x02\x03\x04"[..], b"\x04\x01\x00\x50\0\0\0\x01ann\0"] {
            let mut bytes = start.to_vec();
            bytes.resize(MAX_REQUEST - 1, b'x');
            assert_eq!(request(&bytes), Ok(None));
            bytes.push(b'x');
            assert_eq!(request(&bytes), Err(Malformed::TooLong));
            bytes.push(0);
            assert_eq!(request(&bytes), Err(Malformed::TooLong));
        }
    }

    /// F-B6
    #[test]
    fn every_failure_has_a_reply() {
        assert_eq!(Socks4Reply.accepted()[1], 0x5A);
        assert_eq!(Socks4Reply.refused(&DialError::Refused("x".into()))[1], 0x5B);
        assert!(Socks4Reply.refused(&DialError::Dropped).is_empty());
    }
}
