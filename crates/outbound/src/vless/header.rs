//! The VLESS request and answer headers, as bytes (spec: vless-reality §1.1 – §1.3).
//!
//! ```text
//!  0         1              17    18         18+n      19+n   21+n
//!  +---------+--------------+-----+----------+---------+------+------+-----------
//!  | version | user id (16) |  n  | addons n | command | port | type | address …     request
//!  +---------+--------------+-----+----------+---------+------+------+-----------
//!  | version |  n  | addons n | the target's bytes …                                answer
//!  +---------+-----+----------+-----------------------
//! ```

use std::net::IpAddr;

use adit_net::{Host, Target};
use thiserror::Error;

use super::UserId;

/// What the server is asked to do.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// Open a TCP connection to the target.
    Tcp(&'a Target),
    /// Carry datagrams to and from the target.
    Udp(&'a Target),
    /// Speak Mux.Cool; no address follows.
    Mux,
}

/// Appends a request header. `vision` asks for the flow `xtls-rprx-vision`.
pub fn request(id: &UserId, vision: bool, command: Command<'_>, out: &mut Vec<u8>) {
    out.push(VERSION);
    out.extend_from_slice(id.as_bytes());
    let addons: &[u8] = if vision { &VISION_ADDONS } else { &[] };
    // At most 18, see the constant.
    out.push(addons.len() as u8);
    out.extend_from_slice(addons);
    match command {
        Command::Tcp(target) => {
            out.push(1);
            address(target, out);
        }
        Command::Udp(target) => {
            out.push(2);
            address(target, out);
        }
        Command::Mux => out.push(3),
    }
}

/// Appends port, type and address: the form that VLESS and Mux.Cool share. The port comes first, and the type numbers
/// are not those of SOCKS.
pub(super) fn address(target: &Target, out: &mut Vec<u8>) {
    out.extend_from_slice(&target.port.to_be_bytes());
    match &target.host {
        Host::Ip(IpAddr::V4(ip)) => {
            out.push(ADDRESS_V4);
            out.extend_from_slice(&ip.octets());
        }
        Host::Domain(name) => {
            let name = name.as_str().as_bytes();
            out.push(ADDRESS_DOMAIN);
            // A `Domain` has at most 253 bytes.
            out.push(name.len() as u8);
            out.extend_from_slice(name);
        }
        Host::Ip(IpAddr::V6(ip)) => {
            out.push(ADDRESS_V6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

/// Reads the server's answer header, which may come byte by byte and share a record with payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Nothing has arrived.
    #[default]
    Version,
    /// The length of the addons is next.
    Length,
    /// So many bytes of addons are still to be skipped; never 0.
    Addons(u8),
    /// What follows is the target's.
    Complete,
}

/// The peer's first byte is not a VLESS version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the server's answer is not VLESS (it begins with {0:#04x}): wrong port, or a fallback answered")]
pub struct NotVless(pub u8);

impl Answer {
    /// Takes the header's bytes from the front of `input` and returns how many there were. Once
    /// [`is_complete`](Self::is_complete), takes none.
    ///
    /// # Errors
    /// [`NotVless`] when the version is not 0; the connection is useless then.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, NotVless> {
        let mut taken = 0;
        while let Some(&byte) = input.get(taken) {
            *self = match (*self, byte) {
                (Self::Version, VERSION) => Self::Length,
                (Self::Version, other) => return Err(NotVless(other)),
                (Self::Length, 0) | (Self::Addons(1), _) => Self::Complete,
                (Self::Length, n) => Self::Addons(n),
                (Self::Addons(left), _) => Self::Addons(left.saturating_sub(1)),
                (Self::Complete, _) => return Ok(taken),
            };
            taken += 1;
        }
        Ok(taken)
    }

    /// Whether the whole header has been taken.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self == Self::Complete
    }
}

const VERSION: u8 = 0;

pub(super) const ADDRESS_V4: u8 = 1;
pub(super) const ADDRESS_DOMAIN: u8 = 2;
pub(super) const ADDRESS_V6: u8 = 3;

/// Protobuf: field 1, 16 bytes of text. Servers compare the whole name, so nothing else is ever sent (§1.2).
const VISION_ADDONS: [u8; 18] = *b"\x0a\x10xtls-rprx-vision";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vless::testing::hex;

    fn made(vision: bool, command: Command<'_>) -> Vec<u8> {
        let id = UserId::parse("b831381d-6324-4d53-ad4f-8cda48b30811").unwrap();
        let mut out = Vec::new();
        request(&id, vision, command, &mut out);
        out
    }

    #[test]
    fn requests_equal_the_vectors() {
        let name = "example.com:443".parse().unwrap();
        let v4 = "127.0.0.1:80".parse().unwrap();
        let v6 = "[2001:db8::1]:53".parse().unwrap();
        for (got, vector) in [
            (
                made(true, Command::Tcp(&name)),
                "00b831381d63244d53ad4f8cda48b30811120a1078746c732d727072782d766973696f6e0101bb020b6578616d706c652e636f6d",
            ),
            (made(false, Command::Tcp(&v4)), "00b831381d63244d53ad4f8cda48b3081100010050017f000001"),
            (
                made(false, Command::Udp(&v6)),
                "00b831381d63244d53ad4f8cda48b30811000200350320010db8000000000000000000000001",
            ),
            (made(true, Command::Mux), "00b831381d63244d53ad4f8cda48b30811120a1078746c732d727072782d766973696f6e03"),
        ] {
            assert_eq!(got, hex(vector));
        }
    }

    #[test]
    fn user_ids_are_mapped_as_xray_does() {
        for (text, id) in [
            ("example", "feb54431301b52bba6dde1e93e81bb9e"),
            ("我爱🍉老师1314", "5783a3e7e37351cd8642c83782b807c5"),
            ("b831381d63244d53ad4f8cda48b30811", "b831381d63244d53ad4f8cda48b30811"),
        ] {
            assert_eq!(UserId::parse(text).unwrap().as_bytes().as_slice(), hex(id), "{text}");
        }
        assert_eq!(UserId::parse(&"a".repeat(31)), None);
        assert_eq!(UserId::parse(&"a".repeat(37)), None);
        assert_eq!(UserId::parse(""), None);
        assert_eq!(format!("{:?}", UserId::parse("example").unwrap()), "[redacted]");
    }

    /// F-F12: every cut of every answer, addons of any length.
    #[test]
    fn answers_are_read_at_every_cut() {
        for addons in [0_u8, 1, 2, 254, 255] {
            let mut wire = vec![0, addons];
            wire.resize(2 + usize::from(addons), 0xee);
            let header = wire.len();
            wire.extend_from_slice(b"payload");
            for cut in 0..=wire.len() {
                let (front, back) = wire.split_at(cut);
                let mut answer = Answer::default();
                let first = answer.feed(front).unwrap();
                assert_eq!(first, cut.min(header));
                assert_eq!(answer.is_complete(), cut >= header);
                assert_eq!(first + answer.feed(back).unwrap(), header);
                assert!(answer.is_complete());
            }
            let mut answer = Answer::default();
            let bytes = wire.iter().take_while(|&&b| answer.feed(&[b]).unwrap() == 1);
            assert_eq!(bytes.count(), header);
        }
    }

    /// F-F12
    #[test]
    fn an_http_fallback_is_not_an_answer() {
        let error = Answer::default().feed(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err();
        assert_eq!(error, NotVless(b'H'));
        assert!(error.to_string().contains("0x48"), "{error}");
    }
}
