//! DNS over HTTPS (RFC 8484): one POST for each question, over one HTTP/2 connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adit_net::{BoxStream, Secret, Task};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, RecvStream};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri};
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::kept::{Connection, Kept};
use super::{Reach, UpstreamError};
use crate::message::{Extension, Question};
use crate::nameserver::Https;
use crate::response::{Response, read_response};
use crate::tls::TlsClient;

/// The media type of a DNS message (RFC 8484 §6).
const MESSAGE: HeaderValue = HeaderValue::from_static("application/dns-message");
/// How often a connection in use is checked.
const CHECK: Duration = Duration::from_secs(1);
/// How long the check may take; both together leave a question time for another connection.
const PONG: Duration = Duration::from_secs(2);
/// How many checks without a question in between end a connection.
const IDLE_CHECKS: u32 = 30;
/// How many connections a question is tried on.
const TRIES: usize = 3;
/// The largest answer: what a message's length has room for elsewhere.
const LARGEST: usize = 65_535;
/// The largest head of an answer.
const HEAD_MAX: u32 = 16 * 1024;

/// The resource that questions to one server are posted to.
pub(super) struct Post {
    reach: Arc<Reach>,
    tls: TlsClient,
    place: Place,
    kept: Kept<Http>,
}

/// What every request says of itself.
struct Place {
    authority: String,
    path: PathAndQuery,
    authorization: Option<Secret>,
}

impl Post {
    pub(super) fn new(reach: Arc<Reach>, https: Https, tls: TlsClient) -> Self {
        // A default port is left out, as RFC 9110 §4.2.3 prefers.
        let whole = https.server.to_string();
        let authority = whole.strip_suffix(":443").map(str::to_owned).unwrap_or(whole);
        let place = Place { authority, path: https.path, authorization: https.authorization };
        Self { reach, tls, place, kept: Kept::new() }
    }

    pub(super) async fn ask(&self, question: &Question, extension: Extension) -> Result<Response, UpstreamError> {
        // The id is 0, so that equal questions are equal requests (RFC 8484 §4.1).
        let query = Bytes::from(question.encode(0, extension)?);
        for _ in 0..TRIES {
            let (http, new) = self.kept.get(self.open()).await?;
            match http.exchange(&self.place, query.clone()).await {
                Ok(body) => return Ok(read_response(&body, question, 0)?),
                Err(Failed::Connection(error)) if new => return Err(UpstreamError::Http(error.to_string())),
                // It ended while it was not looked at: no fault of the server's.
                Err(Failed::Connection(_)) => {}
                Err(Failed::Answer(why)) => return Err(UpstreamError::Http(why)),
            }
        }
        Err(UpstreamError::Closed)
    }

    async fn open(&self) -> Result<Http, UpstreamError> {
        let stream = self.tls.connect(self.reach.connect().await?).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(UpstreamError::Http("the server does not speak HTTP/2".into()));
        }
        Http::over(stream).await.map_err(|error| UpstreamError::Http(error.to_string()))
    }
}

/// Why a request got no answer.
enum Failed {
    /// The connection cannot be used (any more); another might.
    Connection(h2::Error),
    /// The server answered, but not with a DNS message.
    Answer(String),
}

impl From<h2::Error> for Failed {
    fn from(error: h2::Error) -> Self {
        Self::Connection(error)
    }
}

/// One HTTP/2 connection, driven by a task of its own.
struct Http {
    requests: SendRequest<Bytes>,
    /// How many requests were sent, for the driver to see whether it is needed.
    asked: Arc<AtomicU64>,
    driver: Task<()>,
}

impl Connection for Http {
    fn is_open(&self) -> bool {
        !self.driver.is_finished()
    }
}

impl Http {
    async fn over(stream: TlsStream<BoxStream>) -> Result<Self, h2::Error> {
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false).max_header_list_size(HEAD_MAX);
        let (requests, connection) = builder.handshake(stream).await?;
        let asked = Arc::new(AtomicU64::new(0));
        let driver = Task::spawn("dns over https", drive(connection, Arc::clone(&asked)));
        Ok(Self { requests, asked, driver })
    }

    async fn exchange(&self, place: &Place, query: Bytes) -> Result<Vec<u8>, Failed> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let request = place.request(query.len()).map_err(|error| Failed::Answer(error.to_string()))?;
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut body) = requests.send_request(request, false)?;
        body.send_data(query, true)?;
        let (head, body) = response.await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(Failed::Answer(format!("the server answered {}", head.status)));
        }
        if head.headers.get(CONTENT_TYPE) != Some(&MESSAGE) {
            return Err(Failed::Answer("the server's answer is not a DNS message".into()));
        }
        whole(body).await
    }
}

impl Place {
    fn request(&self, length: usize) -> Result<Request<()>, http::Error> {
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(Authority::try_from(self.authority.as_str())?)
            .path_and_query(self.path.clone())
            .build()?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(ACCEPT, MESSAGE)
            .header(CONTENT_TYPE, MESSAGE)
            .header(CONTENT_LENGTH, length);
        if let Some(authorization) = &self.authorization {
            let mut value = HeaderValue::try_from(authorization.reveal())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(())
    }
}

/// The whole body, if it is not larger than any DNS message.
async fn whole(mut body: RecvStream) -> Result<Vec<u8>, Failed> {
    let mut received = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        if received.len() + piece.len() > LARGEST {
            return Err(Failed::Answer("the server's answer is larger than a DNS message can be".into()));
        }
        received.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok(received)
}

/// Until the server ends the connection, nobody asks, or a check gets no answer.
async fn drive(mut connection: h2::client::Connection<TlsStream<BoxStream>>, asked: Arc<AtomicU64>) {
    let pings = connection.ping_pong();
    let watch = async move {
        let Some(mut pings) = pings else { return std::future::pending().await };
        let (mut seen, mut idle) = (0, 0);
        while idle < IDLE_CHECKS {
            sleep(CHECK).await;
            let now = asked.load(Ordering::Relaxed);
            if now == seen {
                idle += 1;
                continue;
            }
            (seen, idle) = (now, 0);
            if !matches!(timeout(PONG, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
                tracing::debug!("a connection to a nameserver is dead");
                return;
            }
        }
    };
    let ended = tokio::select! {
        ended = connection => ended.map_err(io::Error::other),
        () = watch => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to a nameserver ended");
    }
}
