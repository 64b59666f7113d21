//! A connection to an origin, made by whoever serves our clients and seen through a pipe.

use std::sync::Arc;

use adit_net::{Accepted, BoxStream, Entry, Handler, Network, Prefixed, Session, Target, Task};
use bytes::{Buf as _, BytesMut};

use super::body::Source as _;
use super::pipe::{self, pipe};
use super::reply::{CONNECTED, ForwardReply};
use super::request::MAX_HEAD;
use super::response::{self, BadResponse, Response};
use crate::client::Client;

/// Our end of a connection to an origin. Dropping it ends the connection.
#[derive(Debug)]
pub(crate) struct Origin {
    target: Target,
    user: Option<Arc<str>>,
    pub(crate) answers: Answers,
    pub(crate) writer: pipe::Writer,
    /// It has answered before, so it may have been closed in the meantime.
    pub(crate) reused: bool,
    task: Task<()>,
}

/// The half of an [`Origin`] that answers.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) reader: pipe::Reader,
    /// Read and not yet understood.
    pub(crate) ahead: BytesMut,
    /// The dial succeeded.
    connected: bool,
}

/// Why there is no response head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoResponse {
    /// The connection ended before the first byte of one.
    Ended,
    /// There was no connection, and the client is not to be told why.
    Unsaid,
    Bad(BadResponse),
}

impl Origin {
    /// Asks `handler` to connect `client` to `target`. Does not wait for it.
    pub(crate) fn open<H: Handler>(handler: &Arc<H>, entry: Entry, client: &Client, target: Target) -> Self {
        static REPLY: ForwardReply = ForwardReply;
        let (near, far) = pipe();
        let user = entry.user.clone();
        let accepted = Accepted {
            session: Session::new(Network::Tcp, entry, client.addr, target.clone()),
            stream: Box::new(far),
            reply: &REPLY,
        };
        let handler = handler.clone();
        Self {
            target,
            user,
            answers: Answers { reader: near.reader, ahead: BytesMut::new(), connected: false },
            writer: near.writer,
            reused: false,
            task: Task::spawn("http origin", async move { handler.tcp(accepted).await }),
        }
    }

    pub(crate) fn serves(&self, target: &Target, user: Option<&Arc<str>>) -> bool {
        self.target == *target && self.user.as_ref() == user
    }

    /// Whether it can take another request: connected, and nothing was said that nobody asked for.
    pub(crate) fn is_ready(&self) -> bool {
        self.answers.connected && self.answers.ahead.is_empty() && self.answers.reader.is_quiet()
    }

    /// Ends our use of HTTP: the stream, beginning with what was read ahead, and the task that serves it.
    pub(crate) fn into_stream(self) -> (BoxStream, Task<()>) {
        let end = pipe::End { reader: self.answers.reader, writer: self.writer };
        (Box::new(Prefixed::new(self.answers.ahead.to_vec(), end)), self.task)
    }
}

impl Answers {
    /// Waits for the next response head and takes it.
    pub(crate) async fn next(&mut self, to_head: bool) -> Result<Response, NoResponse> {
        let mut seen = 0;
        loop {
            self.hear_connected();
            if response::find_end(&self.ahead, seen).is_some() {
                let read = response::read(&self.ahead, to_head).map_err(NoResponse::Bad)?;
                let (response, length) = read.ok_or(NoResponse::Bad(BadResponse::Malformed))?;
                self.ahead.advance(length.min(self.ahead.len()));
                return Ok(response);
            }
            seen = self.ahead.len();
            if seen > MAX_HEAD {
                return Err(NoResponse::Bad(BadResponse::TooLarge));
            }
            match self.reader.more(&mut self.ahead).await {
                Ok(true) => {}
                Ok(false) | Err(_) if !self.ahead.is_empty() => return Err(NoResponse::Bad(BadResponse::Malformed)),
                Ok(false) | Err(_) if self.connected => return Err(NoResponse::Ended),
                Ok(false) | Err(_) => return Err(NoResponse::Unsaid),
            }
        }
    }

    fn hear_connected(&mut self) {
        if !self.connected && self.ahead.first() == Some(&CONNECTED) {
            self.connected = true;
            self.ahead.advance(1);
        }
    }
}
