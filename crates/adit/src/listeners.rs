//! What listens: bound first, so that an address in use ends the start instead of a client's patience, and run later.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use adit_config::{DnsPlan, InboundPlan, Plan, TransparentPlan};
use adit_dns::{DnsServer, Service};
use adit_engine::Engine;
use adit_inbound::{BindError, Inbound, Interception, Kind, TransparentInbound};
use adit_net::{Shutdown, Task};
use anyhow::Context as _;

/// Bound listeners that do not serve yet.
pub(crate) struct Listeners {
    inbounds: Vec<(Kind, Inbound)>,
    transparent: Vec<TransparentInbound>,
    dns: Option<DnsServer>,
}

impl Listeners {
    /// Binds everything that `plan` listens on.
    ///
    /// # Errors
    /// An address is in use, is not ours, or a right is missing.
    pub(crate) fn bind(plan: &Plan) -> anyhow::Result<Self> {
        Ok(Self {
            inbounds: inbounds(&plan.inbounds)?,
            transparent: transparent(&plan.transparent)?,
            dns: plan.dns.as_ref().map(dns).transpose()?.flatten(),
        })
    }

    /// Says what listens where, in Mihomo's words.
    pub(crate) fn announce(&self) {
        for (kind, inbound) in &self.inbounds {
            let what = match kind {
                Kind::Mixed => "Mixed(http+socks) proxy",
                Kind::Http => "HTTP proxy",
                Kind::Socks => "SOCKS proxy",
            };
            tracing::info!("{what} listening at: {}", inbound.local_addr());
        }
        for inbound in &self.transparent {
            let what = match inbound.interception() {
                Interception::Redirect => "Redirect proxy",
                Interception::Tproxy => "TProxy server",
            };
            tracing::info!("{what} listening at: {}", inbound.local_addr());
        }
        if let Some(dns) = &self.dns {
            tracing::info!("DNS server listening at: {}", dns.local_addr());
        }
    }

    /// How to try it, if there is a listener that a client can name.
    pub(crate) fn trial(&self) -> Option<String> {
        let (kind, inbound) = self.inbounds.first()?;
        let scheme = if *kind == Kind::Socks { "socks5h" } else { "http" };
        Some(format!("curl -x {scheme}://{} https://example.com/", from_here(inbound.local_addr())))
    }

    /// Whether nobody can reach us.
    pub(crate) fn is_empty(&self) -> bool {
        self.inbounds.is_empty() && self.transparent.is_empty() && self.dns.is_none()
    }

    /// Whether host rules can send traffic here.
    pub(crate) fn intercepts(&self) -> bool {
        !self.transparent.is_empty()
    }

    /// Serves until `shutdown` starts, or until the tasks are dropped.
    pub(crate) fn run(self, engine: &Arc<Engine>, shutdown: &Shutdown) -> Vec<Task<()>> {
        let mut tasks = Vec::new();
        for (_, inbound) in self.inbounds {
            tasks.push(Task::spawn("inbound", inbound.run(Arc::clone(engine), shutdown.clone())));
        }
        for inbound in self.transparent {
            tasks.push(Task::spawn("transparent inbound", inbound.run(Arc::clone(engine), shutdown.clone())));
        }
        if let (Some(server), Some(service)) = (self.dns, engine.world().dns.clone()) {
            tasks.push(Task::spawn("dns server", answer(server, service, shutdown.clone())));
        }
        tasks
    }
}

fn inbounds(plans: &[InboundPlan]) -> anyhow::Result<Vec<(Kind, Inbound)>> {
    let mut bound = Vec::new();
    for plan in plans {
        let inbound = unless_missed(Inbound::bind(plan.options.clone()), plan.optional);
        bound.extend(
            inbound.with_context(|| format!("listener {}", plan.options.name))?.map(|it| (plan.options.kind, it)),
        );
    }
    Ok(bound)
}

fn transparent(plans: &[TransparentPlan]) -> anyhow::Result<Vec<TransparentInbound>> {
    let mut bound = Vec::new();
    for plan in plans {
        let inbound = unless_missed(TransparentInbound::bind(plan.options.clone()), plan.optional);
        bound.extend(inbound.with_context(|| format!("listener {}", plan.options.name))?);
    }
    Ok(bound)
}

fn dns(plan: &DnsPlan) -> anyhow::Result<Option<DnsServer>> {
    let Some(at) = plan.listen else { return Ok(None) };
    let server = DnsServer::bind(at).with_context(|| {
        let hint = if at.port() == 53 {
            "; port 53 needs CAP_NET_BIND_SERVICE, and systemd-resolved or dnsmasq may have it already: another port \
             (`dns.listen: 0.0.0.0:1053`) will do"
        } else {
            ""
        };
        format!("dns.listen: cannot listen on {at}{hint}")
    })?;
    Ok(Some(server))
}

/// What was bound; none where it may be missing without being missed.
fn unless_missed<T>(outcome: Result<T, BindError>, optional: bool) -> Result<Option<T>, BindError> {
    match outcome {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if optional => {
            tracing::debug!(%error, "an optional listener is missing");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn answer(server: DnsServer, service: Service, shutdown: Shutdown) {
    if let Err(error) = server.run(move || service.clone(), shutdown).await {
        tracing::error!(%error, "the DNS server ended");
    }
}

/// Where a client on this machine reaches a listener.
fn from_here(mut at: SocketAddr) -> SocketAddr {
    if at.ip().is_unspecified() {
        at.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    at
}
