//! From a session to a way out: one step, no I/O except the one look-up a rule may ask for.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use adit_net::{DialError, DnsMode, Host, HostsEntry, Network, Protocol, Session, Target};
use adit_outbound::{Role, Way};
use adit_router::{Address, Mode, Process, Query, Step};

use crate::names;
use crate::table::Decision;
use crate::world::World;

/// Names that stand for other names may do so this often; the configuration refuses loops.
const MAX_ALIASES: usize = 16;

/// Where a session goes.
pub(crate) struct Route {
    /// The way out.
    pub(crate) way: Way,
    /// What the outbound is asked for: the session's target, unless `hosts` says otherwise.
    pub(crate) target: Target,
    /// An address that had to be looked up on the way here.
    pub(crate) known: Option<IpAddr>,
    /// For the table and the log.
    pub(crate) decision: Decision,
}

impl World {
    /// Decides where `session` goes.
    ///
    /// # Errors
    /// `Denied` when the listener's `proxy` or the mode's outbound does not exist or cannot carry this network.
    ///
    /// # Cancel safety
    /// Dropping the future abandons a look-up.
    pub(crate) async fn route(&self, session: &Session) -> Result<Route, DialError> {
        let (target, address) = self.target_of(session);
        let pin = self.pins.get(&session.entry.inbound);
        if let Some(outbound) = pin.and_then(|pin| pin.outbound.as_ref()) {
            return self.fixed(outbound, session, target, address);
        }
        match self.mode {
            Mode::Direct => return self.fixed("DIRECT", session, target, address),
            Mode::Global => return self.fixed("GLOBAL", session, target, address),
            Mode::Rule => {}
        }

        let renamed = renamed(session, &target);
        let process = OnceCell::new();
        let mut query = Query::new(renamed.as_ref().unwrap_or(session)).with_address(address);
        let mut cursor = self.rules.start(pin.and_then(|pin| pin.rules.as_ref()));
        loop {
            match self.rules.resume(cursor, &query) {
                Step::NeedAddress(at) => {
                    query.address = self.look_up(&target).await;
                    cursor = at;
                }
                Step::NeedProcess(at) => {
                    let found = self.process(session).await;
                    query.process = process.get_or_init(|| found).as_ref().into();
                    cursor = at;
                }
                Step::Use(verdict) => {
                    let way = self.book.find_for(&verdict.outbound, session);
                    let Some(way) = usable(way, &verdict.outbound, session) else {
                        cursor = verdict.next();
                        continue;
                    };
                    let known = query.address.known();
                    let decision = Decision {
                        rule: verdict.rule,
                        chain: way.chain.clone(),
                        process: process.into_inner().flatten(),
                    };
                    return Ok(Route { way, target, known, decision });
                }
            }
        }
    }

    /// What the outbound is to be asked for, and its address as far as that is known.
    ///
    /// A connection to an address that our DNS gave out for a name is dialled by that name; datagrams go to the address
    /// (mihomo-surface §7.6).
    pub(crate) fn target_of(&self, session: &Session) -> (Target, Address) {
        match &session.dns {
            DnsMode::RedirHost { name, ip } if session.network == Network::Tcp => {
                let named = Target::new(name.clone(), session.target.port);
                match self.apply_hosts(&named) {
                    (target, Address::NotAsked) if target == named => (target, Address::Known(*ip)),
                    by_hosts => by_hosts,
                }
            }
            _ => self.apply_hosts(&session.target),
        }
    }

    /// The program behind `session`, if somebody is to be asked and it runs on this host.
    async fn process(&self, session: &Session) -> Option<Process> {
        let processes = Arc::clone(self.processes.as_ref()?);
        let (local, network) = (session.client.socket_addr(), session.network);
        let remote = match session.entry.protocol {
            Protocol::Redir | Protocol::Tproxy => names::written(session)?,
            _ => session.entry.local,
        };
        let found = tokio::task::spawn_blocking(move || processes.owner(local, remote, network));
        let owner = found.await.ok()??;
        let path = owner.program.map(|program| program.path.clone()).unwrap_or_default();
        Some(Process { path, uid: owner.uid })
    }

    /// `hosts` before anything else: a fixed address replaces the name, an alias stands for another name
    /// (spec: mihomo-surface §1.4).
    pub(crate) fn apply_hosts(&self, target: &Target) -> (Target, Address) {
        let mut target = target.clone();
        for _ in 0..MAX_ALIASES {
            let Host::Domain(name) = &target.host else { break };
            match self.hosts.lookup(name) {
                Some(HostsEntry::Addresses(addresses)) => {
                    let Some(&ip) = addresses.first() else { break };
                    return (Target::new(ip, target.port), Address::Known(ip));
                }
                Some(HostsEntry::Alias(other)) => target.host = Host::Domain(other),
                None => break,
            }
        }
        let address = target.host.ip().map_or(Address::NotAsked, Address::Known);
        (target, address)
    }

    pub(crate) fn fixed(
        &self,
        outbound: &str,
        session: &Session,
        target: Target,
        address: Address,
    ) -> Result<Route, DialError> {
        let way = self
            .book
            .find_for(outbound, session)
            .ok_or_else(|| DialError::Denied(format!("proxy {outbound} not found")))?;
        if session.network == Network::Udp && !way.udp {
            return Err(DialError::Unsupported(Network::Udp));
        }
        let decision = Decision { rule: None, chain: way.chain.clone(), process: None };
        Ok(Route { way, target, known: address.known(), decision })
    }

    /// The address that IP rules compare: one of the name's, IPv4 preferred (mihomo-surface §3.6).
    pub(crate) async fn look_up(&self, target: &Target) -> Address {
        let Host::Domain(name) = &target.host else {
            return target.host.ip().map_or(Address::NotAsked, Address::Known);
        };
        match tokio::time::timeout(LOOK_UP_BUDGET, self.resolver.resolve(name)).await {
            Ok(Ok(addresses)) => {
                let first = addresses.iter().find(|ip| ip.is_ipv4()).or_else(|| addresses.first());
                first.map_or(Address::Unresolvable, |ip| Address::Known(*ip))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a rule asked for an address");
                Address::Unresolvable
            }
            Err(_) => {
                tracing::debug!(%name, "a rule asked for an address; the look-up took too long");
                Address::Unresolvable
            }
        }
    }
}

/// The way that a matching rule names, unless that rule is to be passed over (mihomo-surface §3.7).
///
/// For want of UDP it is not passed over by traffic of our own, which goes over TCP instead: a question to a nameserver
/// must not leave beside the proxy that a rule wants it to take.
pub(crate) fn usable(way: Option<Way>, outbound: &str, session: &Session) -> Option<Way> {
    let way = way.filter(|way| way.role != Role::Pass)?;
    if session.network == Network::Udp && !way.udp && session.entry.protocol != Protocol::Inner {
        tracing::debug!(target = %session.target, outbound, "the rule's outbound carries no UDP: trying the next rule");
        return None;
    }
    Some(way)
}

/// The session as the rules see it after `hosts` gave another name; `None` if the name stayed. A fixed address keeps the
/// name, so that rules see both.
pub(crate) fn renamed(session: &Session, target: &Target) -> Option<Session> {
    let other = target.host.domain().is_some() && target.host != session.target.host;
    other.then(|| Session { target: target.clone(), ..session.clone() })
}

/// As Mihomo's (mihomo-surface §3.6).
const LOOK_UP_BUDGET: std::time::Duration = std::time::Duration::from_secs(5);
