//! What a controller is made of. Nothing in it can be wrong but for paths and addresses that the system refuses.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use adit_net::Secret;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where the controller listens, and whom it answers.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `external-controller`.
    pub tcp: Option<SocketAddr>,
    /// `external-controller-tls`.
    pub tls: Option<TlsListener>,
    /// `external-controller-unix`: a path where a socket is made. A socket that nobody listens at is replaced. Who may
    /// connect may do everything, without a secret (mihomo-surface §9.1).
    pub unix: Option<PathBuf>,
    /// `secret`; none is needed if this is empty or absent.
    pub secret: Option<Secret>,
    /// `external-controller-cors`.
    pub cors: Cors,
    /// Names, besides addresses and names of the local network, by which browsers may reach a controller without a secret.
    pub names: Vec<String>,
    /// `external-ui`: the folder that is served at `/ui/`. The built-in dashboard is, if there is none.
    pub ui: Option<PathBuf>,
}

/// A TLS listener.
#[derive(Clone, Debug)]
pub struct TlsListener {
    /// Where it listens.
    pub at: SocketAddr,
    /// Its certificate, and how clients are asked for theirs. ALPN is set by the controller.
    pub config: Arc<rustls::ServerConfig>,
}

/// Which pages of other origins may use the API.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Their origins, such as `https://example.com`. One `*` stands for any text; a pattern that is only `*` allows all.
    pub origins: Vec<String>,
    /// Whether pages of the internet may reach a controller in a private network (`Access-Control-Request-Private-Network`).
    pub private_network: bool,
}

impl TlsListener {
    /// A listener at `at` with a certificate chain (PEM, leaf first) and its key (PEM: PKCS#8, SEC1 or PKCS#1).
    ///
    /// # Errors
    /// Says what is wrong with either, or that they do not belong together.
    pub fn from_pem(at: SocketAddr, chain: &str, key: &Secret) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes());
        let key = key.map_err(|error| format!("the private key: {error}"))?;
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        Ok(Self { at, config: Arc::new(config.map_err(|error| error.to_string())?) })
    }
}

impl Options {
    /// The secret, if one is needed.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref().filter(|secret| !secret.reveal().is_empty())
    }
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A client of a TCP or TLS listener.
    Ip(IpAddr),
    /// Whoever may open the Unix socket.
    Local,
}
