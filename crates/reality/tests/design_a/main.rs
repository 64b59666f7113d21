//! Stock rustls and this crate as clients of the same server: both are accepted, agree on every secret and record, and
//! refuse the same certificates. See `client.rs` for how rustls is brought to speak REALITY.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

mod client;

use adit_reality::testing::{Group, Hello, Identity, Layout, Sabotage, Script, Secrets, Suite, TestServer, exchange};
use adit_reality::{Alert, ClientHandshake, Options, ServerName, SystemRandom};
use client::{Connection, Handshake, Opened, Progress, Server};

const NOW: u32 = 1_767_225_600;

fn server(options: &Options, identity: &Identity) -> Server {
    let ServerName::Dns(name) = &options.server_name else { panic!("a name") };
    Server {
        name: name.clone(),
        public_key: options.public_key.0,
        short_id: options.short_id.0,
        version: options.client_version.0,
        ml_dsa: identity.ml_dsa_key(),
    }
}

/// A script whose ServerHello rustls does not refuse.
fn strict(script: Script) -> Script {
    Script { misplaced_extension: false, ..script }
}

/// rustls with a server of this script; what came behind Finished is returned.
fn rustls(
    options: &Options,
    identity: &Identity,
    script: &Script,
) -> (Result<(Connection, Vec<u8>), rustls::Error>, TestServer) {
    let mut peer = TestServer::new(identity.clone(), script.clone());
    let mut handshake = Handshake::new(&server(options, identity), NOW).unwrap();
    peer.receive(&handshake.take_output());
    let flight = peer.take_output();
    for part in flight.chunks(flight.len().div_ceil(3)) {
        match handshake.feed(part) {
            Ok(Progress::NeedMore(more)) => handshake = more,
            Ok(Progress::Done(done)) => {
                peer.receive(&done.output);
                return (Ok((done.connection, done.rest)), peer);
            }
            Err(error) => return (Err(error), peer),
        }
    }
    panic!("the server's flight is not all")
}

/// This crate with the same.
fn ours(
    options: &Options,
    identity: &Identity,
    script: &Script,
) -> (Result<adit_reality::Progress, adit_reality::Error>, TestServer) {
    let mut peer = TestServer::new(identity.clone(), script.clone());
    let mut handshake = ClientHandshake::new(options, &mut SystemRandom, NOW).unwrap();
    let (result, _) = exchange(&mut handshake, &mut peer);
    (result, peer)
}

fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    for suite in [Suite::Aes128, Suite::Aes256, Suite::ChaCha20] {
        for group in [Group::X25519, Group::Hybrid] {
            for layout in [Layout::PerMessage { padding: 400 }, Layout::Coalesced { padding: 9 }] {
                scripts.push(strict(Script { suite, group, layout, ..Script::default() }));
            }
        }
    }
    scripts
}

#[test]
fn both_are_accepted_by_the_same_server() {
    let identity = Identity::new(21);
    let options = identity.options();
    for script in scripts() {
        let (theirs, their_peer) = rustls(&options, &identity, &script);
        let (our_result, our_peer) = ours(&options, &identity, &script);
        assert!(theirs.is_ok() && matches!(our_result, Ok(adit_reality::Progress::Done { .. })), "{script:?}");
        for peer in [&their_peer, &our_peer] {
            assert_eq!(peer.received().finished, Some(true));
            assert_eq!(peer.claim().unwrap().short_id, identity.short_id);
        }
        assert_eq!(their_peer.claim(), our_peer.claim(), "version, clock and short id");
        let hello = Hello::read(their_peer.hello().unwrap());
        assert_eq!(hello.key_shares().iter().map(|(group, _)| *group).collect::<Vec<_>>(), [0x11ec, 0x001d]);
    }
}

/// The scripted server's key schedule, which is this crate's, against rustls' key log.
#[test]
fn secrets_agree() {
    let identity = Identity::new(22);
    for script in scripts() {
        let (result, peer) = rustls(&identity.options(), &identity, &script);
        let logged = result.unwrap().0.secrets;
        let find = |label: &str| logged.iter().find(|(l, _)| l == label).map(|(_, secret)| secret.clone()).unwrap();
        let theirs = Secrets {
            client_handshake: find("CLIENT_HANDSHAKE_TRAFFIC_SECRET"),
            server_handshake: find("SERVER_HANDSHAKE_TRAFFIC_SECRET"),
            client_application: find("CLIENT_TRAFFIC_SECRET_0"),
            server_application: find("SERVER_TRAFFIC_SECRET_0"),
        };
        assert!(*peer.secrets().unwrap() == theirs, "{script:?}");
        let length = if script.suite == Suite::Aes256 { 48 } else { 32 };
        assert_eq!(theirs.client_application.len(), length);
    }
}

/// The scripted server seals and opens with this crate's record layer, the client with rustls'.
#[test]
fn records_agree() {
    let identity = Identity::new(23);
    for script in scripts() {
        let script = Script { empty_records: vec![0, 130], ..script };
        let (result, mut peer) = rustls(&identity.options(), &identity, &script);
        let (mut connection, mut rest) = result.unwrap();
        for _ in 0..2 {
            assert_eq!(connection.open(&mut rest).unwrap(), Some(Opened::Data(vec![])));
        }
        assert!(rest.is_empty());

        for (round, size) in [1, 16_384, 40_000].into_iter().enumerate() {
            let data: Vec<u8> = (0..size).map(|i| (i * 7 + round) as u8).collect();
            peer.receive(&connection.seal(&data).unwrap());
            assert_eq!(peer.take_data(), data);
            peer.receive(&connection.key_update().unwrap());

            peer.send(&data);
            let (mut bytes, mut found) = (peer.take_output(), Vec::new());
            while let Some(opened) = connection.open(&mut bytes).unwrap() {
                let Opened::Data(part) = opened else { panic!("{opened:?}") };
                found.extend(part);
            }
            assert_eq!((found, bytes.len()), (data, 0));
            peer.send_key_update(false);
            assert_eq!(connection.open(&mut peer.take_output()).unwrap(), Some(Opened::KeyUpdate));
        }
        assert_eq!(peer.received().key_updates, 3);
        peer.receive(&connection.seal_close_notify().unwrap());
        assert_eq!(peer.received().alerts, [Alert::CLOSE_NOTIFY]);
        peer.send_alert(Alert::CLOSE_NOTIFY);
        assert_eq!(connection.open(&mut peer.take_output()).unwrap(), Some(Opened::Alert(0)));
    }
}

/// What is wrong with a server is seen by both.
#[test]
fn verdicts_agree() {
    let plain = Identity::new(24);
    let ml_dsa = Identity::with_ml_dsa(24);
    for (identity, sabotage) in [
        (&plain, Sabotage::BadHmac),
        (&plain, Sabotage::BadCertificateVerify),
        (&plain, Sabotage::WrongScheme),
        (&plain, Sabotage::BadFinished),
        (&plain, Sabotage::UnknownSuite),
        (&plain, Sabotage::UnsolicitedExtension),
        (&plain, Sabotage::OutOfOrder),
        (&plain, Sabotage::BehindFinished),
        (&plain, Sabotage::HelloRetry),
        (&plain, Sabotage::Tls12),
        (&ml_dsa, Sabotage::BadMlDsa),
    ] {
        let script = strict(Script { sabotage: Some(sabotage.clone()), ..Script::default() });
        let options = identity.options();
        let (theirs, _) = rustls(&options, identity, &script);
        let (ours, _) = ours(&options, identity, &script);
        assert!(theirs.is_err() && !matches!(ours, Ok(adit_reality::Progress::Done { .. })), "{sabotage:?}");
    }
    // RFC 8446 §4.1.3 has clients look at the session id that comes back; rustls does not.
    let script = strict(Script { sabotage: Some(Sabotage::SessionId), ..Script::default() });
    assert!(rustls(&plain.options(), &plain, &script).0.is_ok() && ours(&plain.options(), &plain, &script).0.is_err());

    let script = strict(Script::default());
    assert!(rustls(&ml_dsa.options(), &ml_dsa, &script).0.is_ok(), "a right signature by ML-DSA-65");
    assert!(matches!(ours(&ml_dsa.options(), &ml_dsa, &script).0, Ok(adit_reality::Progress::Done { .. })));

    // Somebody else's certificate: the site's, because the server does not know the short id.
    let mut stranger = plain.options();
    stranger.short_id = "00".parse().unwrap();
    let (theirs, peer) = rustls(&stranger, &plain, &script);
    assert!(theirs.is_err() && peer.claim().is_none());
    assert!(matches!(ours(&stranger, &plain, &script).0, Ok(adit_reality::Progress::NotReality { .. })));
}
