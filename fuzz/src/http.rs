//! HTTP heads and chunked bodies.

use adit_inbound::http::chunked::{BadChunk, Decoder, Piece};
use adit_inbound::http::request::{Reader, Version, Wish, read as read_request};
use adit_inbound::http::response::read as read_response;
use adit_outbound::http::wire::parse_head;

use crate::input::{Input, cuts, whole_or_nothing};

/// Request heads, and what an origin gets of them.
pub fn http_request(data: &[u8]) {
    let mut input = Input(data);
    let seed = input.short();
    let bytes = input.0;
    let read = whole_or_nothing(seed, bytes, read_request);
    let mut reader = Reader::default();
    let [first, second] = cuts(seed, bytes);
    for end in [first, second, bytes.len()] {
        match reader.read(&bytes[..end]) {
            Ok(None) => {}
            said => {
                assert_eq!(said, read_request(bytes), "read in parts");
                break;
            }
        }
    }
    if let Some((request, _)) = read
        && let Wish::Forward(forward) = request.wish
    {
        is_one_head(&forward.head);
    }
}

/// Response heads, those of origins and those of upstream proxies.
pub fn http_response(data: &[u8]) {
    let mut input = Input(data);
    let (kind, seed) = (input.byte(), input.short());
    if kind % 4 == 0 {
        whole_or_nothing(seed, input.0, |bytes| {
            let head = parse_head(bytes).map_err(|why| why.to_string())?;
            Ok::<_, String>(head.map(|head| (head.clone(), head.length)))
        });
        return;
    }
    let read = whole_or_nothing(seed, input.0, |bytes| read_response(bytes, kind & 2 != 0));
    if let Some((response, _)) = read {
        for version in [Version::Http10, Version::Http11] {
            is_one_head(&response.head_for(version, kind & 4 != 0));
        }
    }
}

/// Nothing in a head that we write may be taken for its end.
fn is_one_head(head: &[u8]) {
    let end = head.windows(4).position(|window| window == b"\r\n\r\n");
    assert_eq!(end, Some(head.len() - 4), "{}", head.escape_ascii());
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\n' => assert_eq!(head[at - 1], b'\r'),
            b'\r' => assert_eq!(head[at + 1], b'\n'),
            byte => assert_ne!(*byte, 0),
        }
    }
}

/// Chunked bodies: raw, or made of what the fuzzer gives and then cut.
pub fn http_chunked(data: &[u8]) {
    let mut input = Input(data);
    let (kind, seed) = (input.byte(), input.short());
    if kind % 4 != 0 {
        let bytes = input.0;
        let whole = decode([bytes, &[], &[]]);
        let [first, second] = cuts(seed, bytes);
        assert_eq!(decode([&bytes[..first], &bytes[first..second], &bytes[second..]]), whole);
        return;
    }
    let (mut body, mut content) = (Vec::new(), Vec::new());
    while !input.is_empty() {
        let extension = input.byte();
        let piece = input.bytes();
        if piece.is_empty() {
            continue;
        }
        body.extend_from_slice(format!("{:x}", piece.len()).as_bytes());
        if extension % 3 == 0 {
            body.extend_from_slice(b" ;name=\"value\"");
        }
        body.extend_from_slice(&[b"\r\n", piece, b"\r\n"].concat());
        content.extend_from_slice(piece);
    }
    body.extend_from_slice(b"0\r\nA: b\r\n\r\nnext");
    let [first, second] = cuts(seed, &body);
    let read = decode([&body[..first], &body[first..second], &body[second..]]);
    assert_eq!(read, Ok((content, Some(b"A: b\r\n".to_vec()), b"next".to_vec())));
}

type Body = (Vec<u8>, Option<Vec<u8>>, Vec<u8>);

/// The data, the trailer and what follows.
fn decode(parts: [&[u8]; 3]) -> Result<Body, BadChunk> {
    let mut decoder = Decoder::default();
    let (mut content, mut trailer, mut left) = (Vec::new(), None, Vec::new());
    for mut part in parts {
        while let Some(piece) = decoder.next(&mut part)? {
            match piece {
                Piece::Data(data) => {
                    assert!(!data.is_empty());
                    content.extend_from_slice(data);
                }
                Piece::End(fields) => assert_eq!(trailer.replace(fields), None),
            }
        }
        assert!(part.is_empty() || decoder.is_done());
        left.extend_from_slice(part);
    }
    Ok((content, trailer, left))
}
