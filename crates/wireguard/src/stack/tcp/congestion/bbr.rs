//! A congestion control that models the path: how much it carries, and how long it takes when nothing queues.
//!
//! The state machine is that of draft-ietf-ccwg-bbr §4.3 with one simplification: instead of two sets of bounds, a round
//! that loses more than 2 % forbids more than one bandwidth-delay product to be under way, until a round of probing
//! went well. Below, loss is not taken for congestion.

use std::time::Duration;

use crate::Moment;

use super::{Ack, QUANTUM, initial_window, product, rate};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bbr {
    phase: Phase,
    /// The most of the last rounds, in bytes per second.
    bandwidth: Highest,
    /// The least of the last ten seconds, and when that was.
    least_rtt: Option<(Duration, Moment)>,
    /// When the queue was last drained to see the least round trip.
    probed_rtt: Moment,
    rounds: u32,
    loss: Loss,
    /// How much more than the bandwidth explains was acknowledged at once lately.
    heaps: Heaps,
    /// Under a timeout or the first round of a recovery: no more than this.
    bound: Option<u64>,
    window: u64,
    mss: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Doubles the rate in each round until that does not help: the bandwidth so far, and the rounds without growth.
    Startup { full: u64, still: u8 },
    /// Drains the queue that Startup built.
    Drain,
    /// Cruises, and now and then asks for more: where in the cycle, and since when.
    Probe { step: u8, since: Moment },
    /// Has little under way, to see the least round trip.
    Rtt { until: Option<Moment>, round: u32 },
}

/// Loss in this round.
#[derive(Clone, Copy, Debug, Default)]
struct Loss {
    delivered: u64,
    lost: u64,
    /// Whether more than [`Loss::THRESHOLD`] went missing lately.
    high: bool,
}

impl Loss {
    /// In percent; draft-ietf-ccwg-bbr §2.8 (LossThresh).
    const THRESHOLD: u64 = 2;
    /// Fewer segments than that are no sign (draft-ietf-ccwg-bbr §4.3.1.3, StartupFullLossCnt).
    const SEGMENTS: u64 = 6;

    /// Ends a round. Returns whether loss was high in it.
    fn end_round(&mut self, mss: u64) -> bool {
        let high =
            self.lost >= Self::SEGMENTS * mss && self.lost * 100 > (self.delivered + self.lost) * Self::THRESHOLD;
        (self.delivered, self.lost) = (0, 0);
        high
    }
}

/// Acknowledgements that come in heaps (draft-ietf-ccwg-bbr §4.5.5, ACK aggregation): a window of two bandwidth-delay
/// products runs dry before the next heap comes.
#[derive(Clone, Copy, Debug)]
struct Heaps {
    since: Moment,
    delivered: u64,
    most: Highest,
}

impl Heaps {
    fn on_ack(&mut self, ack: &Ack, bandwidth: u64, round: u32, window: u64) {
        let mut expected = product(bandwidth, ack.now.since(self.since));
        if self.delivered <= expected {
            (self.since, self.delivered, expected) = (ack.now, 0, 0);
        }
        self.delivered += ack.delivered;
        self.most.update(round, (self.delivered - expected).min(window));
    }
}

/// The highest value of the last rounds: the three best candidates, each newer than the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Highest {
    best: [(u64, u32); 3],
}

impl Highest {
    /// Rounds that a value counts.
    const ROUNDS: u32 = 10;

    fn get(&self) -> u64 {
        self.best[0].0
    }

    fn update(&mut self, round: u32, value: u64) {
        let new = (value, round);
        let [first, second, third] = &mut self.best;
        if value >= first.0 || round.saturating_sub(third.1) > Self::ROUNDS {
            self.best = [new; 3];
            return;
        }
        if value >= second.0 {
            (*second, *third) = (new, new);
        } else if value >= third.0 {
            *third = new;
        }
        let age = round.saturating_sub(first.1);
        if age > Self::ROUNDS {
            (*first, *second, *third) = (*second, *third, new);
            if round.saturating_sub(first.1) > Self::ROUNDS {
                (*first, *second) = (*second, *third);
            }
        } else if second.1 == first.1 && age > Self::ROUNDS / 4 {
            (*second, *third) = (new, new);
        } else if third.1 == second.1 && age > Self::ROUNDS / 2 {
            *third = new;
        }
    }
}

/// 2 / ln 2, in percent: the least that doubles the rate in each round.
const STARTUP_GAIN: u64 = 277;
const DRAIN_GAIN: u64 = 35;
/// Of the rate, in percent, for one round trip each.
const CYCLE: [u64; 8] = [125, 75, 100, 100, 100, 100, 100, 100];
/// Bytes under way, in percent of the bandwidth-delay product: one for the path, one for acknowledgements that come late
/// and in heaps.
const WINDOW_GAIN: u64 = 200;
const RTT_LIFE: Duration = Duration::from_secs(10);
/// draft-ietf-ccwg-bbr §4.3.4: how often and for how long to drain, and to what part of the product, in percent.
const PROBE_RTT_EVERY: Duration = Duration::from_secs(5);
const PROBE_RTT_FOR: Duration = Duration::from_millis(200);
const PROBE_RTT_GAIN: u64 = 50;

impl Bbr {
    pub(crate) fn new(mss: u64, now: Moment) -> Self {
        Self {
            phase: Phase::Startup { full: 0, still: 0 },
            bandwidth: Highest::default(),
            least_rtt: None,
            probed_rtt: now,
            rounds: 0,
            loss: Loss::default(),
            heaps: Heaps { since: now, delivered: 0, most: Highest::default() },
            bound: None,
            window: initial_window(mss),
            mss,
        }
    }

    pub(crate) fn in_startup(&self) -> bool {
        matches!(self.phase, Phase::Startup { .. })
    }

    /// `gain` percent of the bandwidth-delay product, in bytes.
    fn share(&self, gain: u64) -> Option<u64> {
        let (rtt, _) = self.least_rtt?;
        let bandwidth = self.bandwidth.get();
        (bandwidth > 0).then(|| product(bandwidth, rtt) * gain / 100)
    }

    pub(crate) fn on_ack(&mut self, ack: &Ack) {
        self.mss = ack.mss;
        self.loss.delivered += ack.delivered;
        self.loss.lost += ack.lost;
        if ack.round {
            self.rounds += 1;
        }
        if let Some(rate) = ack.rate
            && (!rate.app_limited || rate.bytes >= self.bandwidth.get())
        {
            self.bandwidth.update(self.rounds, rate.bytes);
        }
        self.heaps.on_ack(ack, self.bandwidth.get(), self.rounds, self.window);
        self.learn_rtt(ack);
        let lossy = if ack.round { Some(self.loss.end_round(ack.mss)) } else { None };
        self.advance(ack, lossy);
        self.set_window(ack);
    }

    fn learn_rtt(&mut self, ack: &Ack) {
        let Some(rtt) = ack.rtt else { return };
        let expired = self.least_rtt.is_some_and(|(_, at)| ack.now.since(at) > RTT_LIFE);
        if expired || self.least_rtt.is_none_or(|(least, _)| rtt <= least) {
            self.least_rtt = Some((rtt, ack.now));
        }
    }

    fn advance(&mut self, ack: &Ack, lossy: Option<bool>) {
        let app_limited = ack.rate.is_some_and(|rate| rate.app_limited);
        let drained = ack.in_flight <= self.share(100).unwrap_or(0);
        match &mut self.phase {
            Phase::Startup { full, still } if ack.round => {
                let bandwidth = self.bandwidth.get();
                let grew = bandwidth >= *full * 5 / 4;
                if grew {
                    (*full, *still) = (bandwidth, 0);
                } else if !app_limited {
                    *still += 1;
                }
                // Full when three rounds brought less than a quarter more, or when the queue overflows: much is lost
                // in a round that did not bring much more.
                if *still >= 3 || (lossy == Some(true) && !grew) {
                    self.phase = Phase::Drain;
                }
            }
            Phase::Drain if drained => self.enter_probe(ack.now),
            Phase::Probe { .. } => self.cycle(ack, lossy),
            Phase::Rtt { .. } => self.probe_rtt(ack),
            _ => {}
        }
        self.maybe_probe_rtt(ack);
    }

    fn enter_probe(&mut self, now: Moment) {
        // Not all flows shall ask for more at the same time; the clock is random enough for that.
        let step = 2 + (now.micros() / 7 % 6) as u8;
        self.phase = Phase::Probe { step, since: now };
    }

    fn cycle(&mut self, ack: &Ack, lossy: Option<bool>) {
        if lossy == Some(true) {
            self.loss.high = true;
        }
        let product = self.share(100).unwrap_or(u64::MAX);
        let aim = self.share(125).unwrap_or(0);
        let Phase::Probe { step, since } = &mut self.phase else { return };
        let passed = self.least_rtt.is_some_and(|(rtt, _)| ack.now.since(*since) > rtt);
        let over = match *step {
            // Until more is really under way, or that is too much for the path.
            0 => passed && (ack.in_flight >= aim || self.loss.high || ack.lost > 0),
            // Until the queue is gone.
            1 => passed || ack.in_flight <= product,
            _ => passed,
        };
        if over {
            if *step == 0 && lossy == Some(false) {
                self.loss.high = false;
            }
            *step = (*step + 1) % CYCLE.len() as u8;
            *since = ack.now;
            if *step == 0 {
                // Another attempt; it may find the path as good as before.
                self.loss.high = false;
            }
        }
    }

    fn maybe_probe_rtt(&mut self, ack: &Ack) {
        let due = ack.now.since(self.probed_rtt) > PROBE_RTT_EVERY;
        let fresh = self.least_rtt.is_some_and(|(_, at)| ack.now.since(at) < PROBE_RTT_EVERY);
        if matches!(self.phase, Phase::Probe { .. }) && due {
            self.probed_rtt = ack.now;
            if !fresh {
                self.phase = Phase::Rtt { until: None, round: self.rounds };
            }
        }
    }

    fn probe_rtt(&mut self, ack: &Ack) {
        let floor = self.share(PROBE_RTT_GAIN).unwrap_or(0).max(4 * ack.mss);
        let rounds = self.rounds;
        let Phase::Rtt { until, round } = &mut self.phase else { return };
        match *until {
            None if ack.in_flight <= floor => {
                *until = Some(ack.now + PROBE_RTT_FOR);
                *round = rounds + 1;
                self.least_rtt = ack.rtt.map(|rtt| (rtt, ack.now)).or(self.least_rtt);
            }
            Some(until) if ack.now >= until && rounds >= *round => {
                self.probed_rtt = ack.now;
                self.least_rtt = self.least_rtt.map(|(rtt, _)| (rtt, ack.now));
                self.enter_probe(ack.now);
            }
            _ => {}
        }
    }

    fn set_window(&mut self, ack: &Ack) {
        if let Some(bound) = &mut self.bound {
            // Packet conservation (draft-ietf-ccwg-bbr §4.6.4.2): one comes in, one goes out; two after a timeout.
            *bound = (*bound + ack.delivered).max(ack.in_flight + ack.delivered);
        }
        // What is sent in one go is under way all at once (draft-ietf-ccwg-bbr §4.6.4.1, BBRQuantizationBudget).
        let slack = (3 * ack.mss).max(product(self.bandwidth.get(), QUANTUM) * 3);
        let gain = match self.phase {
            Phase::Startup { .. } => STARTUP_GAIN,
            Phase::Rtt { .. } => PROBE_RTT_GAIN,
            Phase::Probe { step: 0, .. } if !self.loss.high => WINDOW_GAIN,
            _ if self.loss.high => 100,
            _ => WINDOW_GAIN,
        };
        let heaps = if self.loss.high { 0 } else { self.heaps.most.get() };
        let aim = self.share(gain).map_or_else(|| initial_window(ack.mss), |share| share + slack + heaps);
        let grown = self.window + ack.delivered;
        self.window = match self.phase {
            Phase::Startup { .. } => self.window.max(grown.min(aim.max(initial_window(ack.mss)))),
            _ => grown.min(aim),
        }
        .max(4 * ack.mss);
    }

    /// The first round of a recovery conserves packets.
    pub(crate) fn on_loss(&mut self, in_flight: u64) {
        if self.loss.high {
            self.bound = Some(in_flight.max(4 * self.mss));
        }
    }

    pub(crate) fn on_recovered(&mut self) {
        self.bound = None;
    }

    pub(crate) fn on_timeout(&mut self, mss: u64) {
        self.bound = Some(mss);
    }

    pub(crate) fn window(&self) -> u64 {
        self.bound.map_or(self.window, |bound| self.window.min(bound))
    }

    pub(crate) fn pacing(&self, smoothed: Option<Duration>) -> Option<u64> {
        let gain = match self.phase {
            Phase::Startup { .. } => STARTUP_GAIN,
            Phase::Drain => DRAIN_GAIN,
            Phase::Probe { step, .. } => CYCLE.get(usize::from(step)).copied().unwrap_or(100),
            Phase::Rtt { .. } => 100,
        };
        let bandwidth = match self.phase {
            // Little is known yet, perhaps because there was little to send: the initial window in one round trip at least.
            Phase::Startup { .. } => self.bandwidth.get().max(rate(initial_window(self.mss), smoothed?)),
            _ => self.bandwidth.get(),
        };
        // One percent less, so that a queue that formed goes away again (draft-ietf-ccwg-bbr §2.5, PacingMarginPercent).
        let paced = bandwidth * gain / 100 * 99 / 100;
        // The least window is four segments; what timeouts made of the bandwidth must not slow it down to minutes.
        let floor = smoothed.map_or(0, |smoothed| rate(self.mss, smoothed));
        Some(paced.max(floor))
    }
}
