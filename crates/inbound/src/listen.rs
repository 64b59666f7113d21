//! The accept loop of one listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_net::{Handler, Listener, Shutdown, listen_udp, unmapped};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::{Kind, Options};

/// A bound listener that does not serve yet.
///
/// Binding and serving are two steps, so that an address in use is known at start-up and a test learns its port.
#[derive(Debug)]
pub struct Inbound {
    options: Options,
    listener: Listener,
    udp: Option<UdpSocket>,
}

/// A listener that could not be bound. The text names the address and the system's reason.
#[derive(Debug, Error)]
pub enum BindError {
    /// The TCP socket.
    #[error("cannot listen on {at} (TCP): {source}")]
    Tcp {
        /// The address asked for.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The UDP socket on the same port.
    #[error("cannot listen on {at} (UDP): {source}")]
    Udp {
        /// The address asked for.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Inbound {
    /// Binds the sockets: TCP, and UDP on the same port where `options` ask for it.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn bind(options: Options) -> Result<Self, BindError> {
        let listener =
            Listener::bind(options.listen).map_err(|source| BindError::Tcp { at: options.listen, source })?;
        let udp = if options.udp && options.kind != Kind::Http {
            let at = listener.local_addr();
            Some(listen_udp(at).map_err(|source| BindError::Udp { at, source })?)
        } else {
            None
        };
        Ok(Self { options, listener, udp })
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        unmapped(self.listener.local_addr())
    }

    /// Serves clients until `shutdown` starts; then accepts no more, and returns when the last client is done.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and ends every connection it serves.
    pub async fn run<H: Handler>(self, handler: Arc<H>, shutdown: Shutdown) {
        let Self { options, listener, udp } = self;
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.started() => break,
                (stream, client) = listener.accept() => {
                    if options.access.admits(client) {
                        let handler = handler.clone();
                        clients.spawn(async move { drop((stream, handler)) });
                    }
                }
                Some(_) = clients.join_next() => {}
            }
        }
        drop((listener, udp));
        while clients.join_next().await.is_some() {}
    }
}
