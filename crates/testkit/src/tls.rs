//! TLS at the ends of a scene.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ServerConfig, StreamOwned, SupportedProtocolVersion};

use crate::certificate::{Authority, Leaf};

/// Which TLS an end speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.3 only.
    Tls13,
    /// TLS 1.2 only.
    Tls12,
}

impl Version {
    fn list(self) -> [&'static SupportedProtocolVersion; 1] {
        match self {
            Self::Tls13 => [&TLS13],
            Self::Tls12 => [&TLS12],
        }
    }
}

fn provider(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() })
}

/// The key exchange a server prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// X25519 before everything else.
    X25519,
    /// X25519MLKEM768 where the client offers it, then X25519.
    Hybrid,
}

/// A server's settings.
#[must_use]
pub fn server(leaf: &Leaf, version: Version, exchange: Exchange, alpn: &[&str]) -> Arc<ServerConfig> {
    use aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
    let groups: &[&'static dyn SupportedKxGroup] = match exchange {
        Exchange::X25519 => &[X25519, SECP256R1],
        Exchange::Hybrid => &[X25519MLKEM768, X25519, SECP256R1],
    };
    let mut config = ServerConfig::builder_with_provider(provider(groups))
        .with_protocol_versions(&version.list())
        .expect("a version the provider has")
        .with_no_client_auth()
        .with_single_cert(leaf.chain(), leaf.key())
        .expect("our own certificate");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A client's settings: trusts the authority of this process only.
#[must_use]
pub fn client(version: Version) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&version.list())
        .expect("a version the provider has")
        .with_root_certificates(Authority::shared().roots())
        .with_no_client_auth();
    Arc::new(config)
}

/// Wraps a connected stream: the handshake happens with the first read or write.
///
/// # Panics
/// When `name` is no server name.
pub fn connect<S: Read + Write>(stream: S, name: &str, version: Version) -> StreamOwned<ClientConnection, S> {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let connection = ClientConnection::new(client(version), name).expect("a client connection");
    StreamOwned::new(connection, stream)
}
