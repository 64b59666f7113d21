//! Listeners for clients that do not know of us: host rules send their traffic here.
//!
//! [`redirect`](crate::redirect) and [`tproxy`](crate::tproxy) know how the original destination is found; what is here
//! is the same for both.

mod pulse;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_net::{
    Accepted, ClientAddr, Entry, Handler, KeepAlive, Listener, Network, Protocol, Session, Shutdown, Tag, Task,
    Transparent, is_own_listener, unmapped,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::door::Strangers;
use crate::listen::{BindError, report};
use crate::tproxy::udp::Receiver;
use crate::{Access, redirect, tproxy};
use pulse::Pulse;

pub use pulse::PULSE;

/// One listener of kind `redir` or `tproxy`. Equal options mean that a running listener can be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransparentOptions {
    /// Its name, for `IN-NAME` rules, the log and the API.
    pub name: Tag,
    /// How traffic gets here.
    pub interception: Interception,
    /// Where. Port 0 lets the system choose; `[::]` is dual-stack. Host rules that send forwarded traffic here need an
    /// unspecified address.
    pub listen: SocketAddr,
    /// From where.
    pub access: Access,
    /// Whether datagrams are taken too, by TPROXY with either interception.
    pub udp: bool,
    /// `SO_MARK` of every socket that speaks to the clients; 0 sets none. Host rules let packets with it pass, so it is
    /// the mark that outbound sockets have.
    pub mark: u32,
    /// TCP keep-alive of its clients' connections.
    pub keep_alive: KeepAlive,
}

/// How the kernel hands us a connection that was meant for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interception {
    /// Its destination was rewritten to ours; connection tracking remembers the original one. TCP only.
    Redirect,
    /// Nothing was rewritten. Needs `CAP_NET_ADMIN`.
    Tproxy,
}

impl Interception {
    fn protocol(self) -> Protocol {
        match self {
            Self::Redirect => Protocol::Redir,
            Self::Tproxy => Protocol::Tproxy,
        }
    }

    fn destination(self, stream: &TcpStream) -> io::Result<SocketAddr> {
        match self {
            Self::Redirect => redirect::destination(stream),
            Self::Tproxy => tproxy::destination(stream),
        }
    }
}

/// A bound transparent listener that does not serve yet.
#[derive(Debug)]
pub struct TransparentInbound {
    options: TransparentOptions,
    listener: Listener,
    udp: Option<Receiver>,
}

impl TransparentInbound {
    /// Binds the sockets: TCP, and UDP on the same port where `options` ask for it.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn bind(options: TransparentOptions) -> Result<Self, BindError> {
        let sockets = Transparent { mark: options.mark };
        let at = options.listen;
        // A port that the system chose may be taken for UDP.
        let mut attempts = if at.port() == 0 { 16 } else { 1 };
        loop {
            attempts -= 1;
            let listener = match options.interception {
                Interception::Redirect => sockets.listen_redirected(at),
                Interception::Tproxy => sockets.listen_tproxy(at),
            };
            let listener = listener
                .and_then(Listener::new)
                .map_err(|source| BindError::transparent(Network::Tcp, at, source))?
                .with_keep_alive(options.keep_alive);
            if !options.udp {
                return Ok(Self { options, listener, udp: None });
            }
            match Receiver::bind(sockets, SocketAddr::new(at.ip(), listener.local_addr().port())) {
                Ok(udp) => return Ok(Self { options, listener, udp: Some(udp) }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
                Err(source) => return Err(BindError::transparent(Network::Udp, listener.local_addr(), source)),
            }
        }
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        unmapped(self.listener.local_addr())
    }

    /// How traffic gets here.
    #[must_use]
    pub fn interception(&self) -> Interception {
        self.options.interception
    }

    /// Serves clients until `shutdown` starts; then accepts no more, and returns when the last client is done. The port is
    /// free soon after `shutdown` has started.
    ///
    /// While it runs it sends a pulse to its own port; see [`PULSE`](crate::PULSE).
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and ends every connection it serves.
    pub async fn run<H: Handler>(self, handler: Arc<H>, shutdown: Shutdown) {
        let Self { options, listener, udp } = self;
        let door = Arc::new(Door { local: unmapped(listener.local_addr()), options, strangers: Strangers::default() });
        let pulse = Pulse::new(&door.options, door.local).run();
        let receiving = udp.map(|udp| Task::spawn("tproxy udp", udp.receive(Arc::clone(&door), handler.clone())));
        let mut clients = JoinSet::new();
        tokio::pin!(pulse);
        loop {
            tokio::select! {
                () = shutdown.started() => break,
                () = &mut pulse => {}
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

/// One transparent listener, as its connections see it.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) options: TransparentOptions,
    /// The listener's address: what the client wrote to is in the target.
    local: SocketAddr,
    strangers: Strangers,
}

impl Door {
    pub(crate) fn entry(&self, protocol: Protocol) -> Entry {
        Entry { inbound: self.options.name.clone(), protocol, local: self.local, user: None }
    }

    pub(crate) fn admits(&self, client: ClientAddr) -> bool {
        self.options.access.admits(client) || self.strangers.turn_away(&self.options.name, client)
    }
}

/// Hands one connection on, unless it would only come back.
async fn serve<H: Handler>(stream: TcpStream, client: ClientAddr, door: Arc<Door>, handler: Arc<H>) {
    let destination = match door.options.interception.destination(&stream) {
        Ok(destination) => destination,
        Err(error) => {
            tracing::debug!(inbound = %door.options.name.escape_debug(), %client, "no original destination: {error}");
            return;
        }
    };
    if is_own_listener(destination) {
        tracing::info!(
            inbound = %door.options.name.escape_debug(), %client, %destination,
            "refused: the destination is a listener of ours"
        );
        return;
    }
    let entry = door.entry(door.options.interception.protocol());
    let session = Session::new(Network::Tcp, entry, client, destination.into());
    handler.tcp(Accepted { session, stream: Box::new(stream), reply: &Silent }).await;
}

/// A client that thinks it talks to its destination is told nothing.
struct Silent;

impl adit_net::Reply for Silent {
    fn accepted(&self) -> std::borrow::Cow<'static, [u8]> {
        (&[]).into()
    }

    fn refused(&self, _: &adit_net::DialError) -> std::borrow::Cow<'static, [u8]> {
        (&[]).into()
    }
}
