//! One download: HTTP/1.1 over a stream that somebody dials for us.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{BoxStream, Dial, DialError, Dialer, Stream, Task};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ETAG, HOST, IF_NONE_MATCH, LOCATION};
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::request::{BadRequest, Request, target};
use crate::subscription::Subscription;

/// A whole download (mihomo-surface §4.6 allows a blocking one 20 s; this one blocks nobody).
const BUDGET: Duration = Duration::from_secs(60);
/// Redirects that are followed.
const REDIRECTS: usize = 10;

/// Why there is no new content. Never quotes a path, query or header: they may be secrets.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The way out did not get there.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// TLS failed.
    #[error("TLS with {host}: {source}")]
    Tls {
        /// Whom with.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The server does not speak HTTP, or stopped in the middle.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The server says no.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// A redirect to nowhere, or one too many.
    #[error("the server redirects {0}")]
    Redirect(&'static str),
    /// More than the limit.
    #[error("the answer has more than {0} bytes (`size-limit`)")]
    TooLarge(u64),
    /// It took more than a minute.
    #[error("it took longer than {} s", BUDGET.as_secs())]
    TimedOut,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The content; `None` if it is still what the entity tag stands for (304).
    pub body: Option<Bytes>,
    /// The content's entity tag, for the next time.
    pub etag: Option<String>,
    /// What the server says of the customer's plan.
    pub subscription: Option<Subscription>,
}

/// Downloads. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    tls: TlsConnector,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    /// One that believes the roots that browsers have, and `extra`.
    ///
    /// # Errors
    /// An extra root is not a certificate.
    pub fn new(extra: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra {
            roots.add(root.clone())?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(config).into() })
    }

    /// Asks for `request` by `via`, following redirects; not for content that `etag` stands for.
    ///
    /// # Errors
    /// See [`FetchError`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the download.
    pub async fn fetch(&self, request: &Request, etag: Option<&str>, via: &dyn Dialer) -> Result<Answer, FetchError> {
        timeout(BUDGET, self.follow(request, etag, via)).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn follow(&self, request: &Request, etag: Option<&str>, via: &dyn Dialer) -> Result<Answer, FetchError> {
        let mut url = request.url().clone();
        for _ in 0..=REDIRECTS {
            let (response, _driver) = self.ask(request, &url, etag, via).await?;
            match response.status() {
                StatusCode::NOT_MODIFIED if etag.is_some() => {
                    return Ok(Answer { body: None, etag: etag.map(str::to_owned), subscription: plan(&response) });
                }
                status if status.is_success() => {
                    let etag = text(&response, ETAG.as_str());
                    let subscription = plan(&response);
                    let body = whole(response.into_body(), request.limit()).await?;
                    return Ok(Answer { body: Some(body), etag, subscription });
                }
                status if status.is_redirection() => url = next(&url, &response)?,
                status => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::Redirect("too often"))
    }

    /// One request on a connection of its own, which lives as long as the returned task.
    async fn ask(
        &self,
        request: &Request,
        url: &Url,
        etag: Option<&str>,
        via: &dyn Dialer,
    ) -> Result<(Response<Incoming>, Task<()>), FetchError> {
        let stream = self.connect(url, via).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = Task::spawn("download", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a download's connection ended");
            }
        });
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut asked = hyper::Request::builder().method(Method::GET).uri(path).header(ACCEPT, "*/*");
        asked = asked.header(HOST, authority);
        if let Some(etag) = etag {
            asked = asked.header(IF_NONE_MATCH, etag);
        }
        for (name, value) in request.headers(url) {
            asked = asked.header(name, value);
        }
        // What is written there was checked when the request was made, but for entity tags and paths, which servers choose.
        let asked = asked.body(Empty::<Bytes>::new()).map_err(|_| FetchError::Redirect("to what is no request"))?;
        Ok((sender.send_request(asked).await?, driver))
    }

    async fn connect(&self, url: &Url, via: &dyn Dialer) -> Result<BoxStream, FetchError> {
        let target = target(url).map_err(|_: BadRequest| FetchError::Redirect("to what is no host"))?;
        let stream = via.connect(Dial { target: &target, known: None, client: None }).await?;
        if url.scheme() != "https" {
            return Ok(stream);
        }
        let host = target.host.to_string();
        let name = ServerName::try_from(host.clone()).map_err(|_| FetchError::Redirect("to what is no host"))?;
        let stream = self.tls.connect(name, stream).await.map_err(|source| FetchError::Tls { host, source })?;
        Ok(Box::new(Secured(stream)))
    }
}

/// Where a redirect leads; never from `https` to `http`.
fn next(from: &Url, response: &Response<Incoming>) -> Result<Url, FetchError> {
    let to = text(response, LOCATION.as_str()).ok_or(FetchError::Redirect("without saying where"))?;
    let to = from.join(&to).map_err(|_| FetchError::Redirect("to what is no URL"))?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(to),
        _ => Err(FetchError::Redirect("to a place without TLS")),
    }
}

fn text(response: &Response<Incoming>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn plan(response: &Response<Incoming>) -> Option<Subscription> {
    Subscription::parse(&text(response, "subscription-userinfo")?)
}

/// The whole body, if it is within the limit.
async fn whole(mut body: Incoming, limit: u64) -> Result<Bytes, FetchError> {
    let mut received = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else { continue };
        if received.len() as u64 + piece.len() as u64 > limit {
            return Err(FetchError::TooLarge(limit));
        }
        received.extend_from_slice(&piece);
    }
    Ok(received.into())
}

/// TLS as a stream of ours.
struct Secured(tokio_rustls::client::TlsStream<BoxStream>);

impl Stream for Secured {}

impl tokio::io::AsyncRead for Secured {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Secured {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
