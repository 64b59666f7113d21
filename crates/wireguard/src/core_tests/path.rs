//! One direction of the network below the tunnel.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::Moment;

/// What happens to datagrams.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) delay: Duration,
    /// How much longer one may take than another.
    pub(super) jitter: Duration,
    pub(super) loss: f64,
    /// How many are lost in a row, once one is, if they come soon.
    pub(super) burst: u32,
    pub(super) copies: f64,
    /// How many have a bit changed.
    pub(super) flips: f64,
    /// Longer ones vanish.
    pub(super) limit: usize,
    /// Bytes per second, and how many may wait for that; the rest is lost.
    pub(super) rate: Option<(u64, u64)>,
}

impl Weather {
    pub(super) const CALM: Self = Self {
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        loss: 0.0,
        burst: 1,
        copies: 0.0,
        flips: 0.0,
        limit: usize::MAX,
        rate: None,
    };
}

/// A burst of losses lasts no longer than this without datagrams.
const SOON: Duration = Duration::from_secs(1);

pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Path {
    pub(super) weather: Weather,
    /// Nothing passes before.
    pub(super) broken_until: Moment,
    flying: BTreeMap<(Moment, u64), Datagram>,
    count: u64,
    losing: u32,
    lost_at: Moment,
    free_at: Moment,
}

impl Path {
    pub(super) fn new(weather: Weather) -> Self {
        Self {
            weather,
            broken_until: Moment::default(),
            flying: BTreeMap::new(),
            count: 0,
            losing: 0,
            lost_at: Moment::default(),
            free_at: Moment::default(),
        }
    }

    pub(super) fn send(&mut self, mut datagram: Datagram, now: Moment, random: &mut StdRng) {
        if now < self.broken_until || datagram.bytes.len() > self.weather.limit || self.loses(now, random) {
            return;
        }
        let Some(leaves) = self.leaves(datagram.bytes.len() as u64, now) else { return };
        if random.random_bool(self.weather.flips) {
            let bit = random.random_range(0..datagram.bytes.len() * 8);
            datagram.bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if random.random_bool(self.weather.copies) {
            let copy = Datagram { bytes: datagram.bytes.clone(), ..datagram };
            self.fly(copy, leaves, random);
        }
        self.fly(datagram, leaves, random);
    }

    fn loses(&mut self, now: Moment, random: &mut StdRng) -> bool {
        if now.since(self.lost_at) > SOON {
            self.losing = 0;
        }
        if self.losing == 0 && random.random_bool(self.weather.loss / f64::from(self.weather.burst)) {
            self.losing = self.weather.burst;
        }
        let lost = self.losing > 0;
        if lost {
            self.lost_at = now;
        }
        self.losing = self.losing.saturating_sub(1);
        lost
    }

    /// When the last byte is on its way; nothing if too much waits already.
    fn leaves(&mut self, len: u64, now: Moment) -> Option<Moment> {
        let Some((rate, queue)) = self.weather.rate else { return Some(now) };
        let begins = self.free_at.max(now);
        let waiting = begins.since(now).as_micros() as u64 * rate / 1_000_000;
        if waiting + len > queue {
            return None;
        }
        self.free_at = begins + Duration::from_micros(len * 1_000_000 / rate);
        Some(self.free_at)
    }

    fn fly(&mut self, datagram: Datagram, leaves: Moment, random: &mut StdRng) {
        let late = self.weather.jitter.mul_f64(random.random());
        self.count += 1;
        self.flying.insert((leaves + self.weather.delay + late, self.count), datagram);
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.flying.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn arrive(&mut self, now: Moment) -> Option<Datagram> {
        let entry = self.flying.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}
