//! The bytes of SOCKS5 as a client sees them: RFC 1928, and RFC 1929 for user names and passwords.
//!
//! ```text
//! greeting  05 | 1 | method                        choice  05 | method
//! login     01 | n | user (n) | m | password (m)   status  01 | 0 = welcome
//! request   05 | command | 00 | address            reply   05 | code | 00 | address
//! datagram  00 00 | fragment | address | payload
//! address   01 | 4 bytes | port    03 | n | name (n) | port    04 | 16 bytes | port
//! ```
//!
//! Pure: slices in, values out. A parser that lacks bytes says how many it needs before it can say more, so that nothing
//! behind a message is ever read with it.

use std::net::{IpAddr, SocketAddr};

use adit_net::{Host, Target};
use thiserror::Error;

use crate::options::Credentials;

/// What a request asks for (RFC 1928 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A stream to the address.
    Connect = 1,
    /// A relay for datagrams.
    UdpAssociate = 3,
}

/// How a client proves who it is (RFC 1928 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    NoAuth = 0,
    /// RFC 1929.
    Password = 2,
}

/// Bytes that are not what the protocol allows at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Another version, so another protocol.
    #[error("this is not SOCKS5 (version byte {0})")]
    Version(u8),
    /// A method that was not offered.
    #[error("method {0} was chosen, which was not offered")]
    Method(u8),
    /// An address type that RFC 1928 does not have.
    #[error("unknown address type {0}")]
    AddressType(u8),
    /// A datagram that is one of several fragments.
    #[error("fragmented datagram")]
    Fragment,
    /// A datagram whose source is a name, or that ends before its payload.
    #[error("datagram without a usable source address")]
    Source,
}

/// The result of a parser that may need more input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// Read on until this many bytes are there in all; the message has at least that many.
    Needs(usize),
    /// The message, whole.
    Done(T),
}

/// The server's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It did what was asked, at this address of its own.
    Succeeded(Bound),
    /// The reply code, not 0.
    Failed(u8),
}

/// An address that a server named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// `None` for a name that is not one; servers that have nothing to say send such.
    pub host: Option<Host>,
    /// The port.
    pub port: u16,
}

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Offers one method.
#[must_use]
pub fn greeting(method: Method) -> [u8; 3] {
    [VERSION, 1, method as u8]
}

/// Whether the server took the offered method; `false` is its "no acceptable methods" (RFC 1928 §3).
///
/// # Errors
/// [`Malformed`] for another version, and for a method that was not offered.
pub fn parse_choice(choice: [u8; 2], offered: Method) -> Result<bool, Malformed> {
    match choice {
        [VERSION, 0xff] => Ok(false),
        [VERSION, method] if method == offered as u8 => Ok(true),
        [VERSION, method] => Err(Malformed::Method(method)),
        [version, _] => Err(Malformed::Version(version)),
    }
}

/// Appends the user name and password, each cut to the 255 bytes that RFC 1929 has room for.
pub fn put_login(credentials: &Credentials, out: &mut Vec<u8>) {
    out.push(LOGIN_VERSION);
    for field in [credentials.user.as_bytes(), credentials.password.reveal().as_bytes()] {
        let length = u8::try_from(field.len()).unwrap_or(u8::MAX);
        out.push(length);
        out.extend(field.iter().take(length.into()));
    }
}

/// Whether the server welcomed us.
///
/// # Errors
/// [`Malformed::Version`]; servers that put 5 instead of 1 there are common and meant the same.
pub fn parse_login_status(status: [u8; 2]) -> Result<bool, Malformed> {
    match status {
        [LOGIN_VERSION | VERSION, code] => Ok(code == 0),
        [version, _] => Err(Malformed::Version(version)),
    }
}

/// Appends a request.
pub fn put_request(command: Command, target: &Target, out: &mut Vec<u8>) {
    out.extend([VERSION, command as u8, 0]);
    put_address(target, out);
}

/// Reads the answer to a request.
///
/// # Errors
/// [`Malformed`]. What follows a failing code is not looked at: servers cut it short.
pub fn parse_reply(input: &[u8]) -> Result<Progress<Reply>, Malformed> {
    match input {
        [version, ..] if *version != VERSION => return Err(Malformed::Version(*version)),
        [_, code, ..] if *code != 0 => return Ok(Progress::Done(Reply::Failed(*code))),
        _ => {}
    }
    let Some(address) = input.get(3..) else {
        return Ok(Progress::Needs(3 + SHORTEST_ADDRESS));
    };
    Ok(match parse_address(address)? {
        Progress::Needs(n) => Progress::Needs(n.saturating_add(3)),
        Progress::Done((bound, _)) => Progress::Done(Reply::Succeeded(bound)),
    })
}

/// Appends the header of a datagram for `target`.
pub fn put_datagram_header(target: &Target, out: &mut Vec<u8>) {
    out.extend([0, 0, 0]);
    put_address(target, out);
}

/// Reads the header of a datagram: who sent it, and where its payload begins (at most at `input.len()`).
///
/// # Errors
/// [`Malformed`]; such a datagram is dropped.
pub fn parse_datagram(input: &[u8]) -> Result<(SocketAddr, usize), Malformed> {
    let (&[_, _, fragment], address) = input.split_first_chunk().ok_or(Malformed::Source)?;
    if fragment != 0 {
        return Err(Malformed::Fragment);
    }
    match parse_address(address)? {
        Progress::Done((Bound { host: Some(Host::Ip(ip)), port }, length)) => {
            Ok((SocketAddr::new(ip, port), length.saturating_add(3)))
        }
        _ => Err(Malformed::Source),
    }
}

/// A name of no bytes.
const SHORTEST_ADDRESS: usize = 4;

fn put_address(target: &Target, out: &mut Vec<u8>) {
    match &target.host {
        Host::Ip(IpAddr::V4(ip)) => {
            out.push(IPV4);
            out.extend(ip.octets());
        }
        Host::Ip(IpAddr::V6(ip)) => {
            out.push(IPV6);
            out.extend(ip.octets());
        }
        Host::Domain(name) => {
            // A domain has at most 253 bytes.
            let length = u8::try_from(name.as_str().len()).unwrap_or(u8::MAX);
            out.extend([NAME, length]);
            out.extend(name.as_str().bytes().take(length.into()));
        }
    }
    out.extend(target.port.to_be_bytes());
}

/// The address and its length on the wire.
fn parse_address(input: &[u8]) -> Result<Progress<(Bound, usize)>, Malformed> {
    let (kind, host_at, host_length) = match *input {
        [] | [NAME] => return Ok(Progress::Needs(SHORTEST_ADDRESS)),
        [IPV4, ..] => (IPV4, 1, 4),
        [NAME, n, ..] => (NAME, 2, usize::from(n)),
        [IPV6, ..] => (IPV6, 1, 16),
        [other, ..] => return Err(Malformed::AddressType(other)),
    };
    let end = host_at + host_length + 2;
    let Some((host, port)) = input.get(host_at..end).and_then(<[u8]>::split_last_chunk) else {
        return Ok(Progress::Needs(end));
    };
    let host = match kind {
        IPV4 => <[u8; 4]>::try_from(host).ok().map(|octets| IpAddr::from(octets).into()),
        IPV6 => <[u8; 16]>::try_from(host).ok().map(|octets| IpAddr::from(octets).into()),
        // Some servers spell an address as a name; `Host` knows both.
        _ => std::str::from_utf8(host).ok().and_then(|name| name.parse().ok()),
    };
    let port = u16::from_be_bytes(*port);
    Ok(Progress::Done((Bound { host, port }, end)))
}

#[cfg(test)]
mod tests {
    use adit_net::Secret;

    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    /// The replies that may come, with what they mean.
    fn replies() -> Vec<(Vec<u8>, Reply)> {
        let bound = |host: Option<&str>, port| Reply::Succeeded(Bound { host: host.map(|h| h.parse().unwrap()), port });
        vec![
            (vec![5, 0, 0, 1, 192, 0, 2, 1, 0x1f, 0x90], bound(Some("192.0.2.1"), 8080)),
            (
                [&[5, 0, 0, 4][..], &[0x20; 16], &[0, 53]].concat(),
                bound(Some("2020:2020:2020:2020:2020:2020:2020:2020"), 53),
            ),
            ([&[5, 0, 0, 3, 10][..], b"relay.test", &[1, 0]].concat(), bound(Some("relay.test"), 256)),
            ([&[5, 0, 0, 3, 7][..], b"1.2.3.4", &[1, 0]].concat(), bound(Some("1.2.3.4"), 256)),
            (vec![5, 0, 0, 3, 0, 0, 0], bound(None, 0)),
            ([&[5, 0, 0, 3, 3][..], b"a\0b", &[0, 9]].concat(), bound(None, 9)),
        ]
    }

    #[test]
    fn replies_are_read_whole_from_every_cut() {
        for (bytes, reply) in replies() {
            for cut in 0..bytes.len() {
                let Ok(Progress::Needs(more)) = parse_reply(&bytes[..cut]) else {
                    panic!("{cut} bytes of {bytes:?} are not a reply");
                };
                assert!(more > cut && more <= bytes.len(), "{more} bytes after {cut} of {bytes:?}");
            }
            assert_eq!(parse_reply(&bytes), Ok(Progress::Done(reply)));
        }
    }

    /// A reader that follows `Needs` never takes a byte of what comes behind the reply.
    #[test]
    fn nothing_behind_a_reply_is_asked_for() {
        for (bytes, reply) in replies() {
            let mut have = 0;
            let read = loop {
                match parse_reply(&bytes[..have]).unwrap() {
                    Progress::Needs(more) => have = more,
                    Progress::Done(read) => break read,
                }
            };
            assert_eq!((read, have), (reply, bytes.len()));
        }
    }

    #[test]
    fn failing_and_broken_replies() {
        assert_eq!(parse_reply(&[5, 5]), Ok(Progress::Done(Reply::Failed(5))));
        assert_eq!(parse_reply(&[5, 255, 0]), Ok(Progress::Done(Reply::Failed(255))));
        assert_eq!(parse_reply(b"HTTP/1.1 400"), Err(Malformed::Version(b'H')));
        assert_eq!(parse_reply(&[5, 0, 0, 2, 0]), Err(Malformed::AddressType(2)));
    }

    #[test]
    fn choices_and_login() {
        assert_eq!(greeting(Method::Password), [5, 1, 2]);
        assert_eq!(parse_choice([5, 2], Method::Password), Ok(true));
        assert_eq!(parse_choice([5, 255], Method::Password), Ok(false));
        assert_eq!(parse_choice([5, 0], Method::Password), Err(Malformed::Method(0)));
        assert_eq!(parse_choice([4, 0], Method::NoAuth), Err(Malformed::Version(4)));
        assert_eq!(parse_login_status([1, 0]), Ok(true));
        assert_eq!(parse_login_status([5, 0]), Ok(true));
        assert_eq!(parse_login_status([1, 1]), Ok(false));
        assert_eq!(parse_login_status([0, 0]), Err(Malformed::Version(0)));
        let mut login = Vec::new();
        put_login(&Credentials { user: "u".into(), password: Secret::new("pass") }, &mut login);
        assert_eq!(login, b"\x01\x01u\x04pass");
        login.clear();
        put_login(&Credentials { user: "u".repeat(300), password: Secret::new("p".repeat(255)) }, &mut login);
        assert_eq!((login.len(), login[1], login[257]), (513, 255, 255));
    }

    #[test]
    fn requests() {
        let mut request = Vec::new();
        put_request(Command::Connect, &target("example.com:443"), &mut request);
        assert_eq!(request, b"\x05\x01\x00\x03\x0bexample.com\x01\xbb");
        request.clear();
        put_request(Command::UdpAssociate, &target("0.0.0.0:0"), &mut request);
        assert_eq!(request, [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
        request.clear();
        put_request(Command::Connect, &target("[2001:db8::1]:80"), &mut request);
        assert_eq!(request.len(), 4 + 16 + 2);
    }

    #[test]
    fn datagram_headers() {
        for source in ["192.0.2.1:53", "[2001:db8::1]:65535"] {
            let mut datagram = Vec::new();
            put_datagram_header(&target(source), &mut datagram);
            let header = datagram.len();
            assert_eq!(parse_datagram(&datagram), Ok((source.parse().unwrap(), header)), "without payload");
            datagram.extend(b"payload");
            assert_eq!(parse_datagram(&datagram), Ok((source.parse().unwrap(), header)));
            for cut in 0..header {
                assert_eq!(parse_datagram(&datagram[..cut]), Err(Malformed::Source), "{cut}");
            }
            datagram[2] = 1;
            assert_eq!(parse_datagram(&datagram), Err(Malformed::Fragment));
        }
        let mut named = Vec::new();
        put_datagram_header(&target("example.com:53"), &mut named);
        assert_eq!(parse_datagram(&named), Err(Malformed::Source));
        assert_eq!(parse_datagram(&[0, 0, 0, 9, 9]), Err(Malformed::AddressType(9)));
    }
}
