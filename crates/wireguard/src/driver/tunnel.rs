//! The faces of a tunnel: streams and packet sockets.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{DialError, Dialer, RecvDatagram, SocketOptions, Stream, Target, Task};
use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::clock;
use super::endpoints::{Endpoints, Locate};
use super::path::Path;
use super::report::{PeerStatus, refusal};
use super::run::{Command, Driver, Wish};
use super::sockets::Sockets;
use super::via::Via;
use crate::core::Core;
use crate::options::Options;
use crate::stack::{TcpFlow, UdpFlow};

/// What a dial may take, with everything that comes before the target's answer: the endpoint's name, the handshake.
const DIAL: Duration = Duration::from_secs(5);

/// The world outside a tunnel.
pub struct Outer {
    /// Where each of [`Options::peers`] is, in their order.
    pub endpoints: Vec<Target>,
    /// Turns them into addresses.
    pub locate: Arc<dyn Locate>,
    /// How old an answer of [`Outer::locate`] may be when somebody dials; `None`: any age, while handshakes succeed.
    pub refresh: Option<Duration>,
    /// How packets get there.
    pub way: Way,
}

/// How packets get to the peers.
pub enum Way {
    /// In sockets of our own.
    Sockets(SocketOptions),
    /// Through another way out.
    Via(Arc<dyn Dialer>),
}

/// A tunnel. Clones are the same tunnel.
///
/// Nothing is sent, and no task runs, before the first dial. The tunnel ends when the last clone and everything that was
/// opened through it are gone.
#[derive(Clone)]
pub struct Tunnel(Arc<Shared>);

struct Shared {
    commands: mpsc::UnboundedSender<Command>,
    /// What the driver is made from, until it is needed.
    driver: Mutex<Option<Box<dyn FnOnce() -> Driver + Send>>>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.0.driver.lock().is_none();
        f.debug_struct("Tunnel").field("running", &running).finish_non_exhaustive()
    }
}

impl Tunnel {
    /// A tunnel that has not begun yet.
    #[must_use]
    pub fn new(options: Options, outer: Outer) -> Self {
        let (commands, taken) = mpsc::unbounded_channel();
        let make = move || {
            let keys = options.peers.iter().map(|peer| peer.public_key).collect();
            let core = Core::new(&options, StdRng::from_os_rng());
            let path = match outer.way {
                Way::Sockets(options) => Path::Sockets(Sockets::new(options)),
                Way::Via(dialer) => Path::Via(Via::new(dialer)),
            };
            let endpoints = Endpoints::new(outer.endpoints, outer.locate, outer.refresh);
            Driver::new(core, keys, path, endpoints, taken)
        };
        Self(Arc::new(Shared { commands, driver: Mutex::new(Some(Box::new(make))) }))
    }

    /// Starts the tunnel before somebody needs it: shakes hands with every peer.
    ///
    /// # Panics
    /// Outside a Tokio runtime, as everything here.
    pub fn start(&self) {
        // It cannot have ended: we hold it.
        let _ = self.0.command(Command::Rouse);
    }

    /// Opens a TCP connection to `to`, within five seconds, the handshake with the peer included.
    ///
    /// # Errors
    /// [`DialError::Down`] if the peer did not answer, [`DialError::TimedOut`] if the target did not. A peer that did not answer to others for five
    /// seconds is not waited for. [`DialError::Denied`] if no peer may be sent packets for `to`, or the tunnel has no address of
    /// that family; [`DialError::Unresolved`] if the peer's endpoint cannot be found; [`DialError::Refused`] and
    /// [`DialError::Unreachable`] if a packet inside says so, the latter also if there is no route to the peer.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up.
    pub async fn connect(&self, to: SocketAddr) -> Result<TunnelStream, DialError> {
        self.in_time(to, async {
            let flow = self.wish(|reply| Wish::Connect { to, reply }).await?;
            poll_fn(|cx| flow.poll_connected(cx)).await.map_err(|why| refusal(to, why))?;
            Ok(TunnelStream { flow, _tunnel: self.clone() })
        })
        .await
    }

    /// Opens a packet socket, when the peer for `first` has answered.
    ///
    /// # Errors
    /// As [`Tunnel::connect`], as far as it concerns the peer.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn socket(&self, first: SocketAddr) -> Result<TunnelSocket, DialError> {
        let flow = self.in_time(first, self.wish(|reply| Wish::Bind { to: first, reply })).await?;
        Ok(TunnelSocket { flow: Arc::new(flow), _tunnel: self.clone() })
    }

    /// How things stand with the peers; nothing before the first dial.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn status(&self) -> Vec<PeerStatus> {
        if self.0.driver.lock().is_some() {
            return Vec::new();
        }
        let (reply, answer) = oneshot::channel();
        // Nothing to tell if it has just ended.
        let _ = self.0.commands.send(Command::Status(reply));
        answer.await.unwrap_or_default()
    }

    async fn wish<T>(&self, wish: impl FnOnce(oneshot::Sender<Result<T, DialError>>) -> Wish) -> Result<T, DialError> {
        let (reply, answer) = oneshot::channel();
        self.0.command(Command::Wish(wish(reply)))?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn in_time<T>(
        &self,
        to: SocketAddr,
        dial: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        let began = clock::read().now;
        match timeout(DIAL, dial).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let (reply, answer) = oneshot::channel();
                self.0.command(Command::Explain { to, began, reply })?;
                Err(answer.await.unwrap_or_else(|_| ended()))
            }
        }
    }
}

impl Shared {
    /// Tells the driver, which starts if it has not yet.
    fn command(&self, command: Command) -> Result<(), DialError> {
        let mut driver = self.driver.lock();
        if let Some(make) = driver.take() {
            let task = Task::spawn("wireguard tunnel", make());
            self.commands.send(Command::Keep(task)).map_err(|_| ended())?;
        }
        drop(driver);
        self.commands.send(command).map_err(|_| ended())
    }
}

/// Only a bug or the end of the runtime ends a tunnel that somebody holds.
fn ended() -> DialError {
    DialError::Protocol("the WireGuard tunnel has ended".into())
}

/// A TCP connection through a tunnel.
///
/// Dropping it closes it as a kernel would: what was written is still delivered, and a reset follows if something was left
/// unread.
#[derive(Debug)]
pub struct TunnelStream {
    flow: TcpFlow,
    /// The tunnel lives as long as this.
    _tunnel: Tunnel,
}

impl AsyncRead for TunnelStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.flow.poll_read(cx, buf)
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.flow.poll_write(cx, buf)
    }

    /// What was written is on its way already.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flow.poll_shutdown(cx)
    }
}

impl Stream for TunnelStream {
    fn abort(&mut self) {
        self.flow.abort();
    }
}

/// A packet socket of a tunnel: one local port for any destination and any sender (full cone). Clones are the same socket.
#[derive(Clone, Debug)]
pub struct TunnelSocket {
    flow: Arc<UdpFlow>,
    /// The tunnel lives as long as this.
    _tunnel: Tunnel,
}

impl TunnelSocket {
    /// Sends a datagram. `Pending` while too many wait already; one task at a time may wait. What cannot be sent is lost, as
    /// it might be anywhere on the way.
    pub fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8], to: SocketAddr) -> Poll<()> {
        self.flow.poll_send(cx, payload, to).map(|_| ())
    }

    /// Sends a datagram, or loses it if too many wait already.
    pub fn send_or_lose(&self, payload: &[u8], to: SocketAddr) {
        // See above.
        let _ = self.flow.try_send(payload, to);
    }
}

impl RecvDatagram for TunnelSocket {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Target>> {
        loop {
            match self.flow.poll_recv(cx, buf) {
                // An answer to something that was sent earlier: it says nothing about the socket.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                outcome => return outcome.map_ok(Target::from),
            }
        }
    }
}
