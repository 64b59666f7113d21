//! A QUIC server that echoes, and a client for it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, VarInt};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::home;
use crate::certificate::{Authority, TARGET};
use crate::tls::{self, Exchange, Version};

/// How long the client waits for everything together.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends every stream back as it comes. IPv4 only; its certificate is for [`TARGET`].
#[derive(Debug)]
pub struct QuicOrigin {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl QuicOrigin {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let crypto = tls::server(Authority::shared().small(), Version::Tls13, Exchange::X25519, &["echo"]);
        let crypto = QuicServerConfig::try_from(crypto).expect("a provider with QUIC's first cipher");
        let config = ServerConfig::with_crypto(Arc::new(crypto));
        let runtime = runtime();
        let endpoint = {
            let _inside = runtime.enter();
            Endpoint::server(config, (home().0, 0).into()).expect("a socket")
        };
        let addr = endpoint.local_addr().expect("a bound socket");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || runtime.block_on(serve(&endpoint, stopped)));
        Self { addr, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for QuicOrigin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn serve(endpoint: &Endpoint, mut stopped: oneshot::Receiver<()>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                connections.spawn(async move {
                    if let Ok(connection) = incoming.await {
                        echo(&connection).await;
                    }
                });
            }
            _ = &mut stopped => return,
        }
    }
}

async fn echo(connection: &Connection) {
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        while let Ok(Some(chunk)) = receive.read_chunk(64 * 1024, true).await {
            if send.write_chunk(chunk.bytes).await.is_err() {
                break;
            }
        }
        let _ = send.finish();
    }
}

/// Sends `payload` on a stream of a new connection to a [`QuicOrigin`], or to a relay in front of it, and returns the echo.
///
/// # Errors
/// The connection's, also when it takes longer than 20 s.
pub fn quic_echo(to: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut crypto = (*tls::client(Version::Tls13)).clone();
    crypto.alpn_protocols = vec![b"echo".to_vec()];
    let crypto = QuicClientConfig::try_from(crypto).map_err(io::Error::other)?;
    runtime().block_on(async {
        let mut endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
        tokio::time::timeout(PATIENCE, exchange(&endpoint, to, payload)).await?
    })
}

async fn exchange(endpoint: &Endpoint, to: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
    let connection = endpoint.connect(to, TARGET).map_err(io::Error::other)?.await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    let sending = async {
        send.write_all(payload).await?;
        send.finish().map_err(io::Error::other)
    };
    let receiving = async { receive.read_to_end(payload.len()).await.map_err(io::Error::other) };
    let ((), echo) = tokio::try_join!(sending, receiving)?;
    connection.close(VarInt::from_u32(0), b"");
    endpoint.wait_idle().await;
    Ok(echo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;

    #[test]
    fn a_stream_comes_back() {
        let origin = QuicOrigin::start();
        let payload = data::first(300_000);
        assert!(quic_echo(origin.addr(), &payload).unwrap() == payload);
    }
}
