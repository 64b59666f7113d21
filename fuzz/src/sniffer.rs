//! What clients say first, to whom it may concern.

use std::io::Cursor;

use adit_sniffer::quic::{CryptoStream, MAX_DATAGRAMS};
use adit_sniffer::{LIMIT, Look, QuicSniffer, StreamSniffer, Verdict, http, tls};
use rustls::quic::Version;

use crate::input::Input;
use seal::{Sealer, crypto, varint};

#[path = "../../crates/sniffer/tests/suite/seal.rs"]
mod seal;

/// The beginnings of TLS connections: raw, hellos in records, hellos of the fuzzer's making.
pub fn sniff_tls(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let (stream, message) = match kind & 3 {
        0 => (input.0.to_vec(), None),
        // Whatever it is, in a handshake record or several.
        1 => {
            let cuts = input.bytes();
            (records(input.0, cuts), Some(input.0.to_vec()))
        }
        _ => {
            let cuts = input.bytes();
            let message = hello(kind, &mut input);
            (records(&message, cuts), Some(message))
        }
    };
    let verdict = stream_verdict(tls::sniff, &stream);
    as_rustls_reads(&stream, &verdict);
    let Some(message) = message.filter(|message| (1..LIMIT - 16).contains(&message.len())) else { return };
    // Where records end does not matter, nor what follows.
    let whole = tls::sniff(&records(&message, &[]));
    if stream.len() < LIMIT {
        assert_eq!(whole, verdict, "{stream:02x?}");
    }
    if whole != Verdict::NeedMore {
        assert_eq!(tls::sniff(&[&records(&message, &[]), &b"\x17\x03\x03\x00\x01x"[..]].concat()), whole);
    }
}

/// The beginnings of HTTP/1 connections.
pub fn sniff_http(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let stream = if kind & 1 == 0 {
        input.0.to_vec()
    } else {
        let methods = ["GET", "POST", "OPTIONS", "CONNECT", "get", "HEAD", "PRI", "TRACE"];
        let (target, host) = (input.bytes(), input.bytes());
        let head = [methods[usize::from(kind >> 1 & 7)].as_bytes(), b" ", target, b" HTTP/1.1\r\n"].concat();
        let hosts = if kind & 0x10 == 0 { [&b"Host:"[..], host, b"\r\n"].concat() } else { Vec::new() };
        [&head, &hosts, input.0, b"\r\n\r\n"].concat()
    };
    let verdict = stream_verdict(http::sniff, &stream);
    if let Verdict::Name(name) = &verdict {
        let text = String::from_utf8_lossy(&stream).to_ascii_lowercase();
        assert!(text.contains(name.as_str()), "{name} is not in {text}");
        assert!(!text.starts_with("connect"));
    }
    if verdict != Verdict::NeedMore && stream.len() < LIMIT {
        assert_eq!(http::sniff(&[&stream[..], b"more"].concat()), verdict);
    }
}

/// The verdict on a stream, which does not depend on where it was cut: of a beginning it is the same, or open.
fn stream_verdict(sniff: fn(&[u8]) -> Verdict, stream: &[u8]) -> Verdict {
    let whole = sniff(stream);
    assert!(stream.len() < LIMIT || whole != Verdict::NeedMore, "beyond the limit, and still open");
    let (mut fallen, step) = (false, stream.len() / 1024 + 1);
    for cut in (0..stream.len()).step_by(step) {
        let verdict = sniff(&stream[..cut]);
        assert!(verdict == whole || (verdict == Verdict::NeedMore && !fallen), "{verdict:?} at {cut}, then {whole:?}");
        fallen = verdict != Verdict::NeedMore;
    }
    // Who wants both protocols learns of the one that it is.
    let look = StreamSniffer::new(true, true).look(stream);
    match &whole {
        Verdict::Name(name) => assert!(matches!(&look, Look::Found(found) if found.name == *name)),
        Verdict::NeedMore => assert_eq!(look, Look::NeedMore),
        Verdict::NotThis => {}
    }
    whole
}

/// If rustls, as a server, sees a name, it is not another one.
fn as_rustls_reads(stream: &[u8], verdict: &Verdict) {
    let Verdict::Name(name) = verdict else { return };
    let mut acceptor = rustls::server::Acceptor::default();
    let mut rest = Cursor::new(stream);
    while let Ok(1..) = acceptor.read_tls(&mut rest) {
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                if let Some(theirs) = accepted.client_hello().server_name() {
                    assert_eq!(theirs.to_ascii_lowercase(), name.as_str());
                }
                return;
            }
            Err(_) => return,
        }
    }
}

/// A message in handshake records, each as long as the next of `lengths` says; the last takes the rest.
fn records(mut message: &[u8], lengths: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for length in lengths.iter().map(|length| usize::from(*length)).chain([1 << 14, 1 << 14]) {
        let (fragment, rest) = message.split_at(length.clamp(1, 1 << 14).min(message.len()));
        if !fragment.is_empty() {
            stream.extend([0x16, 3, 1]);
            stream.extend((fragment.len() as u16).to_be_bytes());
            stream.extend(fragment);
        }
        message = rest;
    }
    stream
}

/// A ClientHello with right lengths, but for those that are not.
fn hello(kind: u8, input: &mut Input<'_>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    let session = input.take(usize::from(kind >> 2 & 1) * 32);
    body.push(session.len() as u8);
    body.extend(session);
    body.extend([0, 2, 0x13, 1, 1, 0]);
    let mut extensions = Vec::new();
    while !input.is_empty() {
        let choice = input.byte();
        let content = input.bytes();
        let (number, content): (u16, Vec<u8>) = match choice & 7 {
            0..=2 => (0, server_name(choice, content)),
            3 => (0, content.to_vec()),
            // What rustls does not do without.
            4 => (43, vec![2, 3, 4]),
            5 => (13, vec![0, 2, 4, 3]),
            6 => (10, vec![0, 2, 0, 0x1d]),
            _ => (u16::from_be_bytes([choice >> 3, input.byte()]), content.to_vec()),
        };
        extensions.extend(number.to_be_bytes());
        extensions.extend((content.len() as u16).to_be_bytes());
        extensions.extend(content);
    }
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = (body.len() as u32 - u32::from(kind == 0xff)).to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// One name, or now and then the same twice.
fn server_name(choice: u8, name: &[u8]) -> Vec<u8> {
    let entry = [&[choice >> 7], &(name.len() as u16).to_be_bytes()[..], name].concat();
    let list = entry.repeat(1 + usize::from(choice & 0x78 == 0x78));
    [&(list.len() as u16).to_be_bytes()[..], &list].concat()
}

/// The first datagrams of QUIC connections: raw, and Initial packets that can be opened.
pub fn sniff_quic(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    match kind & 3 {
        0 => {
            feed(std::iter::from_fn(|| {
                (!input.is_empty()).then(|| {
                    let length = input.short();
                    input.take(length.into()).to_vec()
                })
            }));
        }
        1 => sealed_frames(kind, &mut input),
        _ => sealed_hello(kind, &mut input),
    }
}

/// The verdict on datagrams. It falls once, and in time.
fn feed(datagrams: impl IntoIterator<Item = Vec<u8>>) -> Verdict {
    let mut sniffer = QuicSniffer::new();
    let mut last = Verdict::NeedMore;
    for (n, datagram) in datagrams.into_iter().enumerate() {
        let verdict = sniffer.feed(&datagram);
        assert!(last == Verdict::NeedMore || verdict == last, "{last:?}, then {verdict:?}");
        assert!(n + 1 < MAX_DATAGRAMS.into() || verdict != Verdict::NeedMore, "still open after {n}");
        last = verdict;
    }
    last
}

fn sealer(kind: u8) -> Sealer {
    let mut sealer = Sealer::new(if kind & 4 == 0 { Version::V1 } else { Version::V2 });
    sealer.number_length = 1 + usize::from(kind >> 3 & 3);
    if kind & 0x20 != 0 {
        sealer.token = vec![7; 40];
    }
    sealer
}

/// Frames of the fuzzer's are judged in packets as they are without.
fn sealed_frames(kind: u8, input: &mut Input<'_>) {
    let (sealer, mut stream, mut sniffer) = (sealer(kind), CryptoStream::new(), QuicSniffer::new());
    for number in 0..u64::from(MAX_DATAGRAMS) - 1 {
        if input.is_empty() {
            return;
        }
        let choice = input.byte();
        let mut frames = match choice & 3 {
            0 => input.bytes().to_vec(),
            1 => {
                let offset = input.short();
                crypto(usize::from(offset), input.bytes())
            }
            2 => [&[2][..], &varint(input.short().into()), &[0, choice >> 6, 0], input.bytes()].concat(),
            _ => [&[0, 1, 0][..], &crypto(input.byte().into(), input.bytes())].concat(),
        };
        frames.resize(frames.len().max(4), 0);
        let expected = stream.read(&frames);
        let packet = sealer.seal(number, &frames);
        let datagram = match choice & 0x0c {
            // Early data before it, padding behind it.
            4 => [sealer.other(1), packet].concat(),
            8 => [packet, vec![0; 64]].concat(),
            _ => packet,
        };
        assert_eq!(sniffer.feed(&datagram), expected, "{frames:02x?}");
        if expected != Verdict::NeedMore {
            return;
        }
    }
}

/// A hello in pieces, in any order, some of them twice, is judged as it is in one.
fn sealed_hello(kind: u8, input: &mut Input<'_>) {
    let order = input.bytes();
    let message = hello(kind & !0x07, input);
    let sealer = sealer(kind);
    let pieces = 1 + usize::from(kind >> 6) * 5;
    let size = message.len().div_ceil(pieces);
    let mut frames: Vec<_> = message.chunks(size).enumerate().map(|(n, piece)| crypto(n * size, piece)).collect();
    for (n, place) in order.iter().enumerate() {
        let (count, place) = (frames.len(), usize::from(*place));
        frames.swap(n % count, place % count);
        if place >= 0xf0 && count < usize::from(MAX_DATAGRAMS) / 2 {
            frames.push(frames[place % count].clone());
        }
    }
    let verdict = feed(frames.iter().zip(0..).map(|(frame, number)| sealer.seal(number, frame)));
    let mut stream = CryptoStream::new();
    assert_eq!(verdict, stream.read(&crypto(0, &message)), "{message:02x?}");
}
