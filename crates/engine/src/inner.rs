//! Traffic of our own that goes where the rules say: questions to nameservers (`respect-rules`, `#RULES`).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Weak;

use adit_net::{
    BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, Entry, Network, Protocol, Session, Tag, Target,
};

use parking_lot::RwLock;

use crate::log;
use crate::route::Route;
use crate::world::World;

/// The name that rules see as the listener's.
const INBOUND: &str = "Inner";
/// Nobody's address, so that no rule about clients matches.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A way out that asks the rules of a world each time it is used.
///
/// A world's resolvers hold it, so it is made before the world and does not keep it alive. What it dials is a session of
/// type `Inner`.
#[derive(Debug, Default)]
pub struct ByRules {
    world: RwLock<Weak<World>>,
}

impl ByRules {
    /// A way out that refuses everything until [`ByRules::follow`] is called.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the rules of `world` from now on.
    pub fn follow(&self, world: Weak<World>) {
        *self.world.write() = world;
    }

    async fn route(&self, network: Network, target: &Target) -> Result<Route, DialError> {
        let world = self.world.read().upgrade();
        let world = world.ok_or_else(|| DialError::Denied("the configuration is not in use".to_owned()))?;
        let entry = Entry { inbound: Tag::new(INBOUND), protocol: Protocol::Inner, local: NOBODY, user: None };
        let session = Session::new(network, entry, NOBODY.into(), target.clone());
        let route = world.route(&session).await?;
        log::routed(&session, &route.decision);
        Ok(route)
    }
}

impl Dialer for ByRules {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move {
            let route = self.route(Network::Tcp, dial.target).await?;
            route.way.dialer.connect(Dial { target: &route.target, known: route.known, client: None }).await
        })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(async move {
            let route = self.route(Network::Udp, dial.target).await?;
            route.way.dialer.datagrams(Dial { target: &route.target, known: route.known, client: None }).await
        })
    }
}
