//! The task of a tunnel: it owns all there is of it, its sockets and its clock.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{DialError, Task};
use tokio::sync::{mpsc, oneshot};

use super::clock;
use super::endpoints::{Endpoints, failing_for};
use super::path::Path;
use super::report::{PeerStatus, no_port, no_way, refusal};
use super::socket::Received;
use super::timer::Timer;
use crate::core::Core;
use crate::peer::Link;
use crate::stack::{TcpFlow, UdpFlow};
use crate::{Clock, Moment, PeerId, PublicKey};

/// A peer whose handshakes fail for so long is dead to dials that come now.
const DEAD: Duration = Duration::from_secs(5);

/// Memory that only a busy tunnel needs is given back after so long without a packet.
const QUIET: Duration = Duration::from_secs(10);

/// How long the ends of connections may take when nobody holds the tunnel any more.
const LEAVE: Duration = Duration::from_secs(30);

/// How often peers that do not answer are looked after.
const TEND: Duration = Duration::from_secs(1);

/// What the faces of a tunnel ask for.
pub(super) enum Command {
    /// The driver's own task, so that it ends when it is done rather than when the last face goes: a FIN may be on its way.
    Keep(Task<()>),
    Wish(Wish),
    /// Shake hands with every peer.
    Rouse,
    /// Say why a dial that began then has got no answer yet.
    Explain {
        to: SocketAddr,
        began: Moment,
        reply: oneshot::Sender<DialError>,
    },
    Status(oneshot::Sender<Vec<PeerStatus>>),
}

/// What a dial wants.
pub(super) enum Wish {
    Connect { to: SocketAddr, reply: oneshot::Sender<Result<TcpFlow, DialError>> },
    Bind { to: SocketAddr, reply: oneshot::Sender<Result<UdpFlow, DialError>> },
}

impl Wish {
    fn to(&self) -> SocketAddr {
        match self {
            Self::Connect { to, .. } | Self::Bind { to, .. } => *to,
        }
    }

    fn is_forgotten(&self) -> bool {
        match self {
            Self::Connect { reply, .. } => reply.is_closed(),
            Self::Bind { reply, .. } => reply.is_closed(),
        }
    }

    fn refuse(self, why: DialError) {
        // Whoever gave up need not hear why.
        match self {
            Self::Connect { reply, .. } => drop(reply.send(Err(why))),
            Self::Bind { reply, .. } => drop(reply.send(Err(why))),
        }
    }
}

pub(super) struct Driver {
    pub(super) core: Core,
    pub(super) keys: Vec<PublicKey>,
    pub(super) path: Path,
    pub(super) endpoints: Endpoints,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Dials that wait for an address or for a session.
    waiting: Vec<(PeerId, Wish)>,
    received: Option<Received>,
    last_received: Moment,
    last_tended: Moment,
    /// Whether this wake-up lets others go first.
    gathers: bool,
    timer: Timer,
    /// Whether peers are shaken hands with as soon as it is known where they are.
    eager: bool,
    /// Nobody holds the tunnel any more; when to end at the latest.
    leaving: Option<Moment>,
    task: Option<Task<()>>,
}

impl Driver {
    pub(super) fn new(
        core: Core,
        keys: Vec<PublicKey>,
        path: Path,
        endpoints: Endpoints,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            core,
            keys,
            path,
            endpoints,
            commands,
            waiting: Vec::new(),
            received: None,
            last_received: Moment::default(),
            last_tended: Moment::default(),
            gathers: false,
            timer: Timer::default(),
            eager: false,
            leaving: None,
            task: None,
        }
    }

    /// Takes what has come, a bounded part of it; `true` if there may be more.
    fn receive(&mut self, cx: &mut Context<'_>, clock: Clock) -> bool {
        let Poll::Ready(count) = self.path.poll_receive(cx, clock.now, &mut self.received) else { return false };
        self.last_received = clock.now;
        if let Some(received) = &mut self.received {
            for (from, bytes, stride) in received.trains(count) {
                self.core.receive(from, bytes, stride, clock);
            }
        }
        true
    }

    fn take_commands(&mut self, cx: &mut Context<'_>, clock: Clock) {
        while self.leaving.is_none()
            && let Poll::Ready(command) = self.commands.poll_recv(cx)
        {
            match command {
                Some(Command::Keep(task)) => self.task = Some(task),
                Some(Command::Wish(wish)) => self.take_wish(wish, clock),
                Some(Command::Rouse) => {
                    self.eager = true;
                    self.core.device().peers().for_each(|peer| self.endpoints.wanted(peer, clock.now));
                }
                Some(Command::Explain { to, began, reply }) => drop(reply.send(self.explain(to, began, clock.now))),
                Some(Command::Status(reply)) => drop(reply.send(self.status(clock.now))),
                None => self.leaving = Some(clock.now + LEAVE),
            }
        }
    }

    fn take_wish(&mut self, wish: Wish, clock: Clock) {
        match self.core.device().peer_for(wish.to().ip()) {
            Some(peer) => {
                self.endpoints.wanted(peer, clock.now);
                self.grant(peer, wish, clock);
            }
            None => {
                let why = crate::NoPeer(wish.to().ip());
                wish.refuse(DialError::Denied(why.to_string()));
            }
        }
    }

    /// Fulfils a wish, refuses it, or lets it wait.
    fn grant(&mut self, peer: PeerId, wish: Wish, clock: Clock) {
        if self.endpoints.candidates(peer).is_empty() {
            self.waiting.push((peer, wish));
            return;
        }
        let link = self.link(peer, clock.now);
        if failing_for(link, clock.now).is_some_and(|failing| failing >= DEAD) {
            wish.refuse(self.dead(peer, clock.now));
            return;
        }
        if link == Link::Down
            && let Err(why) = self.rouse(peer, clock)
        {
            wish.refuse(why);
            return;
        }
        let has_session = matches!(link, Link::Up | Link::Silent { .. });
        match wish {
            Wish::Connect { to, reply } => {
                let flow = self.core.connect(to, clock).map_err(|why| refusal(to, why));
                // The flow ends here if nobody wants it any more.
                drop(reply.send(flow));
            }
            Wish::Bind { to, reply } if has_session => {
                let flow = self.core.bind().map_err(|why| no_port(to, why));
                drop(reply.send(flow));
            }
            wish @ Wish::Bind { .. } => self.waiting.push((peer, wish)),
        }
    }

    /// Asks for a session with the peer, at an address that there is a way to.
    fn rouse(&mut self, peer: PeerId, clock: Clock) -> Result<(), DialError> {
        let known = self.core.device().status(peer, clock.now).and_then(|status| status.endpoint);
        if known.is_none_or(|endpoint| self.path.leads_to(endpoint).is_err()) {
            let candidates = self.endpoints.candidates(peer);
            self.choose(peer, &candidates)?;
        }
        self.core.rouse(peer, clock);
        Ok(())
    }

    /// Moves the peer to the first of `candidates` that there is a way to.
    fn choose(&mut self, peer: PeerId, candidates: &[SocketAddr]) -> Result<(), DialError> {
        let mut failed = None;
        for &address in candidates {
            match self.path.leads_to(address) {
                Ok(()) => {
                    self.endpoints.chosen(peer, address);
                    self.core.set_endpoint(peer, address);
                    return Ok(());
                }
                Err(error) => failed = failed.or(Some((address, error))),
            }
        }
        let Some((address, error)) = failed else { return Ok(()) };
        Err(no_way(error, &format!("{} at {address}", self.name(peer))))
    }

    fn take_look_ups(&mut self, cx: &mut Context<'_>, clock: Clock) {
        while let Poll::Ready((peer, outcome)) = self.endpoints.poll(cx, clock.now) {
            match outcome {
                Ok(true) => {
                    let candidates = self.endpoints.candidates(peer);
                    match self.choose(peer, &candidates) {
                        Ok(()) if self.eager => self.core.rouse(peer, clock),
                        Ok(()) => {}
                        Err(error) => tracing::warn!("{error}"),
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("{error}");
                    self.refuse_waiting(peer, &error);
                }
            }
        }
    }

    /// Tells those who wait for the address of `peer` that it cannot be found.
    fn refuse_waiting(&mut self, peer: PeerId, error: &DialError) {
        if !self.endpoints.candidates(peer).is_empty() {
            return;
        }
        let text = format!("WireGuard endpoint: {error}");
        for (_, wish) in self.waiting.extract_if(.., |(waits_for, _)| *waits_for == peer) {
            wish.refuse(DialError::Unresolved(text.clone()));
        }
    }

    fn grant_waiting(&mut self, clock: Clock) {
        for (peer, wish) in std::mem::take(&mut self.waiting) {
            if !wish.is_forgotten() {
                self.grant(peer, wish, clock);
            }
        }
    }

    /// Looks after peers that do not answer.
    fn tend(&mut self, clock: Clock) {
        if clock.now.since(self.last_tended) < TEND {
            return;
        }
        self.last_tended = clock.now;
        for peer in self.core.device().peers() {
            let link = self.link(peer, clock.now);
            if let Some(candidates) = self.endpoints.tend(peer, link, clock.now)
                && let Err(error) = self.choose(peer, &candidates)
            {
                tracing::debug!("{error}");
            }
        }
    }

    pub(super) fn link(&self, peer: PeerId, now: Moment) -> Link {
        self.core.device().status(peer, now).map_or(Link::Down, |status| status.link)
    }

    /// Whether nobody would miss the tunnel.
    fn is_over(&self, now: Moment, flushed: bool) -> bool {
        self.leaving.is_some_and(|until| until <= now || (flushed && self.core.is_empty()))
    }

    /// Gives back what only a busy tunnel needs. Returns when that will be time.
    fn release(&mut self, now: Moment) -> Option<Moment> {
        self.received.as_ref()?;
        let at = self.last_received + QUIET;
        if now < at {
            return Some(at);
        }
        self.received = None;
        self.core.shrink();
        None
    }
}

impl Future for Driver {
    type Output = ();

    /// One turn: a bounded amount of everything, so that neither this tunnel's users nor other tasks wait long.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Those who woke us have more to say, and so have others that are ready to run: they go first, once. What comes
        // together goes together, into fewer and longer trains (5 % less CPU for a transfer, either way).
        this.gathers = !this.gathers;
        if this.gathers {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let clock = clock::read();
        let mut more = this.receive(cx, clock);
        this.take_commands(cx, clock);
        this.take_look_ups(cx, clock);
        this.grant_waiting(clock);
        this.tend(clock);
        let deadline = this.core.turn(clock);
        let flushed = this.path.poll_send(cx, clock.now, this.core.outbox()).is_ready();
        if this.is_over(clock.now, flushed) {
            return Poll::Ready(());
        }
        let release = this.release(clock.now);
        // While the sockets take nothing, what the stack could say has to wait as well; they wake us.
        if flushed {
            more |= this.core.poll_touched(cx).is_ready();
        }
        let deadlines = deadline.filter(|at| flushed || *at > clock.now).into_iter().chain(release).chain(this.leaving);
        if let Some(at) = deadlines.min() {
            more |= this.timer.poll(cx, clock.now, at).is_ready();
        }
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
