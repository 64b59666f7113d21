//! The tunnel as something that dials addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_net::{BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, SendDatagram, Tag, Target};
use adit_wireguard::options::Addresses;
use adit_wireguard::{Tunnel, TunnelSocket};

use crate::connector::forbidden;
use crate::health::Health;
use crate::race::{PACE, interleave, race};
use crate::server::reword;

/// A tunnel and whose it is. A [`Dialer`] for addresses only: that is what the resolver inside the tunnel needs.
#[derive(Clone)]
pub(super) struct Inside {
    pub(super) proxy: Tag,
    pub(super) tunnel: Tunnel,
    pub(super) addresses: Addresses,
    /// Learns what dials show of the peers.
    pub(super) health: Arc<Health>,
}

impl Inside {
    pub(super) fn has_family_of(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(_) => self.addresses.v4().is_some(),
            IpAddr::V6(_) => self.addresses.v6().is_some(),
        }
    }

    /// Those of `found` that a packet may be sent to; never empty.
    pub(super) fn reachable(&self, target: &Target, found: Vec<IpAddr>) -> Result<Vec<SocketAddr>, DialError> {
        let mut denied = None;
        let mut reachable = Vec::with_capacity(found.len());
        for ip in interleave(&found) {
            if let Some(why) = forbidden(ip) {
                denied = Some(format!("{ip} {why}"));
            } else if self.has_family_of(ip) {
                reachable.push(SocketAddr::new(ip, target.port));
            } else {
                let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                denied = denied.or_else(|| Some(format!("{target}: the tunnel has no {family} address")));
            }
        }
        match denied {
            Some(why) if reachable.is_empty() => Err(DialError::Denied(why)),
            None if reachable.is_empty() => Err(DialError::Unresolved(target.to_string())),
            _ => Ok(reachable),
        }
    }

    /// Connects to the first of `addresses` that answers.
    pub(super) async fn connect_any(&self, addresses: Vec<SocketAddr>) -> Result<BoxStream, DialError> {
        let stream = match addresses.as_slice() {
            [only] => self.tunnel.connect(*only).await,
            _ => race(addresses, PACE, |to| async move { self.tunnel.connect(to).await.map_err(wrap) })
                .await
                .map_err(unwrap),
        };
        match self.noted(stream) {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(self.blame(error)),
        }
    }

    /// Opens a packet socket, once the peer for the first of `addresses` is there.
    pub(super) async fn socket(&self, addresses: &[SocketAddr]) -> Result<TunnelSocket, DialError> {
        let Some(first) = addresses.first() else { return Err(DialError::Unresolved("no address".into())) };
        self.noted(self.tunnel.socket(*first).await).map_err(|error| self.blame(error))
    }

    /// What a dial shows: that a destination does not answer says nothing about the tunnel.
    fn noted<T>(&self, outcome: Result<T, DialError>) -> Result<T, DialError> {
        match &outcome {
            Ok(_) | Err(DialError::Refused(_)) => self.health.reached(),
            Err(DialError::Down(_)) => self.health.missed(),
            Err(_) => {}
        }
        outcome
    }

    /// Says which proxy it was.
    pub(super) fn blame(&self, error: DialError) -> DialError {
        reword(error, |text| format!("{text} (proxy [{}])", self.proxy))
    }

    fn address(&self, target: &Target) -> Result<Vec<SocketAddr>, DialError> {
        match target.host.ip() {
            Some(ip) => self.reachable(target, vec![ip]),
            None => Err(DialError::Unresolved(format!("{target}: only addresses are known inside the tunnel"))),
        }
    }
}

impl Dialer for Inside {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move { self.connect_any(self.address(dial.target)?).await })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(async move {
            let socket = self.socket(&self.address(dial.target)?).await?;
            Ok(Datagrams { recv: Box::new(socket.clone()), send: Box::new(Addressed(socket)) })
        })
    }
}

/// The sending half for a resolver, which knows the addresses of its servers.
struct Addressed(TunnelSocket);

impl SendDatagram for Addressed {
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>> {
        match to.socket_addr() {
            Some(to) => self.0.poll_send(cx, payload, to).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// A race knows errors of sockets. Ours go along inside.
fn wrap(error: DialError) -> io::Error {
    let kind = match &error {
        DialError::Refused(_) => io::ErrorKind::ConnectionRefused,
        DialError::TimedOut(_) | DialError::Down(_) => io::ErrorKind::TimedOut,
        DialError::Unreachable(_) => io::ErrorKind::HostUnreachable,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

fn unwrap(failed: Option<(SocketAddr, io::Error)>) -> DialError {
    match failed {
        Some((to, error)) => error.downcast().unwrap_or_else(|error| DialError::from_connect(error, to)),
        None => DialError::Unresolved("no address".into()),
    }
}
