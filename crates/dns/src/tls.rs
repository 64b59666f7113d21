//! TLS to a nameserver: whose certificate is believed.

use std::io;
use std::sync::Arc;

use adit_net::{BoxStream, Host};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, DEFAULT_VERSIONS, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::nameserver::Certificate;

/// What all servers of a list share: the trust roots.
pub(crate) struct Trust {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// The roots that browsers trust, and `extra`.
    pub(crate) fn new(extra: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra {
            roots.add(root.clone())?;
        }
        Ok(Self { provider: Arc::new(aws_lc_rs::default_provider()), roots: Arc::new(roots) })
    }
}

/// Shakes hands with one server. Sessions are resumed across its connections.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: tokio_rustls::TlsConnector,
    name: ServerName<'static>,
}

impl TlsClient {
    /// A client for the server at `host`, that speaks `alpn` if given.
    pub(crate) fn new(
        trust: &Trust,
        host: &Host,
        certificate: &Certificate,
        alpn: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let name = name_of(host, certificate)?;
        let config = config(trust, certificate, DEFAULT_VERSIONS, alpn)?;
        Ok(Self { connector: Arc::new(config).into(), name })
    }

    /// Shakes hands. No deadline of its own; dropping the future closes the stream.
    pub(crate) async fn connect(&self, stream: BoxStream) -> io::Result<tokio_rustls::client::TlsStream<BoxStream>> {
        // Boxed: a session's state is large, and most futures that could hold it never do.
        Box::pin(self.connector.connect(self.name.clone(), stream)).await
    }
}

/// What QUIC shakes hands with: TLS 1.3 (RFC 9001 §4.2) that speaks DNS (RFC 9250 §4.1.1).
#[derive(Clone)]
pub(crate) struct QuicTls {
    pub(crate) config: Arc<QuicClientConfig>,
    /// As its library takes it.
    pub(crate) name: String,
}

impl QuicTls {
    /// A client for the server at `host`.
    pub(crate) fn new(trust: &Trust, host: &Host, certificate: &Certificate) -> Result<Self, Error> {
        let name = name_of(host, certificate)?.to_str().into_owned();
        let config = config(trust, certificate, &[&TLS13], Some(b"doq"))?;
        let config = QuicClientConfig::try_from(config).map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { config: Arc::new(config), name })
    }
}

/// Whom the server must be.
fn name_of(host: &Host, certificate: &Certificate) -> Result<ServerName<'static>, Error> {
    let host = match certificate {
        Certificate::Of(other) => other,
        Certificate::OfServer | Certificate::Unchecked => host,
    };
    match host {
        Host::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        Host::Domain(name) => {
            ServerName::try_from(name.as_str().to_owned()).map_err(|error| Error::General(error.to_string()))
        }
    }
}

fn config(
    trust: &Trust,
    certificate: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
    alpn: Option<&[u8]>,
) -> Result<ClientConfig, Error> {
    let versions = ClientConfig::builder_with_provider(Arc::clone(&trust.provider)).with_protocol_versions(versions)?;
    let builder = match certificate {
        Certificate::Unchecked => {
            let verifier = Unchecked(trust.provider.signature_verification_algorithms);
            versions.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Certificate::OfServer | Certificate::Of(_) => versions.with_root_certificates(Arc::clone(&trust.roots)),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
    Ok(config)
}

/// Accepts every certificate. The server must still own its key: the handshake's signature is checked.
#[derive(Debug)]
struct Unchecked(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
