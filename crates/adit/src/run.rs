//! `adit run`: plan → world → listeners → drain.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use adit_config::{InboundPlan, Plan};
use adit_engine::{Engine, Pin, World};
use adit_inbound::{Inbound, Kind};
use adit_net::{HostsTable, Resolve, Shutdown, SystemResolver, Tag, Task, WithHosts, WithoutIpv6};
use adit_outbound::Book;
use adit_outbound::options::{Group, Outbound};
use adit_reality::{Random as _, SystemRandom};
use adit_router::{Hosts, Mode, Rules};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::cli::ConfigArgs;
use crate::logs;

/// How long open connections may go on after SIGTERM (faults §1).
const DRAIN: Duration = Duration::from_secs(5);

/// Runs until a signal ends it.
///
/// # Errors
/// The configuration cannot be read, a listener cannot be bound, or the runtime cannot be started.
pub(crate) fn run(config: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let source = config.read()?;
    let loaded = adit_config::load(&source);
    eprint!("{}", loaded.problems.render(std::io::stderr().is_terminal()));
    let Some(plan) = loaded.plan else {
        eprintln!("adit: {} was not started; `adit check` repeats this report", source.name);
        return Ok(ExitCode::FAILURE);
    };
    logs::start(plan.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(serve(plan))?;
    // Look-ups that the system's resolver still has in hand must not delay the exit.
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(ExitCode::SUCCESS)
}

async fn serve(plan: Plan) -> anyhow::Result<()> {
    if let Err(error) = adit_net::raise_descriptor_limit() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    // The first draw seeds the generator, which takes tens of milliseconds: no connection should wait for it.
    tokio::task::spawn_blocking(|| SystemRandom.fill(&mut [0]));
    let inbounds = listen(&plan.inbounds)?;
    let (rules, notices) = (plan.rules.len(), plan.notices.clone());
    let engine = Arc::new(Engine::new(Ways::of(plan).into_world()?));
    announce(&inbounds, rules, &notices);

    let shutdown = Shutdown::new();
    let accepting: Vec<Task<()>> = inbounds
        .into_iter()
        .map(|(_, inbound)| Task::spawn("inbound", inbound.run(Arc::clone(&engine), shutdown.clone())))
        .collect();

    first_signal().await?;
    tracing::warn!("adit is shutting down");
    shutdown.start();
    tokio::select! {
        _ = timeout(DRAIN, drained(&engine)) => {}
        outcome = first_signal() => outcome?,
    }
    drop(accepting);
    Ok(())
}

/// The part of a plan that does not listen.
pub(crate) struct Ways {
    outbounds: Vec<Outbound>,
    groups: Vec<Group>,
    rules: Rules,
    hosts: Hosts,
    mode: Mode,
    ipv6: bool,
    pins: HashMap<Tag, Pin>,
}

impl Ways {
    /// Takes from `plan` what does not listen.
    pub(crate) fn of(plan: Plan) -> Self {
        let pins = plan.inbounds.iter().filter_map(pin).collect();
        let Plan { outbounds, groups, rules, hosts, mode, general, .. } = plan;
        Self { outbounds, groups, rules, hosts, mode, ipv6: general.ipv6, pins }
    }

    /// Builds resolver, outbounds and rules, in the order in which they need each other.
    ///
    /// # Errors
    /// What the configuration should have refused; see [`adit_outbound::BookError`].
    pub(crate) fn into_world(self) -> anyhow::Result<World> {
        let hosts: Arc<dyn HostsTable> = Arc::new(self.hosts);
        let mut resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
        if !self.ipv6 {
            resolver = Arc::new(WithoutIpv6::new(resolver));
        }
        let resolver: Arc<dyn Resolve> = Arc::new(WithHosts::new(Arc::clone(&hosts), resolver));
        let book = Book::build(self.outbounds, self.groups, Arc::clone(&resolver), Arc::clone(&resolver))?;
        Ok(World {
            mode: self.mode,
            rules: self.rules,
            book,
            hosts,
            resolver,
            pins: self.pins,
            dns: None,
            captures_dns: false,
            sniffer: None,
            processes: None,
        })
    }
}

/// Binds every listener, so that an address in use ends the start instead of a client's patience.
fn listen(plans: &[InboundPlan]) -> anyhow::Result<Vec<(Kind, Inbound)>> {
    let mut bound = Vec::new();
    for inbound in plans {
        match Inbound::bind(inbound.options.clone()) {
            Ok(bound_inbound) => bound.push((inbound.options.kind, bound_inbound)),
            Err(error) if inbound.optional => tracing::debug!(%error, "an optional listener is missing"),
            Err(error) => return Err(error).with_context(|| format!("listener {}", inbound.options.name)),
        }
    }
    Ok(bound)
}

/// What a listener prescribes for its own clients, if anything.
fn pin(plan: &InboundPlan) -> Option<(Tag, Pin)> {
    let pin = Pin { rules: plan.rule.clone(), outbound: plan.proxy.clone() };
    (pin != Pin::default()).then(|| (plan.options.name.clone(), pin))
}

/// Says what runs and how to try it.
fn announce(bound: &[(Kind, Inbound)], rules: usize, notices: &[String]) {
    for (kind, inbound) in bound {
        let what = match kind {
            Kind::Mixed => "Mixed(http+socks) proxy",
            Kind::Http => "HTTP proxy",
            Kind::Socks => "SOCKS proxy",
        };
        tracing::info!("{what} listening at: {}", inbound.local_addr());
    }
    tracing::info!("{rules} rules loaded");
    for notice in notices {
        tracing::warn!("{notice}");
    }
    let Some((kind, inbound)) = bound.first() else {
        tracing::warn!("no listener is configured: set `mixed-port: 7890` to be reachable");
        return;
    };
    let scheme = if *kind == Kind::Socks { "socks5h" } else { "http" };
    let mut at = inbound.local_addr();
    if at.ip().is_unspecified() {
        at.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    println!("try it: curl -x {scheme}://{at} https://example.com/");
}

/// The first SIGTERM or SIGINT. SIGHUP, which asks Mihomo to read its configuration again, must not end the process.
async fn first_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => tracing::warn!("SIGHUP ignored: restart adit to read the configuration again"),
        }
    }
}

/// Returns when nothing is open any more.
async fn drained(engine: &Engine) {
    while !engine.table().is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
}
