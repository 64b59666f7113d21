//! REALITY: the handshake, its messages and the record layer, against a server that follows the fuzzer's script.

use std::sync::OnceLock;

use adit_reality::testing::{self, Group, Identity, Layout, Sabotage, Script, Suite, TestServer};
use adit_reality::{Alert, ClientHandshake, Content, Error, Hybrid, MAX_RECORD, Opened, Opener, Progress};

use crate::input::{Input, cuts};
use crate::outbound::Shift;

/// Whole handshakes: random bytes, random records, random messages under the right keys, right ones damaged and cut.
pub fn reality_handshake(data: &[u8]) {
    let mut input = Input(data);
    let (kind, seed) = (input.byte(), input.short());
    match kind % 6 {
        0 => strange_bytes(seed, input.0),
        1 => strange_bytes(seed, &records(input)),
        2 => drop(scripted(seed, script(seed, Some(Sabotage::Flight(messages(input)))), &[])),
        3 => {
            let body = server_hello(&mut input);
            drop(scripted(seed, script(seed, Some(Sabotage::Raw(body))), &[]));
        }
        4 => drop(scripted(seed, script(seed, None), input.0)),
        _ => {
            let done = scripted(seed, script(seed, None), &[]);
            assert_eq!(done, Ok(true), "a server that does everything right");
        }
    }
}

fn client(hybrid: bool) -> ClientHandshake {
    let mut options = Identity::new(1).options();
    if !hybrid {
        options.hybrid = Hybrid::Strip;
    }
    ClientHandshake::new(&options, &mut Shift(1 << 40), 1_700_000_000).expect("good options")
}

fn script(seed: u16, fault: Option<Sabotage>) -> Script {
    let mut script = Script { sabotage: fault, ..Script::default() };
    script.policy.demand_hybrid = false;
    script.group = if hybrid(seed) { Group::Hybrid } else { Group::X25519 };
    script.suite = match seed >> 2 & 3 {
        0 => Suite::Aes256,
        1 => Suite::ChaCha20,
        _ => Suite::Aes128,
    };
    script.layout = match seed >> 4 & 3 {
        0 => Layout::Coalesced { padding: usize::from(seed & 0xff) },
        1 => Layout::Split { content: usize::from(seed & 0xff) + 1 },
        _ => Layout::PerMessage { padding: usize::from(seed & 0xf) },
    };
    script
}

/// Key pairs of the hybrid group are dear, so most runs go without.
fn hybrid(seed: u16) -> bool {
    seed & 3 == 0
}

/// Feeds what a server answers, damaged as `damage` says, in parts. Whether it came to an established connection.
fn scripted(seed: u16, script: Script, damage: &[u8]) -> Result<bool, Error> {
    let mut handshake = client(hybrid(seed));
    let mut server = TestServer::new(Identity::new(1), script);
    server.receive(&handshake.take_output());
    let mut bytes = server.take_output();
    for change in damage.chunks(3) {
        if let &[high, low, value] = change {
            let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= value;
            }
        }
    }
    let progress = feed(&mut handshake, seed, &bytes)?;
    let Progress::Done { established, .. } = progress else { return Ok(false) };
    server.receive(&handshake.take_output());
    server.send(b"hello");
    let mut sealed = server.take_output();
    let mut opener = established.opener;
    assert!(matches!(opener.open(&mut sealed), Ok(Opened::Record { content: Content::Data(b"hello"), .. })));
    Ok(true)
}

/// Feeds a handshake as a connection does, cut in three.
fn feed(handshake: &mut ClientHandshake, seed: u16, bytes: &[u8]) -> Result<Progress, Error> {
    let mut received = Vec::new();
    let mut from = 0;
    let mut used = 0;
    for to in cuts(seed, bytes).into_iter().chain([bytes.len()]) {
        received.extend_from_slice(&bytes[from..to]);
        from = to;
        match handshake.feed(&mut received)? {
            Progress::NeedMore { consumed } => {
                assert!(consumed <= received.len());
                used += consumed;
                received.drain(..consumed);
            }
            Progress::Done { consumed, .. } | Progress::NotReality { consumed, .. } if consumed > received.len() => {
                panic!("took {consumed} of {}", received.len())
            }
            over => return Ok(over),
        }
    }
    assert!(received.len() < MAX_RECORD, "a whole record was left");
    Ok(Progress::NeedMore { consumed: used })
}

/// Bytes that no server of ours sent never establish anything, and it does not matter where they are cut.
fn strange_bytes(seed: u16, bytes: &[u8]) {
    let (mut whole, mut parts) = (client(false), client(false));
    let one = whole.feed(&mut bytes.to_vec());
    let many = feed(&mut parts, seed, bytes);
    match (one, many) {
        (Ok(Progress::NeedMore { consumed }), Ok(Progress::NeedMore { consumed: sum })) => assert_eq!(consumed, sum),
        (Err(one), Err(many)) => assert_eq!(one, many),
        (one, many) => panic!("{one:?} in one piece, {many:?} in three"),
    }
}

fn records(mut input: Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() {
        let kind = [22, 22, 20, 21, 23, 24, 0, 255][usize::from(input.byte() % 8)];
        let body = input.bytes();
        stream.extend_from_slice(&[kind, 3, 3]);
        stream.extend_from_slice(&(body.len() as u16).to_be_bytes());
        stream.extend_from_slice(body);
    }
    stream
}

fn messages(mut input: Input<'_>) -> Vec<u8> {
    let mut flight = Vec::new();
    while !input.is_empty() {
        let kind = [8, 11, 15, 20, 25, 13, 4, 24][usize::from(input.byte() % 8)];
        match input.byte() % 8 {
            0 => flight.extend_from_slice(input.bytes()),
            // The shape that a Certificate message has.
            1 => {
                let certificate = input.bytes();
                let length = certificate.len();
                put(
                    kind,
                    &[&[0], &triple(length + 5)[..], &triple(length)[..], certificate, &[0, 0]].concat(),
                    &mut flight,
                );
            }
            _ => put(kind, input.bytes(), &mut flight),
        }
    }
    flight
}

fn put(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&triple(body.len()));
    out.extend_from_slice(body);
}

fn triple(length: usize) -> [u8; 3] {
    let [.., a, b, c] = length.to_be_bytes();
    [a, b, c]
}

/// A ServerHello message with right lengths; some of its fields are the fuzzer's.
fn server_hello(input: &mut Input<'_>) -> Vec<u8> {
    let flags = input.byte();
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    let session_id = &client_hello()[39..71];
    body.push(32);
    body.extend_from_slice(if flags & 1 == 0 { session_id } else { &[9; 32] });
    body.extend_from_slice(&[0x13, 1 + flags % 5, 0]);
    let mut extensions = Vec::new();
    while !input.is_empty() {
        let kind = [0x2b, 0x33, 0x29, 0x10, 0x2c][usize::from(input.byte() % 5)];
        let value = match input.byte() {
            0..128 if kind == 0x2b => vec![3, 4],
            0..128 if kind == 0x33 => {
                let group: u16 = if flags & 2 == 0 { 29 } else { 4588 };
                let share = input.bytes();
                [&group.to_be_bytes()[..], &(share.len() as u16).to_be_bytes(), share].concat()
            }
            _ => input.bytes().to_vec(),
        };
        extensions.extend_from_slice(&[0, kind]);
        extensions.extend_from_slice(&(value.len() as u16).to_be_bytes());
        extensions.extend_from_slice(&value);
    }
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    let mut message = Vec::new();
    put(2, &body, &mut message);
    message
}

/// One hello of ours, as a handshake message.
fn client_hello() -> &'static [u8] {
    static HELLO: OnceLock<Vec<u8>> = OnceLock::new();
    HELLO.get_or_init(|| client(false).take_output().split_off(5))
}

/// ServerHello, certificates, Certificate messages.
pub fn reality_messages(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => drop(testing::read_server_hello(input.0, client_hello())),
        1 => {
            let hello = server_hello(&mut input);
            let _ = testing::read_server_hello(&hello[4..], client_hello());
        }
        2 => {
            if let Some((_, signature, extension)) = testing::walk_certificate(input.0) {
                let found = signature.len() + extension.map_or(0, <[u8]>::len);
                assert!(found < input.0.len());
                // All of it counts: one byte less is another certificate.
                assert!(testing::walk_certificate(&input.0[..input.0.len() - 1]).is_none());
            }
        }
        _ => {
            if input.byte() % 2 == 0 {
                let _ = testing::read_certificate_message(input.0);
            } else {
                let certificate = input.0;
                let length = certificate.len();
                let body = [&[0], &triple(length + 5)[..], &triple(length)[..], certificate, &[0, 0]].concat();
                let good = testing::walk_certificate(certificate).is_some();
                assert_eq!(testing::read_certificate_message(&body), good);
            }
        }
    }
}

/// The record layer: what the peer sends under the right keys, and anything else.
pub fn reality_opener(data: &[u8]) {
    let mut input = Input(data);
    let (kind, seed) = (input.byte(), input.short());
    let (mut opener, mut server) = testing::opener(match kind % 3 {
        0 => Suite::Aes128,
        1 => Suite::Aes256,
        _ => Suite::ChaCha20,
    });
    let (mut sent, mut damaged) = (Vec::new(), false);
    while !input.is_empty() && !damaged {
        match input.byte() % 9 {
            0 | 1 => {
                let data = input.bytes().repeat(if input.byte() % 16 == 0 { 100 } else { 1 });
                server.send(&data);
                sent.extend_from_slice(&data);
            }
            2 => server.send_empty(usize::from(input.short() % 2048)),
            3 => server.send_ticket(usize::from(input.short())),
            4 => server.send_key_update(input.byte() & 1 == 0),
            5 => server.send_alert(Alert(input.byte())),
            6 => {
                let (kind, padding) = (input.byte(), input.byte());
                let content = input.bytes();
                server.send_record(kind % 32, content, padding.into());
                if kind % 32 == 23 {
                    sent.extend_from_slice(content);
                }
            }
            7 => {
                let body = input.bytes();
                let header = [20 + input.byte() % 5, 3, 3, 0, body.len() as u8];
                server.send_raw(&[&header[..], body].concat());
            }
            _ => {
                server.send_raw(input.0);
                damaged = true;
            }
        }
    }
    let mut stream = server.take_output();
    if let (true, Some(byte)) = (kind & 0xc0 == 0xc0, stream.get_mut(usize::from(seed))) {
        *byte ^= 1;
    }
    let received = open_all(&mut opener, seed, &mut stream);
    assert!(sent.starts_with(&received), "received what was not sent");
}

/// Opens record after record, each once as many bytes are there as the opener asks for.
fn open_all(opener: &mut Opener, seed: u16, stream: &mut [u8]) -> Vec<u8> {
    let mut received = Vec::new();
    let (mut from, mut have) = (0, usize::from(seed % 8));
    loop {
        let end = (from + have).min(stream.len());
        match opener.open(&mut stream[from..end]) {
            Ok(Opened::Incomplete { need_total }) => {
                assert!(need_total > end - from && need_total <= MAX_RECORD);
                if from + need_total > stream.len() {
                    return received;
                }
                have = need_total;
            }
            Ok(Opened::Record { consumed, content }) => {
                assert!((1..=end - from).contains(&consumed));
                match content {
                    Content::Data(data) => received.extend_from_slice(data),
                    Content::Closed => return received,
                    Content::Nothing | Content::KeyUpdate { .. } => {}
                }
                from += consumed;
                have = 0;
            }
            Err(why) => {
                let _ = (why.alert(), why.to_string());
                return received;
            }
        }
    }
}
