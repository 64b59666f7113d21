//! The accept loop of one listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_net::{Handler, Listener, Network, Shutdown, Task, listen_udp, unmapped};
use nix::errno::Errno;
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::task::{JoinError, JoinSet};

use crate::budgets::Budgets;
use crate::door::Door;
use crate::serve::serve;
use crate::udp::Associations;
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
    /// A socket that takes what was meant for others.
    #[error(
        "cannot intercept on {at} ({network}): {source}; transparent proxying needs CAP_NET_ADMIN \
         (in Docker: `--network host --cap-add NET_ADMIN`)"
    )]
    NotPermitted {
        /// TCP or UDP.
        network: Network,
        /// The address asked for.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    /// The error of a transparent listener.
    pub(crate) fn transparent(network: Network, at: SocketAddr, source: io::Error) -> Self {
        // A low port is refused with EACCES instead.
        if source.raw_os_error() == Some(Errno::EPERM as i32) {
            return Self::NotPermitted { network, at, source };
        }
        match network {
            Network::Tcp => Self::Tcp { at, source },
            Network::Udp => Self::Udp { at, source },
        }
    }
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
        let (listener, udp) = bind(&options)?;
        Ok(Self { options, listener, udp })
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        unmapped(self.listener.local_addr())
    }

    /// What it speaks.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.options.kind
    }

    /// Serves clients until `shutdown` starts; then accepts no more, ends UDP associations, lets HTTP connections end
    /// between requests, and returns when the last client is done. The port is free soon after `shutdown` has started.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and ends every connection it serves.
    pub async fn run<H: Handler>(self, handler: Arc<H>, shutdown: Shutdown) {
        self.run_within(Budgets::default(), handler, shutdown).await;
    }

    pub(crate) async fn run_within<H: Handler>(self, budgets: Budgets, handler: Arc<H>, shutdown: Shutdown) {
        let Self { options, listener, udp } = self;
        let udp = udp.map(Arc::new);
        let associations = udp.as_ref().map(|socket| Arc::new(Associations::new(socket)));
        let receiving = associations
            .clone()
            .zip(udp)
            .map(|(associations, socket)| Task::spawn("socks udp", associations.receive(socket, handler.clone())));
        let door = Arc::new(Door::new(options, budgets, associations, shutdown.clone()));
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.started() => break,
                (stream, client) = listener.accept() => {
                    if door.admits(client) {
                        clients.spawn(serve(stream, client, door.clone(), handler.clone()));
                    }
                }
                Some(ended) = clients.join_next() => report(ended),
            }
        }
        // Another listener may take the port.
        drop((listener, receiving));
        while let Some(ended) = clients.join_next().await {
            report(ended);
        }
    }
}

/// A panic ends one client, and is not passed over in silence.
pub(crate) fn report(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("serving a client panicked; please report this as a bug");
    }
}

/// A UDP socket on the port that the TCP listener has. A port that the system chose may be taken for UDP.
fn bind(options: &Options) -> Result<(Listener, Option<UdpSocket>), BindError> {
    let wants_udp = options.udp && options.kind != Kind::Http;
    let mut attempts = if options.listen.port() == 0 { 16 } else { 1 };
    loop {
        attempts -= 1;
        let listener = Listener::bind(options.listen)
            .map_err(|source| BindError::Tcp { at: options.listen, source })?
            .with_keep_alive(options.keep_alive);
        if !wants_udp {
            return Ok((listener, None));
        }
        let at = listener.local_addr();
        match listen_udp(at) {
            Ok(udp) => return Ok((listener, Some(udp))),
            Err(_) if attempts > 0 => {}
            Err(source) => return Err(BindError::Udp { at, source }),
        }
    }
}
