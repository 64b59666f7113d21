//! Vision's sending side: which bytes go into which frame, and when the frames end (spec: vless-reality §5.5).

use adit_reality::Random;

use super::frame::{self, Command, MAX_CONTENT, Then};
use super::observe::{CHUNK, Observer};
use crate::vless::UserId;

/// Frames one direction until the inner handshake is over.
#[derive(Clone, Debug)]
pub struct Pad {
    /// Until the first frame, which carries it.
    id: Option<UserId>,
    inner: Walk,
}

/// What [`Pad::feed`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padded {
    /// Bytes taken from the front of what was offered; at least 1 if there was one.
    pub consumed: usize,
    /// How the bytes after them go.
    pub then: Then,
}

impl Pad {
    /// Frames a direction whose first frame shows `id`.
    #[must_use]
    pub fn new(id: UserId) -> Self {
        Self { id: Some(id), inner: Walk::BOUNDARY }
    }

    /// Appends a frame without content: what goes with the request header when the client says nothing. Its padding
    /// hides the header's length.
    pub fn opening(&mut self, random: &mut dyn Random, out: &mut Vec<u8>) {
        let padding = frame::padding(0, true, random);
        frame::push(self.id.take().as_ref(), Command::Continue, &[], padding, out);
    }

    /// Frames a front part of `offered` and hands each frame to `seal`, to become one record. `prefix` goes before the
    /// first of them, in the same record. The rest of `offered` goes as [`Padded::then`] says.
    pub fn feed(
        &mut self,
        observer: &mut Observer,
        offered: &[u8],
        mut prefix: Vec<u8>,
        random: &mut dyn Random,
        mut seal: impl FnMut(&[u8]),
    ) -> Padded {
        let batch = self.inner.batch(offered, observer.is_tls12_or_above());
        self.inner.pass(batch);
        observer.see(batch);
        let complete = application_records(batch) == batch.len();
        let mut ending = false;
        let mut left = batch;
        while !left.is_empty() {
            let (chunk, rest) = cut(left);
            left = rest;
            let data = complete && observer.is_tls() && chunk.len() >= 6 && chunk.starts_with(&APPLICATION_DATA);
            ending |= data;
            let gave_up = !data && observer.gave_up();
            let command = if gave_up {
                Command::End
            } else if !ending || !rest.is_empty() {
                Command::Continue
            } else if observer.may_go_direct() {
                Command::Direct
            } else {
                Command::End
            };
            let padding = frame::padding(chunk.len(), data || observer.is_tls(), random);
            frame::push(self.id.take().as_ref(), command, chunk, padding, &mut prefix);
            seal(&prefix);
            prefix.clear();
            let then = match command {
                Command::Continue => continue,
                Command::End => Then::Sealed,
                Command::Direct => Then::Raw,
            };
            return Padded { consumed: batch.len() - rest.len(), then };
        }
        Padded { consumed: batch.len(), then: Then::Frames }
    }
}

/// Where the records of the inner TLS connection end, as long as the stream looks like one.
///
/// The switch must come at the end of a record, or an observer sees a record header in a strange place. The reference
/// waits for a write that happens to consist of whole records; knowing the boundaries, we can cut one.
#[derive(Clone, Copy, Debug)]
enum Walk {
    /// In a header of which `have` bytes have passed; 0 is the boundary between two records.
    Header { have: u8, bytes: [u8; 5] },
    /// So many bytes of a record's body are to come; never 0.
    Body { left: u16 },
    /// These are no TLS records.
    Lost,
}

impl Walk {
    const BOUNDARY: Self = Self::Header { have: 0, bytes: [0; 5] };

    /// The part of `offered` to frame at once. With `align`, it ends where a record ends if that can be had.
    fn batch(self, offered: &[u8], align: bool) -> &[u8] {
        let window = &offered[..offered.len().min(WINDOW)];
        let wanted = match self {
            _ if !align => window.len(),
            Self::Body { left } => usize::from(left),
            Self::Header { have: 1.., .. } => window.len(),
            Self::Header { have: 0, .. } | Self::Lost => match application_records(window) {
                0 => window.len(),
                whole => whole,
            },
        };
        &window[..wanted.min(window.len())]
    }

    fn pass(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            match self {
                Self::Lost => return,
                Self::Body { left } => {
                    let skipped = rest.len().min(usize::from(*left));
                    rest = &rest[skipped..];
                    *left -= skipped as u16; // not more than `left`
                    if *left == 0 {
                        *self = Self::BOUNDARY;
                    }
                }
                Self::Header { have, bytes } => {
                    if let Some(place) = bytes.get_mut(usize::from(*have)) {
                        *place = byte;
                    }
                    *have += 1;
                    rest = &rest[1..];
                    if usize::from(*have) == bytes.len() {
                        *self = Self::behind(*bytes);
                    }
                }
            }
        }
    }

    fn behind(header: [u8; 5]) -> Self {
        match (header, u16::from_be_bytes([header[3], header[4]])) {
            ([20..=23, 3, ..], 0) => Self::BOUNDARY,
            ([20..=23, 3, ..], left @ ..=MAX_BODY) => Self::Body { left },
            _ => Self::Lost,
        }
    }
}

/// The length of the whole application-data records at the front of `bytes`.
fn application_records(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Some([0x17, 0x03, 0x03, high, low, body @ ..]) = bytes.get(whole..) {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if body.len() < length {
            break;
        }
        whole += 5 + length;
    }
    whole
}

/// The first frame's worth of a batch: at most a buffer of the reference, cut at a record where one begins late enough.
fn cut(batch: &[u8]) -> (&[u8], &[u8]) {
    let chunk = &batch[..batch.len().min(CHUNK)];
    if chunk.len() < MAX_CONTENT {
        return batch.split_at(chunk.len());
    }
    let record = chunk.windows(APPLICATION_DATA.len()).rposition(|window| window == APPLICATION_DATA);
    let at = record.filter(|at| (21..=MAX_CONTENT).contains(at)).unwrap_or(CHUNK / 2);
    batch.split_at(at)
}

/// Room for a longest record and more, so that one write of a busy stream always contains a whole record.
const WINDOW: usize = 4 * CHUNK;

/// A record's body (RFC 8446 §5.2).
const MAX_BODY: u16 = 16_384 + 256;

const APPLICATION_DATA: [u8; 3] = [0x17, 0x03, 0x03];

#[cfg(test)]
mod tests {
    use adit_reality::SystemRandom;
    use proptest::prelude::*;

    use super::super::frame::Unpad;
    use super::super::observe::tests::{client_hello, server_hello};
    use super::*;

    fn id() -> UserId {
        UserId::parse("b831381d-6324-4d53-ad4f-8cda48b30811").unwrap()
    }

    fn data(length: u16) -> Vec<u8> {
        let mut record = vec![0x17, 0x03, 0x03];
        record.extend_from_slice(&length.to_be_bytes());
        record.resize(5 + usize::from(length), 0xda);
        record
    }

    /// Finished behind change_cipher_spec, as TLS 1.3 clients send it.
    fn finished() -> Vec<u8> {
        [&[0x14, 3, 3, 0, 1, 1][..], &data(53)].concat()
    }

    struct Sender {
        pad: Pad,
        observer: Observer,
        records: Vec<Vec<u8>>,
    }

    impl Sender {
        fn new() -> Self {
            Self { pad: Pad::new(id()), observer: Observer::default(), records: Vec::new() }
        }

        fn write(&mut self, bytes: &[u8]) -> Padded {
            let records = &mut self.records;
            self.pad.feed(&mut self.observer, bytes, Vec::new(), &mut SystemRandom, |record| {
                records.push(record.to_vec());
            })
        }

        /// A connection on which the server chose TLS 1.3 (or not), up to the client's Finished.
        fn after_handshake(hello: &[u8]) -> Self {
            let mut sender = Self::new();
            assert_eq!(sender.write(&client_hello()).then, Then::Frames);
            sender.observer.see(hello);
            assert_eq!(sender.write(&finished()).then, Then::Frames);
            sender
        }

        fn commands(&self) -> Vec<u8> {
            (0..self.records.len()).map(|i| self.records[i][if i == 0 { 16 } else { 0 }]).collect()
        }
    }

    fn taken(consumed: usize, then: Then) -> Padded {
        Padded { consumed, then }
    }

    /// F-F11
    #[test]
    fn tls13_inside_goes_direct_with_the_first_application_data() {
        let mut sender = Sender::after_handshake(&server_hello(0x1301, true));
        assert_eq!(sender.write(&data(400)), taken(405, Then::Raw));
        assert_eq!(sender.commands(), [0, 0, 2]);
        for (i, record) in sender.records.iter().enumerate() {
            let long = (900..1400).contains(&(record.len() - if i == 0 { 21 } else { 5 }));
            assert!(long, "frame {i} hides its length");
        }
    }

    /// F-F11
    #[test]
    fn tls12_and_ccm8_inside_end_padding_but_stay_sealed() {
        for hello in [server_hello(0xc02f, false), server_hello(0x1305, true)] {
            let mut sender = Sender::after_handshake(&hello);
            assert_eq!(sender.write(&data(400)), taken(405, Then::Sealed));
            assert_eq!(sender.commands(), [0, 0, 1]);
        }
    }

    /// F-F11
    #[test]
    fn other_protocols_inside_end_padding_after_seven_chunks() {
        let mut sender = Sender::new();
        for _ in 0..6 {
            assert_eq!(sender.write(b"GET / HTTP/1.1\r\n\r\n"), taken(18, Then::Frames));
        }
        assert_eq!(sender.write(b"GET / HTTP/1.1\r\n\r\n"), taken(18, Then::Sealed));
        assert_eq!(sender.commands(), [0, 0, 0, 0, 0, 0, 1]);

        // One large write uses the budget up at once; what follows its first frame is not framed.
        let mut sender = Sender::new();
        for _ in 0..4 {
            sender.observer.see(b"down");
        }
        let padded = sender.write(&[b'x'; 100_000]);
        assert_eq!(padded, taken(CHUNK / 2, Then::Sealed));
    }

    #[test]
    fn a_batch_is_cut_to_whole_records() {
        let mut sender = Sender::after_handshake(&server_hello(0x1303, true));
        let three = [data(1000), data(9000), data(300)].concat();
        let whole = 1005 + 9005;
        assert_eq!(sender.write(&three[..whole + 100]), taken(whole, Then::Raw));
        assert_eq!(sender.commands().last(), Some(&2));
    }

    #[test]
    fn a_write_that_begins_inside_a_record_ends_with_that_record() {
        let mut sender = Sender::after_handshake(&server_hello(0x1301, true));
        let bulk = [data(16_401), data(16_401), data(16_401)].concat();
        // The relay's first read ended in the middle of a record.
        assert_eq!(sender.write(&bulk[..4096]), taken(4096, Then::Frames));
        assert_eq!(sender.write(&bulk[4096..40_000]), taken(16_406 - 4096, Then::Frames));
        assert_eq!(sender.write(&bulk[16_406..40_000]), taken(16_406, Then::Raw));
    }

    #[test]
    fn frames_fit_the_reference_buffer() {
        for hello in [server_hello(0x1301, true), server_hello(0xc02f, false)] {
            for length in [1, 8000, 8166, 8167, 8170, 8171, 8192, 10_000, 16_401] {
                let mut sender = Sender::after_handshake(&hello);
                sender.write(&data(length));
                sender.write(&vec![0xff; usize::from(length)]);
                assert!(sender.records.iter().all(|record| record.len() <= CHUNK), "{length}");
            }
        }
    }

    #[test]
    fn silence_opens_with_an_empty_long_frame() {
        let (mut pad, mut out) = (Pad::new(id()), Vec::new());
        pad.opening(&mut SystemRandom, &mut out);
        assert_eq!(out[..19], [id().as_bytes().as_slice(), &[0, 0, 0]].concat());
        assert!((921..=1420).contains(&out.len()));
        pad.opening(&mut SystemRandom, &mut out);
        assert!(!out[21..].windows(16).any(|w| w == id().as_bytes()), "the id is shown once");
    }

    #[derive(Clone, Debug)]
    enum Event {
        Up(Vec<u8>),
        Down(Vec<u8>),
    }

    fn inner_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(client_hello()),
            Just(server_hello(0x1301, true)),
            Just(server_hello(0xc02f, false)),
            Just(finished()),
            (0_u16..20_000).prop_map(data),
            proptest::collection::vec((0_u16..9000).prop_map(data), 1..4).prop_map(|records| records.concat()),
            proptest::collection::vec(any::<u8>(), 1..3000),
            (1_usize..70_000).prop_map(|n| vec![0x17; n]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// F-F11, F-F10: whatever runs inside and however it is cut, what is framed is what comes out.
        #[test]
        fn unpad_undoes_pad(
            events in proptest::collection::vec(
                prop_oneof![3 => inner_bytes().prop_map(Event::Up), 1 => inner_bytes().prop_map(Event::Down)],
                1..12,
            ),
            cuts in proptest::collection::vec(1_usize..3000, 1..20),
            trim in 0_usize..50,
        ) {
            let mut sender = Sender::new();
            let mut sent = Vec::new();
            let mut end = Then::Frames;
            'all: for event in &events {
                match event {
                    Event::Down(bytes) => sender.observer.see(bytes),
                    Event::Up(bytes) => {
                        let mut left = &bytes[..bytes.len() - trim.min(bytes.len() - 1)];
                        while !left.is_empty() {
                            let padded = sender.write(left);
                            prop_assert!(padded.consumed > 0);
                            sent.extend_from_slice(&left[..padded.consumed]);
                            left = &left[padded.consumed..];
                            end = padded.then;
                            if end != Then::Frames {
                                break 'all;
                            }
                        }
                    }
                }
            }
            let mut wire = sender.records.concat();
            let frames_end = wire.len();
            wire.extend_from_slice(b"behind");
            let (mut unpad, mut content) = (Unpad::new(id()), Vec::new());
            let (mut at, mut then) = (0, Then::Frames);
            for cut in cuts.iter().cycle() {
                let piece = &wire[at..(at + cut).min(if end == Then::Frames { frames_end } else { wire.len() })];
                let found = unpad.feed(piece, &mut content).unwrap();
                at += found.consumed;
                then = found.then;
                if then != Then::Frames || piece.is_empty() {
                    break;
                }
            }
            if !sent.is_empty() {
                prop_assert_eq!(then, end);
                prop_assert_eq!(at, frames_end);
            }
            prop_assert!(content == sent);
        }
    }
}
