//! What leaves a gateway, by what arrives behind it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::{Namespace, WAN};

/// What the kernel says on its own: it keeps the link working, or says that nobody listens any more.
const OF_THE_LINK: &str = "
    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
    icmp type destination-unreachable accept
    icmpv6 type destination-unreachable accept";

/// A record of packets that came over the `wan` link of a [`super::GatewayLab`]. It changes nothing.
///
/// It sits where packets arrive, before any rule of the gateway or of the internet's side could hide one.
#[derive(Debug)]
pub struct WanWatch {
    internet: Arc<Namespace>,
    table: String,
}

/// Packets of one kind that a [`WanWatch`] took down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose.
    pub from: IpAddr,
    /// Where to; port 0 where packets have none.
    pub to: SocketAddr,
    /// `tcp`, `udp`, or what else the kernel calls the protocol.
    pub protocol: String,
    /// How many.
    pub packets: u64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {} from {} to {}", self.packets, self.protocol, self.from, self.to)
    }
}

impl WanWatch {
    pub(super) fn everything_but(internet: Arc<Namespace>, allowed: &[SocketAddr]) -> Self {
        let allowed: String = allowed
            .iter()
            .map(|addr| {
                let family = if addr.is_ipv4() { "ip" } else { "ip6" };
                let (ip, port) = (addr.ip(), addr.port());
                format!("meta l4proto {{ tcp, udp }} {family} daddr {ip} th dport {port} accept\n")
            })
            .collect();
        Self::start(internet, &format!("{OF_THE_LINK}\n{allowed}"))
    }

    pub(super) fn questions(internet: Arc<Namespace>) -> Self {
        Self::start(internet, "meta l4proto != { tcp, udp } accept\nth dport != { 53, 853 } accept")
    }

    /// Takes down what `uninteresting` does not accept.
    fn start(internet: Arc<Namespace>, uninteresting: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let table = format!("watch{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let set = "size 65535; flags dynamic; counter;";
        let rules = format!(
            "table netdev {table} {{
                set ports4 {{ typeof ip saddr . ip daddr . meta l4proto . th dport; {set} }}
                set ports6 {{ typeof ip6 saddr . ip6 daddr . meta l4proto . th dport; {set} }}
                set others4 {{ typeof ip saddr . ip daddr . meta l4proto; {set} }}
                set others6 {{ typeof ip6 saddr . ip6 daddr . meta l4proto; {set} }}
                chain arriving {{
                    type filter hook ingress device \"{WAN}\" priority 0; policy accept;
                    meta protocol != {{ ip, ip6 }} accept
                    {uninteresting}
                    meta l4proto {{ tcp, udp }} update @ports4 {{ ip saddr . ip daddr . meta l4proto . th dport }} accept
                    meta l4proto {{ tcp, udp }} update @ports6 {{ ip6 saddr . ip6 daddr . meta l4proto . th dport }} accept
                    update @others4 {{ ip saddr . ip daddr . meta l4proto }} accept
                    update @others6 {{ ip6 saddr . ip6 daddr . meta l4proto }} accept
                }}
            }}"
        );
        internet.command("nft", ["-f", "-"].into_iter(), &rules);
        Self { internet, table }
    }

    /// What came so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        let words = ["-n", "-j", "list", "table", "netdev", &self.table];
        let text = self.internet.command("nft", words.into_iter(), "");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let list = answer["nftables"].as_array().expect("a list");
        let elements = list.iter().filter_map(|entry| entry["set"]["elem"].as_array()).flatten();
        elements.map(|element| read(element).unwrap_or_else(|| panic!("an element of a set: {element}"))).collect()
    }

    /// Fails unless nothing came.
    ///
    /// # Panics
    /// With what came.
    pub fn assert_silent(&self, when: &str) {
        let seen = self.seen();
        let lines: Vec<String> = seen.iter().map(Seen::to_string).collect();
        assert!(seen.is_empty(), "{when}: packets left the gateway that should not:\n{}", lines.join("\n"));
    }
}

impl Drop for WanWatch {
    fn drop(&mut self) {
        self.internet.command("nft", ["delete", "table", "netdev", &self.table].into_iter(), "");
    }
}

/// Reads one element of a set, as `nft -n -j` prints it.
fn read(element: &Value) -> Option<Seen> {
    let element = &element["elem"];
    let key = element["val"]["concat"].as_array()?;
    let address = |at: usize| key.get(at)?.as_str()?.parse::<IpAddr>().ok();
    let protocol = match key.get(2)? {
        Value::Number(number) if number.as_u64() == Some(6) => "tcp".to_owned(),
        Value::Number(number) if number.as_u64() == Some(17) => "udp".to_owned(),
        other => other.as_str().map_or_else(|| other.to_string(), str::to_owned),
    };
    let port = key.get(3).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    let packets = element["counter"]["packets"].as_u64()?;
    Some(Seen { from: address(0)?, to: SocketAddr::new(address(1)?, port), protocol, packets })
}
