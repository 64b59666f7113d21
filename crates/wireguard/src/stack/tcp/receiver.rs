//! The receiving half: puts what arrives in order, and says what has arrived.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::Moment;

use super::Seq;
use super::chunks::{self, Chunks};
use super::ranges::Ranges;

/// The receiving half. It owns no heap when everything was read and nothing is missing.
pub(crate) struct Receiver {
    /// The other end's initial sequence number; known since its SYN.
    first: Seq,
    /// In order and not read.
    data: Chunks,
    /// Out of order, by offset. INVARIANT: none is empty, overlaps another, or begins at or before `data.end()`.
    pieces: BTreeMap<u64, Vec<u8>>,
    /// The same as ranges.
    ranges: Ranges,
    /// A point in each of the ranges that grew last, the last one first (RFC 2018 §4).
    recent: [u64; 3],
    /// What arrived a second time (RFC 2883 §4).
    duplicate: Option<Range<u64>>,
    /// Where the FIN is.
    fin: Option<u64>,
    window: Window,
    /// What we acknowledged last.
    acknowledged: u64,
    ack: Ack,
    /// Segments to acknowledge at once, at the begin of a connection, so that the sender learns fast (as Linux does).
    eager: u8,
}

/// Whether an acknowledgement is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ack {
    No,
    /// By then at the latest (RFC 9293 §3.8.6.3).
    By(Moment),
    Now,
}

/// What we are ready to take.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// Bytes that may wait to be read.
    size: u32,
    limit: u32,
    shift: u8,
    /// The offset that we promised to take up to.
    edge: u64,
    /// For tuning: bytes read since when.
    read: u32,
    since: Moment,
}

/// RFC 9293 §3.8.6.3 wants less than 500 ms; Linux has 40 ms.
const ACK_DELAY: Duration = Duration::from_millis(40);
/// What programs on both ends add to a round trip by doing things in batches.
const HASTE: Duration = Duration::from_micros(300);
/// What may wait to be read in the beginning.
const INITIAL_WINDOW: u32 = 256 * 1024;
/// Pieces kept out of order. Each costs up to [`chunks`]' least size; an adversary may leave every second byte out.
const MOST_PIECES: usize = 2048;

impl Receiver {
    pub(crate) fn new(limit: u32, now: Moment) -> Self {
        let limit = limit.clamp(4096, 1 << 30);
        let mut shift = 0;
        while limit >> shift > u32::from(u16::MAX) {
            shift += 1;
        }
        let size = limit.min(INITIAL_WINDOW);
        Self {
            first: Seq::new(0),
            data: Chunks::new(0),
            pieces: BTreeMap::new(),
            ranges: Ranges::new(),
            recent: [0; 3],
            duplicate: None,
            fin: None,
            window: Window { size, limit, shift, edge: 0, read: 0, since: now },
            acknowledged: 0,
            ack: Ack::No,
            eager: 16,
        }
    }

    /// The other end's SYN arrived. `scaled` says whether it scales windows.
    pub(crate) fn open(&mut self, first: Seq, scaled: bool) {
        self.first = first;
        self.data = Chunks::new(1);
        if !scaled {
            self.window.shift = 0;
            self.window.limit = self.window.limit.min(u16::MAX.into());
            self.window.size = self.window.size.min(self.window.limit);
        }
        // A SYN's window is not scaled (RFC 7323 §2.2).
        self.window.edge = 1 + u64::from(self.window.size.min(u16::MAX.into()));
        self.ack = Ack::Now;
    }

    pub(crate) const fn shift(&self) -> u8 {
        self.window.shift
    }

    /// The window for a SYN.
    pub(crate) fn initial_window(&self) -> u16 {
        u16::try_from(self.window.size).unwrap_or(u16::MAX)
    }

    /// RCV.NXT.
    pub(crate) fn next(&self) -> u64 {
        self.data.end() + u64::from(self.finished())
    }

    pub(crate) fn next_seq(&self) -> Seq {
        self.first.at(self.next())
    }

    pub(crate) fn offset(&self, seq: Seq) -> Option<u64> {
        self.first.offset(seq, self.next())
    }

    /// Whether everything up to the FIN has arrived.
    pub(crate) fn finished(&self) -> bool {
        self.fin == Some(self.data.end())
    }

    /// Whether a segment of `len` may be looked at (RFC 9293 §3.10.7.4, the table).
    pub(crate) fn acceptable(&self, start: u64, len: u64) -> bool {
        let (next, edge) = (self.next(), self.window.edge);
        let inside = |offset: u64| next <= offset && offset < edge;
        match (len, edge > next) {
            (0, false) => start == next,
            (0, true) => inside(start),
            (_, false) => false,
            (_, true) => inside(start) || inside(start + len - 1),
        }
    }

    /// Takes an acceptable segment's text and FIN. `full` is the length of a full-sized segment.
    pub(crate) fn take(&mut self, start: u64, data: &[u8], fin: bool, full: usize, now: Moment) {
        let end = start + data.len() as u64;
        // The FIN has its place once and for all; whatever lies behind is not part of the stream.
        if fin && end <= self.window.edge && self.fin.is_none() && self.ranges.end().is_none_or(|last| last <= end) {
            self.fin = (end >= self.data.end()).then_some(end);
        }
        let stop = end.min(self.window.edge).min(self.fin.unwrap_or(u64::MAX));
        let begin = start.max(self.data.end());
        let repeated = start..self.data.end().min(end);
        if repeated.start < repeated.end {
            self.duplicate = Some(repeated);
        }
        let before = self.data.end();
        let had_holes = !self.ranges.is_empty();
        if begin < stop {
            self.insert(begin..stop, data.get((begin - start) as usize..).unwrap_or_default());
        }
        // RFC 5681 §4.2: at once if out of order, if it fills a hole, and for every second full segment.
        let in_order = self.data.end() > before && !had_holes && self.duplicate.is_none();
        let two = self.data.end().saturating_sub(self.acknowledged) >= 2 * full as u64;
        if in_order && !two && !fin && self.eager == 0 {
            self.delay_ack(now);
        } else {
            self.eager = self.eager.saturating_sub(1);
            self.ack = Ack::Now;
        }
    }

    fn delay_ack(&mut self, now: Moment) {
        if self.ack == Ack::No {
            self.ack = Ack::By(now + ACK_DELAY);
        }
    }

    fn insert(&mut self, range: Range<u64>, data: &[u8]) {
        if range.start == self.data.end() && self.pieces.is_empty() {
            self.data.append(data.get(..(range.end - range.start) as usize).unwrap_or_default());
            return;
        }
        if self.ranges.gap(range.clone()).is_none() {
            self.duplicate = Some(range.clone());
        }
        let mut from = range.start;
        while let Some(gap) = self.ranges.gap(from..range.end) {
            from = gap.end;
            let slice = (gap.start - range.start) as usize..(gap.end - range.start) as usize;
            self.keep(gap, data.get(slice).unwrap_or_default());
        }
        self.recent = match self.recent {
            [first, ..] if self.same_range(first, range.start) => [range.start, self.recent[1], self.recent[2]],
            [first, second, _] if self.same_range(second, range.start) => [range.start, first, self.recent[2]],
            [first, second, _] => [range.start, first, second],
        };
        self.join();
    }

    fn same_range(&self, one: u64, other: u64) -> bool {
        self.ranges.around(one).is_some_and(|range| range.contains(&other))
    }

    /// Keeps a piece that nothing is known of.
    fn keep(&mut self, range: Range<u64>, data: &[u8]) {
        if range.start == self.data.end() {
            self.data.append(data);
            return;
        }
        let full = self.pieces.len() >= MOST_PIECES;
        let behind = self.pieces.range_mut(..range.start).next_back();
        let hanging = behind.filter(|(start, piece)| {
            *start + piece.len() as u64 == range.start && piece.capacity() - piece.len() >= data.len()
        });
        match hanging {
            Some((_, piece)) => piece.extend_from_slice(data),
            None if full => return,
            None => {
                let grown = self.ranges.around(range.start.saturating_sub(1)).is_some();
                let mut piece = chunks::chunk(data.len(), grown);
                piece.extend_from_slice(data);
                self.pieces.insert(range.start, piece);
            }
        }
        self.ranges.insert(range);
    }

    /// Moves what is in order now.
    fn join(&mut self) {
        while let Some(first) = self.pieces.first_entry().filter(|first| *first.key() == self.data.end()) {
            self.data.adopt(first.remove());
        }
        self.ranges.remove_below(self.data.end());
    }

    /// Something came that calls for an answer at once.
    pub(crate) const fn owe_ack(&mut self) {
        self.ack = Ack::Now;
    }

    /// What arrived again, as a whole or a part, though it is not acceptable any more.
    pub(crate) fn repeat(&mut self, range: Range<u64>) {
        if range.start < range.end {
            self.duplicate = Some(range);
        }
        self.ack = Ack::Now;
    }

    /// When an acknowledgement is due.
    pub(crate) const fn ack_due(&self, now: Moment) -> Option<Moment> {
        match self.ack {
            Ack::No => None,
            Ack::By(at) => Some(at),
            Ack::Now => Some(now),
        }
    }

    /// Whether an acknowledgement has to tell of more than RCV.NXT.
    pub(crate) fn has_sacks(&self) -> bool {
        self.duplicate.is_some() || !self.ranges.is_empty()
    }

    /// The blocks to send (RFC 2018 §4, RFC 2883 §4): what came twice, then what grew last.
    pub(crate) fn sacks(&self) -> [Option<(u32, u32)>; 3] {
        let mut blocks = [None; 3];
        let mut used = 0;
        let mut push = |range: Range<u64>| {
            let block = (self.first.at(range.start).number(), self.first.at(range.end).number());
            if !blocks.contains(&Some(block))
                && let Some(place) = blocks.get_mut(used)
            {
                *place = Some(block);
                used += 1;
            }
        };
        if let Some(duplicate) = self.duplicate.clone() {
            push(duplicate);
        }
        for point in self.recent {
            if let Some(range) = self.ranges.around(point) {
                push(range);
            }
        }
        blocks
    }

    /// An acknowledgement went out, with [`Receiver::sacks`] and [`Receiver::window`].
    pub(crate) fn on_ack_sent(&mut self, full: usize) {
        self.on_data_sent(full);
        self.ack = Ack::No;
        self.duplicate = None;
    }

    /// Data went out, with [`Receiver::window`] only. The edge never goes back (RFC 9293 §3.8.6), and moves only in steps
    /// worth it (§3.8.6.2.2).
    pub(crate) fn on_data_sent(&mut self, full: usize) {
        self.window.edge = self.next_edge(full);
        self.acknowledged = self.next();
    }

    /// The answer to a SYN went out.
    pub(crate) const fn on_syn_sent(&mut self) {
        self.ack = Ack::No;
    }

    /// Last.ACK.sent (RFC 7323 §4.3).
    pub(crate) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The window to put in a header now, scaled.
    pub(crate) fn window(&self, full: usize) -> u16 {
        let window = self.next_edge(full).saturating_sub(self.next()) >> self.window.shift;
        u16::try_from(window).unwrap_or(u16::MAX)
    }

    fn next_edge(&self, full: usize) -> u64 {
        let edge = self.data.start() + u64::from(self.window.size);
        let step = (full as u64).min(u64::from(self.window.size) / 2);
        if edge >= self.window.edge + step { edge } else { self.window.edge }
    }

    /// Reads what is in order. `rtt` is how long a round trip takes, if known.
    pub(crate) fn read(&mut self, place: &mut [u8], full: usize, rtt: Option<Duration>, now: Moment) -> usize {
        let len = self.data.read(place);
        if len == 0 {
            return 0;
        }
        self.tune(len, rtt, now);
        // An update, if it tells of much more room than before: a quarter, or two segments after there was none.
        let (edge, next) = (self.window.edge, self.next());
        let gain = self.next_edge(full) - edge;
        let left = edge.saturating_sub(next);
        if gain > 0 && (gain >= u64::from(self.window.size) / 4 || (left < full as u64 && gain >= 2 * full as u64)) {
            self.ack = Ack::Now;
        }
        len
    }

    /// Gives twice the room of what is read in a round trip and [`HASTE`], so that a window that doubles each time never
    /// stops (as Linux does). No more: what the other end may send beyond that only waits in queues on the way, and a new
    /// connection behind it.
    fn tune(&mut self, len: usize, rtt: Option<Duration>, now: Moment) {
        let window = &mut self.window;
        window.read = window.read.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        let rtt = rtt.unwrap_or(Duration::from_millis(100)) + HASTE;
        let passed = now.since(window.since);
        if passed < rtt {
            return;
        }
        let read = u64::from(window.read) * rtt.as_micros() as u64 / (passed.as_micros() as u64).max(1);
        let wanted = u32::try_from(read * 2 + 32 * 1024).unwrap_or(u32::MAX);
        window.size = window.size.max(wanted.min(window.limit));
        (window.read, window.since) = (0, now);
    }

    pub(crate) const fn unread(&self) -> usize {
        self.data.len()
    }

    /// Nobody will read: forgets everything, and whatever comes.
    pub(crate) fn discard(&mut self) {
        self.data.clear();
        self.pieces.clear();
        self.ranges.clear();
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.data.allocated() + self.pieces.values().map(Vec::capacity).sum::<usize>()
    }
}
