//! A whole handshake and a packet each way, byte for byte, as somebody else computed it (`vectors.py`).

use std::collections::VecDeque;

use rand::RngCore;

use super::vectors::*;
use crate::noise::message::{DATA_OVERHEAD, Message};
use crate::noise::*;
use crate::{PresharedKey, PrivateKey, PublicKey};

/// Gives out these bytes and no others.
struct Given(VecDeque<u8>);

impl RngCore for Given {
    fn next_u32(&mut self) -> u32 {
        panic!("no number was expected to be drawn")
    }

    fn next_u64(&mut self) -> u64 {
        panic!("no number was expected to be drawn")
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.iter_mut().for_each(|byte| *byte = self.0.pop_front().expect("one key was expected to be drawn"));
    }
}

fn key(bytes: [u8; 32]) -> PrivateKey {
    PrivateKey::from_bytes(bytes)
}

fn remote(public: PublicKey) -> Remote {
    Remote::new(public, Some(PresharedKey::from_bytes(SHARED)))
}

fn initiator() -> (Initiator, [u8; 148]) {
    let responder = remote(key(RESPONDER).public_key());
    let mut random = Given(INITIATOR_EPHEMERAL.into());
    let identity = Identity::new(key(INITIATOR));
    let wire = Wire::default();
    Initiator::start(&identity, &responder, &wire, INDEX_OF_INITIATOR, Tai64n(STAMP), None, &mut random).unwrap()
}

fn responder() -> (Session, [u8; 92]) {
    let mut initiation = INITIATION;
    let Some(Message::Initiation(initiation)) = Message::parse(&Wire::default(), &mut initiation) else { panic!() };
    let (responder, who, stamp) = Responder::read(&Identity::new(key(RESPONDER)), &initiation).unwrap();
    assert_eq!((who, stamp), (key(INITIATOR).public_key(), Tai64n(STAMP)));
    let mut random = Given(RESPONDER_EPHEMERAL.into());
    responder.answer(&remote(who), &Wire::default(), INDEX_OF_RESPONDER, Some(&COOKIE), &mut random).unwrap()
}

fn established() -> (Session, Session) {
    let mut response = RESPONSE;
    let Some(Message::Response(response)) = Message::parse(&Wire::default(), &mut response) else { panic!() };
    (initiator().0.finish(&response).unwrap(), responder().0)
}

fn sealed(session: &mut Session) -> [u8; DATA_OVERHEAD + 48] {
    let mut message = [0; DATA_OVERHEAD + 48];
    message[0] = 4;
    (0..48).zip(&mut message[16..]).for_each(|(text, place)| *place = text);
    session.seal(&mut message).unwrap();
    message
}

#[test]
fn both_messages_of_the_handshake_are_right() {
    assert_eq!(initiator().1, INITIATION);
    assert_eq!(responder().1, RESPONSE);
}

#[test]
fn both_directions_are_right() {
    let (mut ours, mut theirs) = established();
    assert_eq!(sealed(&mut ours), FIRST_OF_INITIATOR);
    sealed(&mut theirs);
    assert_eq!(sealed(&mut theirs), SECOND_OF_RESPONDER);
    for (session, mut message) in [(&mut theirs, FIRST_OF_INITIATOR), (&mut ours, SECOND_OF_RESPONDER)] {
        let Some(Message::Data(data)) = Message::parse(&Wire::default(), &mut message) else { panic!() };
        assert_eq!(data.receiver, session.local_index);
        let expected: Vec<u8> = (0..48).collect();
        assert_eq!(session.open(data.counter, data.body).unwrap(), expected);
    }
}
