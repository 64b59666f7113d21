//! A client, a far end and the network between them. The client is driven as its driver does it: turns come from
//! datagrams, deadlines and wake-ups, and from nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::far::Far;
use super::path::{Datagram, Path, Weather};
use super::stream::{Plan, Stream, Talk, TalkPlan, Woken};
use super::{NEAR_OUTER, far_options};
use crate::{Clock, Core, Moment, Options, PeerId};

/// What befalls the tunnel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Nothing passes, up or down or both.
    Outage { up: bool, down: bool, lasts: Duration },
    /// The client's machine sleeps; what comes meanwhile is lost.
    Sleep(Duration),
    /// The client's socket takes no datagrams.
    Stall(Duration),
    /// A NAT gives the client another address.
    NearMoves,
    /// The far end gets another address, which the client looks up in the end.
    FarMoves,
    /// The far end forgets its sessions.
    FarRestarts,
    /// The far end forgets all.
    FarReboots,
    /// The client's wall clock is set to so many seconds since 1970.
    WallClock(u64),
}

/// How long it may take until a move or a restart of the far end is noticed: silence (15 s), a handshake that was just
/// tried in vain (5 s), and the client's next word.
const NOTICE: Duration = Duration::from_secs(25);
/// When a far end that moved is looked up again.
const LOOK_UP: Duration = Duration::from_secs(15);

pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) core: Core,
    pub(super) far: Far,
    pub(super) up: Path,
    pub(super) down: Path,
    random: StdRng,
    peer: PeerId,
    near_at: SocketAddr,
    far_at: SocketAddr,
    look_up: Option<Moment>,
    asleep_until: Moment,
    stalled_until: Option<Moment>,
    deadline: Option<Moment>,
    /// Something happened that wants a turn.
    stale: bool,
    touched: Arc<Woken>,
    pub(super) streams: Vec<Stream>,
    pub(super) talks: Vec<Talk>,
    /// When nothing may have passed, from and to.
    pub(super) silences: Vec<(Moment, Moment)>,
    pub(super) reboots: Vec<Moment>,
    /// Turns, and how many of those nothing but time wanted.
    pub(super) turns: (usize, usize),
    /// Datagrams sent by the client and by the far end.
    pub(super) sent: [usize; 2],
    pub(super) most_indices: usize,
    /// Of all that was sent, and when.
    pub(super) digest: u64,
}

impl World {
    pub(super) fn new(seed: u64, options: &Options, up: Weather, down: Weather) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut core = Core::new(options, StdRng::from_seed(random.random()));
        let far = Far::new(far_options(options), StdRng::from_seed(random.random()));
        let peer = core.device().peers().next().unwrap();
        let far_at = SocketAddr::from(([192, 0, 2, 2], 51820));
        core.set_endpoint(peer, far_at);
        Self {
            clock: Clock { now: Moment::from_micros(1_000_000), unix: Duration::from_secs(1_800_000_000) },
            core,
            far,
            up: Path::new(up),
            down: Path::new(down),
            random,
            peer,
            near_at: SocketAddr::from((NEAR_OUTER, 40_000)),
            far_at,
            look_up: None,
            asleep_until: Moment::default(),
            stalled_until: None,
            deadline: None,
            stale: true,
            touched: Woken::yes(),
            streams: Vec::new(),
            talks: Vec::new(),
            silences: Vec::new(),
            reboots: Vec::new(),
            turns: (0, 0),
            sent: [0; 2],
            most_indices: 0,
            digest: 0,
        }
    }

    /// Opens a stream, and lets the far end wait for it.
    pub(super) fn open(&mut self, plan: Plan) {
        let flow = self.core.connect(plan.to, self.clock).unwrap();
        let number = self.streams.len();
        self.far.serve(plan);
        self.streams.push(Stream::new(number, plan, flow, self.clock.now));
        self.stale = true;
    }

    pub(super) fn talk(&mut self, plan: TalkPlan) {
        let flow = self.core.bind().unwrap();
        self.talks.push(Talk::new(self.talks.len(), flow, plan, self.clock.now));
        self.stale = true;
    }

    pub(super) fn befall(&mut self, fault: Fault) {
        let now = self.clock.now;
        let mut silent = |lasts: Duration| self.silences.push((now, now + lasts));
        match fault {
            Fault::Outage { up, down, lasts } => {
                silent(lasts + NOTICE);
                let until = now + lasts;
                self.up.broken_until = self.up.broken_until.max(if up { until } else { Moment::default() });
                self.down.broken_until = self.down.broken_until.max(if down { until } else { Moment::default() });
            }
            Fault::Sleep(lasts) => {
                silent(lasts + NOTICE);
                self.asleep_until = self.asleep_until.max(now + lasts);
            }
            Fault::Stall(lasts) => {
                silent(lasts);
                self.stalled_until = self.stalled_until.max(Some(now + lasts));
            }
            Fault::NearMoves => {
                silent(NOTICE);
                self.near_at.set_port(self.near_at.port() + 1);
            }
            Fault::FarMoves => {
                silent(LOOK_UP + NOTICE);
                self.far_at.set_port(self.far_at.port() + 1);
                self.look_up = Some(now + LOOK_UP);
            }
            Fault::FarRestarts => {
                silent(NOTICE);
                self.far.restart();
            }
            Fault::FarReboots => {
                silent(NOTICE);
                self.far.reboot();
                self.reboots.push(now);
            }
            Fault::WallClock(seconds) => self.clock.unix = Duration::from_secs(seconds),
        }
    }

    /// Lets time pass.
    pub(super) fn run_until(&mut self, end: Moment) {
        self.run_while(end, |_| true);
    }

    /// Lets time pass while `going`, until `end` at most.
    pub(super) fn run_while(&mut self, end: Moment, going: impl Fn(&Self) -> bool) {
        loop {
            self.settle();
            if !going(self) {
                return;
            }
            match self.next().filter(|at| *at < end) {
                Some(at) => self.pass(at.max(self.clock.now + Duration::from_micros(1))),
                None => break,
            }
        }
        self.pass(end.max(self.clock.now));
    }

    fn pass(&mut self, to: Moment) {
        self.clock.unix += to.since(self.clock.now);
        self.clock.now = to;
    }

    fn is_stalled(&self) -> bool {
        self.stalled_until.is_some()
    }

    /// When something happens next.
    fn next(&self) -> Option<Moment> {
        let now = self.clock.now;
        let users = self.streams.iter().filter_map(Stream::next).chain(self.talks.iter().filter_map(Talk::next));
        // While the socket takes nothing, the driver does not look at what is due already.
        let own = self.deadline.filter(|at| !self.is_stalled() || *at > now);
        let near = users.chain(own).chain(self.look_up).chain(self.stalled_until);
        let near = near.min().map(|at| at.max(self.asleep_until));
        let network = self.up.next().into_iter().chain(self.down.next());
        near.into_iter().chain(network).chain(self.far.deadline).min()
    }

    /// Lets everything happen that happens now.
    fn settle(&mut self) {
        self.deliver_up();
        self.deliver_down();
        if self.clock.now >= self.asleep_until {
            self.run_near();
        }
    }

    fn deliver_up(&mut self) {
        let mut came = self.far.deadline.is_none_or(|at| at <= self.clock.now);
        while let Some(mut datagram) = self.up.arrive(self.clock.now) {
            if datagram.to == self.far_at {
                self.far.receive(datagram.from, &mut datagram.bytes, self.clock);
                came = true;
            }
        }
        if came {
            self.far.turn(self.clock);
        }
        self.post_down();
    }

    fn deliver_down(&mut self) {
        while let Some(mut datagram) = self.down.arrive(self.clock.now) {
            if datagram.to == self.near_at && self.clock.now >= self.asleep_until {
                let len = datagram.bytes.len();
                self.core.receive(datagram.from, &mut datagram.bytes, len, self.clock);
                self.stale = true;
            }
        }
    }

    /// Users and driver take turns until nothing is left to do.
    fn run_near(&mut self) {
        if self.look_up.take_if(|at| *at <= self.clock.now).is_some() {
            self.core.set_endpoint(self.peer, self.far_at);
            self.stale = true;
        }
        if self.stalled_until.take_if(|at| *at <= self.clock.now).is_some() {
            self.stale = true;
        }
        for rounds in 0.. {
            assert!(rounds < 100, "busy at {:?}", self.clock.now);
            self.run_users();
            let stalled = self.is_stalled();
            let touched = self.touched.take();
            let due = self.deadline.is_some_and(|at| at <= self.clock.now && !stalled);
            if !(self.stale || touched || due) {
                break;
            }
            self.turns.0 += 1;
            self.turns.1 += usize::from(!self.stale && !touched);
            self.deadline = self.core.turn(self.clock);
            self.stale = false;
            if !stalled {
                self.post_up();
                let waker = Waker::from(self.touched.clone());
                self.stale = self.core.poll_touched(&Context::from_waker(&waker)).is_ready();
            }
        }
        self.most_indices = self.most_indices.max(self.core.device().index_count()).max(self.far.index_count());
    }

    fn run_users(&mut self) {
        let now = self.clock.now;
        self.streams.iter_mut().filter(|stream| stream.is_woken(now)).for_each(|stream| stream.act(now));
        self.talks.iter_mut().filter(|talk| talk.is_woken(now)).for_each(|talk| talk.act(now));
    }

    fn post_up(&mut self) {
        while let Some(train) = self.core.outbox().front() {
            for bytes in train.bytes.chunks(train.stride) {
                self.sent[0] += 1;
                self.digest = mix(self.digest, self.clock.now, bytes);
                let datagram = Datagram { from: self.near_at, to: train.to, bytes: bytes.to_vec() };
                self.up.send(datagram, self.clock.now, &mut self.random);
            }
            self.core.outbox().pop();
        }
    }

    fn post_down(&mut self) {
        while let Some(train) = self.far.outbox.front() {
            for bytes in train.bytes.chunks(train.stride) {
                self.sent[1] += 1;
                self.digest = mix(self.digest, self.clock.now, bytes);
                let datagram = Datagram { from: self.far_at, to: train.to, bytes: bytes.to_vec() };
                self.down.send(datagram, self.clock.now, &mut self.random);
            }
            self.far.outbox.pop();
        }
    }
}

/// One step of a sum over all datagrams; the end of each is its tag, so nothing in it escapes.
fn mix(digest: u64, now: Moment, bytes: &[u8]) -> u64 {
    let tag = bytes.last_chunk().map_or(0, |tag| u64::from_le_bytes(*tag));
    (digest ^ tag).wrapping_mul(0x0100_0000_01b3).rotate_left(23) ^ now.micros() ^ bytes.len() as u64
}
