use super::*;
use crate::{Interface, Owner};

/// A host on which everything is right.
fn host() -> (Facts, Options) {
    let installed = Installed {
        mode: Mode::Tproxy,
        port: 7893,
        dns: Some(1053),
        interfaces: vec!["lan0".parse().unwrap(), "br-*".parse().unwrap()],
        host: true,
        ipv6: true,
        user: None,
        kill_switch: false,
        alive: Some(true),
    };
    let options = Options {
        mode: Mode::Tproxy,
        port: 7893,
        dns: Some(1053),
        owner: Owner { mark: 45, ..Owner::default() },
        host: true,
        interfaces: installed.interfaces.clone(),
        ipv6: true,
        ..Options::default()
    };
    let facts = Facts {
        is_privileged: true,
        has_nft: true,
        has_iptables: true,
        has_ip: true,
        installed: Some(installed),
        tcp: vec!["[::]:7893".parse().unwrap()],
        udp: vec!["[::]:7893".parse().unwrap(), "[::]:1053".parse().unwrap()],
        forwards_v4: true,
        forwards_v6: true,
        links: vec!["lo".to_owned(), "lan0".to_owned()],
        nameservers: vec!["192.168.1.1".parse().unwrap()],
        routing_rules: vec!["2769:\tfrom all fwmark 0xad000000/0xff000000 lookup 2769".to_owned()],
        networks: vec!["192.168.1.0/24".parse().unwrap()],
        ..Facts::default()
    };
    (facts, options)
}

/// One thing that is wrong, how bad that is, and words of what is said.
type Case = (fn(&mut Facts, &mut Options), Severity, &'static str, &'static str);

fn installed(facts: &mut Facts) -> &mut Installed {
    facts.installed.as_mut().unwrap()
}

const CASES: &[Case] = &[
    (|facts, _| facts.is_privileged = false, Severity::Problem, "may neither", "NET_ADMIN"),
    (|facts, _| facts.has_nft = false, Severity::Note, "go into iptables", "nftables"),
    (
        |facts, _| (facts.has_nft, facts.has_iptables) = (false, false),
        Severity::Problem,
        "neither `nft`",
        "package nftables",
    ),
    (|facts, _| facts.has_ip = false, Severity::Problem, "`ip` is not installed", "iproute2"),
    (
        |facts, _| facts.refusal = Some("this kernel lacks CONFIG_NFT_TPROXY (module nft_tproxy)".to_owned()),
        Severity::Problem,
        "nft_tproxy",
        "--mode redirect",
    ),
    (|facts, _| facts.tcp.clear(), Severity::Warning, "nobody listens on port 7893: everything", "start adit"),
    (
        |facts, _| {
            facts.tcp.clear();
            *installed(facts) = Installed { kill_switch: true, alive: None, ..installed(facts).clone() };
        },
        Severity::Problem,
        "kill switch is on",
        "adit redirect down",
    ),
    (|facts, _| installed(facts).alive = Some(false), Severity::Problem, "no sign of life", "`routing-mark`"),
    (
        |facts, _| facts.tcp = vec!["127.0.0.1:7893".parse().unwrap(), "[::1]:7893".parse().unwrap()],
        Severity::Problem,
        "is on loopback",
        "allow-lan: true",
    ),
    (|facts, _| facts.udp.truncate(1), Severity::Problem, "port 1053, where nobody answers", "listen: ':1053'"),
    (|facts, _| facts.links.truncate(1), Severity::Warning, "lan0 does not exist", "one of: lo"),
    (|facts, _| facts.forwards_v4 = false, Severity::Warning, "does not forward IPv4", "net.ipv4.ip_forward=1"),
    (|facts, _| facts.forwards_v6 = false, Severity::Warning, "does not forward IPv6", "all.forwarding=1"),
    (
        |facts, _| (facts.filtered_bridge, facts.precedes_filter) = (Some("br-x".to_owned()), Some(false)),
        Severity::Problem,
        "loses what enters at br-x",
        "`adit redirect up` again",
    ),
    (
        |facts, _| facts.filtered_bridge = Some("br-x".to_owned()),
        Severity::Note,
        "what enters at br-x is captured",
        "after Docker",
    ),
    (|_, wanted| wanted.port = 7894, Severity::Problem, "by the configuration it is port 7894", "up` again"),
    (|_, wanted| wanted.mode = Mode::Redirect, Severity::Problem, "(Redirect)", "up` again"),
    (
        |facts, _| facts.routing_rules.clear(),
        Severity::Problem,
        "policy routing that tproxy needs is gone",
        "up` again",
    ),
    (
        |facts, _| facts.routing_rules.push("100: from all fwmark 0x1 lookup 2769".to_owned()),
        Severity::Problem,
        "somebody else uses routing table",
        "ip rule del",
    ),
    (
        |facts, _| facts.others.push("table inet mihomo".to_owned()),
        Severity::Warning,
        "another proxy are installed: table inet mihomo",
        "stop that proxy",
    ),
    (
        |facts, wanted| {
            facts.udp.push("127.0.0.53:53".parse().unwrap());
            facts.udp.push("[::]:53".parse().unwrap());
            wanted.dns = Some(53);
            installed(facts).dns = Some(53);
        },
        Severity::Problem,
        "wants port 53",
        "listen: ':1053'",
    ),
    (
        |facts, _| facts.nameservers = vec!["127.0.0.53".parse().unwrap()],
        Severity::Note,
        "ask 127.0.0.53",
        "DNS over TLS",
    ),
    (|facts, _| facts.installed = None, Severity::Note, "no rules are installed", "adit redirect up"),
];

#[test]
fn nothing_is_wrong_with_a_host_that_is_set_up() {
    let (facts, wanted) = host();
    assert_eq!(examine(&facts, Some(&wanted)), []);
    assert_eq!(examine(&facts, None), []);
}

#[test]
fn every_common_mistake_has_its_finding() {
    for (at, (break_it, severity, what, remedy)) in CASES.iter().enumerate() {
        let (mut facts, mut wanted) = host();
        break_it(&mut facts, &mut wanted);
        let findings = examine(&facts, Some(&wanted));
        let [finding] = findings.as_slice() else { panic!("case {at} ({what}): {findings:#?}") };
        assert_eq!(finding.severity, *severity, "{finding:?}");
        assert!(finding.what.contains(what) && finding.remedy.contains(remedy), "{finding:?}");
    }
}

#[test]
fn fake_addresses_must_be_nobodys() {
    let (mut facts, mut wanted) = host();
    wanted.fake = vec!["198.18.0.0/16".parse().unwrap()];
    let note = examine(&facts, Some(&wanted));
    assert_eq!(note.len(), 1);
    assert!(note[0].severity == Severity::Note && note[0].what.contains("DNS over HTTPS"));
    for network in ["198.18.7.0/24", "198.0.0.0/8"] {
        facts.networks = vec![network.parse().unwrap()];
        let findings = examine(&facts, Some(&wanted));
        assert_eq!(findings.len(), 2);
        assert_eq!(findings[0].severity, Severity::Problem, "the worst comes first");
        assert!(findings[0].what.contains(network), "{findings:?}");
    }
}

/// Rules that come first capture behind a bridge that filters; those of iptables never do.
#[test]
fn behind_a_bridge_that_filters_the_firewall_decides() {
    let (mut facts, wanted) = host();
    (facts.filtered_bridge, facts.precedes_filter) = (Some("br-x".to_owned()), Some(true));
    assert_eq!(examine(&facts, Some(&wanted)), []);
    facts.has_nft = false;
    let findings = examine(&facts, Some(&wanted));
    assert!(
        findings[0].severity == Severity::Problem && findings[0].remedy.contains("package nftables"),
        "{findings:?}"
    );
    installed(&mut facts).mode = Mode::Redirect;
    let words = |finding: &Finding| finding.what.contains("br-x");
    assert!(!examine(&facts, None).iter().any(words));
}

/// A longer number is another table.
#[test]
fn other_tables_are_no_concern() {
    let (mut facts, wanted) = host();
    facts.routing_rules.push("100:\tfrom all lookup 27690".to_owned());
    assert_eq!(examine(&facts, Some(&wanted)), []);
}

#[test]
fn interfaces_that_come_and_go_are_not_missed() {
    let (facts, _) = host();
    let of_docker = Interface::of_docker();
    assert!(of_docker[1].matches("br-1") && !of_docker[0].matches("docker01"));
    assert!(facts.installed.unwrap().interfaces[1].as_str().ends_with('*'));
}
