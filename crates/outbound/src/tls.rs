//! Ordinary TLS to a proxy server (rustls), over any stream.
//!
//! What never changes is built once per outbound; what a connection owns is one rustls session and its stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_net::{BoxStream, DialError, Stream};
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::options::{ClientCertificate, Tls};

mod verify;

/// Why TLS options cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsOptionsError {
    /// Neither a DNS name nor an address.
    #[error("TLS server name `{0}` is neither a DNS name nor an address")]
    ServerName(String),
    /// ALPN names have 1 to 255 bytes.
    #[error("ALPN protocol `{0}` does not have 1 to 255 bytes")]
    Alpn(String),
    /// A trust root that is not a certificate.
    #[error("extra trust root {index} is not a certificate: {cause}")]
    Root {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        cause: rustls::Error,
    },
    /// The client certificate's PEM has no certificate in it, or a broken one.
    #[error("the client certificate is not a PEM certificate chain")]
    CertificatePem,
    /// The client key's PEM has no private key in it, or a broken one.
    #[error("the client key is not a PEM private key")]
    KeyPem,
    /// The library refuses the options.
    #[error("TLS options: {0}")]
    Refused(#[from] rustls::Error),
}

/// Makes TLS clients of one outbound. Sessions are resumed across its connections.
#[derive(Clone)]
pub(crate) struct TlsConnector {
    config: tokio_rustls::TlsConnector,
    server_name: ServerName<'static>,
}

impl TlsConnector {
    /// Builds everything that connections share.
    ///
    /// # Errors
    /// See [`TlsOptionsError`].
    pub(crate) fn new(tls: &Tls) -> Result<Self, TlsOptionsError> {
        let server_name = ServerName::try_from(tls.server_name.clone())
            .map_err(|_| TlsOptionsError::ServerName(tls.server_name.clone()))?;
        if let Some(bad) = tls.alpn.iter().find(|name| !(1..=255).contains(&name.len())) {
            return Err(TlsOptionsError::Alpn(bad.clone()));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verify::verifier(&tls.verify, &provider)?;
        let config = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
            .with_safe_default_protocol_versions()?
            // Not a weakening: `verifier` is the library's own for `Verify::Roots`.
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &tls.client_certificate {
            Some(own) => {
                let (chain, key) = own.parse()?;
                config.with_client_auth_cert(chain, key)?
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = tls.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        Ok(Self { config: Arc::new(config).into(), server_name })
    }

    /// Shakes hands over `stream`. No deadline of its own.
    ///
    /// # Cancel safety
    /// Dropping the future closes the stream.
    pub(crate) async fn connect<S: Stream>(&self, stream: S) -> Result<TlsStream<S>, DialError> {
        // Boxed, so that a caller's future does not hold two sessions' worth of state.
        Box::pin(self.config.connect(self.server_name.clone(), stream))
            .await
            .map(TlsStream)
            .map_err(|error| self.explain(error))
    }

    /// What handshakes are configured with.
    pub(crate) fn config(&self) -> &ClientConfig {
        self.config.config()
    }

    /// The name that is sent and checked.
    pub(crate) fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// Says what a handshake's error means.
    pub(crate) fn explain(&self, error: io::Error) -> DialError {
        let name = self.server_name.to_str();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(why @ rustls::Error::InvalidCertificate(_)) => {
                DialError::Protocol(format!("TLS: the certificate for {name} was not accepted: {why}"))
            }
            Some(why) => DialError::Protocol(format!("TLS with {name}: {why}")),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                DialError::Protocol(format!("TLS with {name}: the server closed the connection during the handshake"))
            }
            None => DialError::Io { context: format!("TLS with {name}"), source: error },
        }
    }
}

impl ClientCertificate {
    fn parse(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsOptionsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| TlsOptionsError::CertificatePem)?;
        if chain.is_empty() {
            return Err(TlsOptionsError::CertificatePem);
        }
        // The cause is left out: it could quote the key.
        let key = PrivateKeyDer::from_pem_slice(self.key.reveal().as_bytes()).map_err(|_| TlsOptionsError::KeyPem)?;
        Ok((chain, key))
    }
}

/// A TLS session and the stream below it.
///
/// An end without `close_notify` is an error, not an end of stream (faults F-B5). Shutting down sends `close_notify` and
/// ends the stream below for writing; reading goes on.
pub(crate) struct TlsStream<S = BoxStream>(tokio_rustls::client::TlsStream<S>);

impl<S: Stream> AsyncRead for TlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: Stream> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn socket(&self) -> Option<&tokio::net::TcpStream> {
        self.0.get_ref().0.socket()
    }

    fn abort(&mut self) {
        self.0.get_mut().0.abort();
    }
}

#[cfg(test)]
mod tests;
