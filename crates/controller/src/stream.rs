//! What never ends: one JSON object after the other, as WebSocket messages or as lines. Spec: mihomo-surface §9.2.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{BoxFuture, Shutdown};
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::json::Refusal;

/// Streams at once.
const STREAMS: usize = 128;
/// How often a silent reader is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// A reader that takes nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing that a dashboard has to say is longer than this.
const INCOMING_MAX: usize = 4096;

/// Where messages come from.
pub(crate) trait Source: Send + 'static {
    /// The next message, with a line feed at its end; `None` is the end. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Option<String>>;
}

/// All streams of a controller.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// Whether a WebSocket is asked for. As Mihomo: the exact word.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value == "websocket")
}

impl Streams {
    pub(crate) fn new(shutdown: Shutdown) -> Self {
        Self { places: Arc::new(Semaphore::new(STREAMS)), shutdown }
    }

    /// Answers `request` with messages, in the way it asks for.
    pub(crate) async fn answer(&self, request: Request, source: impl Source) -> Response {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Refusal::unavailable("Too many streams are open").into_response();
        };
        if is_websocket(request.headers()) {
            return self.upgrade(request, source, place).await;
        }
        let (shutdown, source) = (self.shutdown.clone(), Box::new(source) as Box<dyn Source>);
        let lines = stream::unfold((source, place, shutdown), async |(mut source, place, shutdown)| {
            let line = tokio::select! {
                line = source.next() => line?,
                () = shutdown.started() => return None,
            };
            Some((Ok::<_, Infallible>(line), (source, place, shutdown)))
        });
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        ([kind], Body::from_stream(Box::pin(lines))).into_response()
    }

    /// RFC 6455, 4.2.2: the answer to each kind of bad handshake is spelled out there.
    async fn upgrade(&self, request: Request, source: impl Source, place: OwnedSemaphorePermit) -> Response {
        let (mut parts, _) = request.into_parts();
        if parts.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return (StatusCode::UPGRADE_REQUIRED, [(header::SEC_WEBSOCKET_VERSION, "13")]).into_response();
        }
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade.max_message_size(INCOMING_MAX).max_frame_size(INCOMING_MAX).write_buffer_size(0),
            Err(rejection) => return (rejection.status(), rejection.body_text()).into_response(),
        };
        let shutdown = self.shutdown.clone();
        upgrade.on_upgrade(move |socket| async move {
            tokio::select! {
                () = talk(socket, source) => {}
                () = shutdown.started() => {}
            }
            drop(place);
        })
    }
}

/// Sends messages until there are no more, or the other side is gone.
async fn talk(mut socket: WebSocket, mut source: impl Source) {
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_heard = true;
    loop {
        let message = tokio::select! {
            line = source.next() => match line {
                Some(line) => Message::Text(line.into()),
                None => break,
            },
            // Pings are answered by the library while it is read from.
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_))) => {
                    // Reading on sends the answer that is due (RFC 6455, 5.5.1), and finds the end.
                    let _ = timeout(PATIENCE, socket.recv()).await;
                    return;
                }
                Some(Err(_)) | None => return,
                Some(Ok(_)) => {
                    is_heard = true;
                    continue;
                }
            },
            _ = pings.tick() => {
                if !std::mem::take(&mut is_heard) {
                    return;
                }
                Message::Ping(axum::body::Bytes::new())
            }
        };
        if !matches!(timeout(PATIENCE, socket.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(PATIENCE, socket.send(Message::Close(None))).await;
}
