use std::net::SocketAddr;
use std::time::Duration;

use ::aws_lc_rs::digest::{SHA256, digest};
use adit_net::{Secret, Task};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::options::Verify;

const NAME: &str = "proxy.test";

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Leaf { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }
}

impl Leaf {
    fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

fn hash(certificate: &CertificateDer<'_>) -> [u8; 32] {
    digest(&SHA256, certificate).as_ref().try_into().unwrap()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A server that shows `chain`.
fn server(chain: Vec<CertificateDer<'static>>, leaf: &Leaf) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, leaf.key())
        .unwrap()
}

fn options(verify: Verify) -> Tls {
    Tls { server_name: NAME.into(), alpn: Vec::new(), verify, client_certificate: None }
}

/// Accepts one connection after the other and hands each to `scene`.
async fn serve<F>(
    config: ServerConfig,
    scene: impl Fn(tokio_rustls::server::TlsStream<TcpStream>) -> F + Send + Sync + 'static,
) -> (SocketAddr, Task<()>)
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let task = Task::spawn("tls server", async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                scene(stream).await;
            }
        }
    });
    (at, task)
}

/// Says hello and goodbye.
async fn hello(mut stream: tokio_rustls::server::TlsStream<TcpStream>) {
    let _ = stream.write_all(b"hello").await;
    let _ = stream.shutdown().await;
}

async fn connect(connector: &TlsConnector, to: SocketAddr) -> Result<TlsStream, DialError> {
    let stream: BoxStream = Box::new(TcpStream::connect(to).await.unwrap());
    timeout(Duration::from_secs(5), connector.connect(stream)).await.unwrap()
}

/// Whether a server that shows `chain` is accepted, and why not.
async fn check(tls: &Tls, chain: Vec<CertificateDer<'static>>, leaf: &Leaf) -> Result<(), String> {
    let (at, _server) = serve(server(chain, leaf), hello).await;
    let mut stream = connect(&TlsConnector::new(tls).unwrap(), at).await.map_err(|error| error.to_string())?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hello");
    Ok(())
}

#[tokio::test]
async fn roots_check_chain_name_and_time() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let tls = options(Verify::Roots(vec![ours.der().as_ref().into()]));
    let good = ours.issue(NAME, |_| {});
    assert_eq!(check(&tls, vec![good.der()], &good).await, Ok(()));

    let expired = ours.issue(NAME, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for (bad, why) in [
        (&ours.issue("other.test", |_| {}), "not valid for name"),
        (&expired, "expired"),
        (&theirs.issue(NAME, |_| {}), "UnknownIssuer"),
    ] {
        let error = check(&tls, vec![bad.der()], bad).await.unwrap_err();
        assert!(error.contains(NAME) && error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_pinned_leaf_needs_nothing_else() {
    let leaf = Authority::new("unknown").issue("other.test", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    assert_eq!(check(&options(Verify::Pin(hash(&leaf.der()))), vec![leaf.der()], &leaf).await, Ok(()));
    let error = check(&options(Verify::Pin([7; 32])), vec![leaf.der()], &leaf).await.unwrap_err();
    assert!(error.contains("pinned fingerprint"), "{error}");
}

/// Anybody can append a public certificate to a chain of their own.
#[tokio::test]
async fn a_pinned_issuer_must_have_issued() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let tls = options(Verify::Pin(hash(&ours.der())));
    let good = ours.issue(NAME, |_| {});
    assert_eq!(check(&tls, vec![good.der(), ours.der()], &good).await, Ok(()));
    let elsewhere = ours.issue("other.test", |_| {});
    assert!(check(&tls, vec![elsewhere.der(), ours.der()], &elsewhere).await.is_err());
    let forged = theirs.issue(NAME, |_| {});
    assert!(check(&tls, vec![forged.der(), ours.der()], &forged).await.is_err());
    assert!(check(&tls, vec![forged.der(), theirs.der(), ours.der()], &forged).await.is_err());
}

#[tokio::test]
async fn off_accepts_any_certificate() {
    let leaf = Authority::new("unknown").issue("other.test", |_| {});
    assert_eq!(check(&options(Verify::Off), vec![leaf.der()], &leaf).await, Ok(()));
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks() {
    let ours = Authority::new("ours");
    let leaf = ours.issue(NAME, |_| {});
    let own = ours.issue("client", |_| {});
    let mut trusted = RootCertStore::empty();
    trusted.add(ours.der()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(trusted.into(), provider()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![leaf.der()], leaf.key())
        .unwrap();
    let (at, _server) = serve(config, hello).await;

    let mut tls = options(Verify::Off);
    let anonymous = TlsConnector::new(&tls).unwrap();
    // TLS 1.3: the client is done before the server has looked at its certificate.
    let mut stream = connect(&anonymous, at).await.unwrap();
    assert!(stream.read(&mut [0; 5]).await.unwrap_err().to_string().contains("CertificateRequired"));

    tls.client_certificate =
        Some(ClientCertificate { chain: own.certificate.pem(), key: Secret::new(own.key.serialize_pem()) });
    let mut stream = connect(&TlsConnector::new(&tls).unwrap(), at).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hello");
}

#[tokio::test]
async fn sessions_are_resumed() {
    let leaf = Authority::new("ours").issue(NAME, |_| {});
    let (at, _server) = serve(server(vec![leaf.der()], &leaf), hello).await;
    let connector = TlsConnector::new(&options(Verify::Off)).unwrap();
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut stream = connect(&connector, at).await.unwrap();
        assert_eq!(stream.0.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        stream.read_to_string(&mut String::new()).await.unwrap();
        assert_eq!(stream.0.get_ref().1.handshake_kind(), Some(kind));
    }
}

#[tokio::test]
async fn our_half_close_leaves_the_other_direction_open() {
    let leaf = Authority::new("ours").issue(NAME, |_| {});
    let (at, _server) = serve(server(vec![leaf.der()], &leaf), async |mut stream| {
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        stream.write_all(heard.to_uppercase().as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .await;
    let mut stream = connect(&TlsConnector::new(&options(Verify::Off)).unwrap(), at).await.unwrap();
    stream.write_all(b"question").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "QUESTION");
}

#[tokio::test]
async fn their_half_close_leaves_the_other_direction_open() {
    let leaf = Authority::new("ours").issue(NAME, |_| {});
    let (heard, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (at, _server) = serve(server(vec![leaf.der()], &leaf), move |mut stream| {
        let heard = heard.clone();
        async move {
            stream.shutdown().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            heard.send(text).unwrap();
        }
    })
    .await;
    let mut stream = connect(&TlsConnector::new(&options(Verify::Off)).unwrap(), at).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    stream.write_all(b"afterwards").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "afterwards");
}

/// F-B5: a transfer that was cut must not look complete.
#[tokio::test]
async fn an_end_without_close_notify_is_an_error() {
    let leaf = Authority::new("ours").issue(NAME, |_| {});
    let (at, _server) = serve(server(vec![leaf.der()], &leaf), async |mut stream| {
        stream.write_all(b"half of").await.unwrap();
        stream.flush().await.unwrap();
        stream.get_mut().0.shutdown().await.unwrap();
        let _ = stream.get_mut().0.read(&mut [0; 64]).await;
    })
    .await;
    let mut stream = connect(&TlsConnector::new(&options(Verify::Off)).unwrap(), at).await.unwrap();
    let mut said = Vec::new();
    let error = stream.read_to_end(&mut said).await.unwrap_err();
    assert_eq!((&said[..], error.kind()), (&b"half of"[..], io::ErrorKind::UnexpectedEof));
}

/// F-B4
#[tokio::test]
async fn abort_reaches_the_socket() {
    let leaf = Authority::new("ours").issue(NAME, |_| {});
    let (seen, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (at, _server) = serve(server(vec![leaf.der()], &leaf), move |mut stream| {
        let seen = seen.clone();
        async move {
            stream.write_all(b"!").await.unwrap();
            let end = stream.read(&mut [0; 1]).await;
            seen.send(end.map_err(|error| error.kind())).unwrap();
        }
    })
    .await;
    let mut stream = connect(&TlsConnector::new(&options(Verify::Off)).unwrap(), at).await.unwrap();
    // The server's handshake is over, too.
    stream.read_exact(&mut [0; 1]).await.unwrap();
    stream.abort();
    drop(stream);
    assert_eq!(told.recv().await.unwrap(), Err(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn what_is_not_tls_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let _server = Task::spawn("plain server", async move {
        for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let connector = TlsConnector::new(&options(Verify::Off)).unwrap();
    for why in ["InvalidContentType", "closed the connection during the handshake"] {
        let error = connect(&connector, at).await.err().unwrap().to_string();
        assert!(error.contains(NAME) && error.contains(why), "{error}");
    }
}

#[test]
fn options_that_cannot_work_are_refused() {
    let refused = |change: fn(&mut Tls)| {
        let mut tls = options(Verify::Off);
        change(&mut tls);
        TlsConnector::new(&tls).err().unwrap().to_string()
    };
    assert!(refused(|tls| tls.server_name = "a b".into()).contains("`a b`"));
    assert!(refused(|tls| tls.alpn = vec!["h2".into(), String::new()]).contains("ALPN"));
    assert!(
        refused(|tls| tls.verify = Verify::Roots(vec![[1, 2, 3].as_slice().into()])).contains("extra trust root 0")
    );
    let own = |chain: &str, key: &str| ClientCertificate { chain: chain.into(), key: Secret::new(key) };
    let leaf = Authority::new("ours").issue("client", |_| {});
    let mut tls = options(Verify::Off);
    tls.client_certificate = Some(own("", &leaf.key.serialize_pem()));
    assert!(matches!(TlsConnector::new(&tls), Err(TlsOptionsError::CertificatePem)));
    tls.client_certificate = Some(own(&leaf.certificate.pem(), "hunter2"));
    let error = TlsConnector::new(&tls).err().unwrap();
    assert!(matches!(&error, TlsOptionsError::KeyPem));
    assert!(!format!("{error:?} {error} {tls:?}").contains("hunter2"), "F-L2");
}

#[tokio::test]
async fn an_address_can_be_the_server_name() {
    let ours = Authority::new("ours");
    let leaf = ours.issue("127.0.0.1", |_| {});
    let mut tls = options(Verify::Roots(vec![ours.der().as_ref().into()]));
    tls.server_name = "127.0.0.1".into();
    assert_eq!(check(&tls, vec![leaf.der()], &leaf).await, Ok(()));
}
