//! Kernel pipes: what splice(2) moves bytes through.
//!
//! A lane has a pipe only while bytes are on their way. Between bursts the pipe rests in a small pool of the thread, so
//! that a busy lane does not make a new one for each burst and an idle one costs no descriptor.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe of ours can hold: as much as a user without privileges may ask for (`/proc/sys/fs/pipe-max-size`). An
/// empty pipe holds no page, whatever its size; a quarter of it costs a fifth more CPU per byte.
pub(super) const CAPACITY: usize = 1024 * 1024;

/// What a pipe must at least hold to be worth it: less costs more system calls than it saves copying.
const LEAST: usize = 256 * 1024;

/// Pipes that rest per thread; those given back beyond that are closed.
const POOLED: usize = 4;

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe and the number of bytes in it.
#[derive(Debug)]
pub(super) struct Pipe {
    outlet: OwnedFd,
    inlet: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty pipe, from the pool if one rests there.
    ///
    /// # Errors
    /// No descriptor is left, or the system grants this user only pipes that are too small to be worth it
    /// (`/proc/sys/fs/pipe-user-pages-soft`).
    pub(super) fn take() -> Result<Self> {
        match POOL.with_borrow_mut(Vec::pop) {
            Some(pipe) => Ok(pipe),
            None => Self::new(),
        }
    }

    fn new() -> Result<Self> {
        let (outlet, inlet) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&inlet, CAPACITY).or_else(|_| fcntl_setpipe_size(&inlet, LEAST))?;
        Ok(Self { outlet, inlet, held: 0 })
    }

    /// Returns an empty pipe to the pool; one that still holds bytes is closed.
    pub(super) fn give_back(self) {
        if self.held == 0 {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < POOLED {
                    pool.push(self);
                }
            });
        }
    }

    /// Bytes that are in the pipe.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes from `source` what it has, up to [`CAPACITY`]; 0 at its end. Never waits.
    ///
    /// Call it on an empty pipe only: on another one, `AGAIN` could also mean that the pipe is full.
    pub(super) fn fill(&mut self, source: impl AsFd) -> Result<usize> {
        let n = again_if_interrupted(|| splice(&source, None, &self.inlet, None, CAPACITY, SpliceFlags::NONBLOCK))?;
        self.held += n;
        Ok(n)
    }

    /// Passes to `sink` what is in the pipe, or as much as it takes. Never waits.
    pub(super) fn drain(&mut self, sink: impl AsFd) -> Result<usize> {
        let n = again_if_interrupted(|| splice(&self.outlet, None, &sink, None, self.held, SpliceFlags::NONBLOCK))?;
        self.held = self.held.saturating_sub(n);
        Ok(n)
    }
}

fn again_if_interrupted(mut call: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let (mut source, from) = UnixStream::pair().unwrap();
        let (to, mut sink) = UnixStream::pair().unwrap();
        source.write_all(b"through the pipe").unwrap();
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(pipe.fill(&from).unwrap(), 16);
        assert_eq!((pipe.drain(&to).unwrap(), pipe.held()), (16, 0));
        let mut got = [0; 16];
        sink.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"through the pipe");
        drop(source);
        assert_eq!(pipe.fill(&from).unwrap(), 0);
    }

    #[test]
    fn the_pool_is_bounded_and_takes_no_dirty_pipe() {
        let (mut source, from) = UnixStream::pair().unwrap();
        source.write_all(b"left behind").unwrap();
        let mut pipes: Vec<_> = (0..POOLED + 3).map(|_| Pipe::take().unwrap()).collect();
        pipes[0].fill(&from).unwrap();
        for pipe in pipes {
            pipe.give_back();
        }
        POOL.with_borrow(|pool| {
            assert_eq!(pool.len(), POOLED);
            assert!(pool.iter().all(|pipe| pipe.held() == 0));
        });
    }
}
