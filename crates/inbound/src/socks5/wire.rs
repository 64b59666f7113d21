//! SOCKS5 messages, read and written without I/O.
//!
//! RFC 1928 (requests, UDP header) and RFC 1929 (user and password).
//!
//! ```text
//! greeting      05 | n | n methods
//! credentials   01 | n | name (n) | m | password (m)
//! request       05 | command | 00 | address
//! UDP datagram  00 00 | fragment | address | payload
//! address       01 | IPv4 (4) | port (2)
//!               03 | n | name (n) | port (2)
//!               04 | IPv6 (16) | port (2)
//! ```
//!
//! Every reader takes all bytes that have arrived so far. It returns `Ok(None)` while they are the beginning of a
//! message, the message with its length once it is whole, and an error as soon as no further byte can mend it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_net::{BadAddress, Host, Target};
use thiserror::Error;

/// The first byte of a greeting and of a request.
pub const VERSION: u8 = 5;

/// The version of the user/password negotiation, RFC 1929 §2.
const AUTH_VERSION: u8 = 1;

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The longest UDP header: a name of 255 bytes.
pub const MAX_UDP_HEADER: usize = 3 + 1 + 1 + 255 + 2;

/// Why bytes are not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The version byte is wrong.
    #[error("wrong version {0:#04x}")]
    Version(u8),
    /// A command RFC 1928 does not know.
    #[error("unknown command {0:#04x}")]
    Command(u8),
    /// An address type RFC 1928 does not know.
    #[error("unknown address type {0:#04x}")]
    AddressType(u8),
    /// A name that no host has, or a name that is not text.
    #[error("bad host name: {0}")]
    Name(BadAddress),
    /// A datagram that ends within its header.
    #[error("shorter than its header")]
    Short,
    /// A piece of a fragmented datagram.
    #[error("fragment")]
    Fragment,
}

/// What a client offers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Method 00: no authentication.
    pub no_auth: bool,
    /// Method 02: user and password.
    pub password: bool,
}

/// A name and a password; each may be empty, which RFC 1929 does not allow but the wire does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// As it came.
    pub name: &'a [u8],
    /// As it came.
    pub password: &'a [u8],
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The verb.
    pub command: Command,
    /// Where to; port 0 is possible here.
    pub target: Target,
}

/// The verb of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a stream.
    Connect,
    /// Wait for a stream.
    Bind,
    /// Relay datagrams.
    UdpAssociate,
}

/// Reads a greeting, RFC 1928 §3.
///
/// # Errors
/// [`Malformed::Version`].
pub fn greeting(input: &[u8]) -> Result<Option<(Greeting, usize)>, Malformed> {
    let Some((&version, rest)) = input.split_first() else {
        return Ok(None);
    };
    if version != VERSION {
        return Err(Malformed::Version(version));
    }
    let Some((methods, _)) = prefixed(rest) else {
        return Ok(None);
    };
    let greeting = Greeting { no_auth: methods.contains(&0x00), password: methods.contains(&0x02) };
    Ok(Some((greeting, 2 + methods.len())))
}

/// Reads a user/password request, RFC 1929 §2.
///
/// # Errors
/// [`Malformed::Version`].
pub fn credentials(input: &[u8]) -> Result<Option<(Credentials<'_>, usize)>, Malformed> {
    let Some((&version, rest)) = input.split_first() else {
        return Ok(None);
    };
    if version != AUTH_VERSION {
        return Err(Malformed::Version(version));
    }
    let Some((name, rest)) = prefixed(rest) else {
        return Ok(None);
    };
    let Some((password, _)) = prefixed(rest) else {
        return Ok(None);
    };
    let length = 3 + name.len() + password.len();
    Ok(Some((Credentials { name, password }, length)))
}

/// Reads a request, RFC 1928 §4.
///
/// # Errors
/// Any but those of datagrams.
pub fn request(input: &[u8]) -> Result<Option<(Request, usize)>, Malformed> {
    if let Some(&version) = input.first()
        && version != VERSION
    {
        return Err(Malformed::Version(version));
    }
    let command = match input.get(1) {
        None => return Ok(None),
        Some(1) => Command::Connect,
        Some(2) => Command::Bind,
        Some(3) => Command::UdpAssociate,
        Some(&other) => return Err(Malformed::Command(other)),
    };
    // The third byte is reserved. Its value is not looked at, as in the servers that clients are tested against.
    let Some(rest) = input.get(3..) else {
        return Ok(None);
    };
    let Some((target, length)) = address(rest)? else {
        return Ok(None);
    };
    Ok(Some((Request { command, target }, 3 + length)))
}

/// Splits a datagram from a client into its target and its payload, RFC 1928 §7.
///
/// # Errors
/// Any but those of versions and commands. The datagram is then to be dropped.
pub fn datagram(input: &[u8]) -> Result<(Target, &[u8]), Malformed> {
    let [_, _, fragment, rest @ ..] = input else {
        return Err(Malformed::Short);
    };
    // "An implementation that does not support fragmentation MUST drop any datagram whose FRAG field is other than X'00'."
    if *fragment != 0 {
        return Err(Malformed::Fragment);
    }
    let (target, length) = address(rest)?.ok_or(Malformed::Short)?;
    Ok((target, rest.get(length..).ok_or(Malformed::Short)?))
}

/// Writes the header of a datagram to a client and returns it.
pub fn datagram_header<'a>(from: &Target, into: &'a mut [u8; MAX_UDP_HEADER]) -> &'a [u8] {
    let mut header = Writer { into, at: 0 };
    header.put(&[0, 0, 0]);
    header.put_address(from);
    let length = header.at;
    into.get(..length).unwrap_or_default()
}

/// A reply, RFC 1928 §6, with the address it names.
#[must_use]
pub fn reply(code: u8, bound: &Target) -> Vec<u8> {
    let mut bytes = [0; MAX_UDP_HEADER];
    let mut writer = Writer { into: &mut bytes, at: 0 };
    writer.put(&[VERSION, code, 0]);
    writer.put_address(bound);
    let length = writer.at;
    bytes.get(..length).unwrap_or_default().to_vec()
}

/// Reads type, address and port.
fn address(input: &[u8]) -> Result<Option<(Target, usize)>, Malformed> {
    let Some((&kind, rest)) = input.split_first() else {
        return Ok(None);
    };
    let (host, rest) = match kind {
        IPV4 => match rest.split_first_chunk::<4>() {
            Some((ip, rest)) => (Host::from(IpAddr::V4(Ipv4Addr::from(*ip))), rest),
            None => return Ok(None),
        },
        IPV6 => match rest.split_first_chunk::<16>() {
            Some((ip, rest)) => (Host::from(IpAddr::V6(Ipv6Addr::from(*ip))), rest),
            None => return Ok(None),
        },
        NAME => match prefixed(rest) {
            Some((name, rest)) => (named(name)?, rest),
            None => return Ok(None),
        },
        other => return Err(Malformed::AddressType(other)),
    };
    let Some((port, rest)) = rest.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let target = Target::new(host, u16::from_be_bytes(*port));
    Ok(Some((target, input.len() - rest.len())))
}

fn named(name: &[u8]) -> Result<Host, Malformed> {
    std::str::from_utf8(name).map_err(|_| BadAddress::BadCharacter).and_then(str::parse).map_err(Malformed::Name)
}

/// The bytes that a length byte announces, and what follows them.
fn prefixed(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = input.split_first()?;
    rest.split_at_checked(length.into())
}

struct Writer<'a> {
    into: &'a mut [u8; MAX_UDP_HEADER],
    at: usize,
}

impl Writer<'_> {
    /// INVARIANT: all that is ever put fits, because a [`Domain`](adit_net::Domain) has at most 253 bytes.
    fn put(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        if let Some(place) = self.into.get_mut(self.at..end) {
            place.copy_from_slice(bytes);
            self.at = end;
        }
    }

    fn put_address(&mut self, target: &Target) {
        match &target.host {
            Host::Ip(IpAddr::V4(ip)) => {
                self.put(&[IPV4]);
                self.put(&ip.octets());
            }
            Host::Ip(IpAddr::V6(ip)) => {
                self.put(&[IPV6]);
                self.put(&ip.octets());
            }
            Host::Domain(name) => {
                let name = name.as_str().as_bytes();
                self.put(&[NAME, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
                self.put(name);
            }
        }
        self.put(&target.port.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every prefix of a whole message asks for more, and what follows the message is not looked at.
    fn at_every_cut<T: PartialEq + std::fmt::Debug>(
        message: &[u8],
        expected: &T,
        read: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Malformed>,
    ) {
        for cut in 0..message.len() {
            assert_eq!(read(&message[..cut]), Ok(None), "cut at {cut} of {message:02x?}");
        }
        let glued = [message, b"payload"].concat();
        let (value, length) = read(&glued).unwrap().unwrap();
        assert_eq!((&value, length), (expected, message.len()));
    }

    /// F-A1, F-A3
    #[test]
    fn whole_messages_at_every_cut() {
        for (bytes, no_auth, password) in [
            (&[5, 1, 0][..], true, false),
            (&[5, 2, 0, 2], true, true),
            (&[5, 3, 1, 2, 9], false, true),
            (&[5, 0], false, false),
        ] {
            at_every_cut(bytes, &Greeting { no_auth, password }, greeting);
        }
        for (target, bytes) in [
            ("1.2.3.4:80", &[5, 1, 0, 1, 1, 2, 3, 4, 0, 80][..]),
            ("a.example:443", b"\x05\x01\x00\x03\x09A.exAmple\x01\xbb"),
            ("1.2.3.4:443", b"\x05\x01\x00\x03\x071.2.3.4\x01\xbb"),
            ("[2001:db8::1]:53", &[5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 53]),
        ] {
            let expected = Request { command: Command::Connect, target: target.parse().unwrap() };
            at_every_cut(bytes, &expected, request);
        }
        let long = [&[1, 255][..], &[b'n'; 255], &[255], &[b'p'; 255]].concat();
        for (bytes, name, password) in [
            (b"\x01\x03ann\x05apple".to_vec(), 3, 5),
            (b"\x01\x00\x00".to_vec(), 0, 0),
            (b"\x01\x00\x01x".to_vec(), 0, 1),
            (long, 255, 255),
        ] {
            at_every_cut(&bytes, &(name, password), |input| {
                credentials(input)
                    .map(|found| found.map(|(given, length)| ((given.name.len(), given.password.len()), length)))
            });
        }
    }

    /// F-A2
    #[test]
    fn what_cannot_be_mended_is_an_error_at_once() {
        use Malformed::*;
        assert_eq!(greeting(&[4]), Err(Version(4)));
        assert_eq!(credentials(&[5]), Err(Version(5)));
        assert_eq!(request(&[4]), Err(Version(4)));
        assert_eq!(request(&[5, 9]), Err(Command(9)));
        assert_eq!(request(&[5, 0]), Err(Command(0)));
        assert_eq!(request(&[5, 1, 0, 2]), Err(AddressType(2)));
        for (name, why) in [
            (&b""[..], BadAddress::Empty),
            (b"...", BadAddress::Empty),
            (b"a\0b", BadAddress::BadCharacter),
            (b"a\rb", BadAddress::BadCharacter),
            (b"a\nb", BadAddress::BadCharacter),
            (b"a\x1bb", BadAddress::BadCharacter),
            (b"a b", BadAddress::BadCharacter),
            (b"a/b", BadAddress::BadCharacter),
            (b"\xff\xfe", BadAddress::BadCharacter),
            (&[b'a'; 255], BadAddress::TooLong),
        ] {
            let bytes = [&[5, 1, 0, 3, u8::try_from(name.len()).unwrap()][..], name].concat();
            assert_eq!(request(&bytes), Err(Name(why)), "{name:02x?}");
        }
    }

    /// F-A17
    #[test]
    fn datagrams_are_whole_or_nothing() {
        let whole = b"\0\0\0\x03\x09a.example\0\x35payload";
        let (target, payload) = datagram(whole).unwrap();
        assert_eq!((target.to_string().as_str(), payload), ("a.example:53", &b"payload"[..]));
        for cut in 0..whole.len() - b"payload".len() {
            assert_eq!(datagram(&whole[..cut]), Err(Malformed::Short), "{cut}");
        }
        assert_eq!(datagram(&whole[..whole.len() - 7]).unwrap().1, b"");
        assert_eq!(datagram(b"\0\0\x01\x01\x01\x01\x01\x01\0\x35x"), Err(Malformed::Fragment));
        assert_eq!(datagram(b"\0\0\0\x07\x01\x01"), Err(Malformed::AddressType(7)));
        assert_eq!(datagram(b"\0\0\0\x03\0\0\x35"), Err(Malformed::Name(BadAddress::Empty)));
    }

    #[test]
    fn headers_are_read_back_as_written() {
        let longest = format!("{0}.{0}.{0}.{1}:65535", "a".repeat(63), "b".repeat(61));
        for text in ["1.2.3.4:53", "[2001:db8::1]:53", "a.example:443", &longest] {
            let from: Target = text.parse().unwrap();
            let mut room = [0; MAX_UDP_HEADER];
            let header = datagram_header(&from, &mut room);
            assert_eq!(datagram(header), Ok((from, &b""[..])));
        }
        assert_eq!(reply(7, &"0.0.0.0:0".parse().unwrap()), [5, 7, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
}
