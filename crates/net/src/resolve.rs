//! The seam behind which names become addresses.
//!
//! Whoever needs an address asks a [`Resolve`]: the router's driver when an IP rule asks, `direct` when it connects,
//! an outbound for its server's name. The `dns` crate asks nameservers itself.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

use crate::{BoxFuture, Dialer, Domain};

/// Why a name has no address.
#[derive(Clone, Debug, Error)]
pub enum ResolveError {
    /// Somebody answered: there is no such name, or it has no address.
    #[error("{0} has no address")]
    NoAddress(Domain),
    /// Nobody answered usefully.
    #[error("looking up {name} failed: {cause}")]
    Failed {
        /// The name asked for.
        name: Domain,
        /// What the resolver said.
        cause: String,
    },
}

/// Turns names into addresses.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `name`, of both families, in the resolver's order; never empty.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question.
    fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;
}

/// Something that can look names up through a given way out.
///
/// A tunnel is given one of these and hands itself over: its names are then asked inside the tunnel, and nowhere else.
pub trait Through: Send + Sync + fmt::Debug {
    /// A resolver whose every packet leaves by `dialer`, which it holds: a way out that keeps the resolver must give it
    /// a handle that does not keep the way out alive.
    ///
    /// What it learned (cached answers, open connections) belongs to the returned resolver and ends with it.
    fn over(&self, dialer: Arc<dyn Dialer>) -> Arc<dyn Resolve>;
}

/// The operating system's resolver (`getaddrinfo`, run on the blocking pool).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(|error| ResolveError::Failed { name: name.clone(), cause: error.to_string() })?;
            let mut addresses = Vec::new();
            for address in found.map(|socket| socket.ip().to_canonical()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() { Err(ResolveError::NoAddress(name.clone())) } else { Ok(addresses) }
        })
    }
}

/// Another resolver without its IPv6 addresses (`ipv6: false`).
pub struct WithoutIpv6(Arc<dyn Resolve>);

impl WithoutIpv6 {
    /// Asks `next` and leaves its IPv6 addresses out.
    #[must_use]
    pub fn new(next: Arc<dyn Resolve>) -> Self {
        Self(next)
    }
}

impl Resolve for WithoutIpv6 {
    fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            let mut addresses = self.0.resolve(name).await?;
            addresses.retain(IpAddr::is_ipv4);
            if addresses.is_empty() { Err(ResolveError::NoAddress(name.clone())) } else { Ok(addresses) }
        })
    }
}

/// What `hosts` says of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostsEntry {
    /// Fixed addresses; never empty.
    Addresses(Vec<IpAddr>),
    /// Another name to ask instead.
    Alias(Domain),
}

/// Looks a name up in `hosts` (patterns included). Implemented by the router's domain trie.
pub trait HostsTable: Send + Sync + 'static {
    /// The entry for `name`, most specific pattern first.
    fn lookup(&self, name: &Domain) -> Option<HostsEntry>;
}

impl HostsTable for HashMap<Domain, HostsEntry> {
    fn lookup(&self, name: &Domain) -> Option<HostsEntry> {
        self.get(name).cloned()
    }
}

/// `hosts` first, then another resolver.
pub struct WithHosts {
    hosts: Arc<dyn HostsTable>,
    next: Arc<dyn Resolve>,
}

impl WithHosts {
    /// Asks `hosts`, then `next`.
    #[must_use]
    pub fn new(hosts: Arc<dyn HostsTable>, next: Arc<dyn Resolve>) -> Self {
        Self { hosts, next }
    }
}

impl Resolve for WithHosts {
    fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            let mut name = name.clone();
            // The configuration refuses alias cycles; the bound is for tables that did not come from one.
            for _ in 0..16 {
                match self.hosts.lookup(&name) {
                    Some(HostsEntry::Addresses(addresses)) => return Ok(addresses),
                    Some(HostsEntry::Alias(other)) => name = other,
                    None => return self.next.resolve(&name).await,
                }
            }
            Err(ResolveError::Failed { name, cause: "hosts aliases form a loop".into() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows one name, and that hosts should have been asked first.
    struct Upstream;

    impl Resolve for Upstream {
        fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
            Box::pin(async move {
                match name.as_str() {
                    "known.example" => Ok(vec![[192, 0, 2, 9].into()]),
                    _ => Err(ResolveError::NoAddress(name.clone())),
                }
            })
        }
    }

    fn domain(name: &str) -> Domain {
        name.parse().unwrap()
    }

    async fn ask(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let hosts: HashMap<_, _> = [
            (domain("nas.lan"), HostsEntry::Addresses(vec![[10, 0, 0, 2].into()])),
            (domain("files.lan"), HostsEntry::Alias(domain("nas.lan"))),
            (domain("out.lan"), HostsEntry::Alias(domain("known.example"))),
            (domain("a.loop"), HostsEntry::Alias(domain("b.loop"))),
            (domain("b.loop"), HostsEntry::Alias(domain("a.loop"))),
        ]
        .into();
        WithHosts::new(Arc::new(hosts), Arc::new(Upstream)).resolve(&domain(name)).await
    }

    #[tokio::test]
    async fn hosts_come_first_and_aliases_are_followed() {
        let nas: IpAddr = [10, 0, 0, 2].into();
        assert_eq!(ask("nas.lan").await.unwrap(), [nas]);
        assert_eq!(ask("files.lan").await.unwrap(), [nas]);
        assert_eq!(ask("out.lan").await.unwrap(), [IpAddr::from([192, 0, 2, 9])]);
        assert!(matches!(ask("other.example").await, Err(ResolveError::NoAddress(_))));
    }

    #[tokio::test]
    async fn an_alias_loop_ends() {
        assert!(matches!(ask("a.loop").await, Err(ResolveError::Failed { .. })));
    }
}
