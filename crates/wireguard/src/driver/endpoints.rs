//! Where peers are: names are looked up when somebody needs the peer, and again when it does not answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_net::{BoxFuture, DialError, Target};
use tokio::time::timeout;

use crate::peer::Link;
use crate::{Moment, PeerId};

/// Turns an endpoint as it is written into addresses.
pub trait Locate: Send + Sync + 'static {
    /// All addresses of `endpoint` that may be used, the best first; never empty.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the question.
    fn locate<'a>(&'a self, endpoint: &'a Target) -> BoxFuture<'a, Result<Vec<SocketAddr>, DialError>>;
}

/// How long a look-up may take: less than a dial, so that those who wait hear the reason.
const LOOK_UP: Duration = Duration::from_secs(4);

/// Handshakes that fail for so long are tried with the next address of the name.
const NEXT_ADDRESS: Duration = Duration::from_secs(5);

/// Handshakes that fail for so long have the name looked up again (faults F-G10).
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A session whose packets are not answered is doubted after so long (whitepaper §6.4: keepalive and rekey timeouts).
const DOUBT: Duration = Duration::from_secs(15);

pub(super) struct Endpoints {
    locate: Arc<dyn Locate>,
    refresh: Option<Duration>,
    peers: Vec<Endpoint>,
}

/// Where one peer is.
struct Endpoint {
    target: Target,
    /// Its addresses; none while they are not known.
    found: Vec<SocketAddr>,
    /// Which of them is in use.
    current: usize,
    looked_up: Option<Moment>,
    look_up: Option<BoxFuture<'static, Result<Vec<SocketAddr>, DialError>>>,
    /// What was done about handshakes that fail.
    trouble: Trouble,
}

#[derive(Default)]
struct Trouble {
    moves: u32,
    look_ups: u32,
}

impl Endpoints {
    pub(super) fn new(targets: Vec<Target>, locate: Arc<dyn Locate>, refresh: Option<Duration>) -> Self {
        let peers = targets.into_iter().map(|target| Endpoint {
            target,
            found: Vec::new(),
            current: 0,
            looked_up: None,
            look_up: None,
            trouble: Trouble::default(),
        });
        Self { locate, refresh, peers: peers.collect() }
    }

    /// What the configuration calls the peer's place.
    pub(super) fn name(&self, peer: PeerId) -> Option<&Target> {
        self.peers.get(peer.0).map(|endpoint| &endpoint.target)
    }

    /// Somebody needs the peer: looks its name up if that was never done with success, or is too long ago.
    pub(super) fn wanted(&mut self, peer: PeerId, now: Moment) {
        let Some(endpoint) = self.peers.get_mut(peer.0) else { return };
        let old = endpoint.looked_up.zip(self.refresh).is_some_and(|(last, every)| now.since(last) >= every);
        if endpoint.found.is_empty() || old {
            endpoint.start(&self.locate);
        }
    }

    /// The peer's addresses, the one in use first; none while they are not known.
    pub(super) fn candidates(&self, peer: PeerId) -> Vec<SocketAddr> {
        self.peers.get(peer.0).map(Endpoint::candidates).unwrap_or_default()
    }

    /// The address that was chosen among them.
    pub(super) fn chosen(&mut self, peer: PeerId, address: SocketAddr) {
        if let Some(endpoint) = self.peers.get_mut(peer.0)
            && let Some(at) = endpoint.found.iter().position(|found| *found == address)
        {
            endpoint.current = at;
        }
    }

    /// The next look-up that ended: whose, and the peer's addresses if they are others than before.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Moment) -> Poll<(PeerId, Result<bool, DialError>)> {
        for (n, endpoint) in self.peers.iter_mut().enumerate() {
            let Some(look_up) = &mut endpoint.look_up else { continue };
            if let Poll::Ready(outcome) = look_up.as_mut().poll(cx) {
                endpoint.look_up = None;
                endpoint.looked_up = Some(now);
                return Poll::Ready((PeerId(n), outcome.map(|found| endpoint.learn(found))));
            }
        }
        Poll::Pending
    }

    /// Acts when handshakes fail. Returns the addresses to choose from when it is time for another one.
    pub(super) fn tend(&mut self, peer: PeerId, link: Link, now: Moment) -> Option<Vec<SocketAddr>> {
        let endpoint = self.peers.get_mut(peer.0)?;
        let Some(failing) = failing_for(link, now) else {
            endpoint.trouble = Trouble::default();
            return None;
        };
        if times(failing, LOOK_AGAIN) > endpoint.trouble.look_ups {
            endpoint.trouble.look_ups = times(failing, LOOK_AGAIN);
            endpoint.start(&self.locate);
        }
        if times(failing, NEXT_ADDRESS) <= endpoint.trouble.moves {
            return None;
        }
        endpoint.trouble.moves = times(failing, NEXT_ADDRESS);
        if endpoint.found.len() < 2 {
            return None;
        }
        endpoint.current = (endpoint.current + 1) % endpoint.found.len();
        Some(endpoint.candidates())
    }
}

impl Endpoint {
    fn start(&mut self, locate: &Arc<dyn Locate>) {
        if self.look_up.is_none() {
            let (locate, target) = (Arc::clone(locate), self.target.clone());
            self.look_up = Some(Box::pin(async move {
                let late = || Err(DialError::TimedOut(format!("look up of WireGuard endpoint {target}")));
                timeout(LOOK_UP, locate.locate(&target)).await.unwrap_or_else(|_| late())
            }));
        }
    }

    /// Whether that was news.
    fn learn(&mut self, mut found: Vec<SocketAddr>) -> bool {
        let in_use = self.found.get(self.current).copied();
        let same = |one: &[SocketAddr], other: &[SocketAddr]| {
            one.len() == other.len() && one.iter().all(|address| other.contains(address))
        };
        found.dedup();
        if same(&found, &self.found) {
            return false;
        }
        self.current = found.iter().position(|address| Some(*address) == in_use).unwrap_or(0);
        self.found = found;
        true
    }

    fn candidates(&self) -> Vec<SocketAddr> {
        let (later, first) = self.found.split_at(self.current.min(self.found.len()));
        [first, later].concat()
    }
}

/// How long handshakes have failed.
pub(super) fn failing_for(link: Link, now: Moment) -> Option<Duration> {
    match link {
        Link::Up | Link::Down => None,
        Link::Handshaking { since } => Some(now.since(since)),
        Link::Silent { since } => now.since(since).checked_sub(DOUBT),
    }
}

fn times(span: Duration, each: Duration) -> u32 {
    u32::try_from(span.as_micros() / each.as_micros().max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::task::Waker;

    use super::*;

    const PEER: PeerId = PeerId(0);

    /// The name has two addresses, which are others each time it is looked up.
    #[derive(Default)]
    struct Changing(AtomicU16);

    impl Locate for Changing {
        fn locate<'a>(&'a self, _: &'a Target) -> BoxFuture<'a, Result<Vec<SocketAddr>, DialError>> {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(addresses(n)) })
        }
    }

    fn addresses(n: u16) -> Vec<SocketAddr> {
        [1, 2].map(|host| SocketAddr::from(([192, 0, 2, host], 100 + n))).into()
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    fn endpoints(refresh: Option<Duration>) -> Endpoints {
        Endpoints::new(vec!["wg.test:1".parse().unwrap()], Arc::new(Changing::default()), refresh)
    }

    /// Whether a look-up was under way, which ends.
    fn looked_up(endpoints: &mut Endpoints, now: Moment) -> bool {
        match endpoints.poll(&mut Context::from_waker(Waker::noop()), now) {
            Poll::Ready((PEER, outcome)) => outcome.unwrap(),
            Poll::Ready(_) | Poll::Pending => false,
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_and_when_it_is_old() {
        let mut endpoints = endpoints(Some(Duration::from_secs(60)));
        assert!(!looked_up(&mut endpoints, at(0)), "nobody asked");
        endpoints.wanted(PEER, at(0));
        assert!(looked_up(&mut endpoints, at(0)));
        assert_eq!(endpoints.candidates(PEER), addresses(0));
        endpoints.wanted(PEER, at(59));
        assert!(!looked_up(&mut endpoints, at(59)));
        endpoints.wanted(PEER, at(60));
        assert!(looked_up(&mut endpoints, at(60)));
        assert_eq!(endpoints.candidates(PEER), addresses(1));
    }

    /// F-G10
    #[tokio::test]
    async fn failing_handshakes_try_the_next_address_and_then_the_name() {
        let mut endpoints = endpoints(None);
        endpoints.wanted(PEER, at(0));
        assert!(looked_up(&mut endpoints, at(0)));
        let failing = Link::Handshaking { since: at(10) };
        assert_eq!(endpoints.tend(PEER, failing, at(14)), None);
        let [first, second] = <[SocketAddr; 2]>::try_from(addresses(0)).unwrap();
        assert_eq!(endpoints.tend(PEER, failing, at(15)), Some(vec![second, first]));
        assert_eq!(endpoints.tend(PEER, failing, at(16)), None);
        assert_eq!(endpoints.tend(PEER, failing, at(20)), Some(vec![first, second]));
        assert!(!looked_up(&mut endpoints, at(39)));
        endpoints.tend(PEER, failing, at(40));
        assert!(looked_up(&mut endpoints, at(40)));
        assert_eq!(endpoints.candidates(PEER), addresses(1));
        // All begins anew once the peer was there.
        endpoints.tend(PEER, Link::Up, at(41));
        assert_eq!(endpoints.tend(PEER, Link::Handshaking { since: at(50) }, at(54)), None);
        assert!(endpoints.tend(PEER, Link::Handshaking { since: at(50) }, at(55)).is_some());
    }

    #[test]
    fn silence_is_doubted_after_fifteen_seconds_only() {
        assert_eq!(failing_for(Link::Silent { since: at(0) }, at(14)), None);
        assert_eq!(failing_for(Link::Silent { since: at(0) }, at(20)), Some(Duration::from_secs(5)));
        assert_eq!(failing_for(Link::Handshaking { since: at(0) }, at(3)), Some(Duration::from_secs(3)));
        assert_eq!(failing_for(Link::Up, at(99)), None);
        assert_eq!(failing_for(Link::Down, at(99)), None);
    }
}
