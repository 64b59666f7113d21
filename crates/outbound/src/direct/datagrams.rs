//! One UDP socket per flow: any destination, any sender (full cone).
//!
//! Names among the destinations are looked up beside the flow, so that a slow resolver never holds up datagrams to other
//! places. What waits for an answer is little, and what does not fit is dropped, as a network would.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use adit_net::{Datagrams, DialError, Domain, Host, RecvDatagram, SendDatagram, Target, Task, to_family_of, unmapped};
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::connector::{Connector, forbidden};

/// How long a flow remembers the addresses of a name, or that it has none.
const REMEMBER: Duration = Duration::from_secs(60);

/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Names that one flow knows or asks for at once.
const NAMES: usize = 16;

/// Datagrams that wait for one name, and their bytes.
const WAITING: usize = 8;
const WAITING_BYTES: usize = 16 * 1024;

/// Receive errors in a row after which a socket counts as dead.
const ERRORS: usize = 16;

/// Opens the socket. The first name is looked up before the flow begins, so that a wrong one is told.
pub(super) async fn open(
    connector: &Connector,
    target: &Target,
    known: Option<IpAddr>,
) -> Result<Datagrams, DialError> {
    let addresses = look_up(connector, &target.host, known).await?;
    let outlet = Arc::new(
        Outlet::open(connector).map_err(|source| DialError::Io { context: "open a UDP socket".into(), source })?,
    );
    let mut names = Names::default();
    if let Host::Domain(name) = &target.host {
        names.insert(name.clone(), State::known(addresses));
    }
    Ok(Datagrams {
        recv: Box::new(Receiver { outlet: Arc::clone(&outlet) }),
        send: Box::new(Sender { outlet, connector: connector.clone(), names: Arc::new(Mutex::new(names)) }),
    })
}

/// The addresses to which datagrams for `host` may go; never empty.
async fn look_up(connector: &Connector, host: &Host, known: Option<IpAddr>) -> Result<Vec<IpAddr>, DialError> {
    let mut addresses = timeout(LOOK_UP, connector.addresses(host, known))
        .await
        .unwrap_or_else(|_| Err(DialError::TimedOut(format!("look up {host}"))))?;
    let denied = addresses.iter().find_map(|ip| Some(format!("{ip} {}", forbidden(*ip)?)));
    addresses.retain(|ip| forbidden(*ip).is_none());
    match denied {
        Some(why) if addresses.is_empty() => Err(DialError::Denied(why)),
        _ => Ok(addresses),
    }
}

struct Outlet {
    socket: UdpSocket,
    local: SocketAddr,
}

impl Outlet {
    fn open(connector: &Connector) -> io::Result<Self> {
        let socket = connector.socket.udp()?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    /// Sends to the first of `addresses` that there is a route to, and moves that one to the front.
    fn send(
        &self,
        addresses: &mut [IpAddr],
        port: u16,
        mut send: impl FnMut(&UdpSocket, SocketAddr) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let mut at = 0;
        while let Some(ip) = addresses.get(at) {
            let to = to_family_of(self.local, SocketAddr::new(*ip, port));
            match ready!(send(&self.socket, to)) {
                Err(error) if no_route(&error) => at += 1,
                Err(error) if is_dead(&error) => return Poll::Ready(Err(error)),
                // The datagram is lost, as it might be anywhere on the way. The next one may be fine.
                Ok(_) | Err(_) => {
                    addresses.swap(0, at);
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn no_route(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
    )
}

/// The interface to which the socket is bound is gone; one that comes back under its name is another one (faults F-H8).
fn is_dead(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NODEV | Errno::NXIO))
}

struct Receiver {
    outlet: Arc<Outlet>,
}

impl RecvDatagram for Receiver {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Target>> {
        for _ in 1..ERRORS {
            match ready!(self.outlet.socket.poll_recv_from(cx, buf)) {
                Ok(from) => return Poll::Ready(Ok(unmapped(from).into())),
                // An ICMP answer to something that was sent earlier says nothing about the socket.
                Err(error) if !is_dead(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.outlet.socket.poll_recv_from(cx, buf).map_ok(|from| unmapped(from).into())
    }
}

struct Sender {
    outlet: Arc<Outlet>,
    connector: Connector,
    names: Arc<Mutex<Names>>,
}

impl SendDatagram for Sender {
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>> {
        let name = match &to.host {
            Host::Ip(ip) if self.connector.may_send_to(*ip) => {
                return self.outlet.send(&mut [*ip], to.port, |socket, to| socket.poll_send_to(cx, payload, to));
            }
            Host::Ip(_) => return Poll::Ready(Ok(())),
            Host::Domain(name) => name,
        };
        let mut names = self.names.lock();
        match names.find(name) {
            Some(State::Known { addresses, .. }) => {
                return self.outlet.send(addresses, to.port, |socket, to| socket.poll_send_to(cx, payload, to));
            }
            Some(State::Asked { waiting, .. }) => waiting.push(payload, to.port),
            None => {
                let mut waiting = Waiting::default();
                waiting.push(payload, to.port);
                let answer = self.ask(name.clone());
                names.insert(name.clone(), State::Asked { waiting, _answer: answer });
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Sender {
    /// Looks `name` up, sends what has waited for it, and remembers the answer.
    fn ask(&self, name: Domain) -> Task<()> {
        let (connector, outlet) = (self.connector.clone(), Arc::clone(&self.outlet));
        // Weak: the look-up ends with the flow that asked.
        let names = Arc::downgrade(&self.names);
        Task::spawn("look up for udp", async move {
            let host = Host::Domain(name);
            let mut addresses = look_up(&connector, &host, None).await.unwrap_or_else(|error| {
                tracing::debug!("datagrams dropped: {error}");
                Vec::new()
            });
            let (Some(names), Host::Domain(name)) = (names.upgrade(), host) else {
                return;
            };
            let mut names = names.lock();
            for (payload, port) in names.take_waiting(&name).datagrams {
                // Never waits, because the flow's task may already: a full socket drops the datagram.
                let _ = outlet.send(&mut addresses, port, |socket, to| Poll::Ready(socket.try_send_to(&payload, to)));
            }
            names.insert(name, State::known(addresses));
        })
    }
}

/// What a flow knows of names. A list, because a flow rarely has more than one.
#[derive(Default)]
struct Names(VecDeque<(Domain, State)>);

enum State {
    /// A look-up is under way; it ends with this.
    Asked { waiting: Waiting, _answer: Task<()> },
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

    fn take_waiting(&mut self, name: &Domain) -> Waiting {
        match self.find(name) {
            Some(State::Asked { waiting, .. }) => std::mem::take(waiting),
            _ => Waiting::default(),
        }
    }
}

#[derive(Default)]
struct Waiting {
    datagrams: Vec<(Bytes, u16)>,
    bytes: usize,
}

impl Waiting {
    /// Keeps a copy, or drops the datagram when there is no room.
    fn push(&mut self, payload: &[u8], port: u16) {
        let bytes = self.bytes.saturating_add(payload.len());
        if self.datagrams.len() < WAITING && bytes <= WAITING_BYTES {
            self.datagrams.push((Bytes::copy_from_slice(payload), port));
            self.bytes = bytes;
        }
    }
}
