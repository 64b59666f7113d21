//! Sets of addresses, and the set that a pulse renews.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::PULSE_TIMEOUT;
use crate::{Endpoint, Options, Transport};

/// Addresses that no host on the internet has: RFC 6890, multicast and class E.
const PRIVATE_V4: [&str; 7] =
    ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"];
const BEYOND_UNICAST_V4: &str = "224.0.0.0/3";
const PRIVATE_V6: [&str; 5] = ["::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8"];

/// What a set is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fake,
    Bypass,
    Endpoints,
}

/// A set of one family.
struct Set {
    name: &'static str,
    key: &'static str,
    is_of_ranges: bool,
    elements: Vec<String>,
}

/// The sets of `kind` that have elements, each with the word for its family.
pub(super) fn present(options: &Options, kind: Kind) -> impl Iterator<Item = (&'static str, &'static str)> {
    let [v4, v6] = of(options, kind);
    [("ip", v4), ("ip6", v6)].into_iter().filter(|(_, set)| !set.elements.is_empty()).map(|(f, set)| (f, set.name))
}

pub(super) fn write(text: &mut String, options: &Options) {
    if !options.kill_switch {
        let flags = format!("type nf_proto\n\t\tsize 4\n\t\tflags dynamic,timeout\n\t\ttimeout {PULSE_TIMEOUT}");
        let _ = writeln!(text, "\tset alive {{\n\t\t{flags}\n\t}}\n");
    }
    for set in [Kind::Fake, Kind::Bypass, Kind::Endpoints].into_iter().flat_map(|kind| of(options, kind)) {
        set.write(text);
    }
}

impl Set {
    fn write(&self, text: &mut String) {
        if self.elements.is_empty() {
            return;
        }
        let _ = writeln!(text, "\tset {} {{\n\t\ttype {}", self.name, self.key);
        if self.is_of_ranges {
            text.push_str("\t\tflags interval\n\t\tauto-merge\n");
        }
        let _ = writeln!(text, "\t\telements = {{\n\t\t\t{}\n\t\t}}\n\t}}\n", self.elements.join(",\n\t\t\t"));
    }
}

/// The IPv4 and the IPv6 set of `kind`.
fn of(options: &Options, kind: Kind) -> [Set; 2] {
    let (names, ranges) = match kind {
        Kind::Fake => (["fake4", "fake6"], split(options.fake.iter().copied())),
        Kind::Bypass => (["bypass4", "bypass6"], bypassed(options)),
        Kind::Endpoints => return endpoints(&options.bypass.endpoints),
    };
    let set = |name, key, elements| Set { name, key, is_of_ranges: true, elements };
    let [v4, v6] = names;
    [set(v4, "ipv4_addr", ranges.0), set(v6, "ipv6_addr", ranges.1)]
}

/// What a set of ranges holds, both families.
pub(crate) fn networks(options: &Options, kind: Kind) -> Vec<IpNet> {
    let private = PRIVATE_V4.iter().chain([&BEYOND_UNICAST_V4]).chain(&PRIVATE_V6);
    match kind {
        Kind::Fake => IpNet::aggregate(&options.fake),
        Kind::Bypass if options.bypass.private => {
            let others = IpNet::aggregate(&options.bypass.networks);
            private.filter_map(|network| network.parse().ok()).chain(others).collect()
        }
        Kind::Bypass => IpNet::aggregate(&options.bypass.networks),
        Kind::Endpoints => Vec::new(),
    }
}

fn bypassed(options: &Options) -> (Vec<String>, Vec<String>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    if options.bypass.private {
        v4.extend(PRIVATE_V4.iter().chain([&BEYOND_UNICAST_V4]).map(ToString::to_string));
        v6.extend(PRIVATE_V6.iter().map(ToString::to_string));
    }
    let (others_v4, others_v6) = split(options.bypass.networks.iter().copied());
    v4.extend(others_v4);
    v6.extend(others_v6);
    (v4, v6)
}

/// Prefixes in order, without host bits, none inside another: what `auto-merge` makes of others depends on the version.
fn split(networks: impl Iterator<Item = IpNet>) -> (Vec<String>, Vec<String>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for network in networks {
        match network {
            IpNet::V4(network) => v4.push(network),
            IpNet::V6(network) => v6.push(network),
        }
    }
    let text = |network: &dyn ToString| network.to_string();
    (
        Ipv4Net::aggregate(&v4).iter().map(|network| text(network)).collect(),
        Ipv6Net::aggregate(&v6).iter().map(|network| text(network)).collect(),
    )
}

fn endpoints(endpoints: &[Endpoint]) -> [Set; 2] {
    let elements = |is_ipv4: bool| {
        let unique: BTreeSet<_> = endpoints.iter().filter(|endpoint| endpoint.addr.is_ipv4() == is_ipv4).collect();
        let line = |endpoint: &&Endpoint| {
            let transport = match endpoint.transport {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            };
            format!("{} . {transport} . {}", endpoint.addr.ip(), endpoint.addr.port())
        };
        unique.iter().map(line).collect()
    };
    let set = |name, key, elements| Set { name, key, is_of_ranges: false, elements };
    [
        set("endpoints4", "ipv4_addr . inet_proto . inet_service", elements(true)),
        set("endpoints6", "ipv6_addr . inet_proto . inet_service", elements(false)),
    ]
}
