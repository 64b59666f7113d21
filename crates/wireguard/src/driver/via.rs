//! The peers through another way out (`dialer-proxy`): datagrams one by one, asked for again when they break.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_net::{BoxFuture, Datagrams, Dial, DialError, Dialer, Target};
use tokio::io::ReadBuf;

use super::socket::Received;
use crate::{Moment, Train};

/// Between two attempts to open it. A handshake asks every five seconds.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Via {
    dialer: Arc<dyn Dialer>,
    state: State,
    /// How much of the train that is due has been sent.
    sent: usize,
    /// Where the last datagram went; whoever answers under a name is taken to be there.
    last: Option<SocketAddr>,
}

enum State {
    Closed { until: Moment },
    Opening(BoxFuture<'static, Result<Datagrams, DialError>>),
    Open(Datagrams),
}

impl Via {
    pub(super) fn new(dialer: Arc<dyn Dialer>) -> Self {
        Self { dialer, state: State::Closed { until: Moment::default() }, sent: 0, last: None }
    }

    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, into: &mut Option<Received>) -> Poll<usize> {
        let State::Open(datagrams) = &mut self.state else { return Poll::Pending };
        let mut count = 0;
        for (room, meta) in into.get_or_insert_with(Received::new).rooms() {
            let mut buf = ReadBuf::new(room);
            match datagrams.recv.poll_recv(cx, &mut buf) {
                Poll::Ready(Ok(from)) => {
                    if let Some(from) = from.socket_addr().or(self.last) {
                        meta.addr = from;
                    }
                    meta.len = buf.filled().len();
                    meta.stride = meta.len;
                    count += 1;
                }
                Poll::Ready(Err(error)) => {
                    tracing::warn!("the way to a WireGuard peer broke: {error}");
                    self.state = State::Closed { until: Moment::default() };
                    break;
                }
                Poll::Pending => break,
            }
        }
        if count == 0 { Poll::Pending } else { Poll::Ready(count) }
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, now: Moment, train: &Train) -> Poll<()> {
        self.last = Some(train.to);
        let outcome = ready!(self.poll_send_all(cx, now, train));
        self.sent = 0;
        if let Err(error) = outcome {
            tracing::warn!("the way to a WireGuard peer is closed: {error}");
            self.state = State::Closed { until: now + PAUSE };
        }
        Poll::Ready(())
    }

    fn poll_send_all(&mut self, cx: &mut Context<'_>, now: Moment, train: &Train) -> Poll<io::Result<()>> {
        let to = Target::from(train.to);
        loop {
            match &mut self.state {
                // Too early to ask again: the train is lost.
                State::Closed { until } if now < *until => return Poll::Ready(Ok(())),
                State::Closed { .. } => self.state = State::Opening(open(Arc::clone(&self.dialer), to.clone())),
                State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(datagrams) => {
                        self.state = State::Open(datagrams);
                        // Nobody has been told yet to wake us for what comes.
                        cx.waker().wake_by_ref();
                    }
                    Err(error) => return Poll::Ready(Err(io::Error::other(error))),
                },
                State::Open(datagrams) => {
                    let Some(datagram) = train.bytes.get(self.sent..).and_then(|rest| rest.chunks(train.stride).next())
                    else {
                        return Poll::Ready(Ok(()));
                    };
                    ready!(datagrams.send.poll_send(cx, datagram, &to))?;
                    self.sent += datagram.len();
                }
            }
        }
    }
}

fn open(dialer: Arc<dyn Dialer>, to: Target) -> BoxFuture<'static, Result<Datagrams, DialError>> {
    Box::pin(async move { dialer.datagrams(Dial { target: &to, known: None, client: None }).await })
}
