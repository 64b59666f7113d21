//! Finding the peers.

use std::net::SocketAddr;

use adit_net::{BoxFuture, DialError, Target};
use adit_wireguard::Locate;

use crate::connector::Connector;

/// Finds endpoints as every other server of an outbound is found: by the resolver for servers, with `ip-version`.
pub(super) struct Located(pub(super) Connector);

impl Locate for Located {
    fn locate<'a>(&'a self, endpoint: &'a Target) -> BoxFuture<'a, Result<Vec<SocketAddr>, DialError>> {
        Box::pin(async move {
            let found = self.0.addresses(&endpoint.host, None).await?;
            Ok(found.into_iter().map(|ip| SocketAddr::new(ip, endpoint.port)).collect())
        })
    }
}
