//! `direct`: this machine connects to the destination itself.

use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use adit_net::{
    BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, Domain, Resolve, ResolveError, SocketOptions, Target,
    is_own_listener,
};

use crate::connector::Connector;
use crate::options::IpVersion;

mod datagrams;

/// A way out without a proxy. Names are resolved here, and `Dial::known` saves the question.
pub struct Direct {
    connector: Connector,
    /// Whether a packet socket to a listener of ours is refused, as every connection is.
    is_for_addresses: bool,
}

impl Direct {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector, is_for_addresses: false }
    }

    /// A way out for whoever knows addresses, such as those who ask nameservers: a target that is a name is refused, and
    /// so is one of our own listeners, which would ask again.
    #[must_use]
    pub fn to_addresses(socket: SocketOptions) -> Self {
        let connector = Connector { socket, ip_version: IpVersion::Dual, resolver: Arc::new(NoNames) };
        Self { connector, is_for_addresses: true }
    }

    fn may_open(&self, target: &Target) -> Result<(), DialError> {
        match target.host.ip() {
            Some(ip) if self.is_for_addresses && is_own_listener(SocketAddr::new(ip, target.port)) => {
                Err(DialError::Denied(format!("{target} is a listener of this proxy")))
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direct").field("socket", &self.connector.socket).finish_non_exhaustive()
    }
}

/// Knows no name, and asks nobody.
struct NoNames;

impl Resolve for NoNames {
    fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        let cause = "this way out is for addresses only".to_owned();
        Box::pin(ready(Err(ResolveError::Failed { name: name.clone(), cause })))
    }
}

impl Dialer for Direct {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move {
            let stream = self.connector.connect(dial.target, dial.known).await?;
            Ok(Box::new(stream) as BoxStream)
        })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(async move {
            self.may_open(dial.target)?;
            datagrams::open(&self.connector, dial.target, dial.known).await
        })
    }
}

#[cfg(test)]
mod tests {
    use adit_net::Listener;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_way_to_addresses_knows_no_names() {
        let way = Direct::to_addresses(SocketOptions::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::from(listener.local_addr().unwrap());
        way.connect(Dial { target: &target, known: None, client: None }).await.unwrap();

        let name: Target = "localhost:53".parse().unwrap();
        let dial = Dial { target: &name, known: None, client: None };
        assert!(matches!(way.connect(dial).await, Err(DialError::Unresolved(_))));
        assert!(matches!(way.datagrams(dial).await, Err(DialError::Unresolved(_))));
    }

    #[tokio::test]
    async fn a_way_to_addresses_does_not_lead_back_to_us() {
        let way = Direct::to_addresses(SocketOptions::default());
        let ours = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = Target::from(ours.local_addr());
        let dial = Dial { target: &target, known: None, client: None };
        assert!(matches!(way.connect(dial).await, Err(DialError::Denied(_))));
        assert!(matches!(way.datagrams(dial).await, Err(DialError::Denied(_))));
        drop(ours);
        assert!(way.datagrams(dial).await.is_ok());
    }
}
