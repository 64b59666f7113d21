//! From a plan to a world, in the order in which its parts need each other.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use adit_config::{DnsMode, DnsPlan, FindProcess, Plan};
use adit_dns::{FakeIp, FakeOptions, HostsFile, Mode, Service, ServiceOptions};
use adit_engine::{ByRules, Engine, Pin, World};
use adit_net::{Domain, HostsEntry, HostsTable, SocketOptions, Tag};
use adit_outbound::Book;
use adit_outbound::options::{Group, Outbound};
use adit_process::Processes;
use adit_router::Rules;
use anyhow::Context as _;

use crate::resolvers::{Resolvers, WaysOut};

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

/// A world that does not know yet where it lives.
pub(crate) struct Unsettled {
    world: World,
    by_rules: Arc<ByRules>,
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
        Ok(self.build(dns.as_ref())?.0)
    }

    /// As [`Ways::without_clients`], and with our own DNS, where it is configured. Fake addresses of the last run are read
    /// from the disk: blocks for some ten milliseconds.
    ///
    /// # Errors
    /// As [`Ways::without_clients`].
    pub(crate) fn with_clients(mut self) -> anyhow::Result<Unsettled> {
        let dns = self.dns.take();
        let (mut unsettled, clients) = self.build(dns.as_ref())?;
        if let (Some(dns), Some(resolver)) = (dns, clients.resolver) {
            unsettled.world.dns = Some(service(dns, resolver, &clients.hosts)?);
            unsettled.world.captures_dns = true;
        }
        Ok(unsettled)
    }

    /// The world, and what clients are answered from.
    fn build(self, dns: Option<&DnsPlan>) -> anyhow::Result<(Unsettled, Clients)> {
        let hosts = Hosts::new(self.hosts, dns.is_some_and(|dns| dns.uses_system_hosts));
        let ways = WaysOut::new(&self.outbounds, &self.groups, self.socket);
        let resolvers = Resolvers::new(dns, &ways, &hosts.all(), self.ipv6)?;
        let book = Book::build(self.outbounds, self.groups, resolvers.direct, resolvers.proxy_servers)?;
        let by_rules = ways.settle(&book);
        let asks = match self.find_process {
            FindProcess::Off => false,
            FindProcess::Strict => self.rules.needs_process(),
            FindProcess::Always => true,
        };
        let world = World {
            mode: self.mode,
            rules: self.rules,
            book,
            hosts: hosts.all(),
            resolver: resolvers.main,
            pins: self.pins,
            dns: None,
            captures_dns: false,
            sniffer: self.sniffer.map(|options| Arc::new(adit_sniffer::Plan::new(options))),
            processes: asks.then(|| Arc::new(Processes::new())),
        };
        Ok((Unsettled { world, by_rules }, Clients { resolver: resolvers.clients, hosts }))
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
        self.by_rules.follow(Arc::downgrade(&world));
        world
    }

    /// An engine that holds it.
    pub(crate) fn into_engine(self) -> Engine {
        let engine = Engine::new(self.world);
        self.by_rules.follow(Arc::downgrade(&engine.world()));
        engine
    }
}

/// What a listener prescribes for its own clients, if anything.
fn pin(name: &Tag, rule: Option<&Tag>, proxy: Option<&Tag>) -> Option<(Tag, Pin)> {
    let pin = Pin { rules: rule.cloned(), outbound: proxy.cloned() };
    (pin != Pin::default()).then(|| (name.clone(), pin))
}

/// Our own DNS.
fn service(dns: DnsPlan, resolver: Arc<adit_dns::Resolver>, hosts: &Hosts) -> anyhow::Result<Service> {
    let hosts = hosts.of_clients(dns.uses_hosts);
    let mode = match dns.mode {
        DnsMode::Normal => Mode::Normal,
        DnsMode::RedirHost => Mode::RedirHost,
        DnsMode::FakeIp { ranges, filter, ttl, store } => {
            let addresses = match store {
                Some(file) => FakeIp::open(ranges, &file),
                None => FakeIp::new(ranges),
            };
            Mode::FakeIp(FakeOptions { addresses: Arc::new(addresses.context("dns: fake-ip-range")?), filter, ttl })
        }
    };
    Ok(Service::new(ServiceOptions { resolver, hosts, mode, ipv6: dns.ipv6 }))
}

#[cfg(test)]
mod tests {
    use adit_config::Source;
    use adit_net::Domain;

    use super::*;

    fn ways(text: &str) -> Ways {
        let source = Source { name: "config.yaml".into(), text: text.into(), home: ".".into() };
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
        let world = ways(NAMESERVERS).with_clients().unwrap().settle();
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
        let world = ways("rules:\n  - MATCH,DIRECT\n").with_clients().unwrap().settle();
        assert!(world.dns.is_none() && !world.captures_dns && world.sniffer.is_none() && world.processes.is_none());
        let asks = |mode: &str| {
            let text = format!("find-process-mode: {mode}\nrules:\n  - PROCESS-NAME,curl,REJECT\n");
            ways(&text).without_clients().unwrap().settle().processes.is_some()
        };
        assert_eq!(["off", "strict", "always"].map(asks), [false, true, true]);
    }
}
