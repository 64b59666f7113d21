//! The nftables table: sets, and chains in the order in which a packet meets them.
//!
//! `accept` in a chain of ours means "leave it as it is" and ends the hook; what is captured falls through to the last rule.

mod guard;
pub(crate) mod sets;

use std::fmt::Write as _;

use crate::{CAPTURE_MARK, CAPTURE_MASK, Interface, Mode, Options, Owner, TABLE};

/// How long after the last pulse traffic is captured. The listener sends one each second.
const PULSE_TIMEOUT: &str = "5s";

/// A segment that does not begin a connection. One in the middle of a connection that began before the rules must not be
/// captured: it would only be reset.
const NO_SYN: &str = "tcp flags & (fin | syn | rst | ack) != syn";

/// Before the destination is rewritten by others: Docker publishes ports at -100, `dstnat`, which has no name in `output`.
const NAT_PRIORITY: i32 = -105;

/// Before all others (`NF_IP_PRI_FIRST`). Among equals, a hook that is registered later is met first.
const FIRST: i32 = i32::MIN;

const OUTPUT: &str = "What this host sends.";
const PREROUTING: &str = "What comes in.";
const FORWARDED: &str = "What comes in to be sent on.";
const ESTABLISHED: &str = "A connection stays where it began.";
const DNS: &str = "Questions go to the proxy, whoever was asked.";

/// One transaction that replaces the table, whether there was one or not.
pub(crate) fn replace(options: &Options) -> String {
    let mut text = remove();
    let _ = writeln!(text, "table inet {TABLE} {{");
    let chains = chains(options);
    sets::write(&mut text, options);
    for (at, chain) in chains.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        chain.write(&mut text);
    }
    text.push_str("}\n");
    text
}

/// One transaction that removes the table, whether there was one or not (`destroy` is newer than nft 1.0.6).
pub(crate) fn remove() -> String {
    format!("add table inet {TABLE}\ndelete table inet {TABLE}\n")
}

/// A chain, and where it hooks in if it does.
struct Chain {
    name: &'static str,
    /// A comment for who reads the rules.
    about: &'static str,
    hook: Option<String>,
    rules: Vec<String>,
}

impl Chain {
    fn hooked(name: &'static str, hook: &str, about: &'static str) -> Self {
        Self { name, about, hook: Some(format!("type {hook}; policy accept;")), rules: Vec::new() }
    }

    fn plain(name: &'static str, about: &'static str) -> Self {
        Self { name, about, hook: None, rules: Vec::new() }
    }

    fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rules.push(rule.into());
        self
    }

    fn rule_if(self, wanted: bool, rule: impl Into<String>) -> Self {
        if wanted { self.rule(rule) } else { self }
    }

    fn rules(mut self, rules: impl IntoIterator<Item = String>) -> Self {
        self.rules.extend(rules);
        self
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "\t# {}\n\tchain {} {{", self.about, self.name);
        for line in self.hook.iter().chain(&self.rules) {
            let _ = writeln!(text, "\t\t{line}");
        }
        text.push_str("\t}\n");
    }
}

fn chains(options: &Options) -> Vec<Chain> {
    let mut chains = Vec::new();
    if !options.kill_switch {
        chains.push(pulse(options));
    }
    chains.extend([own(options), bypass(options)]);
    match options.mode {
        Mode::Redirect => {
            redirect(options, &mut chains);
            // With a kill switch nothing of the kind gets out anyway.
            if !options.kill_switch && !options.fake.is_empty() {
                refuse_fakes(options, &mut chains);
            }
        }
        Mode::Tproxy => {
            tproxy(options, &mut chains);
            if let Some(port) = options.dns {
                dns(options, port, &mut chains);
            }
        }
    }
    if options.kill_switch {
        guard::chains(options, &mut chains);
    }
    chains
}

/// Sees that the proxy lives. Marks and users of the packets say that it is it.
fn pulse(options: &Options) -> Chain {
    let port = options.port;
    Chain::hooked("pulse", "filter hook output priority raw", "Each second the proxy says that it runs.").rules(
        owned(&options.owner).map(|own| {
            format!("oifname \"lo\" udp dport {port} {own} update @alive {{ meta nfproto timeout {PULSE_TIMEOUT} }}")
        }),
    )
}

/// Local packets that are the proxy's, or those of somebody who is let through.
fn own(options: &Options) -> Chain {
    let bypass = &options.bypass;
    let uids = bypass.uids.iter().map(|ids| format!("meta skuid {ids}"));
    let gids = bypass.gids.iter().map(|ids| format!("meta skgid {ids}"));
    let cgroups = bypass.cgroups.iter().map(cgroup);
    let others = uids.chain(gids).chain(cgroups).chain(marks(options));
    Chain::plain("own", "Packets of the proxy, and of those who are let through.")
        .rules(owned(&options.owner).chain(others).map(|packet| format!("{packet} accept")))
}

fn owned(owner: &Owner) -> impl Iterator<Item = String> {
    let mark = (owner.mark != 0).then(|| format!("meta mark {:#x}", owner.mark));
    let uid = owner.uid.map(|uid| format!("meta skuid {uid}"));
    let gid = owner.gid.map(|gid| format!("meta skgid {gid}"));
    let cgroup = owner.cgroup.as_ref().map(cgroup);
    [mark, uid, gid, cgroup].into_iter().flatten()
}

fn cgroup(group: &crate::Cgroup) -> String {
    format!("socket cgroupv2 level {} \"{group}\"", group.level())
}

fn marks(options: &Options) -> impl Iterator<Item = String> {
    options.bypass.marks.iter().map(|mark| match mark.mask {
        u32::MAX => format!("meta mark {:#x}", mark.value),
        mask => format!("meta mark & {mask:#x} == {:#x}", mark.value & mask),
    })
}

/// Destinations that are left alone. Comes back for those that are captured.
fn bypass(options: &Options) -> Chain {
    let mut rules = Vec::new();
    for (family, set) in sets::present(options, sets::Kind::Fake) {
        rules.push(format!("{family} daddr @{set} return"));
    }
    rules.push("fib daddr type { local, broadcast, anycast, multicast } accept".to_owned());
    for (family, set) in sets::present(options, sets::Kind::Bypass) {
        rules.push(format!("{family} daddr @{set} accept"));
    }
    for (family, set) in sets::present(options, sets::Kind::Endpoints) {
        rules.push(format!("{family} daddr . meta l4proto . th dport @{set} accept"));
    }
    Chain::plain("bypass", "Destinations that are left alone.").rules(rules)
}

/// Rules that end a hook before anything is captured: the proxy is dead, or the family is not wanted.
fn gate(options: &Options) -> impl Iterator<Item = String> {
    let alive = (!options.kill_switch).then(|| "meta nfproto != @alive accept".to_owned());
    let ipv4_only = (!options.ipv6).then(|| "meta nfproto ipv6 accept".to_owned());
    ipv4_only.into_iter().chain(alive)
}

fn from(interfaces: &[Interface], verdict: &str) -> impl Iterator<Item = String> {
    interfaces.iter().map(move |interface| format!("iifname \"{interface}\" {verdict}"))
}

/// REDIRECT: one chain for each side of the host; only packets that begin a connection get there.
fn redirect(options: &Options, chains: &mut Vec<Chain>) {
    let capture = |chain: Chain| {
        chain
            .rules(gate(options))
            .rules(options.dns.map(to_dns))
            .rule("meta l4proto != tcp accept")
            .rule(format!("{NO_SYN} accept"))
            .rule("jump bypass")
            .rule(format!("meta l4proto tcp redirect to :{}", options.port))
    };
    if options.host {
        let hook = format!("nat hook output priority {NAT_PRIORITY}");
        let output = Chain::hooked("output", &hook, OUTPUT).rule("oifname \"lo\" accept").rule("jump own");
        chains.push(capture(output));
    }
    if !options.interfaces.is_empty() {
        let hook = format!("nat hook prerouting priority {NAT_PRIORITY}");
        chains.push(Chain::hooked("prerouting", &hook, PREROUTING).rules(from(&options.interfaces, "goto forwarded")));
        let forwarded = Chain::plain("forwarded", FORWARDED).rules(marks(options).map(|mark| format!("{mark} accept")));
        chains.push(capture(forwarded));
    }
}

/// Datagrams to fake addresses, which REDIRECT cannot carry: whoever sends them (QUIC) is told at once, and takes TCP.
fn refuse_fakes(options: &Options, chains: &mut Vec<Chain>) {
    const ABOUT: &str = "Nobody answers datagrams to fake addresses: their senders are told.";
    let refuse = |chain: Chain| {
        let fakes = sets::present(options, sets::Kind::Fake);
        let refusals = fakes.map(|(family, set)| format!("{family} daddr @{set} reject with icmpx port-unreachable"));
        chain.rule("meta l4proto != udp accept").rules(gate(options)).rules(refusals.collect::<Vec<_>>())
    };
    if options.host {
        chains.push(refuse(Chain::hooked("fake_output", "filter hook output priority filter - 10", ABOUT)));
    }
    if !options.interfaces.is_empty() {
        chains.push(
            Chain::hooked("fake_forward", "filter hook forward priority filter - 10", ABOUT)
                .rules(from(&options.interfaces, "goto fake_forwarded")),
        );
        chains.push(refuse(Chain::plain("fake_forwarded", ABOUT)));
    }
}

fn to_dns(port: u16) -> String {
    format!("meta l4proto {{ tcp, udp }} th dport 53 redirect to :{port}")
}

/// Sets our bits of a packet's or connection's mark.
fn set_mark(what: &str) -> String {
    format!("{what} set {what} & {:#010x} | {CAPTURE_MARK:#010x}", !CAPTURE_MASK)
}

fn has_mark(what: &str) -> String {
    format!("{what} & {CAPTURE_MASK:#010x} == {CAPTURE_MARK:#010x}")
}

/// TPROXY: what this host sends is marked, and so routed to itself, where it comes in like what others send.
fn tproxy(options: &Options, chains: &mut Vec<Chain>) {
    if options.host {
        chains.push(
            Chain::hooked("output", "route hook output priority mangle", OUTPUT)
                .rule("oifname \"lo\" accept")
                .rule("jump own")
                .rule("meta l4proto != { tcp, udp } accept")
                // An answer to who came from outside goes back there.
                .rule("ct direction reply accept")
                .rule(format!("{NO_SYN} goto established"))
                .rules(gate(options))
                .rule_if(options.dns.is_some(), "th dport 53 accept")
                .rule("jump bypass")
                .rule(format!("meta l4proto tcp {}", set_mark("ct mark")))
                .rule(set_mark("meta mark")),
        );
        // Elsewhere, it would be taken for somebody else's and be reset from far away.
        chains.push(Chain::plain("established", ESTABLISHED).rule(format!(
            "{} {}",
            has_mark("ct mark"),
            set_mark("meta mark")
        )));
    }
    chains.push(
        Chain::hooked("prerouting", "filter hook prerouting priority mangle", PREROUTING)
            .rule(format!("iifname \"lo\" {} goto divert", has_mark("meta mark")))
            .rules(from(&options.interfaces, "goto forwarded")),
    );
    // Without a listener the statement does nothing and the packet goes on.
    let divert = format!("meta l4proto {{ tcp, udp }} tproxy to :{}", options.port);
    chains.push(
        Chain::plain("divert", "To the listener, as it is; without a listener the packet goes on.")
            .rule(format!("{divert} accept"))
            .rule_if(options.kill_switch, "drop"),
    );
    if !options.interfaces.is_empty() {
        chains.push(bridged(options));
        chains.push(
            Chain::plain("forwarded", FORWARDED)
                .rules(marks(options).map(|mark| format!("{mark} accept")))
                .rule("meta l4proto != { tcp, udp } accept")
                .rule("ct direction reply accept")
                .rule(format!("{NO_SYN} goto forwarded_established"))
                .rules(gate(options))
                .rule_if(options.dns.is_some(), "th dport 53 accept")
                .rule("jump bypass")
                .rule(format!("{divert} {} {} accept", set_mark("meta mark"), set_mark("ct mark")))
                .rule_if(options.kill_switch, "drop"),
        );
        // Not by `socket transparent`: the segment that ends a handshake has no socket yet.
        let known = format!("meta l4proto tcp {} tproxy to :{}", has_mark("ct mark"), options.port);
        chains.push(
            Chain::plain("forwarded_established", ESTABLISHED)
                .rule(format!("{known} {} accept", set_mark("meta mark"))),
        );
    }
}

/// Gives packets their listener again that they lost between a bridge and the host.
///
/// Where bridged packets are filtered (`br_netfilter`), a frame passes this hook while it is the bridge's, with the bridge as
/// its interface: it is captured then. When the host receives it, `ip_rcv_core` takes the socket off it; the mark stays. The
/// hook comes once more, but `br_netfilter` is first there (`ip_sabotage_in`) and skips the rest. Only before that can the
/// socket be put back, and only by a chain that was registered after it: rules that are older than the first bridge, or than
/// the module, must be installed again ([`crate::doctor`] tells).
fn bridged(options: &Options) -> Chain {
    Chain::hooked(
        "bridged",
        &format!("filter hook prerouting priority {FIRST}"),
        "What was captured at a bridge that filters is given its listener again.",
    )
    .rule(format!("meta mark & {CAPTURE_MASK:#010x} != {CAPTURE_MARK:#010x} accept"))
    .rules(from(&options.interfaces, "goto divert"))
}

/// Port 53 beside TPROXY, which does not rewrite it.
fn dns(options: &Options, port: u16, chains: &mut Vec<Chain>) {
    if options.host {
        chains.push(
            Chain::hooked("dns_output", &format!("nat hook output priority {NAT_PRIORITY}"), DNS)
                .rule("oifname \"lo\" accept")
                .rule("jump own")
                .rules(gate(options))
                .rule(to_dns(port)),
        );
    }
    if !options.interfaces.is_empty() {
        chains.push(
            Chain::hooked("dns_prerouting", &format!("nat hook prerouting priority {NAT_PRIORITY}"), DNS)
                .rules(from(&options.interfaces, "goto dns_forwarded")),
        );
        chains.push(
            Chain::plain("dns_forwarded", DNS)
                .rules(marks(options).map(|mark| format!("{mark} accept")))
                .rules(gate(options))
                .rule(to_dns(port)),
        );
    }
}
