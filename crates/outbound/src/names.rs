//! Names among the destinations of datagrams: looked up beside the flow, so that a slow resolver never holds up datagrams
//! to other places. What waits for an answer is little, and what does not fit is dropped, as a network would.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use adit_net::{BoxFuture, DialError, Domain, Host, SendDatagram, Target, Task};
use parking_lot::Mutex;

/// How long a flow remembers the addresses of a name, or that it has none.
const REMEMBER: Duration = Duration::from_secs(60);

/// Names that one flow knows or asks for at once.
const NAMES: usize = 16;

/// Datagrams that wait for one name.
const WAITING: usize = 8;

/// Bytes of datagrams that wait for any name of one flow: the largest datagram fits.
const WAITING_BYTES: usize = 64 * 1024;

/// Sends to addresses, and knows how names become some.
pub(crate) trait Outlet: Send + Sync + 'static {
    /// The addresses to which datagrams for `name` may go, the best first; never empty.
    fn look_up<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, DialError>>;

    /// Whether a datagram may go to `ip`.
    fn may_send_to(&self, ip: IpAddr) -> bool;

    /// Sends to the first of `addresses` that there is a way to, and moves that one to the front. Without a context it
    /// never waits: what would have to is lost.
    fn poll_send(
        &self,
        cx: Option<&mut Context<'_>>,
        payload: &[u8],
        addresses: &mut [IpAddr],
        port: u16,
    ) -> Poll<io::Result<()>>;

    /// As [`Outlet::poll_send`], for the first of `payloads` and those behind it that may go together. Returns how many
    /// those were.
    fn poll_send_batch(
        &self,
        cx: &mut Context<'_>,
        payloads: &[IoSlice<'_>],
        addresses: &mut [IpAddr],
        port: u16,
    ) -> Poll<io::Result<usize>> {
        let Some(first) = payloads.first() else { return Poll::Ready(Ok(0)) };
        self.poll_send(Some(cx), first, addresses, port).map_ok(|()| 1)
    }
}

/// The sending half of a flow, for destinations with names and without.
pub(crate) struct Sender<O> {
    outlet: Arc<O>,
    names: Arc<Mutex<Names>>,
}

impl<O: Outlet> Sender<O> {
    /// A flow whose first destination was looked up already.
    pub(crate) fn new(outlet: Arc<O>, first: &Host, addresses: Vec<IpAddr>) -> Self {
        let mut names = Names::default();
        if let Host::Domain(name) = first {
            names.insert(name.clone(), State::known(addresses));
        }
        Self { outlet, names: Arc::new(Mutex::new(names)) }
    }

    /// Looks `name` up, sends what has waited for it, and remembers the answer.
    fn ask(&self, name: Domain) -> Task<()> {
        let outlet = Arc::clone(&self.outlet);
        // Weak: the look-up ends with the flow that asked.
        let names = Arc::downgrade(&self.names);
        Task::spawn("look up for udp", async move {
            let mut addresses = outlet.look_up(&name).await.unwrap_or_else(|error| {
                tracing::debug!("datagrams dropped: {error}");
                Vec::new()
            });
            let Some(names) = names.upgrade() else { return };
            let mut names = names.lock();
            for Waiting { payload, port } in names.take_waiting(&name) {
                // Never waits, because the flow's task may already: a full socket drops the datagram.
                let _ = outlet.poll_send(None, &payload, &mut addresses, port);
            }
            names.insert(name, State::known(addresses));
        })
    }
}

impl<O: Outlet> SendDatagram for Sender<O> {
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>> {
        let name = match &to.host {
            Host::Ip(ip) if self.outlet.may_send_to(*ip) => {
                return self.outlet.poll_send(Some(cx), payload, &mut [*ip], to.port);
            }
            Host::Ip(_) => return Poll::Ready(Ok(())),
            Host::Domain(name) => name,
        };
        let mut names = self.names.lock();
        match names.find(name) {
            Some(State::Known { addresses, .. }) => {
                return self.outlet.poll_send(Some(cx), payload, addresses, to.port);
            }
            Some(State::Asked { .. }) => {}
            None => {
                let answer = self.ask(name.clone());
                names.insert(name.clone(), State::Asked { waiting: Vec::new(), _answer: answer });
            }
        }
        names.wait(name, payload, to.port);
        Poll::Ready(Ok(()))
    }

    fn poll_send_batch(
        &mut self,
        cx: &mut Context<'_>,
        payloads: &[IoSlice<'_>],
        to: &Target,
    ) -> Poll<io::Result<usize>> {
        match &to.host {
            Host::Ip(ip) if self.outlet.may_send_to(*ip) => {
                return self.outlet.poll_send_batch(cx, payloads, &mut [*ip], to.port);
            }
            Host::Ip(_) => return Poll::Ready(Ok(payloads.len())),
            Host::Domain(name) => {
                if let Some(State::Known { addresses, .. }) = self.names.lock().find(name) {
                    return self.outlet.poll_send_batch(cx, payloads, addresses, to.port);
                }
            }
        }
        let Some(first) = payloads.first() else { return Poll::Ready(Ok(0)) };
        self.poll_send(cx, first, to).map_ok(|()| 1)
    }
}

/// What a flow knows of names. A list, because a flow rarely has more than one.
#[derive(Default)]
struct Names(VecDeque<(Domain, State)>);

enum State {
    /// A look-up is under way; it ends with this.
    Asked { waiting: Vec<Waiting>, _answer: Task<()> },
    /// The answer; no address if there was none.
    Known { addresses: Vec<IpAddr>, until: Instant },
}

impl State {
    fn known(addresses: Vec<IpAddr>) -> Self {
        Self::Known { addresses, until: Instant::now() + REMEMBER }
    }
}

impl Names {
    /// What is known, unless it is too old.
    fn find(&mut self, name: &Domain) -> Option<&mut State> {
        let state = self.0.iter_mut().find_map(|(known, state)| (known == name).then_some(state))?;
        match state {
            State::Known { until, .. } if *until <= Instant::now() => None,
            state => Some(state),
        }
    }

    /// Replaces what is known of `name`; the oldest name makes room for a new one.
    fn insert(&mut self, name: Domain, state: State) {
        self.0.retain(|(known, _)| *known != name);
        if self.0.len() >= NAMES {
            self.0.pop_front();
        }
        self.0.push_back((name, state));
    }

    /// Keeps a copy of a datagram until `name` is known, or drops it when there is no room.
    fn wait(&mut self, name: &Domain, payload: &[u8], port: u16) {
        let waiting = self.0.iter().map(|(_, state)| match state {
            State::Asked { waiting, .. } => waiting.iter().map(|datagram| datagram.payload.len()).sum(),
            State::Known { .. } => 0,
        });
        let bytes: usize = waiting.sum();
        if let Some(State::Asked { waiting, .. }) = self.find(name)
            && waiting.len() < WAITING
            && bytes.saturating_add(payload.len()) <= WAITING_BYTES
        {
            waiting.push(Waiting { payload: payload.into(), port });
        }
    }

    fn take_waiting(&mut self, name: &Domain) -> Vec<Waiting> {
        match self.find(name) {
            Some(State::Asked { waiting, .. }) => std::mem::take(waiting),
            _ => Vec::new(),
        }
    }
}

/// A datagram for a name that is being looked up.
struct Waiting {
    payload: Box<[u8]>,
    port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F-B17: what one flow may hold back is bounded, in datagrams, bytes and names.
    #[tokio::test]
    async fn what_waits_for_names_is_bounded() {
        let mut names = Names::default();
        for n in 0..NAMES + 5 {
            let name = Domain::new(&format!("n{n}.test")).unwrap();
            let answer = Task::spawn("never", std::future::pending());
            names.insert(name.clone(), State::Asked { waiting: Vec::new(), _answer: answer });
            for _ in 0..WAITING + 5 {
                names.wait(&name, &[0; 1000], 9);
            }
            assert!(names.find(&name).is_some(), "the newest name is kept");
        }
        assert_eq!(names.0.len(), NAMES);
        let mut bytes = 0;
        for n in 5..NAMES + 5 {
            let waiting = names.take_waiting(&Domain::new(&format!("n{n}.test")).unwrap());
            assert!(waiting.len() <= WAITING);
            bytes += waiting.iter().map(|datagram| datagram.payload.len()).sum::<usize>();
        }
        assert!(bytes > WAITING_BYTES / 2 && bytes <= WAITING_BYTES, "{bytes}");
    }
}
