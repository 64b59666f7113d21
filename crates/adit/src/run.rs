//! `adit run`: plan → world → listeners → drain.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use adit_config::Plan;
use adit_engine::Engine;
use adit_net::{Shutdown, SocketOptions};
use adit_reality::{Random as _, SystemRandom};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::cli::ConfigArgs;
use crate::listeners::Listeners;
use crate::logs;
use crate::world::Ways;

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
    check_mark(plan.general.routing_mark)?;
    let listeners = Listeners::bind(&plan)?;
    let facts = Facts::of(&plan);
    let engine = Arc::new(Ways::of(plan).with_clients()?.into_engine());
    announce(&listeners, &facts);

    let shutdown = Shutdown::new();
    let serving = listeners.run(&engine, &shutdown);

    first_signal().await?;
    tracing::warn!("adit is shutting down");
    shutdown.start();
    tokio::select! {
        _ = timeout(DRAIN, drained(&engine)) => {}
        outcome = first_signal() => outcome?,
    }
    drop(serving);
    Ok(())
}

/// Refuses a mark that no socket can be given: every connection would fail (F-B13).
fn check_mark(mark: u32) -> anyhow::Result<()> {
    let socket = SocketOptions { mark, ..SocketOptions::default() };
    match socket.udp() {
        Err(error) if mark != 0 && error.kind() == std::io::ErrorKind::PermissionDenied => Err(error).context(
            "`routing-mark` needs CAP_NET_ADMIN (in Docker: `--cap-add NET_ADMIN`; with systemd: \
             `AmbientCapabilities=CAP_NET_ADMIN`)",
        ),
        _ => Ok(()),
    }
}

/// What start-up says of a plan.
struct Facts {
    rules: usize,
    notices: Vec<String>,
    has_mark: bool,
}

impl Facts {
    fn of(plan: &Plan) -> Self {
        Self { rules: plan.rules.len(), notices: plan.notices.clone(), has_mark: plan.general.routing_mark != 0 }
    }
}

/// Says what runs and how to try it.
fn announce(listeners: &Listeners, facts: &Facts) {
    listeners.announce();
    tracing::info!("{} rules loaded", facts.rules);
    for notice in &facts.notices {
        tracing::warn!("{notice}");
    }
    if listeners.intercepts() && !facts.has_mark {
        tracing::warn!(
            "no `routing-mark` is set: host rules that also capture this machine's own traffic would send ours back to us \
             unless they let our user pass; set `routing-mark: 45` (any number below 16777216)"
        );
    }
    match listeners.trial() {
        Some(trial) => println!("try it: {trial}"),
        None if listeners.is_empty() => {
            tracing::warn!("no listener is configured: set `mixed-port: 7890` to be reachable");
        }
        None => {}
    }
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
