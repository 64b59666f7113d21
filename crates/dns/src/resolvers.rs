//! All resolvers of a configuration: who asks which servers, by which way out.

use std::path::PathBuf;
use std::sync::Arc;

use adit_net::{Dialer, Resolve};
use rustls::pki_types::CertificateDer;

use crate::group::{Group, Member};
use crate::nameserver::{Nameserver, Transport, Via};
use crate::plan::{AddressMatch, Choose, FallbackPlan, NameMatch, Plan};
use crate::resolver::{Habits, Resolver};
use crate::servers::{Prepared, ServersError};
use crate::system::SystemServers;
use crate::tls::Trust;
use crate::upstream::Out;

/// The servers that a configuration names (its `dns` section), and what each is for. No other is ever asked.
#[derive(Clone)]
pub struct Upstreams {
    /// `default-nameserver`: knows the addresses of the other servers. Given by address, or `system`.
    pub default: Vec<Nameserver>,
    /// `nameserver`.
    pub main: Vec<Nameserver>,
    /// `nameserver-policy`: in order, the first that chooses decides; what it decides, no fallback changes.
    pub policy: Vec<Policy>,
    /// `fallback` and `fallback-filter`.
    pub fallback: Option<Fallback>,
    /// `proxy-server-nameserver`: the addresses of proxy servers. Empty: those of the main servers and the policy that
    /// are asked without any proxy, and where none is left, the default ones (F-E11: no proxy is asked for its own
    /// address).
    pub proxy_servers: Vec<Nameserver>,
    /// `proxy-server-nameserver-policy`.
    pub proxy_server_policy: Vec<Policy>,
    /// `direct-nameserver`: what is connected to directly. Empty: as all else.
    pub direct: Vec<Nameserver>,
    /// `direct-nameserver-follow-policy`.
    pub direct_follows_policy: bool,
    /// `respect-rules`: main, policy and fallback servers that name no way out are asked as the rules say.
    pub respects_rules: bool,
    /// How all resolvers ask and remember. Each remembers for itself.
    pub habits: Habits,
    /// Trust roots besides those that browsers have.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Where `system` looks: `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
}

impl Default for Upstreams {
    fn default() -> Self {
        Self {
            default: Vec::new(),
            main: Vec::new(),
            policy: Vec::new(),
            fallback: None,
            proxy_servers: Vec::new(),
            proxy_server_policy: Vec::new(),
            direct: Vec::new(),
            direct_follows_policy: false,
            respects_rules: false,
            habits: Habits::default(),
            extra_roots: Vec::new(),
            resolv_conf: "/etc/resolv.conf".into(),
        }
    }
}

/// Some entries of a policy that are decided together: one set of names, or adjacent plain patterns of which the most
/// specific wins.
#[derive(Clone)]
pub struct Policy {
    /// Which of `lists`, if any.
    pub choose: Choose,
    /// The servers to ask.
    pub lists: Vec<Vec<Nameserver>>,
}

impl Policy {
    /// One set of names and its servers.
    #[must_use]
    pub fn of(names: NameMatch, servers: Vec<Nameserver>) -> Self {
        Self { choose: Arc::new(move |name| names(name).then_some(0)), lists: vec![servers] }
    }
}

/// Servers to believe where the main ones are not.
#[derive(Clone)]
pub struct Fallback {
    /// Whom to ask.
    pub servers: Vec<Nameserver>,
    /// Names that only they are asked for.
    pub only: Option<NameMatch>,
    /// Addresses in the main servers' answers that make the fallback's count instead. An answer without addresses is
    /// always replaced.
    pub doubtful: AddressMatch,
    /// `fallback-lazy-query`: they are asked only when they are needed, rather than at once.
    pub is_lazy: bool,
}

/// Knows the ways out that nameservers are asked by.
///
/// Dialers that it returns must not keep alive what holds the resolvers: give handles that look the outbound up when
/// they dial.
pub trait Ways {
    /// `None`: straight out. `Named`: an outbound, a group, or an interface; nothing if there is none of that name.
    fn way(&self, via: Option<&Via>) -> Option<Arc<dyn Dialer>>;
}

impl<F: Fn(Option<&Via>) -> Option<Arc<dyn Dialer>>> Ways for F {
    fn way(&self, via: Option<&Via>) -> Option<Arc<dyn Dialer>> {
        self(via)
    }
}

/// The resolvers of a configuration. What one of them remembers, the others do not know.
#[derive(Clone)]
pub struct Resolvers {
    /// For rules, and for clients.
    pub main: Arc<Resolver>,
    /// For the addresses of proxy servers.
    pub proxy_servers: Arc<Resolver>,
    /// For what is connected to directly.
    pub direct: Arc<Resolver>,
}

impl Resolvers {
    /// Checks everything, so that nothing but the network can fail later.
    ///
    /// # Errors
    /// See [`ServersError`].
    pub fn new(upstreams: &Upstreams, ways: &dyn Ways) -> Result<Self, ServersError> {
        let mut builder = Builder::new(upstreams, ways)?;
        let policy = builder.policy(&upstreams.policy, upstreams.respects_rules)?;
        let main = builder.group(&upstreams.main, upstreams.respects_rules)?;
        if main.0.is_empty() {
            return Err(ServersError::Empty);
        }
        let fallback = upstreams.fallback.as_ref().filter(|fallback| !fallback.servers.is_empty());
        let fallback = fallback.map(|fallback| builder.fallback(fallback)).transpose()?;
        let resolver = |plan| Arc::new(Resolver::new(plan, upstreams.habits));
        let proxy_servers = builder.for_proxy_servers()?;
        let direct = if upstreams.direct.is_empty() {
            None
        } else {
            let policy = if upstreams.direct_follows_policy { policy.clone() } else { Vec::new() };
            Some(Plan { policy, main: builder.group(&upstreams.direct, false)?, fallback: None })
        };
        let main = resolver(Plan { policy, main, fallback });
        let direct = direct.map_or_else(|| Arc::clone(&main), resolver);
        Ok(Self { direct, proxy_servers: resolver(proxy_servers), main })
    }
}

/// A server and the way to it: equal ones share their connections, in whatever lists they are.
type Same = (Nameserver, Option<Via>, Member);

struct Builder<'a> {
    upstreams: &'a Upstreams,
    ways: &'a dyn Ways,
    trust: Trust,
    /// Knows the servers' own addresses.
    names: Option<Arc<dyn Resolve>>,
    made: Vec<Same>,
}

impl<'a> Builder<'a> {
    fn new(upstreams: &'a Upstreams, ways: &'a dyn Ways) -> Result<Self, ServersError> {
        let trust = Trust::new(&upstreams.extra_roots).map_err(ServersError::Root)?;
        let mut builder = Self { upstreams, ways, trust, names: None, made: Vec::new() };
        if let Some(name) = upstreams.default.iter().find_map(|one| one.server()?.host.domain()) {
            return Err(ServersError::DefaultByName(name.clone()));
        }
        if !upstreams.default.is_empty() {
            let group = builder.group(&upstreams.default, false)?;
            builder.names = Some(Arc::new(Resolver::new(group.into(), upstreams.habits)));
        }
        Ok(builder)
    }

    fn group(&mut self, list: &[Nameserver], by_rules: bool) -> Result<Group, ServersError> {
        let mut group = Group::default();
        let mut seen: Vec<&Nameserver> = Vec::new();
        for one in list {
            if !seen.contains(&one) {
                seen.push(one);
                group.0.push(self.member(one, by_rules)?);
            }
        }
        Ok(group)
    }

    fn member(&mut self, one: &Nameserver, by_rules: bool) -> Result<Member, ServersError> {
        let via = one.via.clone().or_else(|| by_rules.then_some(Via::Rules));
        if let Some((.., member)) = self.made.iter().find(|(known, way, _)| known == one && *way == via) {
            return Ok(member.clone());
        }
        let dialer = self.ways.way(via.as_ref()).ok_or_else(|| {
            let name = if let Some(Via::Named(name)) = &via { name.as_str() } else { "RULES" };
            ServersError::NoWay(name.to_owned())
        })?;
        let by_name = one.server().and_then(|server| server.host.domain());
        if let Some(name) = by_name.filter(|_| self.names.is_none()) {
            return Err(ServersError::NoBootstrap(name.clone()));
        }
        let out = Out { shares: via.is_some(), ..Out::new(&dialer, self.names.as_ref()) };
        let member = if one.transport == Transport::System {
            let path = self.upstreams.resolv_conf.clone();
            Member::System(Arc::new(SystemServers::new(path, one.changes.clone(), out)))
        } else {
            Member::Server(Prepared::new(one.clone(), &self.trust)?.upstream(out))
        };
        self.made.push((one.clone(), via, member.clone()));
        Ok(member)
    }

    fn policy(&mut self, policy: &[Policy], by_rules: bool) -> Result<Vec<(Choose, Vec<Group>)>, ServersError> {
        let entry = |entry: &Policy| {
            let groups = entry.lists.iter().map(|list| self.group(list, by_rules)).collect::<Result<_, _>>()?;
            Ok((Arc::clone(&entry.choose), groups))
        };
        policy.iter().map(entry).collect()
    }

    fn fallback(&mut self, fallback: &Fallback) -> Result<FallbackPlan, ServersError> {
        Ok(FallbackPlan {
            group: self.group(&fallback.servers, self.upstreams.respects_rules)?,
            only: fallback.only.clone(),
            doubtful: Arc::clone(&fallback.doubtful),
            is_lazy: fallback.is_lazy,
        })
    }

    fn for_proxy_servers(&mut self) -> Result<Plan, ServersError> {
        let upstreams = self.upstreams;
        if !upstreams.proxy_servers.is_empty() {
            let policy = self.policy(&upstreams.proxy_server_policy, false)?;
            return Ok(Plan { policy, main: self.group(&upstreams.proxy_servers, false)?, fallback: None });
        }
        let without_proxies = |list: &Vec<Nameserver>| {
            let straight: Vec<_> = list.iter().filter(|one| one.via.is_none()).cloned().collect();
            if straight.is_empty() { upstreams.default.clone() } else { straight }
        };
        let policy: Vec<Policy> = upstreams
            .policy
            .iter()
            .map(|entry| Policy {
                choose: Arc::clone(&entry.choose),
                lists: entry.lists.iter().map(without_proxies).collect(),
            })
            .collect();
        let policy = self.policy(&policy, false)?;
        Ok(Plan { policy, main: self.group(&without_proxies(&upstreams.main), false)?, fallback: None })
    }
}
