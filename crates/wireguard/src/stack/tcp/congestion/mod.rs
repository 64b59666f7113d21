//! How much may be under way, and how fast.

mod bbr;
mod cubic;

use std::time::Duration;

use crate::Moment;

use bbr::Bbr;
use cubic::Cubic;

/// Which congestion control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 9438. Takes every loss for congestion.
    Cubic,
    /// Models the path by its bandwidth and its shortest round trip, and takes loss for congestion only above 2 %.
    ///
    /// The default, because tunnels run over long paths that lose packets for other reasons than congestion. In the
    /// simulation of `benches/tcp.rs` (100 Mbit/s, 50 ms) it sends 93 Mbit/s at 0.1 % random loss, 90 at 1 % and 69 at
    /// 3 %; CUBIC 14, 3 and 2. Without loss they are equal. It does not starve others: what it has under way is bounded by
    /// two bandwidth-delay products, and by one while more is lost than it tolerates.
    #[default]
    Bbr,
}

/// What an acknowledgement told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) now: Moment,
    /// Bytes that newly arrived over there.
    pub(crate) delivered: u64,
    /// Bytes that were newly found lost.
    pub(crate) lost: u64,
    /// Bytes under way afterwards.
    pub(crate) in_flight: u64,
    pub(crate) rtt: Option<Duration>,
    /// Over the connection's life.
    pub(crate) smoothed: Option<Duration>,
    pub(crate) rate: Option<Rate>,
    /// Whether a round trip ended.
    pub(crate) round: bool,
    /// Whether the window is what held the sender back.
    pub(crate) window_limited: bool,
    pub(crate) in_recovery: bool,
    pub(crate) mss: u64,
}

/// How fast the path delivered, by draft-ietf-ccwg-bbr §4.1 (delivery rate estimation).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Bytes per second.
    pub(crate) bytes: u64,
    /// Whether there was too little to send to learn the path's bandwidth.
    pub(crate) app_limited: bool,
}

/// A congestion control at work. Windows are in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Congestion {
    Cubic(Cubic),
    Bbr(Bbr),
}

/// What goes out in one go, at most: so much time's worth at the present rate, so that timers are not too many and trains
/// of packets not too short.
pub(crate) const QUANTUM: Duration = Duration::from_millis(1);

/// RFC 6928: ten segments.
fn initial_window(mss: u64) -> u64 {
    mss * 10
}

impl Congestion {
    pub(crate) fn new(algorithm: Algorithm, mss: u64, now: Moment) -> Self {
        match algorithm {
            Algorithm::Cubic => Self::Cubic(Cubic::new(mss)),
            Algorithm::Bbr => Self::Bbr(Bbr::new(mss, now)),
        }
    }

    pub(crate) fn on_ack(&mut self, ack: &Ack) {
        match self {
            Self::Cubic(cubic) => cubic.on_ack(ack),
            Self::Bbr(bbr) => bbr.on_ack(ack),
        }
    }

    /// A loss was found, the first in this window of data.
    pub(crate) fn on_loss(&mut self, in_flight: u64, mss: u64) {
        match self {
            Self::Cubic(cubic) => cubic.on_loss(mss),
            Self::Bbr(bbr) => bbr.on_loss(in_flight),
        }
    }

    /// What was lost is repaired.
    pub(crate) fn on_recovered(&mut self) {
        if let Self::Bbr(bbr) = self {
            bbr.on_recovered();
        }
    }

    /// The last [`Congestion::on_loss`] or [`Congestion::on_timeout`] was a mistake.
    pub(crate) fn undo(&mut self) {
        match self {
            Self::Cubic(cubic) => cubic.undo(),
            Self::Bbr(bbr) => bbr.on_recovered(),
        }
    }

    /// Nothing was heard for long: everything under way counts as lost.
    pub(crate) fn on_timeout(&mut self, mss: u64) {
        match self {
            Self::Cubic(cubic) => cubic.on_timeout(mss),
            Self::Bbr(bbr) => bbr.on_timeout(mss),
        }
    }

    /// Sending resumes after nothing was under way for `idle`.
    pub(crate) fn on_idle(&mut self, idle: Duration, timeout: Duration, mss: u64) {
        if let Self::Cubic(cubic) = self {
            cubic.on_idle(idle, timeout, mss);
        }
    }

    /// Bytes that may be under way.
    pub(crate) fn window(&self) -> u64 {
        match self {
            Self::Cubic(cubic) => cubic.window(),
            Self::Bbr(bbr) => bbr.window(),
        }
    }

    /// What [`Congestion::window`] is to become by the end of a recovery, if the sender is to go there step by step
    /// (PRR, RFC 6937).
    pub(crate) fn reduces_to(&self) -> Option<u64> {
        match self {
            Self::Cubic(cubic) => Some(cubic.window()),
            Self::Bbr(_) => None,
        }
    }

    /// Bytes per second. `None` is as fast as the window allows.
    pub(crate) fn pacing(&self, smoothed: Option<Duration>) -> Option<u64> {
        match self {
            Self::Cubic(cubic) => cubic.pacing(smoothed?),
            Self::Bbr(bbr) => bbr.pacing(smoothed),
        }
    }

    pub(crate) fn in_slow_start(&self) -> bool {
        match self {
            Self::Cubic(cubic) => cubic.in_slow_start(),
            Self::Bbr(bbr) => bbr.in_startup(),
        }
    }
}

/// `bytes` per `span`, in bytes per second.
pub(crate) fn rate(bytes: u64, span: Duration) -> u64 {
    bytes.saturating_mul(1_000_000) / u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// `rate` bytes per second for `span`, in bytes.
pub(crate) fn product(rate: u64, span: Duration) -> u64 {
    rate.saturating_mul(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)) / 1_000_000
}
