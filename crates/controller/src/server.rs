//! Listeners and connections. Limits: faults §1 (head 16 KiB, 10 s; 128 connections).

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_net::{Listener, Shutdown, Task};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::daemon::Daemon;
use crate::files::Files;
use crate::gate::Gate;
use crate::options::{Options, Peer};
use crate::stream::Streams;

/// Connections at once. A further one takes the place of one that has nothing to do.
const CONNECTIONS: usize = 128;
/// How long the head of a request may take, and how long a connection may wait for the next one.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long the head of a request may be.
const HEAD_MAX: usize = 16 * 1024;
/// How long answers that are being written may take once the shutdown has begun.
const FAREWELL: Duration = Duration::from_secs(1);

/// The listeners of an API, bound and not yet answering.
pub struct Controller {
    options: Options,
    tcp: Option<Listener>,
    tls: Option<(Listener, TlsAcceptor)>,
    unix: Option<UnixSocket>,
}

impl Controller {
    /// Binds what `options` name, within a tokio runtime.
    ///
    /// # Errors
    /// The system's (address in use, not permitted, not ours).
    pub fn bind(options: Options) -> io::Result<Self> {
        let tcp = options.tcp.map(Listener::bind).transpose()?;
        let tls = options.tls.as_ref().map(|tls| {
            let mut config = rustls::ServerConfig::clone(&tls.config);
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok::<_, io::Error>((Listener::bind(tls.at)?, TlsAcceptor::from(Arc::new(config))))
        });
        let tls = tls.transpose()?;
        let unix = options.unix.as_deref().map(UnixSocket::bind).transpose()?;
        Ok(Self { options, tcp, tls, unix })
    }

    /// Where the TCP listener is, with the port that the system chose.
    #[must_use]
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().map(Listener::local_addr)
    }

    /// Where the TLS listener is, with the port that the system chose.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|(listener, _)| listener.local_addr())
    }

    /// Answers until `shutdown` starts.
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection but those that became WebSockets; they end with `shutdown`.
    pub async fn run(self, daemon: Arc<dyn Daemon>, shutdown: Shutdown) {
        let Self { options, tcp, tls, unix } = self;
        let shared = Shared(Arc::new(Inner {
            daemon,
            files: Files::new(options.ui.clone()),
            gate: Gate::new(options),
            streams: Streams::new(shutdown.clone()),
        }));
        let door = Door { app: crate::api::router(shared), clients: Arc::default(), shutdown: shutdown.clone() };
        tokio::select! {
            () = door.tcp(tcp) => {}
            () = door.tls(tls) => {}
            () = door.unix(unix) => {}
            () = shutdown.started() => {}
        }
        door.close().await;
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller")
            .field("tcp", &self.tcp_addr())
            .field("tls", &self.tls_addr())
            .field("unix", &self.unix)
            .finish_non_exhaustive()
    }
}

/// What every handler sees.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) daemon: Arc<dyn Daemon>,
    pub(crate) gate: Gate,
    pub(crate) files: Files,
    pub(crate) streams: Streams,
}

impl std::ops::Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Lets clients in.
struct Door {
    app: Router,
    clients: Arc<Mutex<Vec<Client>>>,
    shutdown: Shutdown,
}

/// A connection. Dropping it closes it.
struct Client {
    task: Task<()>,
    is_busy: Arc<AtomicBool>,
}

impl Door {
    async fn tcp(&self, listener: Option<Listener>) {
        let Some(listener) = listener else { return std::future::pending().await };
        loop {
            let (stream, client) = listener.accept().await;
            self.enter(Peer::Ip(client.ip()), async move { Some(stream) });
        }
    }

    async fn tls(&self, listener: Option<(Listener, TlsAcceptor)>) {
        let Some((listener, acceptor)) = listener else { return std::future::pending().await };
        loop {
            let (stream, client) = listener.accept().await;
            let handshake = acceptor.accept(stream);
            self.enter(Peer::Ip(client.ip()), async move { timeout(HEAD_TIME, handshake).await.ok()?.ok() });
        }
    }

    async fn unix(&self, socket: Option<UnixSocket>) {
        let Some(socket) = socket else { return std::future::pending().await };
        loop {
            match socket.listener.accept().await {
                Ok((stream, _)) => self.enter(Peer::Local, async move { Some(stream) }),
                Err(error) => {
                    tracing::warn!(%error, "not accepting clients of the Unix socket for a moment");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Serves a client, if there is room for it.
    fn enter<S>(&self, peer: Peer, stream: impl Future<Output = Option<S>> + Send + 'static)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut clients = self.clients.lock();
        clients.retain(|client| !client.task.is_finished());
        if clients.len() >= CONNECTIONS {
            // Whoever has not asked for anything yet, or not again, can ask once more (F-C10).
            let Some(idle) = clients.iter().position(|client| !client.is_busy.load(Ordering::Relaxed)) else { return };
            clients.remove(idle);
        }
        let is_busy = Arc::new(AtomicBool::new(false));
        let (app, busy, shutdown) = (self.app.clone(), Arc::clone(&is_busy), self.shutdown.clone());
        let task = Task::spawn("controller client", async move {
            if let Some(stream) = stream.await {
                serve(stream, peer, app, busy, shutdown).await;
            }
        });
        clients.push(Client { task, is_busy });
    }

    /// Lets answers that are being written reach their clients.
    async fn close(&self) {
        let clients = std::mem::take(&mut *self.clients.lock());
        let written = async {
            for client in clients {
                client.task.join().await;
            }
        };
        let _ = timeout(FAREWELL, written).await;
    }
}

/// One connection, to its end.
async fn serve<S>(stream: S, peer: Peer, app: Router, is_busy: Arc<AtomicBool>, shutdown: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        is_busy.store(true, Ordering::Relaxed);
        let (mut app, is_busy) = (app.clone(), Arc::clone(&is_busy));
        async move {
            let answer = app.call(request.map(Body::new)).await;
            is_busy.store(false, Ordering::Relaxed);
            answer.map_err(|never: Infallible| never)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a client of the API broke off");
    }
}

/// A Unix socket that leaves the file system with its owner.
#[derive(Debug)]
struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixSocket {
    /// Binds `path`. Its owner and group may connect.
    fn bind(path: &Path) -> io::Result<Self> {
        // A socket that its owner could not take away; anything else stays and is in the way.
        if matches!(std::os::unix::net::UnixStream::connect(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
        {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(Self { listener, path: path.to_owned() })
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
