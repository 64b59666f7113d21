//! What leaves a lab's client side: to where, and with which mark.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use adit_testkit::lab::{Lab, Namespace};

/// The mark that is looked for.
pub(crate) const MARK: u32 = 0x2d;

/// Destinations of packets that leave by the link, by whether they have the mark.
///
/// What the kernel says on its own has no socket and so no mark: neighbour discovery, that nobody listens any more, and
/// resets for sockets that are gone.
const TABLE: &str = "table inet leaving {
    set marked4 { type inet_proto . ipv4_addr . inet_service; flags dynamic; size 65535; }
    set marked6 { type inet_proto . ipv6_addr . inet_service; flags dynamic; size 65535; }
    set unmarked4 { type inet_proto . ipv4_addr . inet_service; flags dynamic; size 65535; }
    set unmarked6 { type inet_proto . ipv6_addr . inet_service; flags dynamic; size 65535; }
    chain output {
        type filter hook output priority 0; policy accept;
        oifname \"lo\" accept
        meta l4proto { icmp, icmpv6 } accept
        tcp flags & rst == rst accept
        meta mark 0x2d add @marked4 { meta l4proto . ip daddr . th dport } accept
        meta mark 0x2d add @marked6 { meta l4proto . ip6 daddr . th dport } accept
        add @unmarked4 { meta l4proto . ip daddr . th dport }
        add @unmarked6 { meta l4proto . ip6 daddr . th dport }
    }
}";

/// A record of what leaves, from now on.
pub(crate) struct Leaving<'a>(&'a Namespace);

impl<'a> Leaving<'a> {
    pub(crate) fn watch(lab: &'a Lab) -> Self {
        nft(lab.client(), &["-f", "-"], TABLE);
        Self(lab.client())
    }

    /// Destinations of packets with [`MARK`] so far, as [`to`] writes them.
    pub(crate) fn marked(&self) -> BTreeSet<String> {
        self.read("marked4").chain(self.read("marked6")).collect()
    }

    /// Destinations of all other packets so far.
    pub(crate) fn unmarked(&self) -> BTreeSet<String> {
        self.read("unmarked4").chain(self.read("unmarked6")).collect()
    }

    fn read(&self, set: &str) -> impl Iterator<Item = String> + use<> {
        let text = nft(self.0, &["list", "set", "inet", "leaving", set], "");
        let elements = text.split_once("elements = {").and_then(|(_, rest)| rest.split_once('}'));
        let elements: Vec<String> = elements
            .map(|(elements, _)| elements.split(',').map(|one| one.trim().to_owned()).collect())
            .unwrap_or_default();
        elements.into_iter()
    }
}

/// A destination as the record has it: `udp . 192.0.2.1 . 53`.
pub(crate) fn to(protocol: &str, at: SocketAddr) -> String {
    format!("{protocol} . {} . {}", at.ip(), at.port())
}

/// Runs `nft` inside, gives it `input`, and returns what it printed.
fn nft(namespace: &Namespace, words: &[&str], input: &str) -> String {
    namespace.run(|| {
        let mut nft = Command::new("nft");
        let mut child = nft.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "nft {words:?}");
        String::from_utf8(output.stdout).unwrap()
    })
}
