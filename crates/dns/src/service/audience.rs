//! Whom the server's own sockets answer. A resolver that answers the internet is an amplifier for whoever lies about
//! being somebody else (RFC 5358).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_net::{OnLink, is_private};
use parking_lot::Mutex;

/// At most one line about strangers in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Answered are sources that cannot be on the internet, those in a network that this host is in, and whatever arrives at a
/// loopback address of ours: nobody else can send there, and questions of this host that a firewall redirects keep the
/// source that they had.
#[derive(Default)]
pub(super) struct Audience(Mutex<State>);

#[derive(Default)]
struct State {
    on_link: OnLink,
    complained: Option<Instant>,
}

impl Audience {
    /// Whether a question from `client` is answered that arrived at `ours`, if that is known. `now` is asked for where it
    /// matters.
    pub(super) fn admits(&self, client: IpAddr, ours: impl FnOnce() -> Option<IpAddr>, now: fn() -> Instant) -> bool {
        let client = client.to_canonical();
        if is_private(client) || ours().is_some_and(|ours| ours.to_canonical().is_loopback()) {
            return true;
        }
        let (now, mut state) = (now(), self.0.lock());
        let admitted = state.on_link.contains(client, now);
        if !admitted && state.complained.is_none_or(|at| now.saturating_duration_since(at) >= LOG_EVERY) {
            state.complained = Some(now);
            tracing::warn!(%client, "a question from a network that this host is not in gets no answer");
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_known_by_their_source_and_by_where_they_ask() {
        let audience = Audience::default();
        let asks = |client: &str, ours: Option<&str>| {
            audience.admits(client.parse().unwrap(), || ours.map(|ours| ours.parse().unwrap()), Instant::now)
        };
        for client in ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "169.254.1.1", "100.64.0.1", "fd00::1", "fe80::1"]
        {
            assert!(asks(client, None) && asks(client, Some("203.0.113.1")), "{client}");
        }
        assert!(asks("::ffff:10.1.2.3", None));
        // Nobody's networks.
        for client in ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8:dead::9", "0.0.0.0"] {
            assert!(!asks(client, None) && !asks(client, Some("192.168.1.1")), "{client}");
            assert!(["127.0.0.1", "::1", "::ffff:127.0.0.1"].iter().all(|ours| asks(client, Some(ours))), "{client}");
        }
    }
}
