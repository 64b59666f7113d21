//! A queue of bytes that grows and shrinks by chunks and never moves what it holds.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Bytes known by their offset. It owns no heap when empty.
pub(crate) struct Chunks {
    start: u64,
    /// INVARIANT: each chunk begins where the one before ends, the last ends at `end`, and none is empty.
    list: VecDeque<Chunk>,
    end: u64,
}

struct Chunk {
    start: u64,
    bytes: Vec<u8>,
}

/// A chunk's size: large enough that allocating it does not count, small enough that the last one does not waste much.
const SIZE: usize = 16 * 1024;
/// The smallest; for connections that say little.
const LEAST: usize = 1024;

/// An empty chunk that will take `len` bytes, or as many of them as a chunk may hold. `grown` says whether more is likely.
pub(crate) fn chunk(len: usize, grown: bool) -> Vec<u8> {
    let size = if grown { SIZE } else { len.min(SIZE).next_power_of_two().max(LEAST) };
    if size == SIZE
        && let Some(spare) = SPARE.lock().pop()
    {
        spare
    } else {
        Vec::with_capacity(size)
    }
}

/// Full-sized chunks for the next who needs one. A bulk transfer goes through some 70 of them in each MiB, and an allocator
/// that gives them back to the system each time costs more page faults than copies.
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
/// A mebibyte.
const SPARES: usize = 64;

fn give_back(mut bytes: Vec<u8>) {
    if bytes.capacity() == SIZE {
        let mut spare = SPARE.lock();
        if spare.len() < SPARES {
            bytes.clear();
            spare.push(bytes);
        }
    }
}

impl Chunks {
    pub(crate) const fn new(start: u64) -> Self {
        Self { start, list: VecDeque::new(), end: start }
    }

    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    pub(crate) const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Copies `data` to the end.
    pub(crate) fn append(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let full = self.list.back().is_none_or(|last| last.bytes.len() == last.bytes.capacity());
            if full {
                let bytes = chunk(data.len(), !self.list.is_empty());
                self.list.push_back(Chunk { start: self.end, bytes });
            }
            let Some(last) = self.list.back_mut() else { return };
            let (now, later) = data.split_at(data.len().min(last.bytes.capacity() - last.bytes.len()));
            last.bytes.extend_from_slice(now);
            self.end += now.len() as u64;
            data = later;
        }
    }

    /// Puts `bytes` at the end without copying them.
    pub(crate) fn adopt(&mut self, bytes: Vec<u8>) {
        let start = self.end;
        self.end += bytes.len() as u64;
        if !bytes.is_empty() {
            self.list.push_back(Chunk { start, bytes });
        }
    }

    /// Copies what begins at `offset` into `place`; returns how much there was.
    pub(crate) fn copy(&self, offset: u64, place: &mut [u8]) -> usize {
        let first = self.find(offset);
        let mut done = 0;
        for chunk in self.list.iter().skip(first) {
            let skip = (offset + done as u64).saturating_sub(chunk.start) as usize;
            let from = chunk.bytes.get(skip..).unwrap_or_default();
            let to = place.get_mut(done..).unwrap_or_default();
            let len = from.len().min(to.len());
            if len == 0 {
                break;
            }
            if let (Some(from), Some(to)) = (from.get(..len), to.get_mut(..len)) {
                to.copy_from_slice(from);
            }
            done += len;
        }
        done
    }

    /// The chunk that holds `offset`. Most are full-sized, so a guess is seldom far off.
    fn find(&self, offset: u64) -> usize {
        let before = self.list.front().map_or(0, |first| offset.saturating_sub(first.start));
        let mut at = (before as usize / SIZE).min(self.list.len().saturating_sub(1));
        while at > 0 && self.list.get(at).is_some_and(|chunk| chunk.start > offset) {
            at -= 1;
        }
        while self.list.get(at).is_some_and(|chunk| chunk.start + chunk.bytes.len() as u64 <= offset) {
            at += 1;
        }
        at
    }

    /// Forgets what lies before `offset`.
    pub(crate) fn advance(&mut self, offset: u64) {
        self.start = offset.clamp(self.start, self.end);
        while self.list.front().is_some_and(|first| first.start + first.bytes.len() as u64 <= self.start) {
            if let Some(first) = self.list.pop_front() {
                give_back(first.bytes);
            }
        }
        if self.list.is_empty() {
            self.list = VecDeque::new();
        }
    }

    /// Moves what is first into `place`.
    pub(crate) fn read(&mut self, place: &mut [u8]) -> usize {
        let len = self.copy(self.start, place);
        self.advance(self.start + len as u64);
        len
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.advance(self.end);
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.list.capacity() + self.list.iter().map(|chunk| chunk.bytes.capacity()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_got_and_then_holds_nothing() {
        let text: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let mut chunks = Chunks::new(7);
        chunks.append(&text[..10]);
        chunks.adopt(text[10..5000].to_vec());
        chunks.append(&text[5000..]);
        assert_eq!(chunks.end(), 100_007);
        let mut piece = vec![0; 40_000];
        assert_eq!(chunks.copy(7 + 3000, &mut piece), 40_000);
        assert_eq!(piece, text[3000..43_000]);
        let mut all = Vec::new();
        let mut part = [0; 777];
        loop {
            let len = chunks.read(&mut part);
            if len == 0 {
                break;
            }
            all.extend_from_slice(&part[..len]);
        }
        assert_eq!(all, text);
        assert_eq!(chunks.allocated(), 0);
    }

    #[test]
    fn little_data_takes_little_memory() {
        let mut chunks = Chunks::new(1);
        chunks.append(b"GET / HTTP/1.1\r\n\r\n");
        assert!(chunks.allocated() <= 1100);
    }
}
