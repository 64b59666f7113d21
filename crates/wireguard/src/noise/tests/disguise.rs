//! AmneziaWG: prefixes, type words, noise and imitated packets (spec: mihomo-surface §5.5, `amnezia-wg-option`).

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::vectors::{FIRST_OF_INITIATOR, INITIATION, RESPONSE};
use crate::noise::message::Message;
use crate::noise::wire::Kind;
use crate::noise::*;
use crate::options::{Header, Junk, Obfuscation, Piece, Prefix};

fn disguise() -> Obfuscation {
    Obfuscation {
        junk: Junk { count: 3, length: Some(40..=70) },
        prefix: Prefix { initiation: 15, response: 18, cookie: 20, data: 4 },
        header: Header {
            initiation: 100_000..=200_000,
            response: 300_000..=300_000,
            cookie: 400_000..=500_000,
            data: 600_000..=700_000,
        },
        imitation: vec![
            vec![Piece::Bytes(vec![0xc7, 0, 0]), Piece::Counter, Piece::Time, Piece::Random(5)],
            vec![Piece::RandomLetters(30), Piece::RandomDigits(30)],
            vec![],
        ],
    }
}

/// `message` as it goes out: noise in front, and another type word.
fn dressed(wire: &Wire, kind: Kind, message: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut datagram = vec![0x5a; wire.prefix(kind)];
    datagram.extend(wire.word(kind, random));
    datagram.extend(&message[4..]);
    wire.reserve(&mut datagram[wire.prefix(kind)..], [1, 2, 3]);
    datagram
}

#[test]
fn every_kind_is_known_again_behind_its_prefix() {
    let random = &mut StdRng::seed_from_u64(1);
    let wire = Wire::new(Some(disguise()));
    let messages: [(Kind, &[u8]); 4] = [
        (Kind::Initiation, &INITIATION),
        (Kind::Response, &RESPONSE),
        (Kind::Cookie, &[7; 64]),
        (Kind::Data, &FIRST_OF_INITIATOR),
    ];
    for (kind, message) in messages {
        for _ in 0..20 {
            let mut datagram = dressed(&wire, kind, message, random);
            assert!(Message::parse(&Wire::default(), &mut datagram.clone()).is_none(), "plain WireGuard: {kind:?}");
            let parsed = Message::parse(&wire, &mut datagram).unwrap();
            match (kind, parsed) {
                (Kind::Initiation, Message::Initiation(parsed)) => assert_eq!(parsed.bytes[4..], message[4..]),
                (Kind::Response, Message::Response(parsed)) => assert_eq!(parsed.bytes[4..], message[4..]),
                (Kind::Cookie, Message::Cookie(parsed)) => assert_eq!(parsed.sealed, &message[32..]),
                (Kind::Data, Message::Data(parsed)) => assert_eq!(parsed.body, &message[16..]),
                (kind, parsed) => panic!("{kind:?} became {parsed:?}"),
            }
        }
        let mut plain = message.to_vec();
        assert!(Message::parse(&wire, &mut plain).is_none());
    }
}

#[test]
fn reserved_bytes_are_written_and_cleared_without_a_disguise_only() {
    let random = &mut StdRng::seed_from_u64(2);
    let plain = dressed(&Wire::default(), Kind::Initiation, &INITIATION, random);
    assert_eq!(plain[..4], [1, 1, 2, 3]);
    let mut back = plain;
    assert!(matches!(
        Message::parse(&Wire::default(), &mut back),
        Some(Message::Initiation(initiation)) if initiation.bytes == &INITIATION
    ));
    let wire = Wire::new(Some(Obfuscation::default()));
    assert_eq!(dressed(&wire, Kind::Initiation, &INITIATION, random), INITIATION);
}

#[test]
fn before_an_initiation_go_imitations_and_noise() {
    let random = &mut StdRng::seed_from_u64(3);
    let mut sent = Vec::new();
    Wire::new(Some(disguise())).before_initiation(9, Duration::from_secs(0x6553_f100), random, |packet| {
        sent.push(packet.to_vec());
    });
    assert_eq!(sent.len(), 2 + 3, "an empty imitation is not sent");
    assert_eq!(sent[0][..11], [0xc7, 0, 0, 0, 0, 0, 9, 0x65, 0x53, 0xf1, 0x00]);
    assert_eq!(sent[0].len(), 16);
    assert!(sent[1][..30].iter().all(u8::is_ascii_alphabetic) && sent[1][30..].iter().all(u8::is_ascii_digit));
    assert!(sent[2..].iter().all(|noise| (40..=70).contains(&noise.len())));

    Wire::default().before_initiation(9, Duration::ZERO, random, |_| panic!("plain WireGuard sends nothing before"));
}
