//! Every limit of this crate, in one place.

use std::time::Duration;

/// What one client may cost. Tests make it smaller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budgets {
    /// From the accepted connection to a known target, however the bytes trickle. Also from the first byte of each
    /// later HTTP request to the end of its head.
    pub(crate) handshake: Duration,
    /// Silence between two HTTP requests.
    pub(crate) keep_alive: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(15), keep_alive: Duration::from_secs(60) }
    }
}
