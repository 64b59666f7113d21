//! Vision's frames: how they are built and taken apart (spec: vless-reality §5.2, §5.3, §5.6).
//!
//! ```text
//!  0                16        17        19        21
//!  +----------------+---------+---------+---------+-----------+-----------
//!  | user id        | command | content | padding | content … | padding …
//!  | first one only |         | length  | length  |           |
//!  +----------------+---------+---------+---------+-----------+-----------
//! ```

use adit_reality::Random;
use thiserror::Error;

use super::observe::CHUNK;
use crate::vless::UserId;

/// What follows a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Another frame.
    Continue,
    /// Bytes without frames, still inside the outer encryption.
    End,
    /// Bytes without frames, outside the outer encryption.
    Direct,
}

/// Content and header together stay below the reference's buffer size.
pub(super) const MAX_CONTENT: usize = CHUNK - OVERHEAD;

/// Appends a frame. `id` only for the first of a direction; `content` of at most [`MAX_CONTENT`] bytes.
pub(super) fn push(id: Option<&UserId>, command: Command, content: &[u8], padding: u16, out: &mut Vec<u8>) {
    debug_assert!(content.len() <= MAX_CONTENT, "the caller cuts its content");
    if let Some(id) = id {
        out.extend_from_slice(id.as_bytes());
    }
    out.push(match command {
        Command::Continue => 0,
        Command::End => 1,
        Command::Direct => 2,
    });
    out.extend_from_slice(&(content.len() as u16).to_be_bytes());
    out.extend_from_slice(&padding.to_be_bytes());
    out.extend_from_slice(content);
    out.resize(out.len() + usize::from(padding), 0);
}

/// How many bytes of padding a frame gets. `long` hides the sizes of a handshake: content and padding together then
/// have 900 to 1399 bytes, where the content alone is shorter.
pub(super) fn padding(content: usize, long: bool, random: &mut dyn Random) -> u16 {
    let wanted = match usize::from(LONG_BELOW).checked_sub(content) {
        Some(missing) if long && missing > 0 => missing + usize::from(below(random, LONG_SPREAD)),
        _ => usize::from(below(random, SHORT_SPREAD)),
    };
    // At most 1399.
    wanted.min(MAX_CONTENT.saturating_sub(content)) as u16
}

/// Uniform in `0..bound`.
fn below(random: &mut dyn Random, bound: u16) -> u16 {
    // Values at or above the largest multiple of `bound` would make small results likelier.
    let fair = u32::from(u16::MAX) + 1 - (u32::from(u16::MAX) + 1) % u32::from(bound);
    loop {
        let mut bytes = [0; 2];
        random.fill(&mut bytes);
        let drawn = u16::from_be_bytes(bytes);
        if u32::from(drawn) < fair {
            return drawn % bound;
        }
    }
}

/// Takes one direction's frames apart, however the bytes are cut.
///
/// A direction that does not begin with the user id is not framed at all: it is passed through (§5.2).
#[derive(Clone, Debug)]
pub struct Unpad {
    id: UserId,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes of the user id have matched.
    Id(u8),
    /// Inside a frame's header of which `have` bytes are here.
    Header { have: u8, bytes: [u8; 5] },
    /// Inside content and padding.
    Body { command: Command, content: u16, padding: u16 },
}

/// What [`Unpad::feed`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpadded {
    /// Bytes taken from the front of the input. Fewer than all only when the frames have ended.
    pub consumed: usize,
    /// What follows the bytes taken.
    pub then: Then,
}

/// What follows in a direction that is being unframed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// More of the frames.
    Frames,
    /// Bytes as they are, still inside the outer encryption.
    Sealed,
    /// Bytes as they are, outside the outer encryption: neither the rest of the input nor anything behind it must be
    /// decrypted.
    Raw,
}

/// A frame with a command that nobody has defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the server sent the unknown Vision command {0}")]
pub struct UnknownCommand(pub u8);

impl Unpad {
    /// Expects the first frame of a direction, which begins with `id`.
    #[must_use]
    pub fn new(id: UserId) -> Self {
        Self { id, state: State::Id(0) }
    }

    /// Takes frames from `input` and appends their content to `content`. Call again with what comes next, until
    /// [`Unpadded::then`] is something else than [`Then::Frames`].
    ///
    /// # Errors
    /// [`UnknownCommand`]; what follows could not be understood, so the connection is useless.
    pub fn feed(&mut self, input: &[u8], content: &mut Vec<u8>) -> Result<Unpadded, UnknownCommand> {
        let mut rest = input;
        let then = loop {
            let Some(&byte) = rest.first() else { break Then::Frames };
            match &mut self.state {
                State::Id(matched) => {
                    let expected = self.id.as_bytes();
                    if expected.get(usize::from(*matched)) != Some(&byte) {
                        content.extend(expected.iter().take(usize::from(*matched)));
                        break Then::Sealed;
                    }
                    rest = &rest[1..];
                    *matched += 1;
                    if usize::from(*matched) == expected.len() {
                        self.state = State::HEADER;
                    }
                }
                State::Header { have, bytes } => {
                    if let Some(place) = bytes.get_mut(usize::from(*have)) {
                        *place = byte;
                    }
                    rest = &rest[1..];
                    *have += 1;
                    if usize::from(*have) == bytes.len() {
                        let [command, c0, c1, p0, p1] = *bytes;
                        self.state = State::Body {
                            command: Command::parse(command)?,
                            content: u16::from_be_bytes([c0, c1]),
                            padding: u16::from_be_bytes([p0, p1]),
                        };
                    }
                }
                State::Body { content: left, .. } if *left > 0 => {
                    let (front, back) = rest.split_at(rest.len().min(usize::from(*left)));
                    content.extend_from_slice(front);
                    // `front` is no longer than `left`.
                    *left -= front.len() as u16;
                    rest = back;
                }
                State::Body { padding: left, .. } => {
                    let skipped = rest.len().min(usize::from(*left));
                    *left -= skipped as u16;
                    rest = &rest[skipped..];
                }
            }
            // A frame ends with its last byte, not with the first byte after it: the switch must not wait for one.
            if let State::Body { command, content: 0, padding: 0 } = self.state {
                match command {
                    Command::Continue => self.state = State::HEADER,
                    Command::End => break Then::Sealed,
                    Command::Direct => break Then::Raw,
                }
            }
        };
        Ok(Unpadded { consumed: input.len() - rest.len(), then })
    }
}

impl State {
    const HEADER: Self = Self::Header { have: 0, bytes: [0; 5] };
}

impl Command {
    fn parse(byte: u8) -> Result<Self, UnknownCommand> {
        match byte {
            0 => Ok(Self::Continue),
            1 => Ok(Self::End),
            2 => Ok(Self::Direct),
            other => Err(UnknownCommand(other)),
        }
    }
}

/// User id and header.
const OVERHEAD: usize = 21;

// The reference's defaults (`testseed`): 900, 500, 900, 256.
const LONG_BELOW: u16 = 900;
const LONG_SPREAD: u16 = 500;
const SHORT_SPREAD: u16 = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vless::testing::hex;

    fn id() -> UserId {
        UserId::parse("b831381d-6324-4d53-ad4f-8cda48b30811").unwrap()
    }

    const D1: &str = "b831381d63244d53ad4f8cda48b30811000000000a00000000000000000000";
    const D2: &str = "0000120004474554202f20485454502f312e310d0a0d0a00000000";
    const D3: &str = "02000a00031703030005aabbccddee000000";
    const D4: &str = "0100030000627965";

    fn frame(id: Option<&UserId>, command: Command, content: &[u8], padding: u16) -> Vec<u8> {
        let mut out = Vec::new();
        push(id, command, content, padding, &mut out);
        out
    }

    /// Feeds `wire` in pieces that end at `cuts`; returns the content, what was not taken, and what follows.
    fn unpad(wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<u8>, Then) {
        let mut frames = Unpad::new(id());
        let mut content = Vec::new();
        let mut start = 0;
        for &end in cuts.iter().chain([&wire.len()]) {
            let found = frames.feed(&wire[start..end], &mut content).unwrap();
            start += found.consumed;
            if found.then != Then::Frames {
                return (content, wire[start..].to_vec(), found.then);
            }
            assert_eq!(start, end, "frames take everything");
        }
        (content, Vec::new(), Then::Frames)
    }

    #[test]
    fn frames_equal_the_vectors() {
        assert_eq!(frame(Some(&id()), Command::Continue, b"", 10), hex(D1));
        assert_eq!(frame(None, Command::Continue, b"GET / HTTP/1.1\r\n\r\n", 4), hex(D2));
        let record = hex("1703030005aabbccddee");
        assert_eq!(frame(None, Command::Direct, &record, 3), hex(D3));
        assert_eq!(frame(None, Command::End, b"bye", 0), hex(D4));
    }

    #[test]
    fn frames_are_taken_apart_at_every_cut() {
        let ended = [hex(D1), hex(D2), hex(D4), b"xyz".to_vec()].concat();
        let direct = [hex(D1), hex(D3), b"raw".to_vec()].concat();
        for first in 0..=ended.len() {
            for second in first..=ended.len() {
                let (content, rest, then) = unpad(&ended, &[first, second]);
                assert_eq!(
                    (&content[..], &rest[..], then),
                    (&b"GET / HTTP/1.1\r\n\r\nbye"[..], &b"xyz"[..], Then::Sealed)
                );
            }
        }
        for first in 0..=direct.len() {
            let (content, rest, then) = unpad(&direct, &[first]);
            assert_eq!((content, &rest[..], then), (hex("1703030005aabbccddee"), &b"raw"[..], Then::Raw));
        }
    }

    /// F-F10: the switch comes with the frame's last byte, not with a byte after it.
    #[test]
    fn the_last_byte_of_a_direct_frame_is_the_switch() {
        for padding in [0, 1, 300] {
            let wire = frame(Some(&id()), Command::Direct, b"x", padding);
            let (_, rest, then) = unpad(&wire, &[]);
            assert_eq!((rest.len(), then), (0, Then::Raw));
            let (_, _, then) = unpad(&wire[..wire.len() - 1], &[]);
            assert_eq!(then, Then::Frames);
        }
        let (_, _, then) = unpad(&frame(Some(&id()), Command::Direct, b"", 0), &[]);
        assert_eq!(then, Then::Raw);
    }

    #[test]
    fn a_direction_without_the_user_id_is_passed_through() {
        let mut almost = id().as_bytes().to_vec();
        almost[15] ^= 1;
        almost.extend_from_slice(b"and more");
        for wire in [&b"220 smtp.example ready\r\n"[..], &almost, &almost[..16]] {
            for cut in 0..=wire.len() {
                let (mut content, rest, then) = unpad(wire, &[cut]);
                content.extend_from_slice(&rest);
                assert_eq!((&content[..], then), (wire, Then::Sealed));
            }
        }
    }

    #[test]
    fn any_lengths_are_accepted_and_unknown_commands_are_not() {
        let mut wire = id().as_bytes().to_vec();
        wire.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff]);
        wire.resize(wire.len() + 65_535, 7);
        wire.resize(wire.len() + 65_535, 8);
        wire.extend_from_slice(&[1, 0, 0, 0, 0]);
        let (content, rest, then) = unpad(&wire, &[40_000, 80_000]);
        assert_eq!((content.len(), rest.len(), then), (65_535, 0, Then::Sealed));
        assert!(content.iter().all(|&b| b == 7));

        let mut frames = Unpad::new(id());
        let bad = [id().as_bytes().as_slice(), &[3, 0, 0, 0, 0]].concat();
        assert_eq!(frames.feed(&bad, &mut Vec::new()), Err(UnknownCommand(3)));
    }

    /// Random bytes that are not: a counter, so that every value comes up.
    struct Counter(u16);

    impl Random for Counter {
        fn fill(&mut self, out: &mut [u8]) {
            for pair in out.chunks_mut(2) {
                self.0 = self.0.wrapping_add(1);
                pair.copy_from_slice(&self.0.to_be_bytes()[..pair.len()]);
            }
        }
    }

    #[test]
    fn padding_lengths_have_the_reference_ranges_and_are_uniform() {
        let mut random = Counter(0);
        let mut spread = |content: usize, long: bool, n: usize| {
            let mut seen = std::collections::BTreeMap::new();
            for _ in 0..n {
                *seen.entry(padding(content, long, &mut random)).or_insert(0_u32) += 1;
            }
            seen
        };
        let long = spread(100, true, 65_500);
        assert_eq!((*long.keys().next().unwrap(), *long.keys().last().unwrap()), (800, 1299));
        assert_eq!(long.len(), 500);
        assert!(long.values().all(|&n| n == 131), "uniform");
        for (content, long) in [(100, false), (900, true), (5000, true)] {
            let short = spread(content, long, 65_536);
            assert_eq!((*short.keys().next().unwrap(), *short.keys().last().unwrap()), (0, 255));
            assert!(short.values().all(|&n| n == 256), "uniform");
        }
        assert_eq!(spread(MAX_CONTENT, true, 300).len(), 1, "no room, no padding");
        assert_eq!(*spread(MAX_CONTENT - 9, false, 600).keys().last().unwrap(), 9);
    }
}
