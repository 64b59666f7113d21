//! The server of an outbound: reaching it in time, and saying whose fault it was.

use std::sync::Arc;
use std::time::Duration;

use adit_net::{BoxStream, Datagrams, DialError, Tag, Target};
use tokio::time::timeout;

use crate::carrier::Carrier;
use crate::health::Health;

/// From the connected carrier to the point where the target's bytes may flow, TLS and proxy protocol together.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A proxy server that an outbound talks to.
pub(crate) struct Server {
    proxy: Tag,
    at: Target,
    carrier: Carrier,
    /// Learns what dials show of the server.
    health: Arc<Health>,
}

impl Server {
    /// The server of the outbound named `proxy`.
    pub(crate) fn new(proxy: Tag, at: Target, carrier: Carrier, health: Arc<Health>) -> Self {
        Self { proxy, at, carrier, health }
    }

    /// Where it is.
    pub(crate) fn at(&self) -> &Target {
        &self.at
    }

    /// How it is reached.
    pub(crate) fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// Opens a stream to the server, within the budget of the carrier (10 s for a connect of our own). Errors name the
    /// proxy.
    pub(crate) async fn connect(&self) -> Result<BoxStream, DialError> {
        self.carrier.connect(&self.at).await.map_err(|error| {
            self.health.missed();
            self.blame(error)
        })
    }

    /// Opens a packet socket whose first datagram goes to `to`, a place beside the server (a SOCKS5 relay). Errors name
    /// the proxy.
    pub(crate) async fn datagrams(&self, to: &Target) -> Result<Datagrams, DialError> {
        self.carrier.datagrams(to).await.map_err(|error| self.blame(error))
    }

    /// Runs everything between the carrier and the user's bytes within 10 s. Errors name the proxy.
    pub(crate) async fn handshake<T>(&self, steps: impl Future<Output = Result<T, DialError>>) -> Result<T, DialError> {
        let Ok(outcome) = timeout(HANDSHAKE, steps).await else {
            self.health.missed();
            return Err(self.blame(DialError::TimedOut("handshake".into())));
        };
        match &outcome {
            Err(DialError::Protocol(_) | DialError::Io { .. } | DialError::Down(_)) => self.health.missed(),
            // Also a server that says what is wrong with the destination works.
            _ => self.health.reached(),
        }
        outcome.map_err(|error| self.blame(error))
    }

    /// Adds this proxy's name and address to an error that arose on the way to it, or in it.
    pub(crate) fn blame(&self, error: DialError) -> DialError {
        reword(error, |text| format!("{text} (proxy [{}] at {})", self.proxy, self.at))
    }
}

/// The same error with another text.
pub(crate) fn reword(error: DialError, reword: impl FnOnce(String) -> String) -> DialError {
    match error {
        DialError::Refused(who) => DialError::Refused(reword(who)),
        DialError::Unreachable(who) => DialError::Unreachable(reword(who)),
        DialError::TimedOut(step) => DialError::TimedOut(reword(step)),
        DialError::Down(what) => DialError::Down(reword(what)),
        DialError::Unresolved(name) => DialError::Unresolved(reword(name)),
        DialError::Denied(why) => DialError::Denied(reword(why)),
        DialError::Protocol(what) => DialError::Protocol(reword(what)),
        DialError::Io { context, source } => DialError::Io { context: reword(context), source },
        // Says nothing about a server.
        other => other,
    }
}
