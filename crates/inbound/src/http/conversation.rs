//! All requests of one client connection, one after the other.

use std::sync::Arc;

use adit_net::{Accepted, Counters, Handler, Limits, Protocol, Stream as _, farewell, linger, relay};
use tokio::time::timeout;

use super::exchange::{Ended, exchange};
use super::hear;
use super::origin::Origin;
use super::reply::{last_answer, to_connect};
use super::request::{Body, Forward, Version, Wish};
use crate::client::Client;
use crate::door::Door;
use crate::serve::refuse;

/// Connections to origins that are kept for the requests to come.
const MAX_IDLE: usize = 4;

/// A client that forwards requests through us, and the request that is next.
#[derive(Debug)]
pub(crate) struct Conversation {
    client: Client,
    forward: Forward,
    version: Version,
    user: Option<Arc<str>>,
    idle: Vec<Origin>,
}

/// What becomes of the client's connection after an exchange.
enum After {
    /// It is its turn again.
    NextRequest,
    /// It ends after what was said.
    Close,
    /// It ends after an answer of ours.
    CloseWith(u16),
    /// It ends so that nobody takes what was said for a whole, or for an answer.
    Abort,
    /// It carries something else than HTTP from now on.
    Leave(Origin),
}

impl Conversation {
    pub(crate) fn new(client: Client, forward: Forward, version: Version, user: Option<Arc<str>>) -> Self {
        Self { client, forward, version, user, idle: Vec::new() }
    }

    /// Serves requests until the connection ends, or until the client asks for a tunnel: that one is returned.
    pub(crate) async fn run<H: Handler>(mut self, door: Arc<Door>, handler: &Arc<H>) -> Option<Accepted> {
        loop {
            match self.forward(&door, handler).await {
                After::NextRequest if self.next_begins(&door).await => {}
                After::NextRequest => return None,
                After::Close => {
                    linger(self.client.stream).await;
                    return None;
                }
                After::CloseWith(status) => {
                    farewell(self.client.stream, &last_answer(status)).await;
                    return None;
                }
                After::Abort => {
                    self.client.stream.abort();
                    return None;
                }
                After::Leave(origin) => {
                    let (stream, task) = origin.into_stream();
                    relay(self.client.into_stream(), stream, &Counters::default(), Limits::default()).await;
                    task.join().await;
                    return None;
                }
            }
            let hearing = hear(&mut self.client, &door, self.user.as_ref());
            match timeout(door.budgets.handshake, hearing).await {
                Ok(Ok(heard)) => match heard.wish {
                    Wish::Forward(forward) => {
                        (self.forward, self.version, self.user) = (forward, heard.version, heard.user);
                    }
                    Wish::Tunnel(target) => {
                        let reply = to_connect(heard.version);
                        return Some(door.accepted(self.client, Protocol::Https, heard.user, target, reply));
                    }
                },
                Ok(Err(refusal)) => {
                    refuse(self.client, &door, refusal).await;
                    return None;
                }
                Err(_) => {
                    door.log_refusal(self.client.addr, "the request head took too long");
                    return None;
                }
            }
        }
    }

    /// Waits for the first byte of the next request; `false` if none comes.
    async fn next_begins(&mut self, door: &Door) -> bool {
        if door.shutdown.is_started() {
            return false;
        }
        if !self.client.ahead.is_empty() {
            return true;
        }
        tokio::select! {
            more = timeout(door.budgets.keep_alive, self.client.more()) => matches!(more, Ok(Ok(()))),
            () = door.shutdown.started() => false,
        }
    }

    /// Has the current request answered.
    async fn forward<H: Handler>(&mut self, door: &Door, handler: &Arc<H>) -> After {
        let mut origin = self.idle_origin().unwrap_or_else(|| self.open(door, handler));
        loop {
            match exchange(&mut self.client, &mut origin, &self.forward, self.version).await {
                Ended::Answered { client_stays, origin_stays } => {
                    if origin_stays && origin.is_ready() {
                        self.keep(origin);
                    }
                    return if client_stays { After::NextRequest } else { After::Close };
                }
                Ended::Upgraded => return After::Leave(origin),
                Ended::Unanswered if origin.reused && self.may_repeat() => origin = self.open(door, handler),
                Ended::Unanswered => return self.bad_gateway(door, "the origin closed without an answer"),
                Ended::BadGateway(why) => return self.bad_gateway(door, why),
                Ended::BadRequest => {
                    door.log_refusal(self.client.addr, "a malformed request body");
                    return After::CloseWith(400);
                }
                Ended::Unsaid | Ended::Broken => return After::Abort,
            }
        }
    }

    fn bad_gateway(&self, door: &Door, why: &str) -> After {
        door.log_refusal(self.client.addr, &format!("{} for {}", why, self.forward.origin));
        After::CloseWith(502)
    }

    /// RFC 9110 §9.2.2: only what does no harm when done twice, and only while we still have all of it.
    fn may_repeat(&self) -> bool {
        self.forward.is_idempotent && matches!(self.forward.body, Body::None | Body::Length(0))
    }

    fn open<H: Handler>(&self, door: &Door, handler: &Arc<H>) -> Origin {
        let entry = door.entry(&self.client, Protocol::Http, self.user.clone());
        Origin::open(handler, entry, &self.client, self.forward.origin.clone())
    }

    /// A kept connection to the current request's origin, if one is still good.
    fn idle_origin(&mut self) -> Option<Origin> {
        let (wanted, user) = (&self.forward.origin, self.user.as_ref());
        let at = self.idle.iter().position(|origin| origin.serves(wanted, user))?;
        let origin = self.idle.swap_remove(at);
        origin.is_ready().then_some(origin)
    }

    fn keep(&mut self, mut origin: Origin) {
        if self.idle.len() >= MAX_IDLE {
            self.idle.remove(0);
        }
        origin.reused = true;
        self.idle.push(origin);
    }
}
