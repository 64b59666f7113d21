//! Datagrams in a stream: XUDP, that is Mux.Cool frames of the one session 0 (spec: vless-reality §6).
//!
//! ```text
//!  0        2            4        5        6
//!  +--------+------------+--------+--------+---------+------+------+-----------+--------+--------+-------
//!  | L      | session id | status | option | network | port | type | address … | id (8) | length | data …
//!  |        | 0          |        |        | L > 4   |      |      |           | New    | option bit 0
//!  +--------+------------+--------+--------+---------+------+------+-----------+--------+--------+-------
//!           '----------------------------- L bytes ---------------------------'
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;

use adit_net::{Domain, Target};
use thiserror::Error;

use super::header::{self, ADDRESS_DOMAIN, ADDRESS_V4, ADDRESS_V6};

/// The longest payload that servers take; they end the whole association over a longer one.
pub const MAX_UPLINK: usize = 7526;

/// Frames datagrams for the server.
#[derive(Clone, Debug)]
pub struct Encoder {
    opened: bool,
    global_id: Option<NonZeroU64>,
}

/// A datagram longer than [`MAX_UPLINK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a datagram of {0} bytes is too long for XUDP (at most {MAX_UPLINK})")]
pub struct TooLong(pub usize);

impl Encoder {
    /// A new association. The server keeps the outer socket of associations with the same `global_id` through
    /// reconnects for a minute, so it must be stable for a client's socket and unknown to others.
    #[must_use]
    pub fn new(global_id: Option<NonZeroU64>) -> Self {
        Self { opened: false, global_id }
    }

    /// Appends one datagram.
    ///
    /// # Errors
    /// [`TooLong`]; nothing was appended, the association is intact.
    pub fn encode(&mut self, to: &Target, payload: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        if payload.len() > MAX_UPLINK {
            return Err(TooLong(payload.len()));
        }
        let start = out.len();
        let status = if self.opened { STATUS_KEEP } else { STATUS_NEW };
        out.extend_from_slice(&[0, 0, 0, 0, status, OPTION_DATA, NETWORK_UDP]);
        header::address(to, out);
        if !self.opened
            && let Some(id) = self.global_id
        {
            out.extend_from_slice(&id.get().to_be_bytes());
        }
        self.opened = true;
        // 5 + 3 + 1 + 253 + 8 at most.
        let metadata = (out.len() - start - 2) as u16;
        if let Some(place) = out.get_mut(start..start + 2) {
            place.copy_from_slice(&metadata.to_be_bytes());
        }
        out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        out.extend_from_slice(payload);
        Ok(())
    }
}

/// What [`decode`] found at the front of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Not a whole frame yet; a frame has at most [`MAX_FRAME`] bytes.
    Incomplete,
    /// A frame of `consumed` bytes.
    Frame {
        /// Bytes of the buffer it occupied.
        consumed: usize,
        /// What it said.
        event: Event<'a>,
    },
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A datagram, never empty: empty ones cannot be told from none.
    Datagram {
        /// Who sent it; `None` is the association's first destination.
        from: Option<Target>,
        /// Its bytes.
        payload: &'a [u8],
    },
    /// Nothing for us.
    Nothing,
    /// The server ended the association.
    End,
}

/// The longest frame that the lengths allow.
pub const MAX_FRAME: usize = 2 + MAX_METADATA + 2 + u16::MAX as usize;

/// The bytes cannot be a frame; nothing after them can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the server sent a damaged Mux frame ({0})")]
pub struct Damaged(&'static str);

/// Reads one frame from the front of `buf`. The caller drops the bytes it consumed.
///
/// # Errors
/// [`Damaged`]; the stream is out of step.
pub fn decode(buf: &[u8]) -> Result<Decoded<'_>, Damaged> {
    let Some((length, rest)) = number(buf) else {
        return Ok(Decoded::Incomplete);
    };
    if !(MIN_METADATA..=MAX_METADATA).contains(&length) {
        return Err(Damaged("length"));
    }
    let Some((metadata, rest)) = rest.split_at_checked(length) else {
        return Ok(Decoded::Incomplete);
    };
    // At least 4 bytes. The session id is always 0 here, and servers that send another mean the same session.
    let [_, _, status, option, more @ ..] = metadata else {
        return Err(Damaged("length"));
    };
    let (payload, rest) = if option & OPTION_DATA == 0 {
        (&[][..], rest)
    } else {
        let Some((length, rest)) = number(rest) else {
            return Ok(Decoded::Incomplete);
        };
        let Some(parts) = rest.split_at_checked(length) else {
            return Ok(Decoded::Incomplete);
        };
        parts
    };
    let event = match *status {
        _ if option & OPTION_ERROR != 0 => Event::End,
        STATUS_KEEP if payload.is_empty() => Event::Nothing,
        STATUS_KEEP => Event::Datagram { from: source(more)?, payload },
        STATUS_KEEP_ALIVE => Event::Nothing,
        _ => Event::End,
    };
    Ok(Decoded::Frame { consumed: buf.len() - rest.len(), event })
}

/// The address behind a Keep's four fixed bytes, if there is one. Bytes behind it are padding.
fn source(metadata: &[u8]) -> Result<Option<Target>, Damaged> {
    match metadata {
        [] => Ok(None),
        [NETWORK_UDP, rest @ ..] => parse_address(rest).ok_or(Damaged("address")).map(Some),
        _ => Err(Damaged("network")),
    }
}

fn parse_address(bytes: &[u8]) -> Option<Target> {
    let (port, rest) = number(bytes)?;
    let port = u16::try_from(port).ok()?;
    let (&kind, rest) = rest.split_first()?;
    match kind {
        ADDRESS_V4 => {
            let ip: [u8; 4] = *rest.first_chunk()?;
            Some(Target::from(std::net::SocketAddr::from((Ipv4Addr::from(ip), port))))
        }
        ADDRESS_V6 => {
            let ip: [u8; 16] = *rest.first_chunk()?;
            Some(Target::from(std::net::SocketAddr::from((Ipv6Addr::from(ip), port))))
        }
        ADDRESS_DOMAIN => {
            let (&length, rest) = rest.split_first()?;
            let name = std::str::from_utf8(rest.get(..usize::from(length))?).ok()?;
            Some(Target::new(Domain::new(name).ok()?, port))
        }
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*number)), rest))
}

const MIN_METADATA: usize = 4;
const MAX_METADATA: usize = 512;

const STATUS_NEW: u8 = 1;
const STATUS_KEEP: u8 = 2;
const STATUS_KEEP_ALIVE: u8 = 4;

const OPTION_DATA: u8 = 1;
const OPTION_ERROR: u8 = 2;

const NETWORK_UDP: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vless::testing::hex;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn frames_equal_the_vectors() {
        let mut frames = Encoder::new(NonZeroU64::new(0x1122_3344_5566_7788));
        let mut out = Vec::new();
        frames.encode(&target("8.8.8.8:53"), &hex("dead"), &mut out).unwrap();
        assert_eq!(out, hex("001400000101020035010808080811223344556677880002dead"));
        out.clear();
        frames.encode(&target("8.8.4.4:53"), &hex("beef"), &mut out).unwrap();
        assert_eq!(out, hex("000c0000020102003501080804040002beef"));
    }

    #[test]
    fn frames_of_the_server_are_understood() {
        let beef = hex("beef");
        for (wire, event) in [
            (
                "000c0000020102003501080804040002beef",
                Event::Datagram { from: Some(target("8.8.4.4:53")), payload: &beef },
            ),
            ("0004000002010002beef", Event::Datagram { from: None, payload: &beef }),
            ("0004000002010000", Event::Nothing),
            ("000400000200", Event::Nothing),
            ("0004000004010002beef", Event::Nothing),
            ("000400000400", Event::Nothing),
            ("000400000300", Event::End),
            ("000400000302", Event::End),
            ("0004000002030002beef", Event::End),
            ("001400000101020035010808080811223344556677880002dead", Event::End),
            ("000400000900", Event::End),
        ] {
            let bytes = hex(wire);
            let consumed = bytes.len();
            assert_eq!(decode(&bytes), Ok(Decoded::Frame { consumed, event }), "{wire}");
        }
    }

    /// F-F13: every cut of a stream of frames, of any sizes, padded metadata included.
    #[test]
    fn frames_are_read_at_every_cut() {
        let stream = [
            "0004000002010002beef",
            "000e00000201020035010808040400000001aa",
            "001800000201020035032001000000000000000000000000000100023031",
            "000a00000201020035020161000161",
            "000400000400",
        ]
        .map(hex)
        .concat();
        for cut in 0..=stream.len() {
            let (mut at, mut payloads, mut here) = (0, Vec::new(), cut);
            loop {
                match decode(&stream[at..here]).unwrap() {
                    Decoded::Incomplete if here == stream.len() => break,
                    Decoded::Incomplete => here = stream.len(),
                    Decoded::Frame { consumed, event } => {
                        at += consumed;
                        if let Event::Datagram { payload, .. } = event {
                            payloads.push(payload.to_vec());
                        }
                    }
                }
            }
            assert_eq!(payloads, [hex("beef"), hex("aa"), hex("3031"), hex("61")], "cut at {cut}");
        }
    }

    /// F-F13
    #[test]
    fn damaged_frames_end_the_association() {
        for wire in
            ["0003000002", "0201", "000500000201ff0001aa", "00060000020102000001aa", "000a000002010200350908080001aa"]
        {
            let mut bytes = hex(wire);
            bytes.resize(600, 0);
            assert!(decode(&bytes).is_err(), "{wire}");
        }
    }

    #[test]
    fn longest_payloads() {
        let mut frames = Encoder::new(None);
        let mut out = Vec::new();
        let to = target("example.com:9");
        assert_eq!(frames.encode(&to, &[0; MAX_UPLINK + 1], &mut out), Err(TooLong(7527)));
        assert!(out.is_empty());
        frames.encode(&to, &[0; MAX_UPLINK], &mut out).unwrap();
        assert_eq!(out[..6], [0, 20, 0, 0, 1, 1]);

        let mut downlink = hex("000400000201ffff");
        downlink.resize(downlink.len() + 65_535, 7);
        let Decoded::Frame { consumed, event } = decode(&downlink).unwrap() else {
            panic!("whole");
        };
        assert_eq!(consumed, downlink.len());
        assert!(matches!(event, Event::Datagram { payload, .. } if payload.len() == 65_535));
    }

    proptest! {
        /// F-F13
        #[test]
        fn noise_neither_panics_nor_stalls(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            match decode(&bytes) {
                Ok(Decoded::Frame { consumed, .. }) => prop_assert!(consumed >= 6 && consumed <= bytes.len()),
                Ok(Decoded::Incomplete) => prop_assert!(bytes.len() < MAX_FRAME),
                Err(_) => {}
            }
        }
    }
}
