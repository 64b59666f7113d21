//! Answers that come from the address the client wrote to.
//!
//! A socket is bound to that address, which belongs to somebody else, and is shared by all clients that write to it. It
//! lives as long as a flow that used it keeps it; nothing needs a timer.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use adit_net::{ReturnPath, Target, Trains, Transparent, is_scarce};
use socket2::Socket;

/// Sockets kept open at once. An answer beyond gets one of its own, which is closed after it.
const MAX_OPEN: usize = 8192;

/// Sockets kept for one client. One more, and the half that was used longest ago is let go.
const MAX_KEPT: usize = 256;

/// The open sockets of a listener, by the address they answer from.
#[derive(Debug)]
pub(super) struct Answers {
    sockets: Transparent,
    open: Mutex<HashMap<SocketAddr, Weak<Speaker>>>,
    /// Answers that were not sent because no socket could have that address (F-B14).
    lost: AtomicU64,
    last_complaint: Mutex<Option<Instant>>,
}

/// A socket that speaks for somebody else.
#[derive(Debug)]
struct Speaker {
    socket: Socket,
    trains: Trains,
    from: SocketAddr,
    listed: Option<Arc<Answers>>,
}

impl Answers {
    pub(super) fn new(sockets: Transparent) -> Self {
        Self { sockets, open: Mutex::default(), lost: AtomicU64::new(0), last_complaint: Mutex::default() }
    }

    /// The way back to one client.
    pub(super) fn way_to(self: &Arc<Self>, client: SocketAddr) -> Way {
        Way { answers: Arc::clone(self), to: client, kept: Mutex::default() }
    }

    /// The socket that answers from `from`, with the word whether it may be kept.
    fn speaker(self: &Arc<Self>, from: SocketAddr) -> io::Result<(Arc<Speaker>, bool)> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(speaker) = open.get(&from).and_then(Weak::upgrade) {
            return Ok((speaker, true));
        }
        let socket = self.sockets.answering_from(from)?;
        if open.len() >= MAX_OPEN || is_scarce(socket.as_raw_fd()) {
            return Ok((Arc::new(Speaker { socket, trains: Trains::default(), from, listed: None }), false));
        }
        let trains = Trains::default();
        let speaker = Arc::new(Speaker { socket, trains, from, listed: Some(Arc::clone(self)) });
        open.insert(from, Arc::downgrade(&speaker));
        Ok((speaker, true))
    }

    /// An answer could not be sent as if from `from`. It is never sent from another address instead.
    fn lose(&self, from: &Target, why: &dyn std::fmt::Display) {
        let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
        let mut last = self.last_complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            *last = Some(Instant::now());
            tracing::warn!(%from, lost, "cannot answer from this address: {why}");
        }
    }
}

impl Speaker {
    fn say(&self, to: SocketAddr, payloads: &[IoSlice<'_>]) {
        let mut rest = payloads;
        while !rest.is_empty() {
            // A full socket, an unreachable client: the first is lost, as on a network.
            let sent = self.trains.send(&self.socket, to, rest).unwrap_or(1);
            rest = rest.get(sent.max(1)..).unwrap_or_default();
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let Some(answers) = self.listed.take() else { return };
        let mut open = answers.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have been opened since this one's last user let go.
        if open.get(&self.from).is_some_and(|speaker| speaker.strong_count() == 0) {
            open.remove(&self.from);
        }
    }
}

/// The way back to one client. A flow holds it, and with it the sockets that answered this client.
#[derive(Debug)]
pub(super) struct Way {
    answers: Arc<Answers>,
    to: SocketAddr,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// With the tick of its last use.
    speakers: HashMap<SocketAddr, (Arc<Speaker>, u64)>,
    ticks: u64,
}

impl Kept {
    fn keep(&mut self, speaker: Arc<Speaker>) {
        if self.speakers.len() >= MAX_KEPT {
            let mut ticks: Vec<u64> = self.speakers.values().map(|(_, tick)| *tick).collect();
            let (_, middle, _) = ticks.select_nth_unstable(MAX_KEPT / 2);
            let middle = *middle;
            self.speakers.retain(|_, (_, tick)| *tick > middle);
        }
        self.speakers.insert(speaker.from, (speaker, self.ticks));
    }
}

impl Way {
    fn speaker(&self, from: SocketAddr) -> io::Result<Arc<Speaker>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.ticks += 1;
        let now = kept.ticks;
        if let Some((speaker, tick)) = kept.speakers.get_mut(&from) {
            *tick = now;
            return Ok(Arc::clone(speaker));
        }
        let (speaker, may_be_kept) = self.answers.speaker(from)?;
        if may_be_kept {
            kept.keep(Arc::clone(&speaker));
        }
        Ok(speaker)
    }
}

impl ReturnPath for Way {
    fn send(&self, from: &Target, payload: &[u8]) -> io::Result<()> {
        self.send_batch(from, &[IoSlice::new(payload)])
    }

    fn send_batch(&self, from: &Target, payloads: &[IoSlice<'_>]) -> io::Result<()> {
        let Some(addr) = from.socket_addr().filter(|addr| addr.is_ipv4() == self.to.is_ipv4()) else {
            self.answers.lose(from, &"the client wrote to an address of another kind");
            return Ok(());
        };
        match self.speaker(addr) {
            Ok(speaker) => speaker.say(self.to, payloads),
            Err(error) => self.answers.lose(from, &error),
        }
        Ok(())
    }
}
