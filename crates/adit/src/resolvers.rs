//! Who looks names up, and by which ways out.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use adit_config::DnsPlan;
use adit_dns::Via;
use adit_engine::{ByRules, World};
use adit_net::{
    BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, HostsTable, Resolve, SocketOptions, SystemResolver, Tag,
    WithHosts, WithoutIpv6,
};
use adit_outbound::options::{Group, Outbound};
use adit_outbound::{Book, Direct, Way};
use anyhow::Context as _;

/// Those who look names up for us, each behind `hosts`.
pub(crate) struct Resolvers {
    /// For rules.
    pub(crate) main: Arc<dyn Resolve>,
    /// For what is connected to directly.
    pub(crate) direct: Arc<dyn Resolve>,
    /// For the addresses of proxy servers.
    pub(crate) proxy_servers: Arc<dyn Resolve>,
    /// For clients; none without `dns.enable`.
    pub(crate) clients: Option<Arc<adit_dns::Resolver>>,
}

impl Resolvers {
    /// The configured ones, or the system's where none are configured.
    ///
    /// # Errors
    /// A nameserver that cannot be used, such as one that is to be asked through an outbound that does not exist.
    pub(crate) fn new(
        dns: Option<&DnsPlan>,
        ways: &WaysOut,
        hosts: &Arc<dyn HostsTable>,
        ipv6: bool,
    ) -> anyhow::Result<Self> {
        let behind_hosts = |mut resolver: Arc<dyn Resolve>| -> Arc<dyn Resolve> {
            if !ipv6 {
                resolver = Arc::new(WithoutIpv6::new(resolver));
            }
            Arc::new(WithHosts::new(Arc::clone(hosts), resolver))
        };
        let Some(dns) = dns else {
            let system = behind_hosts(Arc::new(SystemResolver));
            return Ok(Self {
                main: Arc::clone(&system),
                direct: Arc::clone(&system),
                proxy_servers: system,
                clients: None,
            });
        };
        let resolvers = adit_dns::Resolvers::new(&dns.upstreams, ways).context("dns")?;
        Ok(Self {
            direct: behind_hosts(resolvers.direct),
            proxy_servers: behind_hosts(resolvers.proxy_servers),
            clients: Some(Arc::clone(&resolvers.main)),
            main: behind_hosts(resolvers.main),
        })
    }
}

/// The ways out that nameservers may be asked by.
///
/// Outbounds need resolvers and resolvers need outbounds, so those here are handles: the book and the world are filled in
/// when they exist, and are not kept alive by them.
pub(crate) struct WaysOut {
    /// Every outbound and group.
    names: HashSet<Tag>,
    socket: SocketOptions,
    handles: Handles,
}

/// What nameservers and downloads are reached by: whatever book and world are in use, without keeping them alive.
#[derive(Clone, Default)]
pub(crate) struct Handles {
    book: Arc<RwLock<Weak<Book>>>,
    by_rules: Arc<ByRules>,
}

impl Handles {
    /// Uses `world` from now on.
    pub(crate) fn follow(&self, world: &Arc<World>) {
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&world.book);
        self.by_rules.follow(Arc::downgrade(world));
    }

    /// The way that the rules say.
    pub(crate) fn by_rules(&self) -> Arc<dyn Dialer> {
        Arc::clone(&self.by_rules) as _
    }

    /// The proxy or group `name`.
    pub(crate) fn by_name(&self, name: &Tag) -> Arc<dyn Dialer> {
        Arc::new(ByName { name: name.clone(), book: Arc::clone(&self.book) })
    }
}

impl WaysOut {
    /// `socket` is what the sockets have that go straight out.
    pub(crate) fn new(outbounds: &[Outbound], groups: &[Group], socket: SocketOptions) -> Self {
        let named = outbounds.iter().map(|outbound| &outbound.name).chain(groups.iter().map(|group| &group.name));
        let names = named.cloned().chain(Book::ALWAYS.map(Tag::new)).collect();
        Self { names, socket, handles: Handles::default() }
    }

    /// What has to be told which book and world are in use.
    pub(crate) fn into_handles(self) -> Handles {
        self.handles
    }
}

impl adit_dns::Ways for WaysOut {
    fn way(&self, via: Option<&Via>) -> Option<Arc<dyn Dialer>> {
        let straight = |socket| Some(Arc::new(Direct::to_addresses(socket)) as Arc<dyn Dialer>);
        match via {
            None => straight(self.socket.clone()),
            Some(Via::Rules) => Some(self.handles.by_rules()),
            Some(Via::Named(name)) => match self.names.get(name.as_str()) {
                Some(name) => Some(self.handles.by_name(name)),
                None if is_interface(name) => {
                    straight(SocketOptions { interface: Some(name.clone()), ..self.socket.clone() })
                }
                None => None,
            },
        }
    }
}

/// Whether this host has a network interface of that name.
fn is_interface(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.starts_with('.') && Path::new("/sys/class/net").join(name).exists()
}

/// An outbound or a group, looked up when it is used.
struct ByName {
    name: Tag,
    book: Arc<RwLock<Weak<Book>>>,
}

impl ByName {
    fn way(&self) -> Result<Way, DialError> {
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner).upgrade();
        let way = book.and_then(|book| book.find(&self.name));
        way.ok_or_else(|| DialError::Denied(format!("proxy {} not found", self.name)))
    }
}

impl Dialer for ByName {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move { self.way()?.dialer.connect(dial).await })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(async move { self.way()?.dialer.datagrams(dial).await })
    }
}
