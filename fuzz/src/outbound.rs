//! What VLESS servers send: answer headers, datagrams in streams, Vision's frames.

use adit_net::Target;
use adit_outbound::vless::UserId;
use adit_outbound::vless::header::Answer;
use adit_outbound::vless::vision::{Observer, Pad, Then, UnknownCommand, Unpad};
use adit_outbound::vless::{packet_addr, xudp};
use adit_reality::Random;

use crate::input::{Input, cuts};

/// Answer headers, XUDP and packetaddr.
pub fn vless(data: &[u8]) {
    let mut input = Input(data);
    let (kind, seed) = (input.byte(), input.short());
    match kind % 7 {
        0 => answer(seed, input.0),
        1 => xudp_stream(seed, input.0),
        2 => xudp_stream(seed, &xudp_frames(input)),
        3 => xudp_round_trip(input),
        4 => packets(seed, input.0),
        5 => {
            let mut stream = Vec::new();
            while !input.is_empty() {
                let packet = input.bytes();
                stream.extend_from_slice(&(packet.len() as u16).to_be_bytes());
                stream.extend_from_slice(packet);
            }
            packets(seed, &stream);
        }
        _ => packet_round_trip(input),
    }
}

fn answer(seed: u16, bytes: &[u8]) {
    let mut whole = Answer::default();
    let taken = whole.feed(bytes);
    let [first, second] = cuts(seed, bytes);
    let mut parts = Answer::default();
    let mut sum = Ok(0);
    for part in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
        sum = match (sum, parts.feed(part)) {
            (Ok(sum), Ok(n)) => Ok(sum + n),
            (Err(why), _) | (_, Err(why)) => Err(why),
        };
    }
    assert_eq!(sum, taken);
    if let Ok(taken) = taken {
        assert!(taken <= bytes.len() && parts == whole);
        assert!(whole.is_complete() || taken == bytes.len());
    }
}

fn xudp_frames(mut input: Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() {
        let (status, option) = (input.byte() % 6, input.byte() & 3);
        let (more, payload) = (input.bytes(), input.bytes());
        stream.extend_from_slice(&(4 + more.len() as u16).to_be_bytes());
        stream.extend_from_slice(&[0, 0, status, option]);
        stream.extend_from_slice(more);
        if option & 1 != 0 {
            stream.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            stream.extend_from_slice(payload);
        }
    }
    stream
}

fn xudp_stream(seed: u16, stream: &[u8]) {
    let mut rest = stream;
    while let Ok(decoded) = xudp::decode(rest) {
        let xudp::Decoded::Frame { consumed, event } = &decoded else {
            assert!(rest.len() < xudp::MAX_FRAME);
            return;
        };
        assert!((1..=rest.len().min(xudp::MAX_FRAME)).contains(consumed));
        if let xudp::Event::Datagram { payload, .. } = event {
            assert!(!payload.is_empty() && payload.len() < *consumed);
        }
        for cut in cuts(seed, rest) {
            if cut < *consumed {
                assert_eq!(xudp::decode(&rest[..cut]), Ok(xudp::Decoded::Incomplete));
            } else {
                assert_eq!(xudp::decode(&rest[..cut]), Ok(decoded.clone()));
            }
        }
        rest = &rest[*consumed..];
    }
}

fn xudp_round_trip(mut input: Input<'_>) {
    let Some(to) = target(input.bytes()) else { return };
    let mut encoder = xudp::Encoder::new(None);
    let mut out = Vec::new();
    // The first frame opens the association, which a client never receives.
    encoder.encode(&to, b"x", &mut out).expect("short");
    out.clear();
    match encoder.encode(&to, input.0, &mut out) {
        Ok(()) if !input.is_empty() => {
            let event = xudp::Event::Datagram { from: Some(to), payload: input.0 };
            assert_eq!(xudp::decode(&out), Ok(xudp::Decoded::Frame { consumed: out.len(), event }));
        }
        Ok(()) => {}
        Err(_) => assert!(input.0.len() > xudp::MAX_UPLINK && out.is_empty()),
    }
}

fn packets(seed: u16, stream: &[u8]) {
    let mut rest = stream;
    while let packet_addr::Decoded::Packet { consumed, datagram } = packet_addr::decode(rest) {
        assert!((2..=rest.len()).contains(&consumed));
        for cut in cuts(seed, &rest[..consumed - 1]) {
            assert_eq!(packet_addr::decode(&rest[..cut]), packet_addr::Decoded::Incomplete);
        }
        if let Some((from, payload)) = datagram {
            let mut again = Vec::new();
            if packet_addr::encode(from, payload, &mut again).is_ok() {
                assert_eq!(again, rest[..consumed]);
            }
        }
        rest = &rest[consumed..];
    }
}

fn packet_round_trip(mut input: Input<'_>) {
    let Some(to) = target(input.bytes()).and_then(|target| target.socket_addr()) else { return };
    let mut out = Vec::new();
    if packet_addr::encode(to, input.0, &mut out).is_ok() {
        let read = packet_addr::Decoded::Packet { consumed: out.len(), datagram: Some((to, input.0)) };
        assert_eq!(packet_addr::decode(&out), read);
    }
}

fn target(text: &[u8]) -> Option<Target> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Vision: frames raw and well formed, what we pad ourselves, and the filter that watches.
pub fn vision(data: &[u8]) {
    let mut input = Input(data);
    let (kind, seed) = (input.byte(), input.short());
    let id = UserId::parse("b831381d-6324-4d53-ad4f-8cda48b30811").expect("a UUID");
    match kind % 4 {
        0 => unpad(id, seed, &[id.as_bytes(), input.0].concat()),
        1 => unpad(id, seed, &frames(id, input)),
        2 => pad_and_unpad(id, seed, input),
        _ => {
            let mut observer = Observer::default();
            while !input.is_empty() {
                let long = input.byte();
                let piece = input.bytes();
                observer.see(&piece.repeat(if long % 8 == 0 { 100 } else { 1 }));
                assert!(!observer.may_go_direct() || observer.is_tls12_or_above());
                assert!(!observer.is_tls12_or_above() || observer.is_tls());
                assert!(!(observer.gave_up() && observer.is_tls12_or_above()));
            }
            unpad(id, seed, data);
        }
    }
}

fn frames(id: UserId, mut input: Input<'_>) -> Vec<u8> {
    let mut stream = id.as_bytes().to_vec();
    while !input.is_empty() {
        let command = if input.byte() < 200 { 0 } else { input.byte() % 4 };
        let padding = u16::from(input.byte());
        let content = input.bytes();
        stream.push(command);
        stream.extend_from_slice(&(content.len() as u16).to_be_bytes());
        stream.extend_from_slice(&padding.to_be_bytes());
        stream.extend_from_slice(content);
        stream.resize(stream.len() + usize::from(padding), 0);
    }
    stream
}

type Unframed = (Vec<u8>, usize, Then);

fn in_parts(id: UserId, parts: &[&[u8]]) -> Result<Unframed, UnknownCommand> {
    let mut frames = Unpad::new(id);
    let (mut content, mut taken) = (Vec::new(), 0);
    for part in parts {
        let found = frames.feed(part, &mut content)?;
        assert!(found.consumed <= part.len());
        taken += found.consumed;
        if found.then != Then::Frames {
            return Ok((content, taken, found.then));
        }
        assert_eq!(found.consumed, part.len());
    }
    Ok((content, taken, Then::Frames))
}

fn unpad(id: UserId, seed: u16, bytes: &[u8]) {
    let [first, second] = cuts(seed, bytes);
    let parts = in_parts(id, &[&bytes[..first], &bytes[first..second], &bytes[second..]]);
    assert_eq!(parts, in_parts(id, &[bytes]));
}

fn pad_and_unpad(id: UserId, seed: u16, mut input: Input<'_>) {
    let mut random = Shift(u64::from(seed) | 1 << 40);
    let mut observer = Observer::default();
    let mut pad = Pad::new(id);
    let mut wire = Vec::new();
    if seed & 1 == 0 {
        pad.opening(&mut random, &mut wire);
    }
    // Some of what is sent looks like TLS.
    let mut offered = Vec::new();
    while !input.is_empty() {
        let long = input.byte();
        let piece = input.bytes();
        if long % 4 == 1 {
            offered.extend_from_slice(&[0x17, 3, 3, 0, piece.len() as u8]);
        }
        offered.extend_from_slice(&piece.repeat(if long % 8 == 0 { 200 } else { 1 }));
    }
    let (mut rest, mut then) = (&offered[..], Then::Frames);
    while !rest.is_empty() && then == Then::Frames {
        let offer = &rest[..rest.len().min(usize::from(random.short()) + 1)];
        let padded = pad.feed(&mut observer, offer, Vec::new(), &mut random, |frame| wire.extend_from_slice(frame));
        assert!((1..=offer.len()).contains(&padded.consumed));
        rest = &rest[padded.consumed..];
        then = padded.then;
    }
    let sent = &offered[..offered.len() - rest.len()];
    if wire.is_empty() {
        return;
    }
    let [first, second] = cuts(seed, &wire);
    let read = in_parts(id, &[&wire[..first], &wire[first..second], &wire[second..]]);
    assert!(read == Ok((sent.to_vec(), wire.len(), then)), "what was padded is not what was read");
}

/// Not random, but never the same twice in a row, which a fair draw relies on.
pub(crate) struct Shift(pub(crate) u64);

impl Shift {
    fn short(&mut self) -> u16 {
        let mut bytes = [0; 2];
        self.fill(&mut bytes);
        u16::from_be_bytes(bytes)
    }
}

impl Random for Shift {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = (self.0 >> 24) as u8;
        }
    }
}
