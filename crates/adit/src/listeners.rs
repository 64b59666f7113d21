//! What listens: bound first, so that an address in use ends the start instead of a client's patience, and run later. A
//! listener that another configuration has, too, goes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use adit_config::Plan;
use adit_dns::DnsServer;
use adit_engine::Engine;
use adit_inbound::{BindError, Inbound, Interception, Kind, Options, TransparentInbound, TransparentOptions};
use adit_net::{Shutdown, Task};
use anyhow::Context as _;

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
}

/// What is to change.
pub(crate) struct Bound {
    /// Whether each that runs is to go on.
    kept: Vec<bool>,
    new: Vec<(Door, Listener)>,
}

impl Listeners {
    /// Binds everything that `plan` listens on and that does not run yet.
    ///
    /// # Errors
    /// An address is in use, is not ours, or a right is missing. Also if a listener is to be another one at a port that it
    /// has: the old one has it until its last client leaves, so that takes a new start.
    pub(crate) fn bind(&self, plan: &Plan) -> anyhow::Result<Bound> {
        let wanted = doors(plan);
        let kept: Vec<bool> =
            self.running.iter().map(|running| wanted.iter().any(|(door, _)| *door == running.door)).collect();
        let going = self.running.iter().zip(&kept).filter(|(_, kept)| !**kept).map(|(running, _)| running.at.port());
        let going: Vec<u16> = going.collect();
        let mut new = Vec::new();
        for (door, optional) in wanted {
            if self.running.iter().any(|running| running.door == door) {
                continue;
            }
            let at = door.at();
            anyhow::ensure!(
                at.port() == 0 || !going.contains(&at.port()),
                "the listener at {at} is to be another one: that takes a new start of adit"
            );
            if let Some(listener) = door.bind(optional)? {
                new.push((door, listener));
            }
        }
        Ok(Bound { kept, new })
    }

    /// Lets the new ones serve and the others end.
    pub(crate) fn run(&mut self, bound: Bound, engine: &Arc<Engine>) {
        let Bound { kept, new } = bound;
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
            let shutdown = Shutdown::new();
            announce(&listener);
            let at = listener.local_addr();
            let task = listener.run(engine, &shutdown);
            self.running.push(Running { door, at, shutdown, task });
        }
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

    /// Whether nobody can reach us.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether host rules can send traffic here.
    pub(crate) fn intercepts(&self) -> bool {
        self.running.iter().any(|running| matches!(running.door, Door::Transparent(_)))
    }
}

/// What `plan` listens on, and whether each may be missing without being missed.
fn doors(plan: &Plan) -> Vec<(Door, bool)> {
    let inbounds = plan.inbounds.iter().map(|inbound| (Door::Inbound(inbound.options.clone()), inbound.optional));
    let transparent = plan.transparent.iter().map(|one| (Door::Transparent(one.options.clone()), one.optional));
    let dns = plan.dns.as_ref().and_then(|dns| dns.listen).map(|at| (Door::Dns(at), false));
    inbounds.chain(transparent).chain(dns).collect()
}

impl Door {
    fn at(&self) -> SocketAddr {
        match self {
            Self::Inbound(options) => options.listen,
            Self::Transparent(options) => options.listen,
            Self::Dns(at) => *at,
        }
    }

    fn bind(&self, optional: bool) -> anyhow::Result<Option<Listener>> {
        let (bound, name) = match self {
            Self::Inbound(options) => (Inbound::bind(options.clone()).map(Listener::Inbound), &options.name),
            Self::Transparent(options) => {
                (TransparentInbound::bind(options.clone()).map(Listener::Transparent), &options.name)
            }
            Self::Dns(at) => return dns(*at).map(|server| Some(Listener::Dns(server))),
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
        }
    }

    /// Serves until `shutdown` starts, or until the task is dropped.
    fn run(self, engine: &Arc<Engine>, shutdown: &Shutdown) -> Task<()> {
        let (engine, shutdown) = (Arc::clone(engine), shutdown.clone());
        match self {
            Self::Inbound(inbound) => Task::spawn("inbound", inbound.run(engine, shutdown)),
            Self::Transparent(inbound) => Task::spawn("transparent inbound", inbound.run(engine, shutdown)),
            Self::Dns(server) => Task::spawn("dns server", answer(server, engine, shutdown)),
        }
    }
}

/// Says what listens where, in Mihomo's words.
fn announce(listener: &Listener) {
    let what = match listener {
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
