//! Sessions with ourselves and with boringtun.

mod disguise;
mod gate;
mod mangled;
mod pattern;
mod recorded;
mod vectors;

use boringtun::noise::{Tunn, TunnResult};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::message::{INITIATION_LEN, Message};
use super::wire::Kind;
use super::*;
use crate::{Moment, PresharedKey, PrivateKey, PublicKey};

const OURS: [u8; 32] = [0x11; 32];
const THEIRS: [u8; 32] = [0x22; 32];
const SHARED: [u8; 32] = [0x33; 32];

fn public(private: [u8; 32]) -> PublicKey {
    PrivateKey::from_bytes(private).public_key()
}

fn identity(private: [u8; 32]) -> Identity {
    Identity::new(PrivateKey::from_bytes(private))
}

fn remote(private: [u8; 32]) -> Remote {
    Remote::new(public(private), Some(PresharedKey::from_bytes(SHARED)))
}

fn start(random: &mut StdRng) -> (Initiator, [u8; INITIATION_LEN]) {
    Initiator::start(&identity(OURS), &remote(THEIRS), &Wire::default(), 7, Tai64n([9; 12]), None, random).unwrap()
}

fn boringtun(private: [u8; 32], peer: [u8; 32]) -> Tunn {
    let peer = x25519_dalek::PublicKey::from(*public(peer).as_bytes());
    Tunn::new(private.into(), peer, Some(SHARED), None, 5, None)
}

fn to_network<'a>(result: TunnResult<'a>) -> &'a mut [u8] {
    match result {
        TunnResult::WriteToNetwork(bytes) => bytes,
        other => panic!("nothing to send: {other:?}"),
    }
}

/// A data message with an IPv4 header of the right length and zeros inside.
fn data(session: &mut Session, len: usize) -> Vec<u8> {
    let mut message = vec![0; len + DATA_OVERHEAD];
    message[..4].copy_from_slice(&Wire::default().word(Kind::Data, &mut StdRng::seed_from_u64(0)));
    message[16] = 0x45;
    message[18..20].copy_from_slice(&(len as u16).to_be_bytes());
    session.seal(&mut message).unwrap();
    message
}

fn open(session: &mut Session, message: &mut [u8]) -> Result<Vec<u8>, Rejected> {
    match Message::parse(&Wire::default(), message) {
        Some(Message::Data(data)) if data.receiver == session.local_index => {
            session.open(data.counter, data.body).map(|text| text.to_vec())
        }
        other => panic!("not data for us: {other:?}"),
    }
}

/// Two sessions that fit each other.
fn pair(random: &mut StdRng) -> (Session, Session) {
    let (initiator, mut initiation) = start(random);
    let Some(Message::Initiation(initiation)) = Message::parse(&Wire::default(), &mut initiation) else {
        panic!("not an initiation")
    };
    let (responder, who, stamp) = Responder::read(&identity(THEIRS), &initiation).unwrap();
    assert_eq!((who, stamp), (public(OURS), Tai64n([9; 12])));
    let (theirs, mut response) = responder.answer(&remote(OURS), &Wire::default(), 8, None, random).unwrap();
    let Some(Message::Response(response)) = Message::parse(&Wire::default(), &mut response) else {
        panic!("not a response")
    };
    (initiator.finish(&response).unwrap(), theirs)
}

#[test]
fn both_ends_have_the_same_keys_crosswise() {
    let (mut ours, mut theirs) = pair(&mut StdRng::seed_from_u64(1));
    let text = open(&mut theirs, &mut data(&mut ours, 48)).unwrap();
    assert_eq!(text.len(), 48);
    open(&mut ours, &mut data(&mut theirs, 32)).unwrap();
}

#[test]
fn boringtun_answers_us() {
    let random = &mut StdRng::seed_from_u64(2);
    let (initiator, initiation) = start(random);
    let mut peer = boringtun(THEIRS, OURS);
    let mut buffer = [0; 2048];
    let response = to_network(peer.decapsulate(None, &initiation, &mut buffer));
    let Some(Message::Response(response)) = Message::parse(&Wire::default(), response) else { panic!("no response") };
    let mut session = initiator.finish(&response).unwrap();

    let message = data(&mut session, 64);
    assert!(
        matches!(peer.decapsulate(None, &message, &mut buffer), TunnResult::WriteToTunnelV4(text, _) if text.len() == 64)
    );
    let mut packet = [0; 28];
    packet[0] = 0x45;
    packet[3] = 28;
    let answer = to_network(peer.encapsulate(&packet, &mut buffer));
    assert_eq!(open(&mut session, answer).unwrap(), packet);
}

#[test]
fn we_answer_boringtun() {
    let random = &mut StdRng::seed_from_u64(3);
    let mut peer = boringtun(THEIRS, OURS);
    let mut buffer = [0; 2048];
    let initiation = to_network(peer.format_handshake_initiation(&mut buffer, false));
    assert!(matches!(
        identity(OURS).gate().judge(initiation, 0, ([127, 0, 0, 1], 1).into(), Moment::default(), [3, 0, 0, 0], random),
        Verdict::Pass
    ));
    let Some(Message::Initiation(initiation)) = Message::parse(&Wire::default(), initiation) else { panic!() };
    let (responder, who, _) = Responder::read(&identity(OURS), &initiation).unwrap();
    assert_eq!(who, public(THEIRS));
    let (mut session, response) = responder.answer(&remote(THEIRS), &Wire::default(), 0x0100, None, random).unwrap();
    let keepalive = to_network(peer.decapsulate(None, &response, &mut buffer));
    assert_eq!(open(&mut session, keepalive).unwrap(), []);
}

#[test]
fn f_g5_a_forged_answer_does_not_disturb_the_handshake() {
    let random = &mut StdRng::seed_from_u64(4);
    let (initiator, mut initiation) = start(random);
    let Some(Message::Initiation(initiation)) = Message::parse(&Wire::default(), &mut initiation) else { panic!() };
    let (responder, ..) = Responder::read(&identity(THEIRS), &initiation).unwrap();
    let (_, genuine) = responder.answer(&remote(OURS), &Wire::default(), 8, None, random).unwrap();
    for byte in 12..60 {
        let mut forged = genuine;
        forged[byte] ^= 0x40;
        let Some(Message::Response(forged)) = Message::parse(&Wire::default(), &mut forged) else { panic!() };
        assert_eq!(initiator.finish(&forged).unwrap_err(), Rejected::Forged);
    }
    let mut genuine = genuine;
    let Some(Message::Response(genuine)) = Message::parse(&Wire::default(), &mut genuine) else { panic!() };
    initiator.finish(&genuine).unwrap();
}

#[test]
fn f_g2_a_message_counts_once() {
    let (mut ours, mut theirs) = pair(&mut StdRng::seed_from_u64(5));
    let mut message = data(&mut ours, 16);
    open(&mut theirs, &mut message.clone()).unwrap();
    assert_eq!(open(&mut theirs, &mut message).unwrap_err(), Rejected::Replay);
}

#[test]
fn f_g7_a_session_ends_before_its_counter_does() {
    let (mut ours, _) = pair(&mut StdRng::seed_from_u64(6));
    ours.pretend_sent(u64::MAX - (1 << 13) - 1);
    ours.seal(&mut [0; 48]).unwrap();
    assert_eq!(ours.seal(&mut [0; 48]).unwrap_err(), Rejected::Exhausted);
}
