//! One server, asked one question.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{BoxStream, Datagrams, Dial, DialError, Dialer, Host, Network, Resolve, ResolveError, Target};
use hickory_proto::op::ResponseCode;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use thiserror::Error;
use tokio::time::timeout;

use crate::message::{BadQuestion, Extension, Question};
use crate::nameserver::{Changes, Https, Rcode};
use crate::response::{BadResponse, Response};
use crate::tls::{QuicTls, TlsClient};

mod https;
mod kept;
mod pipe;
mod quic;
mod udp;

/// How long one of several addresses of a server may take to connect, before the next is tried.
const CONNECT_NEXT: Duration = Duration::from_secs(2);

/// Why a server gave no answer.
#[derive(Debug, Error)]
pub(crate) enum UpstreamError {
    /// The question cannot be asked.
    #[error(transparent)]
    Question(#[from] BadQuestion),
    /// The server's own name has no address.
    #[error("the server's address: {0}")]
    Name(#[from] ResolveError),
    /// The way out could not reach it.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It answered nonsense.
    #[error(transparent)]
    Response(#[from] BadResponse),
    /// It closed the connection instead of answering.
    #[error("the server closed the connection without an answer")]
    Closed,
    /// It did not answer.
    #[error("no answer")]
    Silent,
    /// QUIC went wrong.
    #[error("QUIC: {0}")]
    Quic(String),
    /// HTTP went wrong.
    #[error("HTTP: {0}")]
    Http(String),
}

/// How a server is asked, everything prepared that connections share.
#[derive(Clone)]
pub(crate) enum Wire {
    Udp(Target),
    Tcp(Target),
    Tls { server: Target, tls: TlsClient, one_shot: bool },
    Quic { server: Target, tls: QuicTls },
    Https { https: Box<Https>, tls: TlsClient },
    Fixed(Rcode),
}

/// The way to servers.
#[derive(Clone)]
pub(crate) struct Out {
    pub(crate) dialer: Arc<dyn Dialer>,
    /// Knows the addresses of servers given by name.
    pub(crate) names: Option<Arc<dyn Resolve>>,
    /// Whether a socket costs so much (a handshake with a proxy) that questions share it.
    pub(crate) shares: bool,
}

impl Out {
    /// A way out whose sockets cost next to nothing.
    pub(crate) fn new(dialer: &Arc<dyn Dialer>, names: Option<&Arc<dyn Resolve>>) -> Self {
        Self { dialer: Arc::clone(dialer), names: names.cloned(), shares: false }
    }
}

/// The way to one server.
struct Reach {
    server: Target,
    out: Out,
}

impl Reach {
    /// The server's addresses; never empty, and never names: not every way out can dial a name.
    async fn targets(&self) -> Result<Vec<Target>, UpstreamError> {
        let name = match &self.server.host {
            Host::Ip(_) => return Ok(vec![self.server.clone()]),
            Host::Domain(name) => name,
        };
        let Some(names) = &self.out.names else {
            return Err(ResolveError::NoAddress(name.clone()).into());
        };
        let found = names.resolve(name).await?;
        Ok(found.into_iter().map(|ip| Target::new(ip, self.server.port)).collect())
    }

    async fn connect(&self) -> Result<BoxStream, UpstreamError> {
        let targets = self.targets().await?;
        let mut last = UpstreamError::Silent;
        for (index, target) in targets.iter().enumerate() {
            let connecting = self.out.dialer.connect(Dial { target, known: None, client: None });
            // The last one may take what is left of the question's time.
            let patience = if index + 1 == targets.len() { Duration::MAX } else { CONNECT_NEXT };
            match timeout(patience, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error.into(),
                Err(_) => last = DialError::TimedOut(format!("connect to {target}")).into(),
            }
        }
        Err(last)
    }

    async fn datagrams(&self) -> Result<(Datagrams, Target), UpstreamError> {
        let target = self.targets().await?.into_iter().next().ok_or(UpstreamError::Silent)?;
        let sockets = self.out.dialer.datagrams(Dial { target: &target, known: None, client: None }).await?;
        Ok((sockets, target))
    }
}

/// One server. Connections that its protocol can use again are kept here.
pub(crate) struct Upstream {
    name: String,
    changes: Changes,
    method: Method,
}

enum Method {
    Udp { sockets: udp::Sockets, whole: pipe::Pipes },
    Stream(pipe::Pipes),
    Quic(quic::Streams),
    Https(https::Post),
    Fixed(Rcode),
}

impl Upstream {
    /// `name` is what logs call it.
    pub(crate) fn new(name: String, changes: Changes, wire: Wire, out: Out) -> Self {
        let reach = |server| Arc::new(Reach { server, out });
        let method = match wire {
            Wire::Udp(server) => {
                let reach = reach(server);
                Method::Udp {
                    whole: pipe::Pipes::new(Arc::clone(&reach), None, false),
                    sockets: udp::Sockets::new(reach),
                }
            }
            Wire::Tcp(server) => Method::Stream(pipe::Pipes::new(reach(server), None, false)),
            Wire::Tls { server, tls, one_shot } => Method::Stream(pipe::Pipes::new(reach(server), Some(tls), one_shot)),
            Wire::Quic { server, tls } => Method::Quic(quic::Streams::new(reach(server), tls)),
            Wire::Https { https, tls } => Method::Https(https::Post::new(reach(https.server.clone()), *https, tls)),
            Wire::Fixed(code) => Method::Fixed(code),
        };
        Self { name, changes, method }
    }

    /// What logs call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether an answer that comes too late is of use: a connection that it came by serves the next question.
    pub(crate) fn leaves_something(&self) -> bool {
        matches!(self.method, Method::Stream(_) | Method::Quic(_) | Method::Https(_))
    }

    /// Asks. The caller sets the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question; kept connections stay usable.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Response, UpstreamError> {
        if self.changes.disabled.contains(&question.kind().into()) {
            return Ok(Response::made(question, Rcode::Success));
        }
        let subnet = match (self.changes.subnet, question.subnet()) {
            (Some(ours), theirs) if ours.replaces || theirs.is_none() => Some(ours.network),
            (_, theirs) => theirs,
        };
        let mut response = self.send(question, Extension::Edns(subnet)).await?;
        // RFC 6891 §7: a server that does not know EDNS says so, and is asked without.
        if matches!(response.code(), ResponseCode::FormErr | ResponseCode::NotImp) && !response.is_made() {
            response = self.send(question, Extension::None).await?;
        }
        Ok(response.without(&self.changes.disabled))
    }

    async fn send(&self, question: &Question, extension: Extension) -> Result<Response, UpstreamError> {
        match &self.method {
            Method::Fixed(code) => Ok(Response::made(question, *code)),
            Method::Stream(pipes) => pipes.ask(question, extension).await,
            Method::Quic(streams) => streams.ask(question, extension).await,
            Method::Https(post) => post.ask(question, extension).await,
            Method::Udp { sockets, whole } => match sockets.ask(question, extension).await {
                Ok(Some(response)) => Ok(response),
                // Truncated, or a way out without UDP.
                Ok(None) | Err(UpstreamError::Dial(DialError::Unsupported(Network::Udp))) => {
                    whole.ask(question, extension).await
                }
                Err(error) => Err(error),
            },
        }
    }
}

/// An id that nobody can guess (RFC 5452 §9.2).
fn random_id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(u16::from_be_bytes(bytes))
}
