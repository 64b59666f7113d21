//! Against stock rustls: a genuine TLS server, as the site behind a REALITY server is. It must see a flawless
//! handshake, at most a browser's request, and a clean end (F-F1).

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use adit_reality::testing::Identity;
use adit_reality::{ClientHandshake, Content, Error, Fingerprint, Impostor, Opened, Progress, SystemRandom};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, SupportedCipherSuite};

struct Site(ServerConnection);

impl Site {
    fn new(group: &'static dyn SupportedKxGroup, suite: SupportedCipherSuite, alpn: &[&[u8]]) -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["target.test".to_owned()]).unwrap();
        let certificate = CertificateDer::from(key.cert.der().to_vec());
        let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let provider = CryptoProvider {
            kx_groups: vec![group],
            cipher_suites: vec![suite, cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256],
            ..default_provider()
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], private)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Self(ServerConnection::new(Arc::new(config)).unwrap())
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).unwrap();
            self.0.process_new_packets().unwrap();
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut out).unwrap();
        }
        out
    }

    /// What it read, and whether the end was clean.
    fn read(&mut self) -> (Vec<u8>, bool) {
        let mut data = Vec::new();
        let mut part = [0; 4096];
        loop {
            match self.0.reader().read(&mut part) {
                Ok(0) => return (data, true),
                Ok(n) => data.extend_from_slice(&part[..n]),
                Err(why) if why.kind() == ErrorKind::WouldBlock => return (data, false),
                Err(why) => panic!("{why}"),
            }
        }
    }
}

/// Shakes hands; the site's flight is fed byte by byte when `slowly`.
fn shake(site: &mut Site, fingerprint: Fingerprint, slowly: bool) -> Result<Box<Impostor>, Error> {
    let mut options = Identity::new(1).options();
    options.fingerprint = fingerprint;
    let mut client = ClientHandshake::new(&options, &mut SystemRandom, 1_767_225_600)?;
    site.receive(&client.take_output());
    let flight = site.take_output();
    let mut held: Vec<u8> = Vec::new();
    for part in flight.chunks(if slowly { 1 } else { flight.len() }) {
        held.extend_from_slice(part);
        match client.feed(&mut held)? {
            Progress::NeedMore { consumed } => drop(held.drain(..consumed)),
            Progress::NotReality { consumed, impostor } => {
                assert_eq!(consumed, held.len(), "the end of the flight");
                site.receive(&client.take_output());
                return Ok(impostor);
            }
            Progress::Done { .. } => panic!("a stranger was taken for ours"),
        }
    }
    panic!("no end")
}

/// Opens all the site has sent.
fn open(impostor: &mut Impostor, mut bytes: Vec<u8>) -> (Vec<u8>, Vec<String>) {
    let (mut data, mut rest) = (Vec::new(), Vec::new());
    while let Opened::Record { consumed, content } = impostor.opener().open(&mut bytes).unwrap() {
        match content {
            Content::Data(part) => data.extend_from_slice(part),
            other => rest.push(format!("{other:?}")),
        }
        bytes.drain(..consumed);
    }
    assert!(bytes.is_empty());
    (data, rest)
}

#[test]
fn a_genuine_site_is_left_like_a_browser_leaves() {
    let all = [Fingerprint::Chrome, Fingerprint::Firefox, Fingerprint::Safari, Fingerprint::Edge, Fingerprint::Ios];
    let hybrid = [Fingerprint::Chrome, Fingerprint::Firefox, Fingerprint::Safari];
    for (group, fingerprints) in [
        (kx_group::X25519, &all[..]),
        (kx_group::X25519MLKEM768, &hybrid),
        (kx_group::SECP256R1, &[Fingerprint::Firefox]),
    ] {
        for suite in [
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ] {
            for fingerprint in fingerprints {
                let mut site = Site::new(group, suite, &[b"h2", b"http/1.1"]);
                let mut impostor = shake(&mut site, *fingerprint, suite.suite() == 0x1301.into()).unwrap();
                assert!(!site.0.is_handshaking(), "the site accepted our Finished");
                assert_eq!(site.0.server_name(), Some("target.test"));
                assert_eq!(site.0.alpn_protocol(), Some(&b"h2"[..]));

                assert!(impostor.chose_h2());
                site.receive(&impostor.browse());
                let (request, ended) = site.read();
                assert!(request.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") && !ended);
                site.0.writer().write_all(&[b'x'; 30_000]).unwrap();
                let (answer, others) = open(&mut impostor, site.take_output());
                assert_eq!(answer, [b'x'; 30_000]);
                assert_eq!(others.iter().filter(|o| *o == "Nothing").count(), others.len(), "tickets: {others:?}");

                site.receive(&impostor.close());
                assert_eq!(site.read(), (Vec::new(), true), "a clean end");
            }
        }
    }
}

/// The receive side against an independent implementation of KeyUpdate and close_notify.
#[test]
fn key_updates_of_rustls_are_followed() {
    let mut site = Site::new(kx_group::X25519, cipher_suite::TLS13_AES_256_GCM_SHA384, &[]);
    let mut impostor = shake(&mut site, Fingerprint::Chrome, false).unwrap();
    assert!(!impostor.chose_h2() && impostor.browse().is_empty());
    let _ = open(&mut impostor, site.take_output()); // tickets
    for round in 0..3_u8 {
        site.0.refresh_traffic_keys().unwrap();
        site.0.writer().write_all(&[round; 100]).unwrap();
        let (data, others) = open(&mut impostor, site.take_output());
        assert_eq!((data, others), (vec![round; 100], vec!["KeyUpdate { reply: true }".to_owned()]));
    }
    site.0.send_close_notify();
    assert_eq!(open(&mut impostor, site.take_output()), (vec![], vec!["Closed".to_owned()]));
}

/// Sites that cannot be ours show before any certificate.
#[test]
fn hello_retry_and_old_tls_have_their_own_errors() {
    let mut site = Site::new(kx_group::SECP384R1, cipher_suite::TLS13_AES_128_GCM_SHA256, &[]);
    assert_eq!(shake(&mut site, Fingerprint::Chrome, true).unwrap_err(), Error::HelloRetry);

    let mut site = Site::new(kx_group::X25519, cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, &[]);
    assert_eq!(shake(&mut site, Fingerprint::Chrome, true).unwrap_err(), Error::OldTls);
}
