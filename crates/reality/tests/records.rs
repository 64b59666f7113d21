//! The record layer after the handshake (F-F6): what is found, and that nothing beyond one record is touched.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use adit_reality::testing::{Suite, TestServer, opener};
use adit_reality::{Alert, Content, MAX_RECORD, Opened, Opener};

const SUITES: [Suite; 3] = [Suite::Aes128, Suite::Aes256, Suite::ChaCha20];

/// Opens the first record of `bytes` and drops it.
fn next(opener: &mut Opener, bytes: &mut Vec<u8>) -> String {
    let (consumed, found) = match opener.open(bytes).unwrap() {
        Opened::Incomplete { need_total } => return format!("needs {need_total}"),
        Opened::Record { consumed, content } => (consumed, format!("{content:?}")),
    };
    bytes.drain(..consumed);
    found
}

#[test]
fn every_kind_of_content() {
    for suite in SUITES {
        let (mut opener, mut server) = opener(suite);
        server.send(b"one");
        server.send_empty(0);
        server.send_empty(16_384);
        server.send_ticket(200);
        server.send_raw(&[20, 3, 3, 0, 1, 1]);
        server.send_key_update(false);
        server.send(b"two");
        server.send_key_update(true);
        server.send(b"three");
        server.send_alert(Alert::CLOSE_NOTIFY);
        let mut bytes = server.take_output();
        let found: Vec<String> = (0..10).map(|_| next(&mut opener, &mut bytes)).collect();
        let data = |text: &[u8]| format!("{:?}", Content::Data(text));
        let nothing = || "Nothing".to_owned();
        let expected = [
            data(b"one"),
            nothing(),
            nothing(),
            nothing(),
            nothing(),
            "KeyUpdate { reply: false }".into(),
            data(b"two"),
            "KeyUpdate { reply: true }".into(),
            data(b"three"),
            "Closed".into(),
        ];
        assert_eq!(found, expected);
        assert_eq!(next(&mut opener, &mut bytes), "needs 5");
    }
}

#[test]
fn tickets_may_be_huge_and_in_pieces() {
    let (mut opener, mut server) = opener(Suite::Aes128);
    server.send_ticket(65_000);
    for piece in [&[4, 0][..], &[0], &[3, 1, 2], &[3, 4, 0, 0, 1, 9, 24, 0, 0], &[1]] {
        server.send_record(22, piece, 3);
    }
    server.send_record(22, &[0], 0); // the last byte of a KeyUpdate that began two records ago
    let mut bytes = server.take_output();
    for _ in 0..4 + 5 {
        assert_eq!(next(&mut opener, &mut bytes), "Nothing");
    }
    assert_eq!(next(&mut opener, &mut bytes), "KeyUpdate { reply: false }");
    assert!(bytes.is_empty());
}

/// Cut anywhere, a record is asked for in full and then opened; the rest of the buffer is never touched.
#[test]
fn every_split_point() {
    let (mut opener, mut server) = opener(Suite::Aes256);
    server.send(b"first");
    let first = server.take_output();
    server.send(b"second");
    let second = server.take_output();
    for cut in 0..first.len() {
        let mut part = first[..cut].to_vec();
        let need = if cut < 5 { 5 } else { first.len() };
        assert_eq!(opener.open(&mut part).unwrap(), Opened::Incomplete { need_total: need });
        assert_eq!(part, first[..cut], "nothing was changed");
    }
    let raw = b"raw bytes that are not TLS";
    let mut bytes = [&first[..], &second, raw].concat();
    assert_eq!(
        opener.open(&mut bytes).unwrap(),
        Opened::Record { consumed: first.len(), content: Content::Data(b"first") }
    );
    assert_eq!(bytes[first.len()..], [&second[..], raw].concat());
    let mut bytes = bytes.split_off(first.len());
    assert_eq!(
        opener.open(&mut bytes).unwrap(),
        Opened::Record { consumed: second.len(), content: Content::Data(b"second") }
    );
    assert_eq!(bytes[second.len()..], *raw);
}

#[test]
fn sizes() {
    for suite in SUITES {
        let (mut opener, mut server) = opener(suite);
        for size in [1, 2, 15, 16, 17, 1400, 16_383, 16_384] {
            let data: Vec<u8> = (0..size).map(|i| i as u8).collect();
            server.send(&data);
            let mut bytes = server.take_output();
            assert!(bytes.len() <= MAX_RECORD);
            let Opened::Record { content: Content::Data(opened), .. } = opener.open(&mut bytes).unwrap() else {
                panic!()
            };
            assert_eq!(opened, data);
        }
    }
}

/// Zeros at the end of data are data, not padding.
#[test]
fn zeros_are_kept() {
    let (mut opener, mut server) = opener(Suite::Aes128);
    server.send_record(23, &[0; 100], 50);
    let mut bytes = server.take_output();
    assert_eq!(next(&mut opener, &mut bytes), format!("{:?}", Content::Data(&[0; 100])));
}

#[test]
fn many_records() {
    let (mut opener, mut server): (Opener, TestServer) = opener(Suite::ChaCha20);
    for i in 0..300_u32 {
        server.send(&i.to_be_bytes());
        let mut bytes = server.take_output();
        assert_eq!(next(&mut opener, &mut bytes), format!("{:?}", Content::Data(&i.to_be_bytes())));
    }
}
