//! WireGuard: a tunnel in user space. Names become addresses before they enter it, because what it carries is IP packets.
//!
//! Nothing here has another way out: without the peer, dials fail (faults F-G15).

mod datagrams;
mod inside;
mod locate;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use adit_net::{BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, Host, Resolve, Tag, Target};
use adit_wireguard::{Outer, Tunnel, Way};

use self::inside::Inside;
use self::locate::Located;
use crate::carrier::Via;
use crate::connector::Connector;
use crate::health::Health;
use crate::options;

/// A way out through a WireGuard tunnel. Clones are the same tunnel.
#[derive(Clone)]
pub(crate) struct WireGuard {
    inside: Inside,
    resolver: Arc<dyn Resolve>,
    /// Whether `resolver` asks inside the tunnel. Then what somebody else found does not count: servers in there may know
    /// better, and are the ones that were chosen.
    remote_dns: bool,
}

impl WireGuard {
    /// The tunnel of the outbound named `proxy`, not started yet. `connector` is for finding and reaching the peers, unless
    /// they are reached through `via`; `resolver` for names of targets, unless they are asked for inside.
    pub(crate) fn new(
        proxy: Tag,
        options: options::WireGuard,
        connector: Connector,
        via: Option<Via>,
        resolver: Arc<dyn Resolve>,
        health: Arc<Health>,
    ) -> Self {
        let addresses = options.tunnel.addresses;
        let way = match via {
            Some(via) => Way::Via(Arc::new(via)),
            None => Way::Sockets(connector.socket.clone()),
        };
        let locate = Arc::new(Located(connector));
        let outer = Outer { endpoints: options.endpoints, locate, refresh: options.refresh, way };
        let inside = Inside { proxy, tunnel: Tunnel::new(options.tunnel, outer), addresses, health };
        let remote = options.remote_dns.map(|through| through.over(Arc::new(inside.clone())));
        Self { remote_dns: remote.is_some(), inside, resolver: remote.unwrap_or(resolver) }
    }

    /// The addresses of a target that can be reached inside; never empty.
    async fn addresses(&self, target: &Target, known: Option<IpAddr>) -> Result<Vec<SocketAddr>, DialError> {
        let known = known.filter(|ip| !self.remote_dns && self.inside.has_family_of(*ip));
        let found = match (&target.host, known) {
            (Host::Ip(ip), _) => Ok(vec![*ip]),
            (Host::Domain(_), Some(ip)) => Ok(vec![ip]),
            (Host::Domain(name), None) => {
                self.resolver.resolve(name).await.map_err(|error| DialError::Unresolved(format!("{name}: {error}")))
            }
        };
        found.and_then(|found| self.inside.reachable(target, found)).map_err(|error| self.inside.blame(error))
    }
}

impl Dialer for WireGuard {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move { self.inside.connect_any(self.addresses(dial.target, dial.known).await?).await })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(datagrams::open(self, dial.target, dial.known))
    }
}
