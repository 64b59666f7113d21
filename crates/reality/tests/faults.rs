//! Servers that break the protocol or are none (F-F1, F-F2, F-F4): the right error, the right alert, never a panic.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use adit_reality::testing::{Group, Identity, Layout, Sabotage, Script, Suite, TestServer, exchange, opener};
use adit_reality::{
    Alert, ClientHandshake, Error, Fault, Fingerprint, Impostor, Misbehaviour, Opened, Options, Progress, PublicKey,
    ServerName, SystemRandom,
};

fn start(options: &Options) -> ClientHandshake {
    ClientHandshake::new(options, &mut SystemRandom, 1_767_225_600).unwrap()
}

/// The error of a handshake with a server of this script, and the alerts the server got.
fn failure(script: Script) -> (Error, Vec<Alert>) {
    let identity = Identity::new(1);
    let mut client = start(&identity.options());
    let mut server = TestServer::new(identity, script);
    let (result, _) = exchange(&mut client, &mut server);
    let error = result.unwrap_err();
    assert!(matches!(client.feed(&mut [22, 3, 3, 0, 0]), Ok(Progress::NeedMore { consumed: 0 })), "it is over");
    assert_eq!(error.alert().into_iter().collect::<Vec<_>>(), server.received().alerts, "{error}");
    assert!(server.received().data.is_empty() && server.received().finished.is_none());
    (error, server.received().alerts.clone())
}

fn with(sabotage: Sabotage) -> Script {
    Script { sabotage: Some(sabotage), ..Script::default() }
}

#[test]
fn broken_flights() {
    use Misbehaviour::{Illegal, MessageTooLong, Unexpected, UnsolicitedExtension};
    for (sabotage, error, alert) in [
        (Sabotage::BadCertificateVerify, Error::BadCertificateVerify, 51),
        (Sabotage::BadFinished, Error::BadFinished, 51),
        (Sabotage::WrongScheme, Illegal("signature scheme").into(), 47),
        (Sabotage::SessionId, Illegal("session id").into(), 47),
        (Sabotage::UnknownSuite, Illegal("cipher suite").into(), 47),
        (Sabotage::BehindFinished, Unexpected("data behind a change of keys").into(), 10),
        (Sabotage::OutOfOrder, Unexpected("handshake message").into(), 10),
        (Sabotage::HugeMessage, MessageTooLong.into(), 47),
        (Sabotage::UnsolicitedExtension, UnsolicitedExtension.into(), 110),
    ] {
        let (found, alerts) = failure(with(sabotage.clone()));
        assert_eq!((&found, alerts), (&error, vec![Alert(alert)]), "{sabotage:?}");
        assert_eq!(found.fault(), Fault::Peer);
    }
    let (error, alerts) = failure(with(Sabotage::AlertInFlight(Alert::HANDSHAKE_FAILURE)));
    assert_eq!((error, alerts), (Error::PeerAlert(Alert::HANDSHAKE_FAILURE), vec![]));
}

/// What a server that knows its TLS can still put into its flight.
#[test]
fn bad_messages_in_the_flight() {
    use Misbehaviour::{Illegal, Malformed, Unexpected};
    let extensions = |list: &[u8]| [&[8, 0, 0, list.len() as u8 + 2, 0, list.len() as u8], list].concat();
    let none = extensions(&[]);
    let request = [13, 0, 0, 3, 0, 0, 0];
    for (flight, error) in [
        (vec![8, 0, 0, 0], Malformed("EncryptedExtensions")),
        (vec![8, 0, 0, 3, 0, 0, 0], Malformed("EncryptedExtensions")),
        (extensions(&[0]), Malformed("EncryptedExtensions")),
        (extensions(&[0, 16, 0, 5, 0, 3, 2]), Malformed("EncryptedExtensions")),
        (extensions(&[0, 16, 0, 5, 0, 3, 2, b'h', b'3']), Illegal("application protocol")),
        (extensions(&[0, 16, 0, 0]), Illegal("application protocol")),
        (extensions(&[0, 41, 0, 2, 0, 0]), Misbehaviour::UnsolicitedExtension),
        ([&*none, &none].concat(), Unexpected("handshake message")),
        ([&*none, &request, &request].concat(), Unexpected("handshake message")),
        ([&*none, &[15, 0, 0, 0]].concat(), Unexpected("handshake message")),
        ([&*none, &[11, 0, 0, 0]].concat(), Malformed("Certificate")),
        ([&*none, &[11, 0, 0, 4, 0, 0, 0, 0]].concat(), Malformed("Certificate")),
        ([&*none, &[11, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 0]].concat(), Malformed("Certificate")),
        ([&*none, &[11, 0, 0, 5, 1, 0, 0, 0, 0]].concat(), Malformed("Certificate")),
    ] {
        let found = failure(with(Sabotage::Flight(flight.clone()))).0;
        assert_eq!(found, error.into(), "{flight:?}");
    }
    // A certificate that cannot be walked is a stranger's; its Finished is still checked.
    let stranger =
        [&*none, &[11, 0, 0, 10, 0, 0, 0, 6, 0, 0, 1, 0x30, 0, 0], &[15, 0, 0, 0], &[20, 0, 0, 1, 0]].concat();
    assert_eq!(failure(with(Sabotage::Flight(stranger))).0, Error::BadFinished);
}

#[test]
fn not_our_server() {
    let (error, alerts) = failure(with(Sabotage::HelloRetry));
    assert_eq!((&error, alerts), (&Error::HelloRetry, vec![Alert::HANDSHAKE_FAILURE]));
    assert!(error.to_string().contains("public-key"), "it says what to check");
    let (error, alerts) = failure(with(Sabotage::Tls12));
    assert_eq!((&error, alerts), (&Error::OldTls, vec![Alert::PROTOCOL_VERSION]));
    let (error, alerts) = failure(with(Sabotage::Raw(vec![21, 3, 3, 0, 2, 2, 40])));
    assert_eq!((&error, alerts), (&Error::Refused(Alert::HANDSHAKE_FAILURE), vec![]));
    assert_eq!(error.fault(), Fault::NotReality);
    for noise in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-x\r\n", &[0; 100], b"H", &[22, 9]] {
        let (error, alerts) = failure(with(Sabotage::Raw(noise.to_vec())));
        assert_eq!((error, alerts), (Error::NotTls, vec![]));
    }
}

#[test]
fn bad_records_before_the_server_hello() {
    use Misbehaviour::{Flood, MessageTooLong, RecordTooLong, Unexpected};
    let huge = [&[22, 3, 3, 0x41, 0x00][..], &[2; 0x4100]].concat();
    let flood: Vec<u8> = [20, 3, 3, 0, 1, 1].repeat(33);
    for (bytes, error) in [
        (vec![22, 3, 3, 0x41, 0x01], RecordTooLong),
        (huge, RecordTooLong),
        (vec![22, 3, 3, 0, 0], Unexpected("empty handshake record")),
        (vec![23, 3, 3, 0, 1, 1], Unexpected("encrypted record")),
        (vec![20, 3, 3, 0, 1, 2], Unexpected("change_cipher_spec")),
        (vec![20, 3, 3, 0, 2, 1, 1], Unexpected("change_cipher_spec")),
        (flood, Flood("change_cipher_specs")),
        (vec![22, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff], MessageTooLong),
        (vec![22, 3, 3, 0, 4, 11, 0, 0, 0], Unexpected("handshake message")),
        (vec![22, 3, 3, 0, 4, 2, 0, 0, 0], Misbehaviour::Malformed("ServerHello")),
        (vec![21, 3, 3, 0, 1, 2], Misbehaviour::Malformed("alert")),
    ] {
        let (found, alerts) = failure(with(Sabotage::Raw(bytes)));
        assert_eq!((found, alerts), (error.into(), vec![error.alert()]));
    }
}

/// F-F4: a few are normal, a flood is not.
#[test]
fn change_cipher_specs_in_the_handshake() {
    let identity = Identity::new(1);
    for (n, ok) in [(0, true), (2, true), (32, true), (33, false)] {
        let mut client = start(&identity.options());
        let mut server = TestServer::new(identity.clone(), Script { change_cipher_specs: n, ..Script::default() });
        let result = exchange(&mut client, &mut server).0;
        assert_eq!(matches!(result, Ok(Progress::Done { .. })), ok, "{n}");
    }
}

/// Every byte of the server's flight, changed: an error or a stranger, never a proven server.
#[test]
fn any_changed_byte_is_noticed() {
    let identity = Identity::new(1);
    let script = Script { group: Group::X25519, change_cipher_specs: 0, ..Script::default() };
    let mut at = 0;
    loop {
        let mut client = start(&identity.options());
        let mut server = TestServer::new(identity.clone(), script.clone());
        server.receive(&client.take_output());
        let mut bytes = server.take_output();
        if at >= bytes.len() {
            break;
        }
        bytes[at] ^= 0x40;
        match client.feed(&mut bytes) {
            Ok(Progress::Done { .. }) => {
                // Only the ignored version in a record's header, where it is not authenticated, may pass.
                assert_eq!(at, 2, "byte {at}");
            }
            Ok(Progress::NotReality { .. }) => panic!("byte {at}"),
            Ok(Progress::NeedMore { .. }) | Err(_) => {}
        }
        at += 1;
    }
}

/// Bytes that answer nothing.
#[test]
fn noise_never_panics() {
    let options = Identity::new(1).options();
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for round in 0..2_000 {
        let mut bytes: Vec<u8> = (0..64).map(|_| next()).collect();
        if round % 2 == 0 {
            bytes[..5].copy_from_slice(&[20 + next() % 4, 3, 3, 0, next() % 60]);
        }
        let mut client = start(&options);
        let _ = client.feed(&mut bytes);
        if round % 8 == 0 {
            // The same as handshake messages of a server that is otherwise flawless, and as its records.
            bytes[..4].copy_from_slice(&[8, 0, 0, 60]);
            let script =
                Script { sabotage: Some(Sabotage::Flight(bytes.clone())), group: Group::X25519, ..Script::default() };
            let mut client = start(&options);
            let _ = exchange(&mut client, &mut TestServer::new(Identity::new(1), script));
            let _ = open(|server| server.send_record(bytes[10] % 30, &bytes, 0));
        }
    }
}

fn impostor(script: Script, fingerprint: Fingerprint) -> (Box<Impostor>, TestServer) {
    let identity = Identity::new(1);
    let mut options = identity.options();
    options.short_id = "ff".parse().unwrap();
    options.fingerprint = fingerprint;
    let mut client = start(&options);
    let mut server = TestServer::new(identity, script);
    let (result, _) = exchange(&mut client, &mut server);
    let Progress::NotReality { impostor, .. } = result.unwrap() else { panic!() };
    (impostor, server)
}

/// F-F1: what a site sees of us is a browser that comes and goes.
#[test]
fn impostors_are_left_politely() {
    for sabotage in [None, Some(Sabotage::CompressedCertificate)] {
        for group in [Group::X25519, Group::Hybrid, Group::P256] {
            let script = Script { group, sabotage: sabotage.clone(), suite: Suite::Aes256, ..Script::default() };
            // Only Firefox has a share for P-256.
            let (mut impostor, mut server) = impostor(script, Fingerprint::Firefox);
            assert_eq!(server.received().finished, Some(true));
            server.receive(&impostor.browse());
            assert!(server.take_data().starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
            assert_eq!(server.received().alerts, []);
            server.receive(&impostor.close());
            assert_eq!(server.received().alerts, [Alert::CLOSE_NOTIFY]);
        }
    }
}

/// SETTINGS, in whatever records, are acknowledged as they come; nothing else of the site's is answered.
#[test]
fn impostors_acknowledge_settings() {
    const SETTINGS: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
    const ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    let (mut impostor, mut server) = impostor(Script::default(), Fingerprint::Chrome);
    server.receive(&impostor.browse());
    let request = server.take_data();
    assert!(!request.ends_with(&ACK));

    server.send_ticket(100);
    server.send(&SETTINGS[..5]);
    server.send(&[&SETTINGS[5..], &ACK, &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0]].concat());
    server.send_key_update(true);
    server.send(&[&[0, 0, 2, 0, 1, 0, 0, 0, 1, 4, 4][..], &SETTINGS].concat());
    let mut bytes = server.take_output();
    let (mut held, mut answers) = (Vec::new(), 0);
    for byte in bytes.drain(..) {
        held.push(byte);
        let (consumed, answer) = impostor.listen(&mut held).unwrap();
        held.drain(..consumed);
        answers += usize::from(!answer.is_empty());
        server.receive(&answer);
    }
    assert_eq!((held.len(), answers), (0, 3));
    assert_eq!((server.take_data(), server.received().key_updates), (ACK.repeat(2), 1));
    server.send_alert(Alert::CLOSE_NOTIFY);
    assert!(matches!(impostor.listen(&mut server.take_output()), Ok((24, answer)) if answer.is_empty()));
    server.send_alert(Alert::INTERNAL_ERROR);
    assert_eq!(impostor.listen(&mut server.take_output()), Err(Error::PeerAlert(Alert::INTERNAL_ERROR)));
}

#[test]
fn impostors_without_h2_are_asked_nothing() {
    let (mut impostor, mut server) =
        impostor(Script { site_chooses_h2: false, ..Script::default() }, Fingerprint::Chrome);
    assert!(!impostor.chose_h2());
    assert!(impostor.browse().is_empty());
    server.send(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    assert!(matches!(impostor.listen(&mut server.take_output()), Ok((31, answer)) if answer.is_empty()));
}

/// A site that uses ALPS and asks for a client certificate gets the answers of a browser.
#[test]
fn curious_sites_are_answered() {
    let script = Script { site_is_curious: true, layout: Layout::Coalesced { padding: 0 }, ..Script::default() };
    let (_, server) = impostor(script, Fingerprint::Chrome);
    assert_eq!(server.received().finished, Some(true));
    assert_eq!(server.received().extra_messages, [8, 11]);
}

#[test]
fn options_that_cannot_work() {
    let mut options = Identity::new(1).options();
    for weak in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        options.public_key = PublicKey(weak);
        let refused = ClientHandshake::new(&options, &mut SystemRandom, 0).unwrap_err();
        assert_eq!(refused.fault(), Fault::Options);
        assert!(refused.to_string().contains("public-key"));
    }
    let mut options = Identity::new(1).options();
    for name in ["", "a.", "ä", "x y", &"a".repeat(254)] {
        options.server_name = ServerName::Dns(name.into());
        let refused = ClientHandshake::new(&options, &mut SystemRandom, 0).unwrap_err();
        assert!(refused.to_string().contains("servername"), "{name}");
    }
}

/// What the opener makes of one record the server sends.
fn open(send: impl FnOnce(&mut TestServer)) -> Result<(), Error> {
    let (mut opener, mut server) = opener(Suite::Aes128);
    send(&mut server);
    let mut bytes = server.take_output();
    let mut at = 0;
    while let Opened::Record { consumed, .. } = opener.open(&mut bytes[at..])? {
        at += consumed;
    }
    Ok(())
}

/// F-F4, after the handshake.
#[test]
fn floods_end() {
    use Misbehaviour::Flood;
    let many = |n: usize, send: fn(&mut TestServer)| open(move |server| (0..n).for_each(|_| send(server)));
    for send in [
        |s: &mut TestServer| s.send_empty(5),
        |s: &mut TestServer| s.send_ticket(100),
        |s: &mut TestServer| s.send_raw(&[20, 3, 3, 0, 1, 1]),
    ] {
        assert_eq!(many(128, send), Ok(()));
        assert_eq!(many(129, send), Err(Flood("records without content").into()));
    }
    assert_eq!(many(32, |s| s.send_key_update(false)), Ok(()));
    assert_eq!(many(33, |s| s.send_key_update(true)), Err(Flood("KeyUpdates").into()));
    // Data in between starts the count again.
    let paced = |s: &mut TestServer| {
        (0..100).for_each(|_| s.send_empty(0));
        (0..20).for_each(|_| s.send_key_update(false));
        s.send(b"x");
    };
    assert_eq!(open(|server| (0..5).for_each(|_| paced(server))), Ok(()));
}

#[test]
fn bad_records_after_the_handshake() {
    use Misbehaviour::{Illegal, Malformed, RecordTooLong, Unexpected};
    for (kind, content, error) in [
        (22, &[][..], Unexpected("empty handshake record")),
        (22, &[13, 0, 0, 0], Unexpected("handshake message")),
        (22, &[24, 0, 0, 1, 2], Illegal("KeyUpdate")),
        (22, &[24, 0, 0, 2, 0, 0], Malformed("message length")),
        (22, &[24, 0, 0, 1, 0, 4], Unexpected("data behind a KeyUpdate")),
        (22, &[4, 0xff, 0xff, 0xff], Malformed("message length")),
        (22, &[4, 0, 0, 0], Malformed("message length")),
        (21, &[1], Malformed("alert")),
        (20, &[1], Unexpected("content type")),
        (0, &[], Unexpected("record without a content type")),
    ] {
        assert_eq!(open(|server| server.send_record(kind, content, 0)), Err(error.into()), "{kind} {content:?}");
    }
    assert_eq!(open(|server| server.send_record(23, &[1; 16_384], 0)), Ok(()));
    assert_eq!(open(|server| server.send_record(23, &[1; 16_385], 0)), Err(RecordTooLong.into()));
    assert_eq!(open(|server| server.send_record(23, &[1; 16_384], 1)), Err(RecordTooLong.into()));
    assert_eq!(open(|server| server.send_raw(&[23, 3, 3, 0x41, 0x01])), Err(RecordTooLong.into()));
    assert_eq!(open(|server| server.send_raw(&[21, 3, 3, 0, 2, 2, 40])), Err(Unexpected("record in the clear").into()));
    assert_eq!(open(|server| server.send_raw(b"HTTP/")), Err(Unexpected("bytes that are no record").into()));
    assert_eq!(open(|server| server.send_raw(&[23, 3, 3, 0, 1, 1])), Err(Error::BadRecord));
    assert_eq!(open(|server| server.send_raw(&[&[23, 3, 3, 0, 40][..], &[7; 40]].concat())), Err(Error::BadRecord));
    assert_eq!(open(|server| server.send_alert(Alert::BAD_CERTIFICATE)), Err(Error::PeerAlert(Alert::BAD_CERTIFICATE)));
    assert_eq!(open(|server| server.send_alert(Alert::USER_CANCELED)), Ok(()));
    let between = |server: &mut TestServer| {
        server.send_record(22, &[4, 0, 0, 9], 0);
        server.send(b"x");
    };
    assert_eq!(open(between), Err(Unexpected("record between parts of a handshake message").into()));
}
