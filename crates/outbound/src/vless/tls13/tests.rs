use std::sync::Arc;

use adit_reality::{Alert, Content, Error, Opened};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::vless::record::{Open as _, Seal as _};
use crate::vless::testing::Memory;
use crate::vless::vision::VisionStream;

struct Pair {
    client: Connector,
    server: Arc<ServerConfig>,
}

fn pair(versions: &[&'static SupportedProtocolVersion], suite: usize) -> Pair {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["proxy.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let der: CertificateDer<'static> = certificate.der().clone();
    let mut provider = aws_lc_rs::default_provider();
    let server = ServerConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der).unwrap();
    provider.cipher_suites.rotate_left(suite);
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("proxy.test").unwrap();
    Pair { client: Connector::new(&client, &name), server: Arc::new(server) }
}

impl Pair {
    async fn meet(&self, room: usize) -> (io::Result<(Secured, Memory)>, io::Result<TlsStream<DuplexStream>>) {
        let (ours, theirs) = duplex(room);
        let mut ours = Memory(ours);
        let client = async move { self.client.connect(&mut ours).await.map(|secured| (secured, ours)) };
        let mut config = ServerConfig::clone(&self.server);
        if room < 10_000 {
            // Nobody reads tickets before the handshake is over on both sides.
            config.send_tls13_tickets = 0;
        }
        let server = async {
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(theirs).await?;
            stream.flush().await?;
            Ok(stream)
        };
        tokio::join!(client, server)
    }
}

const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Every suite, and sockets that cut the handshake at every size: bytes both ways, KeyUpdates, and orderly ends.
#[tokio::test]
async fn rustls_understands_our_records() {
    for (suite, room) in [(0, 6), (1, 17), (2, 100), (0, 100_000)] {
        let (client, server) = pair(TLS13, suite).meet(room).await;
        let ((Secured { opener, sealer, received }, io), mut server) = (client.unwrap(), server.unwrap());
        let mut client = VisionStream::sealed(io, opener, sealer, received);
        let bulk: Vec<u8> = (0..50_000_u32).map(|i| (i / 3) as u8).collect();
        let ours = async {
            client.write_all(&bulk).await.unwrap();
            client.flush().await.unwrap();
            let mut got = vec![0; bulk.len()];
            client.read_exact(&mut got).await.unwrap();
            assert!(got == bulk);
            client.write_all(b"last words").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(client.read(&mut got).await.unwrap(), 0, "close_notify is an end");
        };
        let theirs = async {
            let mut got = vec![0; bulk.len()];
            server.read_exact(&mut got).await.unwrap();
            assert!(got == bulk);
            // Asks for nothing; our opener must follow.
            server.write_all(&bulk[..20_000]).await.unwrap();
            server.get_mut().1.refresh_traffic_keys().unwrap();
            server.write_all(&bulk[20_000..]).await.unwrap();
            server.flush().await.unwrap();
            got.clear();
            server.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"last words", "close_notify is an end");
            server.shutdown().await.unwrap();
        };
        tokio::join!(ours, theirs);
    }
}

/// Our KeyUpdate is followed by rustls.
#[tokio::test]
async fn rustls_follows_our_key_update() {
    let (client, server) = pair(TLS13, 0).meet(100_000).await;
    let ((Secured { mut sealer, .. }, mut io), mut server) = (client.unwrap(), server.unwrap());
    let mut out = Vec::new();
    sealer.seal(b"old ", &mut out).unwrap();
    sealer.key_update(&mut out).unwrap();
    sealer.seal(b"new", &mut out).unwrap();
    sealer.alert(Alert::CLOSE_NOTIFY, &mut out).unwrap();
    io.write_all(&out).await.unwrap();
    let mut got = String::new();
    server.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "old new");
}

/// Bytes behind a record are not looked at, incomplete ones change nothing, and damage is found (faults F-F4).
#[tokio::test]
async fn records_are_opened_one_at_a_time() {
    let (client, server) = pair(TLS13, 0).meet(100_000).await;
    let ((Secured { mut opener, mut received, .. }, mut io), mut server) = (client.unwrap(), server.unwrap());
    server.write_all(b"one").await.unwrap();
    server.write_all(b"two").await.unwrap();
    server.flush().await.unwrap();
    received.reserve(10_000);
    io.read_buf(&mut received).await.unwrap();
    let mut data = Vec::new();
    while !received.is_empty() {
        for end in 0..whole_record(&received) {
            assert!(matches!(opener.open(&mut received[..end]), Ok(Opened::Incomplete { .. })));
        }
        let before = received.clone();
        let Ok(Opened::Record { consumed, content }) = opener.open(&mut received) else { panic!("a record") };
        if let Content::Data(found) = content {
            data.extend_from_slice(found);
        }
        assert_eq!(received[consumed..], before[consumed..]);
        received.drain(..consumed);
    }
    assert_eq!(data, b"onetwo");
    assert_eq!(
        opener.open(&mut [23, 3, 3, 0, 17, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]),
        Err(Error::BadRecord)
    );
    assert!(opener.open(&mut [23, 3, 3, 0xff, 0xff]).is_err());
    assert!(opener.open(&mut [21, 3, 3, 0, 2, 1, 0]).is_err(), "an alert in the clear");
    let floods = (0..200).take_while(|_| opener.open(&mut [20, 3, 3, 0, 1, 1]).is_ok()).count();
    assert!(floods < 100, "{floods}");
}

#[tokio::test]
async fn older_versions_and_wrong_certificates_are_refused() {
    let (client, _) = pair(&[&rustls::version::TLS12], 0).meet(100_000).await;
    let error = client.err().unwrap();
    assert!(error.to_string().contains("1.3"), "{error}");

    let (trusted, other) = (pair(TLS13, 0), pair(TLS13, 0));
    let (client, server) = Pair { client: trusted.client, server: other.server }.meet(100_000).await;
    let error = client.err().unwrap();
    assert!(matches!(
        error.get_ref().unwrap().downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidCertificate(_))
    ));
    let told = server.err().unwrap();
    assert!(told.to_string().contains("lert"), "the server is told: {told}");
}
