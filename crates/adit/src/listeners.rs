//! What listens: bound first, so that an address in use ends the start instead of a client's patience, and run later. A
//! listener that another configuration has, too, goes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_config::{ControllerPlan, Plan};
use adit_controller::Controller;
use adit_dns::DnsServer;
use adit_engine::Engine;
use adit_inbound::{BindError, Inbound, Interception, Kind, Options, TransparentInbound, TransparentOptions};
use adit_net::{Shutdown, Task};
use anyhow::Context as _;
use tokio::time::sleep;

use crate::control;
use crate::daemon::Daemon;

/// Listeners that serve.
#[derive(Default)]
pub(crate) struct Listeners {
    running: Vec<Running>,
    /// Those that serve their last clients.
    ending: Vec<Task<()>>,
}

/// What a listener is told; equal ones can be kept.
#[derive(Clone, PartialEq)]
enum Door {
    Inbound(Options),
    Transparent(TransparentOptions),
    Dns(SocketAddr),
    Api(ControllerPlan),
}

struct Running {
    door: Door,
    /// Where it listens.
    at: SocketAddr,
    shutdown: Shutdown,
    task: Task<()>,
}

/// A listener that is bound and does not serve yet.
enum Listener {
    Inbound(Inbound),
    Transparent(TransparentInbound),
    Dns(DnsServer),
    Api(Controller),
}

/// Whether the API is to be another one, too. Whoever speaks to it does not change it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiIs {
    Kept,
    AsPlanned,
}

/// What is to change.
pub(crate) struct Bound {
    /// Whether each that runs is to go on.
    kept: Vec<bool>,
    new: Vec<(Door, Listener)>,
    /// Those that need the port of one that is to end, and whether each may be missing.
    successors: Vec<(Door, bool)>,
}

/// How long a port that is given up may take to be free.
const HANDOVER: Duration = Duration::from_secs(2);

impl Listeners {
    /// Binds everything that `plan` listens on and that does not run yet, as far as nobody of ours is at its port.
    ///
    /// # Errors
    /// An address is in use, is not ours, or a right is missing.
    pub(crate) fn bind(&self, plan: &Plan, api: ApiIs) -> anyhow::Result<Bound> {
        let mut wanted = doors(plan);
        if api == ApiIs::Kept {
            wanted.retain(|(door, _)| !matches!(door, Door::Api(_)));
            let running = self.running.iter().map(|running| &running.door);
            wanted.extend(running.filter(|door| matches!(door, Door::Api(_))).map(|door| (door.clone(), false)));
        }
        let kept: Vec<bool> =
            self.running.iter().map(|running| wanted.iter().any(|(door, _)| *door == running.door)).collect();
        let mut bound = Bound { kept, new: Vec::new(), successors: Vec::new() };
        for (door, optional) in wanted {
            if self.running.iter().any(|running| running.door == door) {
                continue;
            }
            if self.ending_with(&bound).any(|running| running.door.is_in_the_way_of(&door)) {
                bound.successors.push((door, optional));
            } else if let Some(listener) = door.bind(optional)? {
                bound.new.push((door, listener));
            }
        }
        Ok(bound)
    }

    /// Those that run and are to end.
    fn ending_with(&self, bound: &Bound) -> impl Iterator<Item = &Running> {
        self.running.iter().zip(&bound.kept).filter(|(_, kept)| !**kept).map(|(running, _)| running)
    }

    /// Lets those that are to end give up the ports that others are to have, and binds these. For a moment nobody listens
    /// there; connections go on.
    ///
    /// # Errors
    /// An address cannot be had. Then the listeners before are back.
    pub(crate) async fn hand_over(&mut self, bound: &mut Bound, daemon: &Arc<Daemon>) -> anyhow::Result<()> {
        let mut given_up = Vec::new();
        let mut kept = Vec::new();
        for (running, keep) in std::mem::take(&mut self.running).into_iter().zip(std::mem::take(&mut bound.kept)) {
            if !keep && bound.successors.iter().any(|(door, _)| running.door.is_in_the_way_of(door)) {
                running.shutdown.start();
                self.ending.push(running.task);
                given_up.push((running.door, false));
            } else {
                self.running.push(running);
                kept.push(keep);
            }
        }
        bound.kept = kept;
        match bind_all(&bound.successors).await {
            Ok(listeners) => {
                bound.new.extend(listeners);
                Ok(())
            }
            Err(error) => {
                let back = bind_all(&given_up).await.context("and the listener before cannot come back")?;
                back.into_iter().for_each(|(door, listener)| self.serve(door, listener, daemon));
                Err(error)
            }
        }
    }

    /// Lets the new ones serve and the others end.
    pub(crate) fn run(&mut self, bound: Bound, daemon: &Arc<Daemon>) {
        let Bound { kept, new, .. } = bound;
        self.ending.retain(|task| !task.is_finished());
        let mut kept = kept.into_iter();
        for running in std::mem::take(&mut self.running) {
            if kept.next() == Some(true) {
                self.running.push(running);
            } else {
                running.shutdown.start();
                self.ending.push(running.task);
            }
        }
        for (door, listener) in new {
            announce(&listener);
            self.serve(door, listener, daemon);
        }
    }

    fn serve(&mut self, door: Door, listener: Listener, daemon: &Arc<Daemon>) {
        let shutdown = Shutdown::new();
        let at = listener.local_addr();
        let task = listener.run(daemon, &shutdown);
        self.running.push(Running { door, at, shutdown, task });
    }

    /// No new clients from now on.
    pub(crate) fn stop(&self) {
        self.running.iter().for_each(|running| running.shutdown.start());
    }

    /// How to try it, if there is a listener that a client can name.
    pub(crate) fn trial(&self) -> Option<String> {
        let (kind, at) = self.running.iter().find_map(|running| match &running.door {
            Door::Inbound(options) => Some((options.kind, running.at)),
            _ => None,
        })?;
        let scheme = if kind == Kind::Socks { "socks5h" } else { "http" };
        Some(format!("curl -x {scheme}://{} https://example.com/", from_here(at)))
    }

    /// Whether no traffic can reach us.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.iter().all(|running| matches!(running.door, Door::Api(_)))
    }

    /// Whether host rules can send traffic here.
    pub(crate) fn intercepts(&self) -> bool {
        self.running.iter().any(|running| matches!(running.door, Door::Transparent(_)))
    }
}

/// Binds each, and waits a little where the one before is still there.
async fn bind_all(doors: &[(Door, bool)]) -> anyhow::Result<Vec<(Door, Listener)>> {
    let end = Instant::now() + HANDOVER;
    let mut bound = Vec::new();
    for (door, optional) in doors {
        let listener = loop {
            match door.bind(*optional) {
                Err(error) if is_in_use(&error) && Instant::now() < end => sleep(Duration::from_millis(1)).await,
                outcome => break outcome?,
            }
        };
        bound.extend(listener.map(|listener| (door.clone(), listener)));
    }
    Ok(bound)
}

fn is_in_use(error: &anyhow::Error) -> bool {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.into_iter().any(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// What `plan` listens on, and whether each may be missing without being missed.
fn doors(plan: &Plan) -> Vec<(Door, bool)> {
    let inbounds = plan.inbounds.iter().map(|inbound| (Door::Inbound(inbound.options.clone()), inbound.optional));
    let transparent = plan.transparent.iter().map(|one| (Door::Transparent(one.options.clone()), one.optional));
    let dns = plan.dns.as_ref().and_then(|dns| dns.listen).map(|at| (Door::Dns(at), false));
    let api = plan.controller.iter().map(|controller| (Door::Api(controller.clone()), false));
    inbounds.chain(transparent).chain(dns).chain(api).collect()
}

impl Door {
    /// Whether `other` cannot be bound while this one is.
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        let unix = |door: &Self| match door {
            Self::Api(plan) => plan.unix.clone(),
            _ => None,
        };
        let taken = self.ports();
        other.ports().iter().any(|port| *port != 0 && taken.contains(port))
            || unix(self).is_some_and(|path| unix(other) == Some(path))
    }

    fn ports(&self) -> Vec<u16> {
        match self {
            Self::Inbound(options) => vec![options.listen.port()],
            Self::Transparent(options) => vec![options.listen.port()],
            Self::Dns(at) => vec![at.port()],
            Self::Api(plan) => {
                plan.listen.into_iter().chain(plan.tls.as_ref().map(|tls| tls.listen)).map(|at| at.port()).collect()
            }
        }
    }

    fn bind(&self, optional: bool) -> anyhow::Result<Option<Listener>> {
        let (bound, name) = match self {
            Self::Inbound(options) => (Inbound::bind(options.clone()).map(Listener::Inbound), &options.name),
            Self::Transparent(options) => {
                (TransparentInbound::bind(options.clone()).map(Listener::Transparent), &options.name)
            }
            Self::Dns(at) => return dns(*at).map(|server| Some(Listener::Dns(server))),
            Self::Api(plan) => return control::bind(plan).map(|api| Some(Listener::Api(api))),
        };
        unless_missed(bound, optional).with_context(|| format!("listener {name}"))
    }
}

impl Listener {
    fn local_addr(&self) -> SocketAddr {
        match self {
            Self::Inbound(inbound) => inbound.local_addr(),
            Self::Transparent(inbound) => inbound.local_addr(),
            Self::Dns(server) => server.local_addr(),
            Self::Api(api) => {
                let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
                api.tcp_addr().or_else(|| api.tls_addr()).unwrap_or(nowhere)
            }
        }
    }

    /// Serves until `shutdown` starts, or until the task is dropped.
    fn run(self, daemon: &Arc<Daemon>, shutdown: &Shutdown) -> Task<()> {
        let (engine, shutdown) = (Arc::clone(&daemon.engine), shutdown.clone());
        match self {
            Self::Inbound(inbound) => Task::spawn("inbound", inbound.run(engine, shutdown)),
            Self::Transparent(inbound) => Task::spawn("transparent inbound", inbound.run(engine, shutdown)),
            Self::Dns(server) => Task::spawn("dns server", answer(server, engine, shutdown)),
            Self::Api(api) => Task::spawn("controller", api.run(Arc::clone(daemon) as _, shutdown)),
        }
    }
}

/// Says what listens where, in Mihomo's words.
fn announce(listener: &Listener) {
    let what = match listener {
        Listener::Api(api) => {
            for at in api.tcp_addr().into_iter().chain(api.tls_addr()) {
                tracing::info!("RESTful API listening at: {at}");
            }
            return;
        }
        Listener::Inbound(inbound) => match inbound.kind() {
            Kind::Mixed => "Mixed(http+socks) proxy",
            Kind::Http => "HTTP proxy",
            Kind::Socks => "SOCKS proxy",
        },
        Listener::Transparent(inbound) => match inbound.interception() {
            Interception::Redirect => "Redirect proxy",
            Interception::Tproxy => "TProxy server",
        },
        Listener::Dns(_) => "DNS server",
    };
    tracing::info!("{what} listening at: {}", listener.local_addr());
}

fn dns(at: SocketAddr) -> anyhow::Result<DnsServer> {
    DnsServer::bind(at).with_context(|| {
        let hint = if at.port() == 53 {
            "; port 53 needs CAP_NET_BIND_SERVICE, and systemd-resolved or dnsmasq may have it already: another port \
             (`dns.listen: 0.0.0.0:1053`) will do"
        } else {
            ""
        };
        format!("dns.listen: cannot listen on {at}{hint}")
    })
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

/// Answers as the world in use says.
async fn answer(server: DnsServer, engine: Arc<Engine>, shutdown: Shutdown) {
    let Some(first) = engine.world().dns.clone() else { return };
    // A world without DNS of ours has no such listener, so this one is about to end.
    let service = move || engine.world().dns.clone().unwrap_or_else(|| first.clone());
    if let Err(error) = server.run(service, shutdown).await {
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
