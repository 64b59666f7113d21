//! Handshakes that succeed: every quirk of real servers (spec: vless-reality §2.7), whole and in pieces. F-F5, F-F6.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use adit_reality::testing::{Group, Identity, Layout, Policy, Sabotage, Script, Suite, TestServer, exchange};
use adit_reality::{
    ClientHandshake, ClientVersion, Content, Error, Established, Fingerprint, Hybrid, MAX_RECORD, Opened, Opener,
    Options, Progress, Sealer, ServerName, ServerProven, SystemRandom,
};

const NOW: u32 = 1_767_225_600;

fn start(options: &Options) -> ClientHandshake {
    ClientHandshake::new(options, &mut SystemRandom, NOW).unwrap()
}

/// Shakes hands with a server of this script; returns the two sides and the bytes behind the server's Finished.
fn established(script: Script) -> (Box<Established>, TestServer, Vec<u8>) {
    let identity = Identity::new(7);
    let mut client = start(&identity.options());
    let mut server = TestServer::new(identity, script);
    let (result, rest) = exchange(&mut client, &mut server);
    let Progress::Done { established, .. } = result.unwrap() else { panic!("not done") };
    assert_eq!(server.received().finished, Some(true), "our Finished was right");
    (established, server, rest)
}

/// Opens everything in `bytes` and returns the data in it.
fn open_all(opener: &mut Opener, bytes: &mut [u8]) -> Result<Vec<u8>, Error> {
    let (mut at, mut data) = (0, Vec::new());
    while at < bytes.len() {
        match opener.open(&mut bytes[at..])? {
            Opened::Record { consumed, content } => {
                if let Content::Data(part) = content {
                    assert!(!part.is_empty());
                    data.extend_from_slice(part);
                }
                at += consumed;
            }
            Opened::Incomplete { .. } => panic!("half a record"),
        }
    }
    Ok(data)
}

/// Data arrives in both directions.
fn talk(established: &mut Established, server: &mut TestServer, rest: &mut [u8]) {
    assert_eq!(open_all(&mut established.opener, rest).unwrap(), b"");
    let up: Vec<u8> = (0..40_000_u32).map(|i| i as u8).collect();
    let mut sealed = Vec::new();
    established.sealer.seal(&up, &mut sealed);
    server.receive(&sealed);
    assert_eq!(server.take_data(), up);
    let down: Vec<u8> = (0..50_000_u32).map(|i| (i * 7) as u8).collect();
    server.send(&down);
    assert_eq!(open_all(&mut established.opener, &mut server.take_output()).unwrap(), down);
    let mut close = Vec::new();
    established.sealer.seal_close_notify(&mut close);
    assert_eq!(close.len(), 24, "as spec: vless-reality §2.7 says");
    server.receive(&close);
    assert_eq!(server.received().alerts, [adit_reality::Alert::CLOSE_NOTIFY]);
}

#[test]
fn every_suite_and_group() {
    for (suite, name) in [
        (Suite::Aes128, "TLS_AES_128_GCM_SHA256"),
        (Suite::Aes256, "TLS_AES_256_GCM_SHA384"),
        (Suite::ChaCha20, "TLS_CHACHA20_POLY1305_SHA256"),
    ] {
        for (group, group_name) in [(Group::X25519, "X25519"), (Group::Hybrid, "X25519MLKEM768")] {
            let script = Script { suite, group, ..Script::default() };
            let (mut established, mut server, mut rest) = established(script);
            assert_eq!((established.negotiated.suite, established.negotiated.group), (name, group_name));
            talk(&mut established, &mut server, &mut rest);
        }
    }
}

#[test]
fn every_fingerprint() {
    let identity = Identity::new(9);
    for fingerprint in [
        Fingerprint::Chrome,
        Fingerprint::Firefox,
        Fingerprint::Safari,
        Fingerprint::Edge,
        Fingerprint::Ios,
        Fingerprint::Random,
    ] {
        for group in [Group::X25519, Group::Hybrid] {
            let mut options = identity.options();
            options.fingerprint = fingerprint;
            options.hybrid = Hybrid::Insert;
            let mut client = start(&options);
            let mut server = TestServer::new(identity.clone(), Script { group, ..Script::default() });
            let (result, _) = exchange(&mut client, &mut server);
            assert!(matches!(result, Ok(Progress::Done { .. })), "{fingerprint} {result:?}");
        }
    }
}

#[test]
fn every_layout() {
    let layouts = [
        Layout::PerMessage { padding: 0 },
        Layout::PerMessage { padding: 700 },
        Layout::Coalesced { padding: 0 },
        Layout::Coalesced { padding: 3000 },
        Layout::Split { content: 1 },
        Layout::Split { content: 3 },
        Layout::Split { content: 100 },
        Layout::Split { content: 500 },
    ];
    for layout in layouts {
        let script = Script { layout, empty_records: vec![0, 120, 16_384], ..Script::default() };
        let (mut established, mut server, mut rest) = established(script);
        talk(&mut established, &mut server, &mut rest);
    }
}

/// The server's whole flight, cut into two at every byte: the same result, and the bytes behind Finished stay.
#[test]
fn every_split_point() {
    let identity = Identity::new(3);
    for layout in [Layout::PerMessage { padding: 40 }, Layout::Coalesced { padding: 10 }, Layout::Split { content: 50 }]
    {
        let script = Script { layout, group: Group::X25519, empty_records: vec![30], ..Script::default() };
        let mut length = 1;
        let mut cut = 0;
        while cut <= length {
            let mut client = start(&identity.options());
            let mut server = TestServer::new(identity.clone(), script.clone());
            server.receive(&client.take_output());
            let mut bytes = server.take_output();
            length = bytes.len();
            let mut end = cut;
            let established = loop {
                match client.feed(&mut bytes[..end]).unwrap() {
                    Progress::Done { consumed, established } => {
                        bytes.drain(..consumed);
                        break established;
                    }
                    Progress::NeedMore { consumed } => {
                        assert!(end < bytes.len(), "everything was fed, cut at {cut}");
                        bytes.drain(..consumed);
                        end = bytes.len();
                    }
                    Progress::NotReality { .. } => panic!("cut at {cut}"),
                }
            };
            server.receive(&client.take_output());
            assert_eq!(server.received().finished, Some(true));
            assert_eq!(bytes.len(), 5 + 30 + 1 + 16, "the empty record is the caller's, cut at {cut}");
            let mut opener = established.opener;
            assert_eq!(open_all(&mut opener, &mut bytes).unwrap(), b"");
            cut += 1;
        }
    }
}

#[test]
fn byte_by_byte() {
    let identity = Identity::new(4);
    let mut client = start(&identity.options());
    let mut server = TestServer::new(identity, Script::default());
    server.receive(&client.take_output());
    let mut held = Vec::new();
    for byte in server.take_output() {
        held.push(byte);
        assert!(held.len() <= MAX_RECORD);
        match client.feed(&mut held).unwrap() {
            Progress::NeedMore { consumed } => drop(held.drain(..consumed)),
            Progress::Done { consumed, .. } => {
                assert_eq!(consumed, held.len());
                return;
            }
            Progress::NotReality { .. } => panic!(),
        }
    }
    panic!("not done");
}

/// What comes glued to Finished is not looked at, not even when it is no record.
#[test]
fn bytes_behind_finished_are_the_callers() {
    let identity = Identity::new(4);
    for glued in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 40_000], &[23, 3, 3, 0xff, 0xff]] {
        let mut client = start(&identity.options());
        let mut server = TestServer::new(identity.clone(), Script::default());
        server.receive(&client.take_output());
        server.send_raw(glued);
        let mut bytes = server.take_output();
        let Progress::Done { consumed, .. } = client.feed(&mut bytes).unwrap() else { panic!() };
        assert_eq!(bytes[consumed..], *glued);
        assert!(matches!(client.feed(&mut bytes[consumed..]), Ok(Progress::NeedMore { consumed: 0 })), "it is over");
    }
}

#[test]
fn ml_dsa() {
    let identity = Identity::with_ml_dsa(5);
    for layout in [Layout::PerMessage { padding: 0 }, Layout::Coalesced { padding: 0 }] {
        let mut client = start(&identity.options());
        let mut server = TestServer::new(identity.clone(), Script { layout, ..Script::default() });
        assert!(matches!(exchange(&mut client, &mut server).0, Ok(Progress::Done { .. })));
    }

    // A client that does not ask for it is not bothered by it.
    let mut options = identity.options();
    options.mldsa65_verify = None;
    let mut client = start(&options);
    let mut server = TestServer::new(identity.clone(), Script::default());
    assert!(matches!(exchange(&mut client, &mut server).0, Ok(Progress::Done { .. })));

    // A client that asks for it does not do without.
    for (identity, sabotage) in [(identity.clone(), Some(Sabotage::BadMlDsa)), (Identity::new(5), None)] {
        let mut client = start(&Identity::with_ml_dsa(5).options());
        let mut server = TestServer::new(identity, Script { sabotage, ..Script::default() });
        let (Ok(Progress::NotReality { impostor, .. }), _) = exchange(&mut client, &mut server) else { panic!() };
        assert!(impostor.explanation().contains("mldsa65"));
        assert_eq!(server.received().finished, Some(true));
    }
    // Nor with another key's.
    let mut options = identity.options();
    options.mldsa65_verify = Identity::with_ml_dsa(6).options().mldsa65_verify;
    let mut client = start(&options);
    let mut server = TestServer::new(identity, Script::default());
    assert!(matches!(exchange(&mut client, &mut server).0, Ok(Progress::NotReality { .. })));
}

/// F-F8: the server reads in the session id what we were told.
#[test]
fn the_claim() {
    let identity = Identity::new(8);
    let mut options = identity.options();
    options.client_version = ClientVersion([26, 9, 9]);
    let mut client = ClientHandshake::new(&options, &mut SystemRandom, 0xfedc_ba98).unwrap();
    let mut server = TestServer::new(identity.clone(), Script::default());
    server.receive(&client.take_output());
    let claim = server.claim().unwrap();
    assert_eq!(
        (claim.version, claim.unix_time, claim.short_id),
        (options.client_version, 0xfedc_ba98, identity.short_id)
    );
}

/// A hello for an address carries no name, and a server that expects none accepts it.
#[test]
fn without_a_name() {
    let mut identity = Identity::new(8);
    identity.server_name = None;
    let options = identity.options();
    assert_eq!(options.server_name, ServerName::Ip);
    let mut client = start(&options);
    let mut server = TestServer::new(identity, Script::default());
    assert!(matches!(exchange(&mut client, &mut server).0, Ok(Progress::Done { .. })));
}

/// F-F9.
#[test]
fn clocks() {
    let identity = Identity::new(8);
    let policy = Policy { clock: Some((NOW + 50, 60)), ..Policy::default() };
    let script = Script { policy, ..Script::default() };
    let mut client = start(&identity.options());
    let mut server = TestServer::new(identity.clone(), script.clone());
    assert!(matches!(exchange(&mut client, &mut server).0, Ok(Progress::Done { .. })));

    let mut client = ClientHandshake::new(&identity.options(), &mut SystemRandom, NOW - 50).unwrap();
    let mut server = TestServer::new(identity, script);
    let (Ok(Progress::NotReality { impostor, .. }), _) = exchange(&mut client, &mut server) else { panic!() };
    assert!(impostor.explanation().contains("clock"));
}

/// Our own change of keys, as the answer to the server's or by ourselves.
#[test]
fn key_updates_of_ours() {
    let (mut established, mut server, _) = established(Script::default());
    server.send_key_update(true);
    let mut bytes = server.take_output();
    let opened = established.opener.open(&mut bytes).unwrap();
    assert!(matches!(opened, Opened::Record { content: Content::KeyUpdate { reply: true }, .. }));
    let mut out = Vec::new();
    for round in 1..=3_u8 {
        established.sealer.key_update(&mut out);
        established.sealer.seal(&[round], &mut out);
    }
    server.receive(&out);
    assert_eq!((server.take_data(), server.received().key_updates), (vec![1, 2, 3], 3));
}

/// What a connection holds for as long as it lives, beside the library's two keys.
#[test]
fn the_two_directions_are_small() {
    assert!(size_of::<Opener>() <= 160, "{}", size_of::<Opener>());
    assert!(size_of::<Sealer>() <= 160, "{}", size_of::<Sealer>());
    assert!(size_of::<ClientHandshake>() <= 80, "{}", size_of::<ClientHandshake>());
}

/// Two connections share nothing that a bystander could see.
#[test]
fn hellos_differ_each_time() {
    let identity = Identity::new(8);
    let hellos: Vec<Vec<u8>> = (0..2).map(|_| start(&identity.options()).take_output()).collect();
    assert_ne!(hellos[0][11..43], hellos[1][11..43], "random");
    assert_ne!(hellos[0][44..76], hellos[1][44..76], "session id");
}

#[test]
fn nothing_secret_is_shown() {
    let (established, ..) = established(Script::default());
    let shown = format!("{established:?}");
    assert!(shown.matches("[redacted]").count() >= 4, "{shown}");
    let proof: ServerProven = established.proof;
    assert_eq!(format!("{proof:?}"), "ServerProven(())");
    let shown = format!("{:?}", start(&Identity::new(1).options()));
    assert_eq!(shown, "ClientHandshake(awaiting ServerHello)");
}
