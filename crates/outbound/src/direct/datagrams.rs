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
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::connector::{Connector, forbidden};
use crate::options::IpVersion;

/// How long a flow remembers the addresses of a name, or that it has none.
const REMEMBER: Duration = Duration::from_secs(60);

/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Names that one flow knows or asks for at once.
const NAMES: usize = 16;

/// Datagrams that wait for one name.
const WAITING: usize = 8;

/// Bytes of datagrams that wait for any name of one flow: the largest datagram fits.
const WAITING_BYTES: usize = 64 * 1024;

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
    if connector.ip_version == IpVersion::Dual {
        // Nothing tells a datagram's silent loss from a slow answer, so families cannot be raced. Mihomo's order: a dead
        // IPv6 route is the more common fault.
        addresses.sort_by_key(IpAddr::is_ipv6);
    }
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

/// Nothing leads to that address from here. EINVAL: a link-local address without an interface.
fn no_route(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::INVAL)
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
            Some(State::Asked { .. }) => {}
            None => {
                let answer = self.ask(name.clone());
                names.insert(name.clone(), State::Asked { waiting: Vec::new(), _answer: answer });
            }
        }
        names.wait(name, payload, to.port);
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
            for Waiting { payload, port } in names.take_waiting(&name) {
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
    use adit_net::{SocketOptions, SystemResolver};
    use socket2::SockRef;

    use super::*;

    fn connector(mark: u32) -> Connector {
        let socket = SocketOptions { mark, ..SocketOptions::default() };
        Connector { socket, ip_version: IpVersion::Dual, resolver: Arc::new(SystemResolver) }
    }

    /// F-B13
    #[tokio::test]
    async fn the_socket_carries_the_mark_or_is_not_made() {
        match Outlet::open(&connector(0x2a)) {
            Ok(outlet) => assert_eq!(SockRef::from(&outlet.socket).mark().unwrap(), 0x2a),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }

    /// F-H8: only what is wrong with the socket itself ends a flow.
    #[test]
    fn a_lost_interface_ends_the_flow_and_a_lost_datagram_does_not() {
        for (errno, dead) in [
            (Errno::NODEV, true),
            (Errno::NXIO, true),
            (Errno::CONNREFUSED, false),
            (Errno::ACCESS, false),
            (Errno::PERM, false),
            (Errno::MSGSIZE, false),
            (Errno::NETUNREACH, false),
            (Errno::NETDOWN, false),
            (Errno::NOBUFS, false),
        ] {
            assert_eq!(is_dead(&errno.into()), dead, "{errno:?}");
        }
    }

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
