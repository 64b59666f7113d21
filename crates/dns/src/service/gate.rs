//! How many questions may be open at once, and whose.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Lets in a bounded number, shared so that nobody can take all of it: one who holds n may take another only while more
/// than n places are free. Alone, that is half of them; whoever comes later always finds some.
#[derive(Clone)]
pub(super) struct Gate(Arc<Inner>);

struct Inner {
    places: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: usize,
    by: HashMap<Network, usize>,
}

/// Who is one client: an address, or the part of an IPv6 address that a network gives to one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
            v4 => v4,
        })
    }
}

/// A place, free again when this is dropped.
pub(super) struct Place {
    gate: Gate,
    client: Network,
}

impl Gate {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Inner { places, state: Mutex::default() }))
    }

    /// A place for `client`, if there is one.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        let client = Network::from(client);
        let mut state = self.0.state.lock();
        let free = self.0.places.saturating_sub(state.taken);
        if free <= state.by.get(&client).copied().unwrap_or_default() {
            return None;
        }
        state.taken = state.taken.saturating_add(1);
        let count = state.by.entry(client).or_default();
        *count = count.saturating_add(1);
        Some(Place { gate: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.0.state.lock();
        state.taken = state.taken.saturating_sub(1);
        if let Some(count) = state.by.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.by.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn nobody_takes_what_others_need() {
        let gate = Gate::new(512);
        let enter_all = |n| std::iter::from_fn(|| gate.enter(client(n))).collect::<Vec<_>>();
        let places: Vec<_> = (0..12).map(enter_all).collect();
        let counts: Vec<_> = places.iter().map(Vec::len).collect();
        assert_eq!(counts[..4], [256, 128, 64, 32]);
        drop(places);
        assert_eq!(enter_all(5).len(), 256);
        assert!(gate.0.state.lock().by.is_empty());
    }

    #[test]
    fn one_subscriber_is_one_client() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.2"), network("192.0.2.1"));
    }
}
