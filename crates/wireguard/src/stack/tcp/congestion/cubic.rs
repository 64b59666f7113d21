//! CUBIC (RFC 9438) with HyStart++ (RFC 9406).

use std::time::Duration;

use crate::Moment;

use super::{Ack, initial_window, rate};

/// RFC 9438 §4.6.
const BETA: f64 = 0.7;
/// In segments per second cubed (RFC 9438 §4.1).
const C: f64 = 0.4;
/// RFC 9438 §4.3: what makes the Reno-friendly estimate as fast as Reno.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cubic {
    /// In bytes.
    window: f64,
    /// In bytes; infinite before the first loss.
    threshold: f64,
    /// The window before the last reduction, in bytes (W_max).
    before: f64,
    /// What Reno would have, in bytes (W_est).
    reno: f64,
    /// When this stage of congestion avoidance began, and how long the plateau is away from there, in seconds (K).
    epoch: Option<(Moment, f64)>,
    start: SlowStart,
    /// Window, threshold and the last window's before the last loss.
    undo: Option<(f64, f64, f64)>,
}

/// HyStart++: leaves slow start before it overruns the queue (RFC 9406 §4).
#[derive(Clone, Copy, Debug)]
struct SlowStart {
    last: Option<Duration>,
    current: Option<Duration>,
    samples: u8,
    /// In conservative slow start: the least round trip when it was entered, and the rounds since.
    css: Option<(Duration, u8)>,
}

impl SlowStart {
    const NEW: Self = Self { last: None, current: None, samples: 0, css: None };
    /// MIN_RTT_THRESH, MAX_RTT_THRESH.
    const THRESHOLD: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(16));
    /// N_RTT_SAMPLE.
    const SAMPLES: u8 = 8;
    /// CSS_GROWTH_DIVISOR.
    const CSS_DIVISOR: f64 = 4.0;
    /// CSS_ROUNDS.
    const CSS_ROUNDS: u8 = 5;

    /// Returns whether slow start is over.
    fn on_ack(&mut self, ack: &Ack) -> bool {
        if ack.round {
            self.last = self.current.take();
            self.samples = 0;
            if let Some((_, rounds)) = &mut self.css {
                *rounds += 1;
                if *rounds >= Self::CSS_ROUNDS {
                    return true;
                }
            }
        }
        let Some(rtt) = ack.rtt else { return false };
        let current = self.current.map_or(rtt, |least| least.min(rtt));
        self.current = Some(current);
        self.samples = self.samples.saturating_add(1);
        if self.samples < Self::SAMPLES {
            return false;
        }
        match (self.css, self.last) {
            (Some((baseline, _)), _) if current < baseline => self.css = None,
            (None, Some(last)) if current >= last + (last / 8).clamp(Self::THRESHOLD.0, Self::THRESHOLD.1) => {
                self.css = Some((current, 0));
            }
            _ => {}
        }
        false
    }
}

impl Cubic {
    pub(crate) fn new(mss: u64) -> Self {
        Self {
            window: initial_window(mss) as f64,
            threshold: f64::INFINITY,
            before: 0.0,
            reno: 0.0,
            epoch: None,
            start: SlowStart::NEW,
            undo: None,
        }
    }

    pub(crate) fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    pub(crate) fn on_ack(&mut self, ack: &Ack) {
        // RFC 9438 §5.8 and RFC 5681 §4.1: what is not used does not grow.
        if ack.in_recovery || !ack.window_limited || ack.delivered == 0 {
            return;
        }
        if self.in_slow_start() {
            if self.start.on_ack(ack) {
                self.threshold = self.window;
                return;
            }
            let divisor = if self.start.css.is_some() { SlowStart::CSS_DIVISOR } else { 1.0 };
            self.window = (self.window + ack.delivered as f64 / divisor).min(self.threshold.max(self.window));
        } else {
            self.avoid(ack);
        }
    }

    /// RFC 9438 §4.2 to §4.5.
    fn avoid(&mut self, ack: &Ack) {
        let mss = ack.mss as f64;
        if self.epoch.is_none() {
            self.reno = self.window;
            self.before = self.before.max(self.window);
            let k = ((self.before - self.window) / mss / C).cbrt();
            self.epoch = Some((ack.now, k));
        }
        let Some((begin, k)) = self.epoch else { return };
        let elapsed = ack.now.since(begin) + ack.smoothed.unwrap_or_default();
        let target = self.before + C * (elapsed.as_secs_f64() - k).powi(3) * mss;
        // RFC 9438 §4.2: no faster than by half a window in a round trip.
        let target = target.clamp(self.window, self.window * 1.5);
        let acked = ack.delivered as f64;
        // RFC 9438 §4.3: as fast as Reno once it is where it was.
        let alpha = if self.reno >= self.before { 1.0 } else { ALPHA };
        self.reno += alpha * mss * acked / self.window;
        self.window += (target - self.window) * acked / self.window;
        self.window = self.window.max(self.reno);
    }

    pub(crate) fn on_loss(&mut self, mss: u64) {
        self.undo = Some((self.window, self.threshold, self.before));
        // RFC 9438 §4.7, fast convergence: gives way to newcomers.
        self.before = if self.window < self.before { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.threshold = (self.window * BETA).max(2.0 * mss as f64);
        self.window = self.threshold;
        self.epoch = None;
    }

    pub(crate) fn on_timeout(&mut self, mss: u64) {
        self.on_loss(mss);
        self.window = mss as f64;
        self.start = SlowStart::NEW;
    }

    pub(crate) fn undo(&mut self) {
        if let Some((window, threshold, before)) = self.undo.take() {
            (self.window, self.threshold, self.before) = (window.max(self.window), threshold, before);
            self.epoch = None;
        }
    }

    /// RFC 5681 §4.1, as RFC 2861 §2 has it: half for each timeout without use, and a new epoch (RFC 9438 §5.8).
    pub(crate) fn on_idle(&mut self, idle: Duration, timeout: Duration, mss: u64) {
        if idle < timeout {
            return;
        }
        self.threshold =
            if self.threshold.is_finite() { self.threshold.max(self.window * 0.75) } else { self.threshold };
        let halvings = (idle.as_micros() / timeout.as_micros().max(1)).min(20) as i32;
        self.window = (self.window * 0.5f64.powi(halvings)).max((initial_window(mss) as f64).min(self.window));
        self.epoch = None;
    }

    pub(crate) fn window(&self) -> u64 {
        self.window as u64
    }

    /// Like Linux: twice the rate in slow start, 1.2 times afterwards, so that pacing never is the limit.
    pub(crate) fn pacing(&self, smoothed: Duration) -> Option<u64> {
        let ratio = if self.in_slow_start() { 200 } else { 120 };
        Some(rate(self.window() * ratio / 100, smoothed))
    }
}
