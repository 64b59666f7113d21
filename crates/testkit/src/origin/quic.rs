//! A QUIC server that echoes, and a client for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
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

/// Sends every stream back as it comes; its certificate is for [`TARGET`].
#[derive(Debug)]
pub struct QuicOrigin {
    addr: SocketAddr,
    addr_v6: SocketAddr,
    clients: Arc<Mutex<Vec<SocketAddr>>>,
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
        let (v4, v6) = home();
        let [one, other] = [v4.into(), v6.into()].map(|ip: IpAddr| {
            let _inside = runtime.enter();
            Endpoint::server(config.clone(), (ip, 0).into()).expect("a socket")
        });
        let [addr, addr_v6] = [&one, &other].map(|endpoint| endpoint.local_addr().expect("a bound socket"));
        let (stop, stopped) = oneshot::channel();
        let clients = Arc::new(Mutex::default());
        let seen = Arc::clone(&clients);
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(&one, &seen) => {}
                    () = serve(&other, &seen) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { addr, addr_v6, clients, stop: Some(stop), thread: Some(thread) }
    }

    /// The IPv4 address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The IPv6 address; its port is another one.
    #[must_use]
    pub fn addr_v6(&self) -> SocketAddr {
        self.addr_v6
    }

    /// Whose connections it has taken so far.
    #[must_use]
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.clients.lock().expect("a record").clone()
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

async fn serve(endpoint: &Endpoint, clients: &Mutex<Vec<SocketAddr>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        clients.lock().expect("a record").push(incoming.remote_address());
        connections.spawn(async move {
            if let Ok(connection) = incoming.await {
                echo(&connection).await;
            }
        });
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
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let mut endpoint = Endpoint::client((any, 0).into())?;
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
        for to in [origin.addr(), origin.addr_v6()] {
            assert!(quic_echo(to, &payload).unwrap() == payload);
        }
        assert_eq!(origin.clients().len(), 2);
    }
}
