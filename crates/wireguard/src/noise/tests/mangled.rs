//! Every message cut at every byte and with every bit changed (F-G3): nothing panics, nothing is believed.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::vectors::{INITIATION, RESPONSE};
use super::{OURS, THEIRS, data, identity, pair, remote, start};
use crate::noise::message::{COOKIE_LEN, Message};
use crate::noise::*;
use crate::{Moment, PrivateKey};

fn cookie_reply(random: &mut StdRng) -> (Initiator, [u8; COOKIE_LEN]) {
    let (initiator, initiation) = start(random);
    let mut gate = identity(THEIRS).gate();
    let from = ([192, 0, 2, 1], 1).into();
    for _ in 0..100 {
        if let Verdict::Challenge(reply) = gate.judge(&initiation, 7, from, Moment::default(), [3, 0, 0, 0], random) {
            return (initiator, reply);
        }
    }
    panic!("a hundred initiations at once are no load")
}

/// `message`, with each of its bits changed once.
fn with_bits_flipped(message: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..message.len() * 8).map(|bit| {
        let mut changed = message.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        (bit / 8, changed)
    })
}

#[test]
fn f_g3_what_was_cut_is_no_message() {
    let cookie = cookie_reply(&mut StdRng::seed_from_u64(1)).1;
    let whole: [&[u8]; 3] = [&INITIATION, &RESPONSE, &cookie];
    for message in whole {
        for length in 0..message.len() {
            assert!(Message::parse(&Wire::default(), &mut message[..length].to_vec()).is_none(), "{length} bytes");
        }
        let longer = &mut [message, &[0]].concat();
        assert!(Message::parse(&Wire::default(), longer).is_none());
    }
    let (mut ours, mut theirs) = pair(&mut StdRng::seed_from_u64(1));
    let message = data(&mut ours, 48);
    for length in 0..message.len() {
        match Message::parse(&Wire::default(), &mut message[..length].to_vec()) {
            None => assert!(length < 32),
            Some(Message::Data(data)) => {
                assert_eq!(theirs.open(data.counter, data.body).err(), Some(Rejected::Forged), "{length} bytes");
            }
            Some(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn f_g3_an_initiation_with_a_bit_changed_is_not_believed() {
    let random = &mut StdRng::seed_from_u64(2);
    let (_, initiation) = start(random);
    for (at, mut changed) in with_bits_flipped(&initiation) {
        let parsed = Message::parse(&Wire::default(), &mut changed);
        // Reserved bytes are whatever a provider makes of them; MAC2 counts only under load.
        let ignored = (1..4).contains(&at) || at >= 132;
        match parsed {
            None => assert_eq!(at, 0),
            Some(Message::Initiation(initiation)) => {
                let verdict = identity(THEIRS).gate().judge(
                    initiation.bytes,
                    initiation.sender,
                    ([192, 0, 2, 1], 1).into(),
                    Moment::default(),
                    [3, 0, 0, 0],
                    random,
                );
                assert_eq!(verdict == Verdict::Pass, ignored, "byte {at}");
                // Past the gate, Noise itself notices; our own index and the MACs it does not cover.
                let noise = (8..116).contains(&at);
                let read = Responder::read(&identity(THEIRS), &initiation);
                assert_eq!(read.is_err(), noise, "byte {at}");
            }
            Some(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn f_g3_a_response_with_a_bit_changed_gives_no_session() {
    let random = &mut StdRng::seed_from_u64(3);
    let (initiator, mut initiation) = start(random);
    let Some(Message::Initiation(initiation)) = Message::parse(&Wire::default(), &mut initiation) else { panic!() };
    let (responder, ..) = Responder::read(&identity(THEIRS), &initiation).unwrap();
    let (_, response) = responder.answer(&remote(OURS), &Wire::default(), 8, None, random).unwrap();
    for (at, mut changed) in with_bits_flipped(&response) {
        let Some(Message::Response(response)) = Message::parse(&Wire::default(), &mut changed) else {
            assert_eq!(at, 0);
            continue;
        };
        let from = ([192, 0, 2, 1], 1).into();
        let passed =
            identity(OURS).gate().judge(response.bytes, response.sender, from, Moment::default(), [3, 0, 0, 0], random)
                == Verdict::Pass;
        let believed = passed && initiator.finish(&response).is_ok();
        assert_eq!(believed, (1..4).contains(&at) || at >= 76, "byte {at}");
    }
}

#[test]
fn f_g5_a_cookie_reply_with_a_bit_changed_is_none() {
    let (initiator, reply) = cookie_reply(&mut StdRng::seed_from_u64(4));
    for (at, mut changed) in with_bits_flipped(&reply) {
        let Some(Message::Cookie(reply)) = Message::parse(&Wire::default(), &mut changed) else {
            assert_eq!(at, 0);
            continue;
        };
        let cookie = initiator.cookie(&remote(THEIRS), &reply, Moment::default());
        assert_eq!(cookie.is_ok(), (1..4).contains(&at), "byte {at}");
    }
}

#[test]
fn f_g3_data_with_a_bit_changed_neither_opens_nor_moves_the_window() {
    let (mut ours, mut theirs) = pair(&mut StdRng::seed_from_u64(5));
    let mut message = data(&mut ours, 48);
    for (at, mut changed) in with_bits_flipped(&message) {
        match Message::parse(&Wire::default(), &mut changed) {
            // Reserved bytes, and an index that would be looked up and not found.
            Some(Message::Data(_)) if at < 8 => {}
            Some(Message::Data(data)) => {
                let error = theirs.open(data.counter, data.body).unwrap_err();
                assert!(matches!(error, Rejected::Forged | Rejected::Exhausted), "byte {at}");
            }
            _ => assert_eq!(at, 0),
        }
    }
    super::open(&mut theirs, &mut message).unwrap();
}

/// MAC1 is wrong: the pattern, and with it the curve, is never reached, because only the gate hands on what goes there.
#[test]
fn f_g3_a_message_for_somebody_else_is_dropped_at_the_gate() {
    let random = &mut StdRng::seed_from_u64(6);
    let mut stranger = Identity::new(PrivateKey::from_bytes([0x77; 32])).gate();
    let from = ([192, 0, 2, 1], 1).into();
    for _ in 0..1000 {
        let verdict = stranger.judge(&INITIATION, 1, from, Moment::default(), [3, 0, 0, 0], random);
        assert_eq!(verdict, Verdict::Drop, "never a challenge: it would be an answer");
    }
}

#[test]
fn secrets_are_not_printed() {
    let (ours, _) = pair(&mut StdRng::seed_from_u64(7));
    assert_eq!(format!("{ours:?}"), "Session { local: 7, sent: 0, .. }");
}
