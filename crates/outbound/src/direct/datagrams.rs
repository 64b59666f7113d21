//! One UDP socket per flow: any destination, any sender (full cone).

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_net::{
    BoxFuture, Datagrams, DialError, Domain, Host, RecvDatagram, Target, Trains, receive_batch, to_family_of, unmapped,
};
use rustix::io::Errno;
use tokio::io::{Interest, ReadBuf};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::connector::{Connector, forbidden};
use crate::names::{Outlet, Sender};
use crate::options::IpVersion;

/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(5);

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
        Socket::open(connector.clone())
            .map_err(|source| DialError::Io { context: "open a UDP socket".into(), source })?,
    );
    Ok(Datagrams {
        recv: Box::new(Receiver { outlet: Arc::clone(&outlet) }),
        send: Box::new(Sender::new(outlet, &target.host, addresses)),
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

struct Socket {
    connector: Connector,
    socket: UdpSocket,
    local: SocketAddr,
    trains: Trains,
}

impl Socket {
    fn open(connector: Connector) -> io::Result<Self> {
        let socket = connector.socket.udp()?;
        let local = socket.local_addr()?;
        Ok(Self { connector, socket, local, trains: Trains::default() })
    }
}

impl Outlet for Socket {
    fn look_up<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, DialError>> {
        Box::pin(async move { look_up(&self.connector, &Host::Domain(name.clone()), None).await })
    }

    fn may_send_to(&self, ip: IpAddr) -> bool {
        self.connector.may_send_to(ip)
    }

    fn poll_send(
        &self,
        mut cx: Option<&mut Context<'_>>,
        payload: &[u8],
        addresses: &mut [IpAddr],
        port: u16,
    ) -> Poll<io::Result<()>> {
        let mut at = 0;
        while let Some(ip) = addresses.get(at) {
            let to = to_family_of(self.local, SocketAddr::new(*ip, port));
            let sent = match &mut cx {
                Some(cx) => ready!(self.socket.poll_send_to(cx, payload, to)),
                None => self.socket.try_send_to(payload, to),
            };
            match sent {
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

    fn poll_send_batch(
        &self,
        cx: &mut Context<'_>,
        payloads: &[IoSlice<'_>],
        addresses: &mut [IpAddr],
        port: u16,
    ) -> Poll<io::Result<usize>> {
        let (Some(first), Some(ip)) = (payloads.first(), addresses.first()) else { return Poll::Ready(Ok(0)) };
        let to = to_family_of(self.local, SocketAddr::new(*ip, port));
        loop {
            ready!(self.socket.poll_send_ready(cx))?;
            let send = || self.trains.send(&self.socket, to, payloads);
            match self.socket.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Alone, it finds another address, or is lost.
                Err(_) => return self.poll_send(Some(cx), first, addresses, port).map_ok(|()| 1),
                sent => return Poll::Ready(sent),
            }
        }
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
    outlet: Arc<Socket>,
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

    fn poll_recv_batch<'r>(
        &mut self,
        cx: &mut Context<'_>,
        room: &'r mut [u8],
        take: &mut dyn FnMut(Target, &'r [u8]),
    ) -> Poll<io::Result<()>> {
        let Socket { socket, local, .. } = &*self.outlet;
        let mut errors = 0;
        let batch = loop {
            ready!(socket.poll_recv_ready(cx))?;
            let mut received = None;
            let outcome = socket.try_io(Interest::READABLE, || {
                let batch = received.insert(receive_batch(socket, local.is_ipv4(), room)?);
                // Saves asking once more: the next datagram will tell.
                if batch.is_full() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            });
            match (received, outcome) {
                (Some(batch), _) => break batch,
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                // As above.
                (None, Err(error)) if errors < ERRORS && !is_dead(&error) => errors += 1,
                (None, outcome) => return Poll::Ready(outcome),
            }
        };
        for (from, payload) in batch.datagrams(room) {
            take(from.into(), payload);
        }
        Poll::Ready(Ok(()))
    }
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
        match Socket::open(connector(0x2a)) {
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
}
