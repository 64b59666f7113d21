//! Which peer an address belongs to: the longest prefix decides (whitepaper §2, "cryptokey routing").

use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use crate::device::PeerId;

/// Prefixes and their peers. A look-up costs one probe for each length of prefix that is in use, the longest first; with
/// `0.0.0.0/0` and `::/0` that is one.
#[derive(Debug, Default)]
pub(crate) struct AllowedIps {
    /// INVARIANT: sorted by length, the longest first; no map is empty, and its keys are networks of that length.
    by_length: Vec<(u8, FxHashMap<IpAddr, PeerId>)>,
}

impl AllowedIps {
    /// Gives `network` to `peer`; whoever had exactly that network before loses it, as with `wg set`.
    pub(crate) fn insert(&mut self, network: IpNet, peer: PeerId) {
        let length = network.prefix_len();
        let at = match self.by_length.binary_search_by(|(other, _)| length.cmp(other)) {
            Ok(at) => at,
            Err(at) => {
                self.by_length.insert(at, (length, FxHashMap::default()));
                at
            }
        };
        if let Some((_, networks)) = self.by_length.get_mut(at) {
            networks.insert(network.network(), peer);
        }
    }

    /// Whose `address` is.
    pub(crate) fn find(&self, address: IpAddr) -> Option<PeerId> {
        self.by_length.iter().find_map(|(length, networks)| {
            let network = IpNet::new(address, *length).ok()?.network();
            networks.get(&network).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides() {
        let mut allowed = AllowedIps::default();
        for (network, peer) in
            [("0.0.0.0/0", 0), ("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("10.1.2.3/32", 3), ("fd00::/8", 4)]
        {
            allowed.insert(network.parse().unwrap(), PeerId(peer));
        }
        let find = |address: &str| allowed.find(address.parse().unwrap()).map(|peer| peer.0);
        assert_eq!(find("192.0.2.1"), Some(0));
        assert_eq!(find("10.9.9.9"), Some(1));
        assert_eq!(find("10.1.9.9"), Some(2));
        assert_eq!(find("10.1.2.3"), Some(3));
        assert_eq!(find("fd12::1"), Some(4));
        assert_eq!(find("2001:db8::1"), None);
    }

    #[test]
    fn the_last_owner_of_a_network_keeps_it() {
        let mut allowed = AllowedIps::default();
        allowed.insert("10.1.2.3/8".parse().unwrap(), PeerId(0));
        allowed.insert("10.0.0.0/8".parse().unwrap(), PeerId(1));
        assert_eq!(allowed.find("10.5.5.5".parse().unwrap()), Some(PeerId(1)));
    }
}
