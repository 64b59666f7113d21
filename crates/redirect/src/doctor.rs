//! What is wrong with a host on which traffic is not captured as it should be, and what to do about it.
//!
//! [`Facts`] are gathered once; [`examine`] judges them and touches nothing.

mod gather;
mod installed;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub use gather::refusal;
pub use installed::Installed;

use crate::{Mode, Options, ROUTING_TABLE};

/// What a host looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether this process may change the firewall (`CAP_NET_ADMIN`).
    pub is_privileged: bool,
    /// Whether `nft` is installed.
    pub has_nft: bool,
    /// Whether `iptables` is.
    pub has_iptables: bool,
    /// Whether `ip` is.
    pub has_ip: bool,
    /// Why the rules cannot be installed here, if a trial in an empty network namespace failed.
    pub refusal: Option<String>,
    /// The rules that are installed.
    pub installed: Option<Installed>,
    /// Where somebody listens for TCP connections.
    pub tcp: Vec<SocketAddr>,
    /// Where somebody receives datagrams.
    pub udp: Vec<SocketAddr>,
    /// Whether IPv4 packets are forwarded.
    pub forwards_v4: bool,
    /// Whether IPv6 packets are forwarded.
    pub forwards_v6: bool,
    /// A captured bridge whose packets are filtered while they are bridged.
    pub filtered_bridge: Option<String>,
    /// Whether our rules come before the filter for bridged packets, as TPROXY needs it. `None` where the kernel does not
    /// tell (`CONFIG_NETFILTER_NETLINK_HOOK`).
    pub precedes_filter: Option<bool>,
    /// The network interfaces.
    pub links: Vec<String>,
    /// Who is asked for names, by `/etc/resolv.conf`.
    pub nameservers: Vec<IpAddr>,
    /// Tables and chains that look like those of another proxy.
    pub others: Vec<String>,
    /// The lines of `ip rule`, both families.
    pub routing_rules: Vec<String>,
    /// Networks that this host has a route of its own to.
    pub networks: Vec<IpNet>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does not work.
    Problem,
    /// It works, but not for everybody or not for long.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// Something that does not work.
    pub fn problem(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, what: what.into(), remedy: remedy.into() }
    }

    /// Something that does not work for everybody or not for long.
    pub fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(what, remedy) }
    }

    /// Something that is good to know.
    pub fn note(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::problem(what, remedy) }
    }
}

/// Everything that is wrong with a host, the worst first. `wanted` is what the configuration asks for, if that makes rules.
#[must_use]
pub fn examine(facts: &Facts, wanted: Option<&Options>) -> Vec<Finding> {
    let mut findings = Vec::new();
    tools(facts, wanted, &mut findings);
    match &facts.installed {
        None if facts.is_privileged => {
            findings.push(Finding::note("no rules are installed, so nothing is captured", "run `adit redirect up`"));
        }
        None => {}
        Some(installed) => {
            daemon(facts, installed, &mut findings);
            sources(facts, installed, &mut findings);
            findings.extend(wanted.and_then(|wanted| outdated(installed, wanted)));
        }
    }
    routing(facts, &mut findings);
    names(facts, wanted, &mut findings);
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// What installing takes.
fn tools(facts: &Facts, wanted: Option<&Options>, findings: &mut Vec<Finding>) {
    if !facts.is_privileged {
        findings.push(Finding::problem(
            "this process may neither see nor change the firewall",
            "run it as root; in a container with `network_mode: host` and `cap_add: [NET_ADMIN]`",
        ));
    }
    match (facts.has_nft, facts.has_iptables) {
        (true, _) => {}
        (false, true) => findings.push(Finding::note(
            "`nft` is not installed: the rules go into iptables",
            "nothing to do; the package nftables gives rules that are replaced all at once",
        )),
        (false, false) => {
            findings.push(Finding::problem("neither `nft` nor `iptables` is installed", "install the package nftables"))
        }
    }
    if !facts.has_ip && wanted.is_some_and(|wanted| wanted.mode == Mode::Tproxy) {
        findings
            .push(Finding::problem("`ip` is not installed, and tproxy needs a route", "install the package iproute2"));
    }
    if let Some(refusal) = &facts.refusal {
        findings.push(Finding::problem(
            format!("the rules cannot be installed here: {refusal}"),
            "load the module (`modprobe`) or use a kernel that has it; `--mode redirect` needs less than tproxy",
        ));
    }
}

/// Whether somebody takes what is captured.
fn daemon(facts: &Facts, installed: &Installed, findings: &mut Vec<Finding>) {
    let port = installed.port;
    let listens = facts.tcp.iter().any(|at| at.port() == port);
    if !listens && installed.kill_switch {
        findings.push(Finding::problem(
            format!("nobody listens on port {port} and the kill switch is on: captured sources have no network"),
            "start adit, or run `adit redirect down`",
        ));
    } else if !listens {
        findings.push(Finding::warning(
            format!("nobody listens on port {port}: everything goes its way, not through adit"),
            "start adit",
        ));
    } else if installed.alive == Some(false) {
        findings.push(Finding::problem(
            format!("somebody listens on port {port}, but sends no sign of life that the rules know: nothing is captured"),
            "if it is adit, its `routing-mark` or user is not the one the rules were made for: run `adit redirect up` with \
             the configuration that it runs with",
        ));
    }
    if listens && !installed.interfaces.is_empty() {
        let only_loopback = facts.tcp.iter().filter(|at| at.port() == port).all(|at| at.ip().is_loopback());
        if only_loopback {
            findings.push(Finding::problem(
                format!("the listener on port {port} is on loopback, which forwarded traffic does not reach"),
                "write `allow-lan: true` into the configuration and restart adit",
            ));
        }
    }
    if let Some(dns) = installed.dns
        && listens
        && !facts.udp.iter().any(|at| at.port() == dns)
    {
        findings.push(Finding::problem(
            format!("questions go to port {dns}, where nobody answers"),
            format!("write `listen: ':{dns}'` under `dns` and restart adit, or run `adit redirect up` again"),
        ));
    }
}

/// Whether captured sources can send at all.
fn sources(facts: &Facts, installed: &Installed, findings: &mut Vec<Finding>) {
    for interface in installed.interfaces.iter().filter(|interface| !interface.as_str().ends_with('*')) {
        if !facts.links.iter().any(|link| interface.matches(link)) {
            findings.push(Finding::warning(
                format!("the captured interface {interface} does not exist"),
                format!("run `adit redirect up` with one of: {}", facts.links.join(", ")),
            ));
        }
    }
    if !installed.interfaces.is_empty() {
        for (forwards, family, setting) in [
            (facts.forwards_v4, "IPv4", "net.ipv4.ip_forward"),
            (facts.forwards_v6, "IPv6", "net.ipv6.conf.all.forwarding"),
        ] {
            if !forwards {
                findings.push(Finding::warning(
                    format!("this host does not forward {family}: of its clients' traffic only what is captured works"),
                    format!("run `sysctl -w {setting}=1`"),
                ));
            }
        }
    }
    if let Some(bridge) = facts.filtered_bridge.as_ref().filter(|_| installed.mode == Mode::Tproxy) {
        findings.extend(filtered(facts, bridge));
    }
}

/// Packets of `bridge` are filtered while they are bridged, and only rules of nftables that came later still get them.
fn filtered(facts: &Facts, bridge: &str) -> Option<Finding> {
    match facts.precedes_filter {
        _ if !facts.has_nft => Some(Finding::problem(
            format!("bridged packets are filtered (br_netfilter), and tproxy loses what enters at {bridge}"),
            "install the package nftables and run `adit redirect up` again, use `--mode redirect`, or run \
             `sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0`",
        )),
        Some(true) => None,
        Some(false) => Some(Finding::problem(
            format!(
                "the rules are older than the filter for bridged packets, and tproxy loses what enters at {bridge}"
            ),
            "run `adit redirect up` again; at boot, run it after Docker",
        )),
        None => Some(Finding::note(
            format!(
                "bridged packets are filtered, which rules must not be older than; what enters at {bridge} is captured"
            ),
            "if what is behind it has no connection, run `adit redirect up` again; at boot, run it after Docker",
        )),
    }
}

/// What the rules were made for is not what the configuration says now.
fn outdated(installed: &Installed, wanted: &Options) -> Option<Finding> {
    let differs = installed.mode != wanted.mode || installed.port != wanted.port || installed.dns != wanted.dns;
    differs.then(|| {
        let dns = |port: Option<u16>| port.map_or_else(|| "not at all".to_owned(), |port| format!("to port {port}"));
        Finding::problem(
            format!(
                "the rules send traffic to port {} ({:?}) and questions {}; by the configuration it is port {} ({:?}) and {}",
                installed.port,
                installed.mode,
                dns(installed.dns),
                wanted.port,
                wanted.mode,
                dns(wanted.dns)
            ),
            "run `adit redirect up` again",
        )
    })
}

/// What stands in the way.
fn routing(facts: &Facts, findings: &mut Vec<Finding>) {
    let table = format!("lookup {ROUTING_TABLE}");
    let ours = crate::Family::mark();
    let leads = |line: &&String| line.split_once(&table).is_some_and(|(_, rest)| !rest.starts_with(char::is_numeric));
    let (good, foreign): (Vec<_>, Vec<_>) =
        facts.routing_rules.iter().filter(leads).partition(|line| line.contains(&ours));
    if facts.installed.as_ref().is_some_and(|installed| installed.mode == Mode::Tproxy) && good.is_empty() {
        findings.push(Finding::problem(
            "the policy routing that tproxy needs is gone: somebody removed it after `adit redirect up`",
            "run `adit redirect up` again, after whatever changes the network",
        ));
    }
    for line in foreign {
        findings.push(Finding::problem(
            format!("somebody else uses routing table {ROUTING_TABLE}: `{line}`"),
            "remove that rule with `ip rule del`",
        ));
    }
    if !facts.others.is_empty() {
        findings.push(Finding::warning(
            format!("rules of another proxy are installed: {}", facts.others.join(", ")),
            "stop that proxy and remove its rules; two of them capture each other's packets",
        ));
    }
}

/// Who answers questions for names.
fn names(facts: &Facts, wanted: Option<&Options>, findings: &mut Vec<Finding>) {
    let Some(wanted) = wanted else { return };
    let stub = facts.udp.iter().find(|at| at.port() == 53 && at.ip().is_loopback());
    if let (Some(53), Some(stub)) = (wanted.dns, stub) {
        findings.push(Finding::problem(
            format!("`dns.listen` wants port 53, where somebody answers already ({stub}; systemd-resolved does)"),
            "write `listen: ':1053'`: the rules send port 53 there, whoever is asked",
        ));
    }
    let local = facts.nameservers.iter().find(|server| server.is_loopback());
    if let Some(local) = local.filter(|_| wanted.host && wanted.dns.is_some()) {
        findings.push(Finding::note(
            format!("programs of this host ask {local}, which is not captured; what that asks others is, unless encrypted"),
            "if names of this host are not answered by adit, switch off DNS over TLS there, or write another nameserver into \
             /etc/resolv.conf",
        ));
    }
    for fake in &wanted.fake {
        let overlaps = |network: &&IpNet| network.contains(fake) || fake.contains(*network);
        if let Some(network) = facts.networks.iter().find(overlaps) {
            findings.push(Finding::problem(
                format!("the fake addresses {fake} overlap {network}, which this host has a route to"),
                "give `fake-ip-range` a network that nobody uses",
            ));
        }
    }
    if !wanted.fake.is_empty() && wanted.dns.is_some() {
        findings.push(Finding::note(
            "a browser that uses DNS over HTTPS gets no fake addresses",
            "its connections are still captured; the `sniffer` finds their names",
        ));
    }
}

#[cfg(test)]
mod tests;
