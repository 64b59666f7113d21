//! Counts what leaves a namespace.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Namespace;

/// A firewall table that lets out UDP to one endpoint and nothing else, and counts both.
///
/// What the kernel says on its own is let out and not counted: what keeps a link working (ARP, neighbour discovery,
/// multicast listener reports), and that nobody listens any more, when a tunnel's last packets come after its program has
/// ended.
#[derive(Debug)]
pub struct LeakWatch {
    namespace: Arc<Namespace>,
}

impl LeakWatch {
    pub(super) fn new(namespace: Arc<Namespace>, interface: &str, endpoints: &[SocketAddr]) -> Self {
        let rules: String = endpoints
            .iter()
            .map(|endpoint| {
                let family = if endpoint.is_ipv4() { "ip" } else { "ip6" };
                let (ip, port) = (endpoint.ip(), endpoint.port());
                format!("oifname \"{interface}\" {family} daddr {ip} udp dport {port} counter name tunnel accept\n")
            })
            .collect();
        let table = format!(
            "table inet watch {{
                counter tunnel {{ }}
                counter leaks {{ }}
                chain output {{
                    type filter hook output priority 0; policy accept;
                    icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report }} accept
                    icmp type destination-unreachable accept
                    icmpv6 type destination-unreachable accept
                    {rules}
                    oifname \"{interface}\" counter name leaks drop
                }}
            }}"
        );
        namespace.command("nft", ["-f", "-"].into_iter(), &table);
        Self { namespace }
    }

    /// Packets to the endpoint so far.
    #[must_use]
    pub fn tunnelled(&self) -> u64 {
        self.packets("tunnel")
    }

    /// Packets to anywhere else so far; they were dropped.
    #[must_use]
    pub fn leaks(&self) -> u64 {
        self.packets("leaks")
    }

    fn packets(&self, counter: &str) -> u64 {
        let words = ["-j", "list", "counter", "inet", "watch", counter];
        let text = self.namespace.command("nft", words.into_iter(), "");
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let list = answer["nftables"].as_array().expect("a list");
        list.iter().find_map(|entry| entry["counter"]["packets"].as_u64()).expect("a counter")
    }
}

impl Drop for LeakWatch {
    fn drop(&mut self) {
        self.namespace.command("nft", "delete table inet watch".split(' '), "");
    }
}
