//! From a plan to a world, in the order in which its parts need each other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_config::{DnsMode, DnsPlan, FindProcess, Plan};
use adit_dns::{FakeIp, FakeOptions, HostsFile, Mode, Service, ServiceOptions};
use adit_engine::{Engine, Pin, World};
use adit_net::{Domain, HostsEntry, HostsTable, Resolve, SocketOptions, Tag};
use adit_outbound::Book;
use adit_outbound::options::{Group, Outbound};
use adit_process::Processes;
use adit_router::Rules;
use anyhow::Context as _;

use crate::resolvers::{Handles, Resolvers, WaysOut};

/// Names that the system knows (`use-system-hosts`).
const SYSTEM_HOSTS: &str = "/etc/hosts";

/// What a plan says of the ways out: everything that does not listen.
pub(crate) struct Ways {
    outbounds: Vec<Outbound>,
    groups: Vec<Group>,
    rules: Rules,
    hosts: adit_router::Hosts,
    mode: adit_router::Mode,
    ipv6: bool,
    socket: SocketOptions,
    pins: HashMap<Tag, Pin>,
    dns: Option<DnsPlan>,
    sniffer: Option<adit_sniffer::Options>,
    find_process: FindProcess,
}

/// A world that nobody uses yet.
pub(crate) struct Unsettled {
    pub(crate) world: World,
    handles: Handles,
    names: Names,
}

/// Who looks names up for a book.
struct Names {
    direct: Arc<dyn Resolve>,
    proxy_servers: Arc<dyn Resolve>,
}

/// What a new world takes over from the one before.
pub(crate) struct Before<'a> {
    pub(crate) world: &'a World,
    /// The file that its fake addresses are in.
    pub(crate) fake_store: Option<&'a Path>,
}

impl Ways {
    /// Takes from `plan` what does not listen.
    pub(crate) fn of(plan: Plan) -> Self {
        let pins = plan.inbounds.iter().map(|inbound| (&inbound.options.name, &inbound.rule, &inbound.proxy));
        let transparent = plan.transparent.iter().map(|one| (&one.options.name, &one.rule, &one.proxy));
        let pins = pins.chain(transparent).filter_map(|(name, rule, proxy)| pin(name, rule.as_ref(), proxy.as_ref()));
        let pins = pins.collect();
        let Plan { outbounds, groups, rules, hosts, mode, general, dns, sniffer, .. } = plan;
        let socket =
            SocketOptions { mark: general.routing_mark, interface: general.interface, keep_alive: general.keep_alive };
        let (ipv6, find_process) = (general.ipv6, general.find_process);
        Self { outbounds, groups, rules, hosts, mode, ipv6, socket, pins, dns, sniffer, find_process }
    }

    /// Everything that decides and dials. Clients are not answered: there is no [`World::dns`].
    ///
    /// # Errors
    /// What the configuration should have refused ([`adit_outbound::BookError`]), or a nameserver that cannot be asked as
    /// it says.
    pub(crate) fn without_clients(mut self) -> anyhow::Result<Unsettled> {
        let dns = self.dns.take();
        Ok(self.build(dns.as_ref(), None)?.0)
    }

    /// As [`Ways::without_clients`], and with our own DNS, where it is configured. Fake addresses of the last run are read
    /// from the disk: blocks for some ten milliseconds. What is the same as `before` is taken over.
    ///
    /// # Errors
    /// As [`Ways::without_clients`].
    pub(crate) fn with_clients(mut self, before: Option<&Before<'_>>) -> anyhow::Result<Unsettled> {
        let dns = self.dns.take();
        let (mut unsettled, clients) = self.build(dns.as_ref(), before)?;
        if let (Some(dns), Some(resolver)) = (dns, clients.resolver) {
            unsettled.world.dns = Some(service(dns, resolver, &clients.hosts, before)?);
            unsettled.world.captures_dns = true;
        }
        Ok(unsettled)
    }

    /// The world, and what clients are answered from.
    fn build(self, dns: Option<&DnsPlan>, before: Option<&Before<'_>>) -> anyhow::Result<(Unsettled, Clients)> {
        let hosts = Hosts::new(self.hosts, dns.is_some_and(|dns| dns.uses_system_hosts));
        let ways = WaysOut::new(&self.outbounds, &self.groups, self.socket);
        let resolvers = Resolvers::new(dns, &ways, &hosts.all(), self.ipv6)?;
        let names = Names { direct: resolvers.direct, proxy_servers: resolvers.proxy_servers };
        let book = match before {
            Some(before) => before.world.book.renew(self.outbounds, self.groups)?,
            None => {
                let (direct, servers) = (Arc::clone(&names.direct), Arc::clone(&names.proxy_servers));
                Book::build(self.outbounds, self.groups, direct, servers)?
            }
        };
        let handles = ways.into_handles();
        let asks = match self.find_process {
            FindProcess::Off => false,
            FindProcess::Strict => self.rules.needs_process(),
            FindProcess::Always => true,
        };
        let world = World {
            mode: self.mode,
            rules: Arc::new(self.rules),
            book,
            hosts: hosts.all(),
            resolver: resolvers.main,
            pins: self.pins,
            dns: None,
            captures_dns: false,
            sniffer: self.sniffer.map(|options| Arc::new(adit_sniffer::Plan::new(options))),
            processes: asks.then(|| Arc::new(Processes::new())),
        };
        Ok((Unsettled { world, handles, names }, Clients { resolver: resolvers.clients, hosts }))
    }
}

/// What clients are answered from.
struct Clients {
    resolver: Option<Arc<adit_dns::Resolver>>,
    hosts: Hosts,
}

/// The names that have fixed addresses.
struct Hosts {
    configured: Arc<dyn HostsTable>,
    /// `use-system-hosts`: the system's, for names that are not configured.
    system: Option<Arc<dyn HostsTable>>,
}

impl Hosts {
    fn new(configured: adit_router::Hosts, uses_system: bool) -> Self {
        let system = || Arc::new(HostsFile::new(PathBuf::from(SYSTEM_HOSTS))) as Arc<dyn HostsTable>;
        Self { configured: Arc::new(configured), system: uses_system.then(system) }
    }

    /// For everything but answers to clients (mihomo-surface §1.4).
    fn all(&self) -> Arc<dyn HostsTable> {
        match &self.system {
            None => Arc::clone(&self.configured),
            Some(system) => Arc::new(InOrder([Arc::clone(&self.configured), Arc::clone(system)])),
        }
    }

    /// For answers to clients, from which `use-hosts: false` leaves the configured ones out.
    fn of_clients(&self, uses_configured: bool) -> Vec<Arc<dyn HostsTable>> {
        uses_configured.then(|| Arc::clone(&self.configured)).into_iter().chain(self.system.clone()).collect()
    }
}

/// The first of two tables that knows a name.
struct InOrder([Arc<dyn HostsTable>; 2]);

impl HostsTable for InOrder {
    fn lookup(&self, name: &Domain) -> Option<HostsEntry> {
        self.0.iter().find_map(|table| table.lookup(name))
    }
}

impl Unsettled {
    /// The world by itself.
    pub(crate) fn settle(self) -> Arc<World> {
        let world = Arc::new(self.world);
        self.handles.follow(&world);
        world
    }

    /// Puts it to use in `engine`: for new connections, and for what is kept of the book before.
    pub(crate) fn install(self, engine: &Engine) -> Installed {
        let Self { world, handles, names } = self;
        let installed = Installed { handles, names };
        installed.replace(engine, world);
        installed
    }

    /// An engine that holds it.
    pub(crate) fn into_engine(self) -> (Engine, Installed) {
        let engine = Engine::new(self.world.clone());
        let installed = self.install(&engine);
        (engine, installed)
    }
}

/// The parts of a world in use that whatever takes its place needs.
pub(crate) struct Installed {
    pub(crate) handles: Handles,
    names: Names,
}

impl Installed {
    /// Gives `engine` a world that differs in its book only.
    pub(crate) fn replace(&self, engine: &Engine, world: World) {
        world.book.install(Arc::clone(&self.names.direct), Arc::clone(&self.names.proxy_servers));
        engine.replace(world);
        self.handles.follow(&engine.world());
    }
}

/// What a listener prescribes for its own clients, if anything.
fn pin(name: &Tag, rule: Option<&Tag>, proxy: Option<&Tag>) -> Option<(Tag, Pin)> {
    let pin = Pin { rules: rule.cloned(), outbound: proxy.cloned() };
    (pin != Pin::default()).then(|| (name.clone(), pin))
}

/// Our own DNS.
fn service(
    dns: DnsPlan,
    resolver: Arc<adit_dns::Resolver>,
    hosts: &Hosts,
    before: Option<&Before<'_>>,
) -> anyhow::Result<Service> {
    let hosts = hosts.of_clients(dns.uses_hosts);
    let old = before.and_then(|before| before.world.dns.as_ref());
    let mode = match dns.mode {
        DnsMode::Normal => Mode::Normal,
        DnsMode::RedirHost => Mode::RedirHost,
        DnsMode::FakeIp { ranges, filter, ttl, store } => {
            // A store is open in one place only, so it is taken over with what is in it.
            let same_store = before.is_some_and(|before| before.fake_store == store.as_deref());
            let kept = old.and_then(Service::fake_addresses).filter(|old| same_store && old.ranges() == ranges);
            let addresses = match (kept, store) {
                (Some(kept), _) => Arc::clone(kept),
                (None, Some(file)) => Arc::new(FakeIp::open(ranges, &file).context("dns: fake-ip-range")?),
                (None, None) => Arc::new(FakeIp::new(ranges).context("dns: fake-ip-range")?),
            };
            Mode::FakeIp(FakeOptions { addresses, filter, ttl })
        }
    };
    let options = ServiceOptions { resolver, hosts, mode, ipv6: dns.ipv6 };
    Ok(match old {
        Some(old) => old.renewed(options),
        None => Service::new(options),
    })
}

#[cfg(test)]
mod tests {
    use adit_config::Source;
    use adit_net::Domain;

    use super::*;

    fn ways(text: &str) -> Ways {
        let source =
            Source { name: "config.yaml".into(), text: text.into(), home: ".".into(), overrides: Default::default() };
        let loaded = adit_config::load(&source);
        Ways::of(loaded.plan.unwrap_or_else(|| panic!("{}", loaded.problems.render(false))))
    }

    const NAMESERVERS: &str = "
proxies:
  - { name: exit, type: socks5, server: exit.test, port: 1080 }
proxy-groups:
  - { name: pick, type: select, proxies: [exit] }
dns:
  enable: true
  respect-rules: true
  enhanced-mode: fake-ip
  nameserver: ['192.0.2.1', '192.0.2.2#exit', '192.0.2.3#pick']
  proxy-server-nameserver: ['rcode://success']
rules:
  - MATCH,exit
";

    /// Nameservers are asked through outbounds and by rules, which hold the resolvers that ask them.
    #[tokio::test]
    async fn a_world_that_nobody_uses_is_gone() {
        let world = ways(NAMESERVERS).with_clients(None).unwrap().settle();
        assert!(world.dns.is_some() && world.captures_dns);
        let (weak, book) = (Arc::downgrade(&world), Arc::downgrade(&world.book));
        drop(world);
        assert!(weak.upgrade().is_none() && book.upgrade().is_none());
    }

    /// F-E11: this would wait for itself.
    #[tokio::test]
    async fn f_e11_a_proxy_is_not_asked_for_its_own_address() {
        let world = ways(NAMESERVERS).without_clients().unwrap().settle();
        assert!(world.dns.is_none());
        let name: Domain = "far.test".parse().unwrap();
        let looked_up = tokio::time::timeout(std::time::Duration::from_secs(2), world.resolver.resolve(&name)).await;
        let error = looked_up.expect("an answer at once").unwrap_err().to_string();
        assert!(error.contains("exit.test"), "{error}");
    }

    #[test]
    fn nothing_is_built_that_is_not_configured() {
        let world = ways("rules:\n  - MATCH,DIRECT\n").with_clients(None).unwrap().settle();
        assert!(world.dns.is_none() && !world.captures_dns && world.sniffer.is_none() && world.processes.is_none());
        let asks = |mode: &str| {
            let text = format!("find-process-mode: {mode}\nrules:\n  - PROCESS-NAME,curl,REJECT\n");
            ways(&text).without_clients().unwrap().settle().processes.is_some()
        };
        assert_eq!(["off", "strict", "always"].map(asks), [false, true, true]);
    }
}
