//! The things that break naive clients (spec: vless-reality §0.1). The ninth and tenth concern VLESS and Vision.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use adit_reality::testing::{Group, Hello, Identity, Layout, Policy, Sabotage, Script, TestServer, exchange};
use adit_reality::{
    ClientHandshake, ClientVersion, Content, Fingerprint, Hybrid, Opened, Options, Progress, SystemRandom,
};

fn shake(options: &Options, identity: &Identity, script: Script) -> (Progress, TestServer, Vec<u8>) {
    let mut client = ClientHandshake::new(options, &mut SystemRandom, 1_767_225_600).unwrap();
    let mut server = TestServer::new(identity.clone(), script);
    let (result, rest) = exchange(&mut client, &mut server);
    (result.unwrap(), server, rest)
}

/// Xray 26.9.8 and later drop hellos without an X25519MLKEM768 share before X25519's.
#[test]
fn trap_1_hybrid_share_before_x25519() {
    let identity = Identity::new(1);
    for fingerprint in [Fingerprint::Chrome, Fingerprint::Firefox, Fingerprint::Safari, Fingerprint::Random] {
        let mut options = identity.options();
        options.fingerprint = fingerprint;
        assert!(options.has_hybrid_share());
        let (progress, server, _) = shake(&options, &identity, Script::default());
        assert!(matches!(progress, Progress::Done { .. }), "{fingerprint}");
        let groups: Vec<u16> = Hello::read(server.hello().unwrap()).key_shares().iter().map(|(g, _)| *g).collect();
        let at = |group| groups.iter().position(|g| *g == group).unwrap();
        assert!(at(0x11ec) < at(0x001d));
    }
    // Without it the real site answers, and the explanation says so.
    for (fingerprint, hybrid) in [(Fingerprint::Ios, Hybrid::AsFingerprint), (Fingerprint::Chrome, Hybrid::Strip)] {
        let mut options = identity.options();
        (options.fingerprint, options.hybrid) = (fingerprint, hybrid);
        assert!(!options.has_hybrid_share());
        let script = Script { group: Group::X25519, ..Script::default() };
        let (Progress::NotReality { impostor, .. }, ..) = shake(&options, &identity, script) else { panic!() };
        assert!(impostor.explanation().contains("most likely the hello"), "{}", impostor.explanation());
        // Older servers take it.
        let policy = Policy { demand_hybrid: false, ..Policy::default() };
        let script = Script { group: Group::X25519, policy, ..Script::default() };
        assert!(matches!(shake(&options, &identity, script).0, Progress::Done { .. }));
    }
}

/// Xray 26.7.11 to 26.7.28 refuse clients that announce less than 26.3.27.
#[test]
fn trap_2_version_at_least_26_3_27() {
    let identity = Identity::new(2);
    let mut options = identity.options();
    assert!(options.client_version >= ClientVersion([26, 3, 27]));
    assert!(matches!(shake(&options, &identity, Script::default()).0, Progress::Done { .. }));
    options.client_version = ClientVersion([1, 8, 2]);
    let (Progress::NotReality { impostor, .. }, ..) = shake(&options, &identity, Script::default()) else { panic!() };
    assert!(impostor.explanation().contains("client-version"));
}

/// Failed authentication looks like a normal handshake with the real site: it is told apart, nothing is sent but a
/// polite goodbye.
#[test]
fn trap_3_failure_looks_like_the_real_site() {
    let identity = Identity::new(3);
    let mut wrong_key = identity.options();
    wrong_key.public_key = Identity::new(4).options().public_key;
    let mut wrong_short_id = identity.options();
    wrong_short_id.short_id = "00".parse().unwrap();
    let mut wrong_name = identity.options();
    wrong_name.server_name = "other.test".parse().unwrap();
    for options in [wrong_key, wrong_short_id, wrong_name] {
        let (progress, mut server, _) = shake(&options, &identity, Script::default());
        let Progress::NotReality { mut impostor, .. } = progress else { panic!() };
        assert_eq!(server.received().finished, Some(true), "the handshake ends as a browser's");
        assert!(impostor.chose_h2());
        server.receive(&impostor.browse());
        server.receive(&impostor.close());
        let data = server.take_data();
        assert!(data.starts_with(b"PRI * HTTP/2.0"), "only the browser's request");
        assert_eq!(server.received().alerts, [adit_reality::Alert::CLOSE_NOTIFY]);
        for cause in ["public-key", "short-id", "servername", "clock", "client-version", "client-fingerprint"] {
            assert!(impostor.explanation().contains(cause), "{cause}");
        }
    }
}

/// CertificateVerify comes with Ed25519, which no browser offers.
#[test]
fn trap_4_ed25519_although_not_offered() {
    let identity = Identity::new(4);
    let (progress, server, _) = shake(&identity.options(), &identity, Script::default());
    assert!(!Hello::read(server.hello().unwrap()).signatures().contains(&0x0807));
    assert!(matches!(progress, Progress::Done { .. }));
}

/// There is no ALPN in the answer although h2 was offered.
#[test]
fn trap_5_no_alpn_in_the_answer() {
    let identity = Identity::new(5);
    let (progress, server, _) = shake(&identity.options(), &identity, Script::default());
    assert_eq!(Hello::read(server.hello().unwrap()).alpn(), ["h2", "http/1.1"]);
    assert!(matches!(progress, Progress::Done { .. }), "the scripted server sends no extensions when it is ours");
}

/// The flight imitates the target's: padded records, one or many, then empty application records.
#[test]
fn trap_6_padded_flight_and_empty_records() {
    let identity = Identity::new(6);
    for layout in [Layout::PerMessage { padding: 450 }, Layout::Coalesced { padding: 2600 }] {
        let script = Script { layout, empty_records: vec![120; 40], ..Script::default() };
        let (progress, mut server, mut rest) = shake(&identity.options(), &identity, script);
        let Progress::Done { mut established, .. } = progress else { panic!() };
        server.send(b"after dozens of empty records");
        rest.extend(server.take_output());
        let (mut at, mut empty) = (0, 0);
        let data = loop {
            match established.opener.open(&mut rest[at..]).unwrap() {
                Opened::Record { content: Content::Data(data), .. } => break data.to_vec(),
                Opened::Record { consumed, content } => {
                    assert_eq!(content, Content::Nothing);
                    (at, empty) = (at + consumed, empty + 1);
                }
                Opened::Incomplete { .. } => panic!(),
            }
        };
        assert_eq!((&*data, empty), (&b"after dozens of empty records"[..], 40));
    }
}

/// Serial 0, no names, valid for one instant in the year 1, an HMAC for a signature.
#[test]
fn trap_7_odd_certificate() {
    let identity = Identity::new(7);
    assert!(matches!(shake(&identity.options(), &identity, Script::default()).0, Progress::Done { .. }));
    let script = Script { sabotage: Some(Sabotage::BadHmac), ..Script::default() };
    assert!(matches!(shake(&identity.options(), &identity, script).0, Progress::NotReality { .. }));
}

/// A server that has just started keeps quiet for 5 seconds after our Finished. There is no clock in here that could
/// lose patience: the handshake is over before that, and silence costs nothing.
#[test]
fn trap_8_slow_first_answer() {
    let identity = Identity::new(8);
    let (progress, mut server, rest) = shake(&identity.options(), &identity, Script::default());
    let Progress::Done { mut established, .. } = progress else { panic!() };
    assert!(rest.is_empty(), "done without anything beyond the flight");
    assert_eq!(established.opener.open(&mut []).unwrap(), Opened::Incomplete { need_total: 5 });
    let mut request = Vec::new();
    established.sealer.seal(b"early request", &mut request);
    server.receive(&request);
    assert_eq!(server.take_data(), b"early request", "data may be sent before the server speaks");
}
