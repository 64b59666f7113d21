//! `adit run`: plan → daemon → signals → drain.

use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use adit_config::{Plan, ProviderPlan, Source};
use adit_engine::Engine;
use adit_net::{SocketOptions, Task};
use adit_outbound::{ProviderCheck, keep_testing};
use adit_reality::{Random as _, SystemRandom};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::cli::RunArgs;
use crate::daemon::{Change, Daemon};
use crate::logs::Logs;
use crate::watch::Watch;

/// How long open connections may go on after SIGTERM (faults §1).
const DRAIN: Duration = Duration::from_secs(5);

/// Runs until a signal ends it.
///
/// # Errors
/// The configuration cannot be read, a listener cannot be bound, or the runtime cannot be started.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let source = args.config.read()?;
    let loaded = adit_config::load(&source);
    eprint!("{}", loaded.problems.render(std::io::stderr().is_terminal()));
    let Some(plan) = loaded.plan else {
        eprintln!("adit: {} was not started; `adit check` repeats this report", source.name);
        return Ok(ExitCode::FAILURE);
    };
    let logs = Logs::start(plan.log_level, plan.general.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let ending = runtime.block_on(serve(plan, args, source, logs.clone()));
    // Look-ups that the system's resolver still has in hand must not delay the exit.
    runtime.shutdown_timeout(Duration::from_millis(100));
    logs.finish();
    match ending? {
        Ending::Exit => Ok(ExitCode::SUCCESS),
        Ending::Again => again(),
    }
}

/// What comes after the end.
enum Ending {
    Exit,
    /// The API asked for a new start.
    Again,
}

/// Begins anew in this process, with the same arguments.
fn again() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os();
    let program = std::env::current_exe().ok().or_else(|| arguments.next().map(PathBuf::from));
    let program = program.context("restart: this program's own file is not known")?;
    Err(Command::new(program).args(std::env::args_os().skip(1)).exec()).context("restart")
}

async fn serve(plan: Plan, args: &RunArgs, source: Source, logs: Logs) -> anyhow::Result<Ending> {
    if let Err(error) = adit_net::raise_descriptor_limit() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    // The first draw seeds the generator, which takes tens of milliseconds: no connection should wait for it.
    tokio::task::spawn_blocking(|| SystemRandom.fill(&mut [0]));
    check_mark(plan.general.routing_mark)?;
    let facts = Facts::of(&plan);
    let daemon = Daemon::start(plan, source, args.config.clone(), logs)?;
    announce(&daemon, &facts);
    hook("post-up", args.post_up.as_deref()).await?;

    let _testing = Task::spawn("delay tests", test_delays(Arc::clone(&daemon)));

    let _watching = args.config.file().map(|file| Task::spawn("configuration", watch(file, Arc::clone(&daemon))));

    let ending = until_told(&daemon).await?;
    tracing::warn!("adit is shutting down");
    daemon.stop_listening();
    tokio::select! {
        _ = timeout(DRAIN, drained(&daemon.engine)) => {}
        outcome = until_told(&daemon) => {
            outcome?;
        }
    }
    if let Err(error) = hook("post-down", args.post_down.as_deref()).await {
        tracing::warn!("{error:#}");
    }
    Ok(ending)
}

/// Runs a command of the user's, as Mihomo's `-post-up` and `-post-down` do.
async fn hook(name: &'static str, command: Option<&str>) -> anyhow::Result<()> {
    let Some(command) = command.filter(|command| !command.is_empty()) else { return Ok(()) };
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    let status = tokio::task::spawn_blocking(move || shell.status()).await?;
    let status = status.with_context(|| format!("{name}: there is no `sh`"))?;
    anyhow::ensure!(status.success(), "{name}: the command ended with {status}");
    Ok(())
}

/// Tests members of groups and providers, as the configuration in use says.
async fn test_delays(daemon: Arc<Daemon>) {
    let checks = |plan: &ProviderPlan| {
        let check = plan.health_check.clone()?;
        Some(ProviderCheck { name: plan.name.clone(), check })
    };
    let book = Arc::clone(&daemon.engine.world().book);
    let providers = || daemon.now().proxy_providers().iter().filter_map(checks).collect();
    keep_testing(book, providers, || daemon.now().general.unified_delay).await;
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
fn announce(daemon: &Daemon, facts: &Facts) {
    tracing::info!("{} rules loaded", facts.rules);
    for notice in &facts.notices {
        tracing::warn!("{notice}");
    }
    let (trial, is_empty, intercepts) = daemon.reached();
    if intercepts && !facts.has_mark {
        tracing::warn!(
            "no `routing-mark` is set: host rules that also capture this machine's own traffic would send ours back to us \
             unless they let our user pass; set `routing-mark: 45` (any number below 16777216)"
        );
    }
    match trial {
        Some(trial) => println!("try it: {trial}"),
        None if is_empty => {
            tracing::warn!("no listener is configured: set `mixed-port: 7890` to be reachable");
        }
        None => {}
    }
}

/// Reads the configuration again on SIGHUP, until SIGTERM or SIGINT comes or the API asks for a new start.
async fn until_told(daemon: &Daemon) -> anyhow::Result<Ending> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(Ending::Exit),
            _ = interrupt.recv() => return Ok(Ending::Exit),
            () = daemon.restart.notified() => return Ok(Ending::Again),
            _ = hang_up.recv() => read_again(daemon).await,
        }
    }
}

async fn read_again(daemon: &Daemon) {
    if let Err(error) = daemon.reload(Change::Anew).await {
        tracing::error!("the configuration stays as it is: {error:#}");
    }
}

/// Reads the configuration again whenever its file changes.
async fn watch(file: PathBuf, daemon: Arc<Daemon>) {
    let watched = async {
        let mut watch = Watch::new(file.clone())?;
        loop {
            watch.changed().await?;
            read_again(&daemon).await;
        }
    };
    let ended: std::io::Result<()> = watched.await;
    if let Err(error) = ended {
        tracing::warn!("{} is not looked after: {error}; SIGHUP reads it again", file.display());
    }
}

/// Returns when nothing is open any more.
async fn drained(engine: &Engine) {
    while !engine.table().is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
}
