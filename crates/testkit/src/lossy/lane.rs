//! What happens to the packets of one direction. No sockets, no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::random::Random;

/// How one direction treats packets. Sizes are those of UDP payloads.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Which ones are lost.
    pub loss: Loss,
    /// How long each takes.
    pub delay: Duration,
    /// Up to how much longer some take, so that packets overtake each other. Nothing else reorders.
    pub jitter: Duration,
    /// How fast they can leave.
    pub rate: Option<Rate>,
    /// Larger ones are lost without a word.
    pub max_size: usize,
    /// How probable it is that one arrives twice.
    pub duplicate: f64,
    /// How probable it is that one arrives with one bit changed.
    pub corrupt: f64,
    /// Each arrives once more, this much later.
    pub replay: Option<Duration>,
}

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// None.
    None,
    /// Each with this probability.
    Random(f64),
    /// Several in a row (the two-state model of Gilbert).
    Bursts {
        /// The share that is lost in the long run.
        share: f64,
        /// How many are lost in a row on average; at least 1.
        length: f64,
    },
}

/// A bottleneck with a queue in front of it.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Its speed.
    pub bits_per_second: u64,
    /// How many bytes may wait; what comes when they do is lost.
    pub queue: usize,
}

impl Faults {
    /// Everything arrives at once.
    pub const NONE: Self = Self {
        loss: Loss::None,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        rate: None,
        max_size: usize::MAX,
        duplicate: 0.0,
        corrupt: 0.0,
        replay: None,
    };

    /// Loss and delay, the rest perfect.
    #[must_use]
    pub const fn lossy(loss: Loss, delay: Duration) -> Self {
        Self { loss, delay, ..Self::NONE }
    }
}

/// What became of the packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came in.
    pub received: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because of their size.
    pub oversized: u64,
    /// Lost because the queue was full.
    pub overflowed: u64,
    /// Lost during a pause.
    pub paused: u64,
    /// Sent a second time at once.
    pub duplicated: u64,
    /// Changed.
    pub corrupted: u64,
    /// Sent once more later.
    pub replayed: u64,
    /// Made up by the test.
    pub injected: u64,
    /// Went out, all kinds together.
    pub sent: u64,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    bytes: Vec<u8>,
}

/// The packets on their way in one direction.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) faults: Faults,
    pub(super) paused: bool,
    pub(super) counts: Counts,
    /// How many more packets to keep, and those kept.
    pub(super) record: (usize, Vec<Vec<u8>>),
    random: Random,
    /// In a burst of losses.
    in_burst: bool,
    /// When the bottleneck has sent what waits for it.
    free_at: Option<Instant>,
    /// By the time they are due.
    queue: VecDeque<Waiting>,
    /// Buffers for the next packets.
    spare: Vec<Vec<u8>>,
}

impl Lane {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            paused: false,
            counts: Counts::default(),
            record: (0, Vec::new()),
            random: Random::new(seed),
            in_burst: false,
            free_at: None,
            queue: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// Takes a packet that came in.
    pub(super) fn accept(&mut self, now: Instant, packet: &[u8]) {
        self.counts.received += 1;
        if self.record.0 > 0 {
            self.record.0 -= 1;
            self.record.1.push(packet.to_vec());
        }
        if self.paused {
            self.counts.paused += 1;
        } else if packet.len() > self.faults.max_size {
            self.counts.oversized += 1;
        } else if self.loses() {
            self.counts.lost += 1;
        } else if let Some(departure) = self.departure(now, packet.len()) {
            self.enqueue(departure, packet);
        } else {
            self.counts.overflowed += 1;
        }
    }

    /// Takes a packet that nobody sent; it goes out next.
    pub(super) fn inject(&mut self, now: Instant, packet: &[u8]) {
        self.counts.injected += 1;
        self.wait(now, packet, None);
    }

    /// When the next packet is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.front().map(|waiting| waiting.due)
    }

    /// Moves packets that are due into `train`, up to `most` of one size, of which only the last may be shorter; returns that
    /// size, or `None` when nothing is due. So that one call to the system sends them all.
    pub(super) fn depart(&mut self, now: Instant, most: usize, train: &mut Vec<u8>) -> Option<usize> {
        /// Of one call: an IPv4 packet's limit less the headers.
        const LARGEST: usize = 65_507;

        train.clear();
        let mut segment = None;
        let mut count = 0;
        while let Some(waiting) = self.queue.front() {
            let size = waiting.bytes.len();
            let first = *segment.get_or_insert(size);
            let fits = count < most
                && size <= first
                && train.len().is_multiple_of(first.max(1))
                && train.len() + size <= LARGEST;
            if waiting.due > now || (count > 0 && !fits) {
                break;
            }
            train.extend_from_slice(&waiting.bytes);
            count += 1;
            self.spare.extend(self.queue.pop_front().map(|waiting| waiting.bytes));
        }
        self.counts.sent += count as u64;
        segment.filter(|_| count > 0)
    }

    fn loses(&mut self) -> bool {
        match self.faults.loss {
            Loss::None => false,
            Loss::Random(probability) => self.random.chance(probability),
            Loss::Bursts { share, length } => {
                let end = 1.0 / length.max(1.0);
                let change = if self.in_burst { end } else { end * share / (1.0 - share) };
                self.in_burst ^= self.random.chance(change);
                self.in_burst
            }
        }
    }

    /// When the bottleneck has sent a packet of this size; `None` when the queue has no room for it.
    fn departure(&mut self, now: Instant, size: usize) -> Option<Instant> {
        let Some(rate) = self.faults.rate else { return Some(now) };
        let start = self.free_at.map_or(now, |free_at| free_at.max(now));
        let waiting = start.duration_since(now).as_secs_f64() * rate.bits_per_second as f64 / 8.0;
        if waiting as usize + size > rate.queue {
            return None;
        }
        let end = start + Duration::from_secs_f64(size as f64 * 8.0 / rate.bits_per_second as f64);
        self.free_at = Some(end);
        Some(end)
    }

    fn enqueue(&mut self, departure: Instant, packet: &[u8]) {
        let flipped = self.random.chance(self.faults.corrupt).then(|| self.random.below(packet.len().max(1) * 8));
        self.counts.corrupted += u64::from(flipped.is_some());
        let copies = 1 + u64::from(self.random.chance(self.faults.duplicate));
        self.counts.duplicated += copies - 1;
        for _ in 0..copies {
            let mut due = departure + self.faults.delay;
            if self.faults.jitter > Duration::ZERO {
                due += self.faults.jitter.mul_f64(self.random.unit());
            }
            self.wait(due, packet, flipped);
            if let Some(later) = self.faults.replay {
                self.counts.replayed += 1;
                self.wait(due + later, packet, None);
            }
        }
    }

    fn wait(&mut self, due: Instant, packet: &[u8], flipped: Option<usize>) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        if let Some(byte) = flipped.and_then(|bit| bytes.get_mut(bit / 8)) {
            *byte ^= 1 << (flipped.unwrap_or_default() % 8);
        }
        let waiting = Waiting { due, bytes };
        // Behind those with the same time: equal delays never reorder.
        if self.queue.back().is_none_or(|last| last.due <= due) {
            self.queue.push_back(waiting);
        } else {
            let place = self.queue.partition_point(|other| other.due <= due);
            self.queue.insert(place, waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 4;

    /// Sends `n` numbered packets, one each millisecond, and returns what came out, with the time since the first was sent.
    fn through(faults: Faults, n: u32) -> (Vec<(Duration, u32)>, Counts) {
        let start = Instant::now();
        let mut lane = Lane::new(faults, SEED);
        let mut train = Vec::new();
        let mut out = Vec::new();
        for tick in 0..n + 5_000 {
            let now = start + Duration::from_millis(tick.into());
            if tick < n {
                lane.accept(now, &tick.to_be_bytes());
            }
            while lane.depart(now, 1, &mut train).is_some() {
                out.push((now - start, u32::from_be_bytes(train[..4].try_into().unwrap())));
            }
        }
        assert_eq!(lane.next_due(), None);
        (out, lane.counts)
    }

    fn numbers(out: &[(Duration, u32)]) -> Vec<u32> {
        out.iter().map(|&(_, n)| n).collect()
    }

    #[test]
    fn without_faults_all_arrive_in_order_after_the_delay() {
        let (out, counts) = through(Faults::lossy(Loss::None, Duration::from_millis(25)), 1_000);
        assert_eq!(numbers(&out), (0..1_000).collect::<Vec<_>>());
        assert!(out.iter().all(|&(at, n)| at == Duration::from_millis(u64::from(n) + 25)));
        assert_eq!(counts, Counts { received: 1_000, sent: 1_000, ..Counts::default() });
    }

    #[test]
    fn random_loss_is_about_what_was_asked_and_the_same_every_time() {
        for (probability, expected) in [(0.001, 50..150), (0.01, 900..1_100), (0.03, 2_800..3_200)] {
            let (out, counts) = through(Faults::lossy(Loss::Random(probability), Duration::ZERO), 100_000);
            assert!(expected.contains(&counts.lost), "{probability}: {counts:?}");
            assert_eq!(out.len() as u64, 100_000 - counts.lost);
            let again = through(Faults::lossy(Loss::Random(probability), Duration::ZERO), 100_000);
            assert!(again == (out, counts));
        }
    }

    #[test]
    fn bursts_have_the_share_and_the_length_that_were_asked() {
        let loss = Loss::Bursts { share: 0.02, length: 5.0 };
        let (out, counts) = through(Faults::lossy(loss, Duration::ZERO), 200_000);
        assert!((3_500..4_500).contains(&counts.lost), "{counts:?}");
        let bursts = numbers(&out).windows(2).filter(|pair| pair[1] - pair[0] > 1).count() as f64;
        assert!((4.5..5.5).contains(&(counts.lost as f64 / bursts)), "{bursts} bursts in {counts:?}");
    }

    #[test]
    fn a_bottleneck_delays_and_overflows() {
        // One packet of 4 bytes in 2 ms, at twice that pace; 8 bytes may wait, one of them leaving.
        let rate = Rate { bits_per_second: 16_000, queue: 8 };
        let (out, counts) = through(Faults { rate: Some(rate), ..Faults::NONE }, 1_000);
        assert!((495..=505).contains(&counts.overflowed), "{counts:?}");
        let gaps: Vec<_> = out.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|&gap| gap == Duration::from_millis(2)), "{gaps:?}");
    }

    #[test]
    fn jitter_reorders_and_loses_nothing() {
        let (out, _) = through(Faults { jitter: Duration::from_millis(10), ..Faults::NONE }, 1_000);
        let mut sorted = numbers(&out);
        assert!(!sorted.is_sorted());
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn copies_changes_and_sizes_are_counted() {
        let faults = Faults { duplicate: 0.5, replay: Some(Duration::from_millis(500)), ..Faults::NONE };
        let (out, counts) = through(faults, 1_000);
        assert!((400..600).contains(&counts.duplicated), "{counts:?}");
        assert_eq!(counts.replayed, 1_000 + counts.duplicated);
        assert_eq!(out.len() as u64, 2 * counts.replayed);
        let (out, counts) = through(Faults { corrupt: 1.0, ..Faults::NONE }, 100);
        assert_eq!(counts.corrupted, 100);
        assert!((0..100).zip(out).all(|(sent, (_, came))| (sent ^ came).count_ones() == 1));
        let (out, counts) = through(Faults { max_size: 3, ..Faults::NONE }, 10);
        assert_eq!((out.len(), counts.oversized), (0, 10));
    }

    #[test]
    fn trains_are_of_one_size_but_for_the_last_packet() {
        let now = Instant::now();
        let mut lane = Lane::new(Faults::NONE, SEED);
        for size in [100, 100, 40, 100, 100, 100, 0, 200] {
            lane.accept(now, &vec![7; size]);
        }
        let mut train = Vec::new();
        let mut trains = Vec::new();
        while let Some(segment) = lane.depart(now, 2, &mut train) {
            trains.push((segment, train.len()));
        }
        assert_eq!(trains, [(100, 200), (40, 40), (100, 200), (100, 100), (200, 200)]);
    }
}
