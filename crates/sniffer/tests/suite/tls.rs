use adit_sniffer::tls::sniff;
use adit_sniffer::{LIMIT, Verdict};
use proptest::prelude::*;

use crate::wire::{CHROMIUM_TLS, Hello, handshake, name, record, records, server_names, sniffed, unhex};

/// Chromium's hello without its record.
fn chromium() -> Vec<u8> {
    unhex(CHROMIUM_TLS).split_off(5)
}

#[test]
fn chromium_cut_at_every_byte() {
    let stream = unhex(CHROMIUM_TLS);
    for cut in 0..stream.len() {
        assert_eq!(sniff(&stream[..cut]), Verdict::NeedMore, "{cut}");
    }
    assert_eq!(sniff(&stream), sniffed());
    assert_eq!(sniff(&[&stream[..], b"and early data"].concat()), sniffed());
}

#[test]
fn chromium_in_every_two_records() {
    let message = chromium();
    for cut in 1..message.len() {
        let stream = records(&message, &[cut]);
        assert_eq!(sniff(&stream), sniffed(), "{cut}");
        for short in [5 + cut - 1, 5 + cut, 5 + cut + 3, 5 + cut + 5, stream.len() - 1] {
            assert_eq!(sniff(&stream[..short]), Verdict::NeedMore, "{cut} {short}");
        }
    }
}

#[test]
fn chromium_in_records_of_one_byte() {
    let message = chromium();
    let stream = records(&message, &(1..message.len()).collect::<Vec<_>>());
    for cut in (0..stream.len()).step_by(7) {
        assert_eq!(sniff(&stream[..cut]), Verdict::NeedMore, "{cut}");
    }
    assert_eq!(sniff(&stream), sniffed());
}

#[test]
fn a_hello_of_rustls() {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(config.into(), "rustls.example".try_into().unwrap()).unwrap();
    let mut stream = Vec::new();
    client.write_tls(&mut stream).unwrap();
    assert_eq!(sniff(&stream), name("rustls.example"));
}

#[test]
fn names_are_lowered_and_checked() {
    for (given, found) in [
        ("WWW.Example.COM", Some("www.example.com")),
        ("localhost", Some("localhost")),
        ("_dns.example", Some("_dns.example")),
        ("", None),
        (".", None),
        ("example.com.", None),
        ("a..b", None),
        ("203.0.113.5", None),
        ("127.1", None),
        ("2001:db8::1", None),
        ("bücher.example", None),
        ("a\0b.example", None),
        ("a b", None),
        ("http://a", None),
    ] {
        let verdict = sniff(&record(22, &Hello::to(given).message()));
        assert_eq!(verdict, found.map_or(Verdict::NotThis, name), "{given:?}");
    }
    let long = format!("{}.example", "a".repeat(64));
    assert_eq!(sniff(&record(22, &Hello::to(&long).message())), Verdict::NotThis);
}

/// F-A16: contradicting or damaged, whole or in two records.
#[test]
fn f_a16_damaged_hellos_name_nobody() {
    let sni = (0, server_names(&[b"a.example"]));
    let extensions = |list: &[(u16, Vec<u8>)]| Hello::with(list).message();
    let good = || Hello::with(std::slice::from_ref(&sni));
    assert_eq!(sniff(&record(22, &good().message())), name("a.example"));
    let cut_block = {
        let mut message = good().message();
        let end = message.len() - 3;
        message.truncate(end);
        handshake(1, &message[4..])
    };
    for (what, message) in [
        ("no name", extensions(&[(43, vec![2, 3, 4])])),
        ("no extensions", extensions(&[])),
        ("no extension block", handshake(1, &good().message()[4..4 + 2 + 32 + 33 + 4 + 2])),
        ("two extensions", extensions(&[sni.clone(), sni.clone()])),
        ("two names", extensions(&[(0, server_names(&[b"a.example", b"b.example"]))])),
        ("another type", extensions(&[(0, vec![0, 4, 1, 0, 1, b'a'])])),
        ("empty list", extensions(&[(0, vec![0, 0])])),
        ("empty extension", extensions(&[(0, Vec::new())])),
        ("a name beyond its list", extensions(&[(0, vec![0, 4, 0, 0, 9, b'a'])])),
        ("a byte behind the list", extensions(&[(0, [sni.1.clone(), vec![0]].concat())])),
        ("a block beyond the message", cut_block),
        ("a byte behind the block", Hello { trailer: vec![0], ..good() }.message()),
        ("33 bytes of session id", Hello { session_id: vec![0; 33], ..good() }.message()),
        ("half a suite", Hello { suites: vec![0x13], ..good() }.message()),
        ("no suites", Hello { suites: Vec::new(), ..good() }.message()),
        ("no compression", Hello { compression: Vec::new(), ..good() }.message()),
        ("empty", handshake(1, b"")),
        ("a ServerHello", handshake(2, &good().message()[4..])),
    ] {
        assert_eq!(sniff(&record(22, &message)), Verdict::NotThis, "{what}");
        assert_eq!(sniff(&records(&message, &[3])), Verdict::NotThis, "{what}, in two records");
    }
}

#[test]
fn f_a16_other_streams_end_the_wait_at_once() {
    let message = Hello::to("a.example").message();
    let interleaved = [record(22, &message[..9]), record(20, &[1]), record(22, &message[9..])].concat();
    let empty_between = [record(22, &message[..9]), record(22, &[]), record(22, &message[9..])].concat();
    for stream in [
        &b"SSH-2.0-OpenSSH"[..],
        b"GET / HTTP/1.1\r\n",
        b"\0",
        b"\x80\x2e\x01\x03\x01",                 // a hello of SSL 2
        b"\x16\x02",                             // an impossible version
        b"\x16\x03\x01\x00\x00",                 // a record without content
        b"\x16\x03\x01\x40\x01",                 // and one beyond 2^14 bytes
        b"\x15\x03\x01\x00\x02\x02\x28",         // an alert
        b"\x17\x03\x03",                         // in the middle of a connection
        b"\x16\x03\x01\x00\x04\x01\x00\x3f\xfd", // a hello of 16 KiB and a byte
        b"\x16\x03\x01\x00\x01\x01\x17",         // half a header, then something else
        &interleaved,
        &empty_between,
    ] {
        assert_eq!(sniff(stream), Verdict::NotThis, "{stream:02x?}");
    }
}

/// F-A16: a hello may announce up to 16 KiB, but the whole of it must be seen within the limit.
#[test]
fn f_a16_the_limit_ends_the_wait() {
    let announced = [&b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc"[..], &[0; 2 * LIMIT]].concat();
    assert_eq!(sniff(&announced[..LIMIT - 1]), Verdict::NeedMore);
    assert_eq!(sniff(&announced[..LIMIT]), Verdict::NotThis);
    assert_eq!(sniff(&announced), Verdict::NotThis);

    let mut hello = Hello::to("big.example");
    let padding = LIMIT - 5 - hello.message().len() - 4;
    hello.extensions.push((21, vec![0; padding]));
    assert_eq!(hello.message().len(), LIMIT - 5);
    assert_eq!(sniff(&record(22, &hello.message())), name("big.example"));
    hello.extensions.push((0x2a2a, Vec::new()));
    assert_eq!(sniff(&record(22, &hello.message())), Verdict::NotThis);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_records_make_the_same_hello(mut cuts in prop::collection::vec(1usize..1918, 0..40), short in 1usize..400) {
        let message = chromium();
        cuts.sort_unstable();
        let stream = records(&message, &cuts);
        prop_assert_eq!(sniff(&stream), sniffed());
        prop_assert_eq!(sniff(&stream[..stream.len() - short]), Verdict::NeedMore);
    }

    /// What is said once is not taken back when more is seen, and the limit is kept.
    #[test]
    fn verdicts_are_final(
        damage in prop::collection::vec((0usize..2000, any::<u8>()), 0..4),
        cuts in prop::collection::btree_set(1usize..1900, 0..4),
        at in 0usize..2000,
    ) {
        let mut stream = records(&chromium(), &Vec::from_iter(cuts));
        for (place, byte) in damage {
            if let Some(slot) = stream.get_mut(place) {
                *slot = byte;
            }
        }
        let early = sniff(&stream[..at.min(stream.len())]);
        let late = sniff(&stream);
        prop_assert!(early == Verdict::NeedMore || early == late);
        stream.resize(LIMIT, 0x16);
        prop_assert_ne!(sniff(&stream), Verdict::NeedMore);
    }

    #[test]
    fn no_bytes_do_harm(head in prop::collection::vec(any::<u8>(), 0..64), hello in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = sniff(&head);
        let _ = sniff(&record(22, &handshake(1, &hello)));
    }
}
