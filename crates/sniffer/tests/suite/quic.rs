use std::sync::Arc;
use std::time::Instant;

use adit_sniffer::quic::{CryptoStream, MAX_DATAGRAMS};
use adit_sniffer::{LIMIT, QuicSniffer, Verdict};
use proptest::prelude::*;
use rustls::quic::Version;

use crate::seal::{Sealer, crypto, varint};
use crate::wire::{CHROMIUM_QUIC, CHROMIUM_TLS, Hello, name, sniffed, unhex, unhex_blocks};

const RFC_9001_A2: &str = include_str!("../captures/rfc9001-a2.hex");
const RFC_9001_A3: &str = include_str!("../captures/rfc9001-a3.hex");
const RFC_9369_A2: &str = include_str!("../captures/rfc9369-a2.hex");
const RFC_9369_A3: &str = include_str!("../captures/rfc9369-a3.hex");

const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

/// The verdicts on datagrams of one flow.
fn feed<T: AsRef<[u8]>>(datagrams: impl IntoIterator<Item = T>) -> Vec<Verdict> {
    let mut sniffer = QuicSniffer::new();
    datagrams.into_iter().map(|datagram| sniffer.feed(datagram.as_ref())).collect()
}

#[test]
fn rfc_9001_and_rfc_9369_appendix_a() {
    for (client, server) in [(RFC_9001_A2, RFC_9001_A3), (RFC_9369_A2, RFC_9369_A3)] {
        let client = unhex(client);
        assert_eq!(client.len(), 1200);
        assert_eq!(feed([&client]), [name("example.com")]);
        assert_eq!(feed([&unhex(server)]), [Verdict::NotThis]);
    }
}

#[test]
fn nothing_is_believed_of_an_altered_packet() {
    for client in [unhex(RFC_9001_A2), unhex(RFC_9369_A2)] {
        for at in 0..client.len() {
            let mut altered = client.clone();
            altered[at] ^= 0x10;
            assert!(!matches!(feed([&altered])[0], Verdict::Name(_)), "{at}");
            assert_eq!(feed([&client[..at]]), [Verdict::NotThis], "{at}");
        }
    }
}

#[test]
fn chromium_in_both_orders() {
    let datagrams = unhex_blocks(CHROMIUM_QUIC);
    assert_eq!(feed(&datagrams), [Verdict::NeedMore, sniffed()]);
    assert_eq!(feed(datagrams.iter().rev()), [Verdict::NeedMore, sniffed()]);
    let twice = [&datagrams[0], &datagrams[0], &datagrams[1]];
    assert_eq!(feed(twice), [Verdict::NeedMore, Verdict::NeedMore, sniffed()]);
}

/// What a client of quinn sends before it has heard anything.
fn quinn(server: &str, alpn: &[u8]) -> Vec<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let tls = quinn_proto::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn_proto::ClientConfig::new(Arc::new(tls));
    let mut endpoint = quinn_proto::Endpoint::new(Arc::default(), None, false, None);
    let now = Instant::now();
    let server_address = ([192, 0, 2, 1], 443).into();
    let (_, mut connection) = endpoint.connect(now, config, server_address, server).unwrap();
    let mut sent = Vec::new();
    loop {
        let mut datagram = Vec::new();
        if connection.poll_transmit(now, 1, &mut datagram).is_none() {
            return sent;
        }
        sent.push(datagram);
    }
}

#[test]
fn quinn_with_one_and_with_several_datagrams() {
    for (alpn, expected) in [(&b"h3"[..], 1..=2), (&[b'x'; 255], 2..=2)] {
        let datagrams = quinn("quinn.example", alpn);
        assert!(expected.contains(&datagrams.len()), "{}", datagrams.len());
        let verdicts = feed(&datagrams);
        let (last, before) = verdicts.split_last().unwrap();
        assert_eq!(*last, name("quinn.example"));
        assert!(before.iter().all(|verdict| *verdict == Verdict::NeedMore));
        assert_eq!(feed(datagrams.iter().rev()).last(), Some(&name("quinn.example")));
    }
}

#[test]
fn packet_numbers_of_any_length_and_tokens() {
    let message = Hello::to("a.example").message();
    let hello = crypto(0, &message);
    for version in VERSIONS {
        for number_length in 1..=4 {
            let token = vec![9; 70];
            let sealer = Sealer { number_length, token, dcid: vec![5; 20], ..Sealer::new(version) };
            assert_eq!(feed([sealer.seal(200, &hello)]), [name("a.example")]);
        }
        // One byte each, and not in order: what is missing follows from the largest so far.
        let sealer = Sealer::new(version);
        let parts = [(200, 0..20), (100, 20..40), (300, 40..message.len())];
        let packets = parts.map(|(number, part)| sealer.seal(number, &crypto(part.start, &message[part])));
        assert_eq!(feed(packets), [Verdict::NeedMore, Verdict::NeedMore, name("a.example")]);
    }
}

#[test]
fn early_data_may_overtake_and_accompany() {
    let hello = crypto(0, &Hello::to("a.example").message());
    for version in VERSIONS {
        let sealer = Sealer::new(version);
        let (initial, early) = (sealer.seal(0, &hello), sealer.other(1));
        assert_eq!(feed([&early, &initial]), [Verdict::NeedMore, name("a.example")]);
        assert_eq!(feed([[early, initial.clone()].concat()]), [name("a.example")]);
        assert_eq!(feed([[initial, vec![0; 50]].concat()]), [name("a.example")]);
    }
}

#[test]
fn other_flows_end_the_wait_at_once() {
    let hello = crypto(0, &Hello::to("a.example").message());
    for version in VERSIONS {
        let sealer = Sealer::new(version);
        let initial = sealer.seal(0, &hello);
        for kind in [2, 3] {
            assert_eq!(feed([&sealer.other(kind), &initial]), [Verdict::NotThis, Verdict::NotThis]);
        }
        let short_id = Sealer { dcid: vec![1; 7], ..Sealer::new(version) }.seal(0, &hello);
        let long_id = Sealer { dcid: vec![1; 21], ..Sealer::new(version) }.seal(0, &hello);
        assert_eq!(feed([short_id]), [Verdict::NotThis]);
        assert_eq!(feed([long_id]), [Verdict::NotThis]);
        let long_id = Sealer { scid: vec![1; 21], ..Sealer::new(version) };
        assert_eq!(feed([long_id.other(1)]), [Verdict::NotThis]);
        let mut no_quic_bit = sealer.other(1);
        no_quic_bit[0] ^= 0x40;
        assert_eq!(feed([no_quic_bit]), [Verdict::NotThis]);
        for number in [0u32, 0xff00_001d, 0x1a2a_3a4a, 2] {
            let mut other = initial.clone();
            other[1..5].copy_from_slice(&number.to_be_bytes());
            assert_eq!(feed([other]), [Verdict::NotThis], "{number:x}");
        }
    }
    for datagram in [&b""[..], &[0x40; 1200], b"\0\x01\0\0\x21\x12\xa4\x42", &[0xff; 1200], &[0; 1200]] {
        assert_eq!(feed([datagram]), [Verdict::NotThis]);
    }
}

#[test]
fn another_connection_of_the_same_socket_is_passed_over() {
    let message = Hello::to("a.example").message();
    let (begin, end) = message.split_at(50);
    let sealer = Sealer::new(Version::V1);
    let other = Sealer { dcid: vec![8; 8], ..Sealer::new(Version::V1) };
    let foreign = other.seal(0, &crypto(0, &Hello::to("b.example").message()));
    let verdicts = feed([sealer.seal(0, &crypto(0, begin)), foreign, sealer.seal(1, &crypto(50, end))]);
    assert_eq!(verdicts, [Verdict::NeedMore, Verdict::NeedMore, name("a.example")]);
}

/// F-A16: as many datagrams as one likes, but not for ever.
#[test]
fn f_a16_the_number_of_datagrams_is_bounded() {
    let sealer = Sealer::new(Version::V1);
    let verdicts = feed((0..40).map(|number| sealer.seal(number, &[1])));
    let bound = usize::from(MAX_DATAGRAMS);
    assert!(verdicts[..bound - 1].iter().all(|verdict| *verdict == Verdict::NeedMore));
    assert!(verdicts[bound - 1..].iter().all(|verdict| *verdict == Verdict::NotThis));
}

#[test]
fn frames_that_initial_packets_carry_are_passed_over() {
    let hello = crypto(0, &Hello::to("a.example").message());
    for before in [
        &[0][..],
        &[0x40, 0x00],
        &[1, 1, 0, 0],
        &[2, 5, 0, 0, 0],
        &[2, 0x50, 0x00, 9, 2, 1, 3, 4, 5, 6],
        &[3, 5, 0, 1, 0, 2, 2, 1, 2, 3],
        &crypto(0, b""),
    ] {
        assert_eq!(CryptoStream::new().read(&[before, &hello].concat()), name("a.example"), "{before:?}");
    }
}

/// F-A16: damaged, contradicting, huge.
#[test]
fn f_a16_doubtful_frames_end_the_wait() {
    let hello = crypto(0, &Hello::to("a.example").message());
    let altered = {
        let mut altered = hello.clone();
        altered[40] ^= 1;
        altered
    };
    for frames in [
        &[0x1c, 0, 0, 0][..], // CONNECTION_CLOSE
        &[8, 0, 1, 2],        // STREAM
        &[0x1e],              // HANDSHAKE_DONE
        &[2, 5, 0],           // a cut ACK
        &[2, 5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
        &[6, 0, 9, 1], // a cut CRYPTO
        &[6, 0],
        &[0xc0],
        &[6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1],
        &crypto(LIMIT, b"x"),
        &crypto(0, &[2]), // a ServerHello
        &crypto(0, &[1, 0, 0x3f, 0xfd]),
    ] {
        assert_eq!(CryptoStream::new().read(frames), Verdict::NotThis, "{frames:02x?}");
    }
    let mut stream = CryptoStream::new();
    assert_eq!(stream.read(&altered[..0]), Verdict::NeedMore);
    assert_eq!(stream.read(&crypto(30, &hello[35..60])), Verdict::NeedMore);
    assert_eq!(stream.read(&altered), Verdict::NotThis);
}

/// A hello of exactly the limit is read, although it comes last byte first.
#[test]
fn a_hello_as_large_as_the_limit() {
    let mut hello = Hello::to("big.example");
    let padding = LIMIT - hello.message().len() - 4;
    hello.extensions.push((21, vec![0; padding]));
    let message = hello.message();
    assert_eq!(message.len(), LIMIT);
    let sealer = Sealer::new(Version::V2);
    let datagrams = message.chunks(1100).enumerate().rev();
    let verdicts = feed(datagrams.map(|(n, part)| sealer.seal(n as u64, &crypto(1100 * n, part))));
    let (last, before) = verdicts.split_last().unwrap();
    assert_eq!(*last, name("big.example"));
    assert!(before.iter().all(|verdict| *verdict == Verdict::NeedMore));
}

/// F-A16: a packet is copied to be opened, so its size is bounded too.
#[test]
fn f_a16_the_size_of_a_packet_is_bounded() {
    let sealer = Sealer::new(Version::V1);
    let hello = crypto(0, &Hello::to("a.example").message());
    let padded = |length: usize| [&hello[..], &vec![0; length - hello.len()]].concat();
    assert_eq!(feed([sealer.seal(0, &padded(LIMIT - 100))]), [name("a.example")]);
    assert_eq!(feed([sealer.seal(0, &padded(LIMIT))]), [Verdict::NotThis]);
}

/// How a browser scatters its hello: where it is cut, and which datagram each piece goes into.
#[derive(Clone, Debug)]
struct Scatter {
    cuts: Vec<usize>,
    places: Vec<usize>,
    order: Vec<usize>,
    coalesce: bool,
    number_length: usize,
    version: usize,
}

fn scatters() -> impl Strategy<Value = Scatter> {
    (1usize..30).prop_flat_map(|pieces| {
        (
            prop::collection::btree_set(1usize..1918, pieces - 1),
            prop::collection::vec(0usize..5, pieces),
            Just((0..pieces).collect::<Vec<_>>()).prop_shuffle(),
            any::<bool>(),
            1usize..=4,
            0usize..2,
        )
            .prop_map(|(cuts, places, order, coalesce, number_length, version)| {
                let cuts = cuts.into_iter().collect();
                Scatter { cuts, places, order, coalesce, number_length, version }
            })
    })
}

/// Five packets with the pieces of `message`, among PING and PADDING frames.
fn scattered(message: &[u8], how: &Scatter) -> Vec<Vec<u8>> {
    let bounds: Vec<usize> = [0].into_iter().chain(how.cuts.iter().copied()).chain([message.len()]).collect();
    let mut payloads = vec![vec![1]; 5];
    for piece in &how.order {
        let (begin, end) = (bounds[*piece], bounds[piece + 1]);
        let payload = &mut payloads[how.places[*piece]];
        payload.extend(crypto(begin, &message[begin..end]));
        payload.extend([0, 0, 1]);
    }
    let sealer = Sealer { number_length: how.number_length, ..Sealer::new(VERSIONS[how.version]) };
    let packets = payloads.iter().enumerate().map(|(number, payload)| sealer.seal(number as u64, payload));
    if how.coalesce { vec![packets.collect::<Vec<_>>().concat()] } else { packets.collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn shuffled_frames_across_packets(how in scatters()) {
        let message = unhex(CHROMIUM_TLS).split_off(5);
        let verdicts = feed(scattered(&message, &how));
        let whole = verdicts.iter().position(|verdict| *verdict != Verdict::NeedMore);
        prop_assert!(whole.is_some());
        prop_assert!(verdicts[whole.unwrap()..].iter().all(|verdict| *verdict == sniffed()));
    }

    #[test]
    fn one_piece_missing_is_no_name(how in scatters()) {
        let message = unhex(CHROMIUM_TLS).split_off(5);
        let mut how = how;
        let missing = how.order.pop().unwrap();
        prop_assume!(how.cuts.len() + 1 > missing);
        prop_assert!(feed(scattered(&message, &how)).iter().all(|verdict| *verdict == Verdict::NeedMore));
    }

    #[test]
    fn no_bytes_do_harm(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        head in prop::sample::select(vec![&b"\xc0\0\0\0\x01"[..], b"\xd0\x6b\x33\x43\xcf", b""]),
        offset in 0usize..20_000,
    ) {
        let _ = feed([[head, &payload].concat(), payload.clone()]);
        let mut stream = CryptoStream::new();
        let _ = stream.read(&payload);
        let _ = stream.read(&[crypto(offset, &payload), varint(offset), payload.clone()].concat());
        let _ = feed([Sealer::new(Version::V1).seal(0, &payload)]);
    }
}
