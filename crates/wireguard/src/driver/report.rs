//! What a driver has to say of its peers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use adit_net::DialError;
use rustix::io::Errno;

use super::run::Driver;
use crate::peer::Link;
use crate::stack::{ConnectError, NoPort};
use crate::{Moment, PeerId, PublicKey};

/// A peer's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who it is.
    pub public_key: PublicKey,
    /// Where it is, if that is known.
    pub endpoint: Option<SocketAddr>,
    /// Whether packets can go to it now.
    pub connected: bool,
    /// How long ago keys were last agreed upon.
    pub last_handshake: Option<Duration>,
    /// How long ago it was last heard.
    pub last_heard: Option<Duration>,
    /// Bytes sent to it, as UDP payload.
    pub sent: u64,
    /// Bytes received from it and accepted, as UDP payload.
    pub received: u64,
}

impl Driver {
    pub(super) fn status(&self, now: Moment) -> Vec<PeerStatus> {
        let peers = self.core.device().peers().zip(&self.keys);
        let status = peers.filter_map(|(peer, &public_key)| {
            let status = self.core.device().status(peer, now)?;
            Some(PeerStatus {
                public_key,
                endpoint: status.endpoint,
                connected: matches!(status.link, Link::Up | Link::Silent { .. }),
                last_handshake: status.last_handshake.map(|at| now.since(at)),
                last_heard: status.last_heard.map(|at| now.since(at)),
                sent: status.sent,
                received: status.received,
            })
        });
        status.collect()
    }

    /// Why a dial to `to` that began at `began` has no answer yet.
    pub(super) fn explain(&self, to: SocketAddr, began: Moment, now: Moment) -> DialError {
        let Some(peer) = self.core.device().peer_for(to.ip()) else {
            return DialError::Denied(crate::NoPeer(to.ip()).to_string());
        };
        if self.endpoints.candidates(peer).is_empty() {
            return DialError::Down(format!("the endpoint of {} has not been found yet", self.place(peer, now)));
        }
        let status = self.core.device().status(peer, now);
        match status.map(|status| (status.link, status.last_heard)) {
            Some((Link::Up | Link::Silent { .. }, Some(heard))) if heard >= began => {
                DialError::TimedOut(format!("connect to {to}, although {} is there", self.place(peer, now)))
            }
            Some((Link::Up | Link::Silent { .. }, _)) => DialError::TimedOut(format!(
                "connect to {to}: nothing was heard of it, nor of {}",
                self.place(peer, now)
            )),
            _ => self.dead(peer, now),
        }
    }

    pub(super) fn dead(&self, peer: PeerId, now: Moment) -> DialError {
        DialError::Down(format!("{} does not answer", self.place(peer, now)))
    }

    /// The peer and where it is.
    fn place(&self, peer: PeerId, now: Moment) -> String {
        let at = self.core.device().status(peer, now).and_then(|status| status.endpoint);
        match (at, self.endpoints.name(peer)) {
            (Some(at), _) => format!("{} at {at}", self.name(peer)),
            (None, Some(name)) => format!("{} at {name}", self.name(peer)),
            (None, None) => self.name(peer),
        }
    }

    /// The peer, by as much of its key as tells it from others.
    pub(super) fn name(&self, peer: PeerId) -> String {
        let key = self.keys.get(peer.0).map(PublicKey::to_string).unwrap_or_default();
        format!("WireGuard peer {}…", key.get(..8).unwrap_or_default())
    }
}

/// Why there is no way from here to `place`. A kernel without the family says so in ways of its own (faults F-G16).
pub(super) fn no_way(error: io::Error, place: &str) -> DialError {
    match Errno::from_io_error(&error) {
        Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT | Errno::NETDOWN) => DialError::Unreachable(place.to_owned()),
        _ => DialError::from_connect(error, place),
    }
}

pub(super) fn refusal(to: SocketAddr, why: ConnectError) -> DialError {
    match why {
        ConnectError::Refused => DialError::Refused(to.to_string()),
        ConnectError::Unreachable => DialError::Unreachable(to.to_string()),
        ConnectError::TimedOut => DialError::TimedOut(format!("connect to {to}")),
        ConnectError::NoAddress(_) => DialError::Denied(why.to_string()),
        ConnectError::NoPort(_) | ConnectError::Aborted => {
            DialError::Io { context: format!("connect to {to}"), source: why.into() }
        }
    }
}

pub(super) fn no_port(to: SocketAddr, why: NoPort) -> DialError {
    DialError::Io { context: format!("send to {to}"), source: io::Error::new(io::ErrorKind::AddrNotAvailable, why) }
}
