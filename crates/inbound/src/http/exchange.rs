//! One request and its responses, carried both ways at the same time.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::tcp::ReadHalf;

use super::body::{Passing, Source as _, Stop, carry};
use super::origin::{Answers, NoResponse, Origin};
use super::pipe;
use super::request::{Forward, Version};
use super::response::{Framing, Response};
use crate::client::Client;

/// What a client may send ahead of its turn before we stop reading it.
const MAX_PIPELINED: usize = 16 * 1024;

/// An origin that sends more interim responses than this means no good.
const MAX_INTERIM: usize = 32;

/// How an exchange ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client has a whole response.
    Answered {
        /// The client may send its next request.
        client_stays: bool,
        /// So may we.
        origin_stays: bool,
    },
    /// The client has a 101: what follows is not HTTP.
    Upgraded,
    /// The origin left without a word; the client was told nothing.
    Unanswered,
    /// There is to be no answer.
    Unsaid,
    /// The origin said something that is no response, before the client was told anything.
    BadGateway(&'static str),
    /// The client's body is malformed, and it was told nothing yet.
    BadRequest,
    /// One side broke off. The other one must not take what it has for a whole.
    Broken,
}

/// What one direction tells the other.
#[derive(Debug, Default)]
struct Progress {
    /// The request has been sent whole.
    sent: AtomicBool,
    /// The client has been told the beginning of a final response.
    answering: AtomicBool,
}

/// Sends `request` to `origin` and its responses to `client`.
///
/// A client that ends its sending direction before it has its answer is taken to be gone, as most HTTP servers do:
/// otherwise a client that left could not be told from one that waits for a silent origin.
pub(crate) async fn exchange(client: &mut Client, origin: &mut Origin, request: &Forward, version: Version) -> Ended {
    let (mut from_client, mut to_client) = client.stream.split();
    let progress = Progress::default();
    let sending = send(&mut from_client, &mut client.ahead, request, &mut origin.writer, &progress);
    let answering = answer(&mut origin.answers, request, version, &mut to_client, &progress);
    let (mut sending, mut answering) = (pin!(sending), pin!(answering));
    tokio::select! {
        ended = &mut answering => ended,
        Err(stop) = &mut sending => match stop {
            // An origin may stop reading because it has answered already.
            Stop::Sink(_) => answering.await,
            Stop::Malformed(_) if !progress.answering.load(Ordering::Relaxed) => Ended::BadRequest,
            Stop::Source(_) | Stop::Malformed(_) => Ended::Broken,
        },
    }
}

/// Sends the request, then watches for the client's end. Never succeeds.
async fn send(
    from: &mut ReadHalf<'_>,
    ahead: &mut BytesMut,
    request: &Forward,
    to: &mut pipe::Writer,
    progress: &Progress,
) -> Result<Infallible, Stop> {
    let body = Passing::of_request(request.body);
    carry(from, ahead, body, to, request.head.clone()).await?;
    progress.sent.store(true, Ordering::Relaxed);
    while ahead.len() < MAX_PIPELINED {
        if !from.more(ahead).await.map_err(Stop::Source)? {
            return Err(Stop::Source(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
    std::future::pending().await
}

/// Passes responses on until a final one is through.
async fn answer(
    origin: &mut Answers,
    request: &Forward,
    version: Version,
    to: &mut (impl AsyncWrite + Unpin),
    progress: &Progress,
) -> Ended {
    for _ in 0..MAX_INTERIM {
        let response = match origin.next(request.is_head).await {
            Ok(response) => response,
            Err(NoResponse::Ended) => return Ended::Unanswered,
            Err(NoResponse::Unsaid) => return Ended::Unsaid,
            Err(NoResponse::Bad(_)) => return Ended::BadGateway("the origin's answer is not HTTP/1"),
        };
        if !response.is_interim() {
            return answer_finally(origin, &response, request, version, to, progress).await;
        }
        let switches = response.status == 101;
        if switches && !request.upgrade {
            return Ended::BadGateway("the origin left HTTP without being asked to");
        }
        // RFC 9110 §15.2: a client of HTTP/1.0 must not get one.
        if version == Version::Http11 && to.write_all(&response.head_for(version, false)).await.is_err() {
            return Ended::Broken;
        }
        if switches {
            return Ended::Upgraded;
        }
    }
    Ended::BadGateway("the origin sends interim responses without end")
}

async fn answer_finally(
    origin: &mut Answers,
    response: &Response,
    request: &Forward,
    version: Version,
    to: &mut (impl AsyncWrite + Unpin),
    progress: &Progress,
) -> Ended {
    let framing = response.framing_for(version);
    let client_stays = request.persistent && framing != Framing::UntilClose;
    let head = response.head_for(version, !client_stays);
    let body = Passing::of_response(response.framing, framing);
    progress.answering.store(true, Ordering::Relaxed);
    if carry(&mut origin.reader, &mut origin.ahead, body, to, head).await.is_err() {
        return Ended::Broken;
    }
    let sent = progress.sent.load(Ordering::Relaxed);
    Ended::Answered { client_stays: client_stays && sent, origin_stays: response.persistent && sent }
}
