//! `dns:`. Spec: mihomo-surface §7.

use std::net::SocketAddr;
use std::path::PathBuf;

use adit_dns::{FakeFilter, FakeRanges, Upstreams};

/// The `dns` section, switched on.
#[derive(Clone)]
pub struct DnsPlan {
    /// Where clients are answered, over UDP and TCP. None: nowhere; names are looked up all the same.
    pub listen: Option<SocketAddr>,
    /// Who is asked.
    pub upstreams: Upstreams,
    /// What clients are told.
    pub mode: DnsMode,
    /// Whether clients get IPv6 addresses.
    pub ipv6: bool,
    /// Whether clients are answered from `hosts`.
    pub uses_hosts: bool,
    /// Whether clients are answered from `/etc/hosts`.
    pub uses_system_hosts: bool,
}

/// `enhanced-mode`, with what belongs to it.
#[derive(Clone)]
pub enum DnsMode {
    /// Addresses, and nothing is remembered.
    Normal,
    /// Addresses; which name they were given out for is remembered.
    RedirHost,
    /// Addresses that stand for names.
    FakeIp {
        /// Where they are taken from.
        ranges: FakeRanges,
        /// Which names get real ones.
        filter: FakeFilter,
        /// How long clients may keep them, in seconds.
        ttl: u32,
        /// Where they are remembered from one start to the next; none forgets them.
        store: Option<PathBuf>,
    },
}

impl std::fmt::Debug for DnsPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsPlan").field("listen", &self.listen).finish_non_exhaustive()
    }
}
