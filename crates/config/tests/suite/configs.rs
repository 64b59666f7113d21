//! Whole configurations, ours and those that people have.

use std::time::{Duration, Instant};

use adit_config::{DEFAULT_CONFIG, DnsMode, Plan, Source, load};
use adit_net::{ClientAddr, Entry, Network, Protocol, Session, Tag};
use adit_outbound::options::Kind;
use adit_router::{Address, Opener, Query, Step};

use crate::scene::{PUBLIC_KEY, UUID, errors, loaded, outbound, plan, source, vless, warnings, wireguard};

/// Where a connection to `target` goes, and the line of the rule.
fn route(plan: &Plan, target: &str) -> (String, Option<usize>) {
    let entry = Entry {
        inbound: Tag::new("DEFAULT-MIXED"),
        protocol: Protocol::Socks5,
        local: "127.0.0.1:7890".parse().unwrap(),
        user: None,
    };
    let client = ClientAddr::from("127.0.0.1:50000".parse::<std::net::SocketAddr>().unwrap());
    let session = Session::new(Network::Tcp, entry, client, target.parse().unwrap());
    let mut query = Query::new(&session);
    query.process = Opener::Unknown;
    let mut step = plan.rules.decide(&query);
    if let Step::NeedAddress(cursor) = step {
        query.address = Address::Unresolvable;
        step = plan.rules.resume(cursor, &query);
    }
    match step {
        Step::Use(verdict) => {
            let line = verdict.rule.and_then(|rule| plan.rule_lines.line(&rule));
            (verdict.outbound.to_string(), line)
        }
        step => panic!("asked twice: {step:?}"),
    }
}

fn clean(text: &str) -> Plan {
    assert_eq!(warnings(text), [""; 0]);
    plan(text)
}

#[test]
fn the_default_is_a_proxy_for_this_machine_that_goes_direct() {
    let plan = clean(DEFAULT_CONFIG);
    assert_eq!(plan.inbounds.len(), 2);
    assert_eq!(plan.inbounds[0].options.listen, "127.0.0.1:7890".parse().unwrap());
    assert_eq!(route(&plan, "192.168.1.1:80").0, "DIRECT");
    assert_eq!(route(&plan, "example.com:443").0, "DIRECT");
    assert_eq!(plan.rules.len(), 2);
    assert!(plan.rules.resolving().next().is_none(), "nothing is looked up for nothing");
}

#[test]
fn the_home_server_example_sends_ai_through_the_exit() {
    let text = include_str!("../../../../configs/home-server.yaml");
    let plan = clean(text);
    assert_eq!(route(&plan, "api.anthropic.com:443").0, "AI");
    assert_eq!(route(&plan, "chatgpt.com:443").0, "AI");
    assert_eq!(route(&plan, "example.com:443").0, "DIRECT");
    assert_eq!(route(&plan, "192.168.1.10:443").0, "DIRECT");
    let line = route(&plan, "claude.ai:443").1.unwrap();
    assert_eq!(text.lines().nth(line - 1).unwrap().trim(), "- RULE-SET,ai,AI");
    assert_eq!(plan.groups[0].members.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["exit", "REJECT"]);
    assert_eq!(plan.notices.len(), 1);
    vless(outbound(&plan, "exit"));
}

#[test]
fn the_sidecar_example_never_goes_direct() {
    let plan = clean(include_str!("../../../../configs/socks-sidecar.yaml"));
    assert!(plan.inbounds.iter().all(|inbound| inbound.options.listen.ip().is_loopback()));
    assert_eq!(route(&plan, "example.com:443").0, "exit");
    assert_eq!(route(&plan, "10.0.0.1:443").0, "REJECT");
}

#[test]
fn the_wireguard_example_has_a_tunnel_for_everything_and_one_for_some_networks() {
    let plan = clean(include_str!("../../../../configs/wireguard.yaml"));
    assert_eq!(route(&plan, "example.com:443").0, "home");
    assert_eq!(route(&plan, "10.2.3.4:22").0, "office");
    assert_eq!(route(&plan, "192.168.1.1:80").0, "DIRECT");
    assert_eq!(wireguard(outbound(&plan, "home")).tunnel.addresses.v6(), Some("fd00::2".parse().unwrap()));
    assert_eq!(wireguard(outbound(&plan, "office")).endpoints[1].to_string(), "[2001:db8::1]:51820");
}

/// Every rule error points at the part of the line that is wrong.
#[test]
fn rule_errors_have_their_line_and_a_hint() {
    let text = "\
rules:
  - DOMIAN-SUFFIX,example.com,DIRECT
  - 'DOMAIN,example.com,DIRCET'
  - DOMAIN,example.com
  - \"IP-CIDR,10.0.0.0/99,DIRECT,no-resolve\"
  - RULE-SET,adds,REJECT
  - SUB-RULE,(NETWORK,tcp),iner
  - AND,((DOMAIN,a.com),(NETWORK,tpc)),DIRECT
  - DST-PORT,70000,DIRECT
  - MATCH,PROXY
sub-rules:
  inner:
    - MATCH,NOBODY
rule-providers:
  ads: {type: inline, behavior: domain, payload: [a.b]}
proxies: [{name: Proxy, type: direct}]
";
    let loaded = loaded(text);
    let found: Vec<(usize, &str, &str, Option<&str>)> = loaded
        .problems
        .iter()
        .map(|problem| (problem.line, &text[problem.span.clone()], &*problem.message, problem.hint.as_deref()))
        .collect();
    let expected: [(usize, &str, &str, Option<&str>); 10] = [
        (
            2,
            "DOMIAN-SUFFIX",
            "rules[0] [DOMIAN-SUFFIX,example.com,DIRECT] error: unsupported rule type: DOMIAN-SUFFIX",
            Some("did you mean DOMAIN-SUFFIX?"),
        ),
        (
            3,
            "DIRCET",
            "rules[1] [DOMAIN,example.com,DIRCET] error: proxy [DIRCET] not found",
            Some("did you mean 'DIRECT'?"),
        ),
        (
            4,
            "DOMAIN,example.com",
            "rules[2] [DOMAIN,example.com] error: format invalid",
            Some("a rule ends with its target: TYPE,payload,target"),
        ),
        (5, "10.0.0.0/99", "rules[3] [IP-CIDR,10.0.0.0/99,DIRECT,no-resolve] error: payloadRule error", None),
        (6, "adds", "rules[4] [RULE-SET,adds,REJECT] error: rule set [adds] not found", Some("did you mean 'ads'?")),
        (
            7,
            "iner",
            "rules[5] [SUB-RULE,(NETWORK,tcp),iner] error: sub-rule [iner] not found",
            Some("did you mean 'inner'?"),
        ),
        (
            8,
            "tpc",
            "rules[6] [AND,((DOMAIN,a.com),(NETWORK,tpc)),DIRECT] error: unsupported network type, only TCP/UDP",
            None,
        ),
        (9, "70000", "rules[7] [DST-PORT,70000,DIRECT] error: invalid range: 70000", None),
        (10, "PROXY", "rules[8] [MATCH,PROXY] error: proxy [PROXY] not found", Some("did you mean 'Proxy'?")),
        (13, "NOBODY", "sub-rules[inner][0] [MATCH,NOBODY] error: proxy [NOBODY] not found", None),
    ];
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.0, expected.0);
        assert_eq!((found.1, found.2), (expected.1, expected.2));
        if expected.3.is_some() {
            assert_eq!(found.3, expected.3, "{}", expected.2);
        }
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(loaded.plan.is_none());
}

#[test]
fn sub_rules_lead_on_and_loops_are_found() {
    let text = "\
rules:
  - SUB-RULE,(DOMAIN-SUFFIX,example.com),inner
  - MATCH,DIRECT
sub-rules:
  inner:
    - DOMAIN,a.example.com,REJECT
";
    let plan = clean(text);
    assert_eq!(route(&plan, "a.example.com:1"), ("REJECT".into(), Some(2)));
    assert_eq!(route(&plan, "b.example.com:1"), ("DIRECT".into(), Some(3)));
    assert_eq!(plan.rule_lines.line_of(Some(&Tag::new("inner")), 0), Some(6));
    let cycle = text.replace("    - DOMAIN,a.example.com,REJECT", "    - SUB-RULE,(NETWORK,tcp),inner");
    assert_eq!(errors(&cycle).len(), 1);
    assert!(errors(&cycle)[0].contains("circular references [inner->inner]"), "{:?}", errors(&cycle));
}

#[test]
fn hosts_are_addresses_names_or_this_machine() {
    use adit_net::{Domain, HostsEntry, HostsTable as _};
    let plan = plan(
        "hosts:\n  '*.a.b': [1.1.1.1, '::ffff:2.2.2.2']\n  c.d: x.a.b\n  me.lan: lan\n  e.f: 5.5.5.5\n  nothing: ~\n",
    );
    let lookup = |name: &str| plan.hosts.lookup(&Domain::new(name).unwrap());
    assert_eq!(
        lookup("x.a.b"),
        Some(HostsEntry::Addresses(vec!["1.1.1.1".parse().unwrap(), "2.2.2.2".parse().unwrap()]))
    );
    assert_eq!(lookup("c.d"), Some(HostsEntry::Alias(Domain::new("x.a.b").unwrap())));
    assert_eq!(lookup("localhost"), Some(HostsEntry::Addresses(vec!["127.0.0.1".parse().unwrap()])));
    let text = "hosts:\n  a.b: c.d\n  c.d: a.b\n  e.f: [1.1.1.1, x]\n  g.h: single\n  i..j: 1.1.1.1\n  k.l: []\n";
    let found = errors(text);
    assert!(found.iter().any(|error| error.ends_with("there is a cycle in domain name mapping")), "{found:#?}");
    assert!(found.contains(&"x is not a valid value".into()) && found.contains(&"single is not a valid value".into()));
    assert!(found.iter().any(|error| error.contains("i..j")) && found.len() == 5, "{found:#?}");
}

/// F-D7, F-D10: what is missing makes its rules not match; it never stops the start.
#[test]
fn missing_lists_and_databases_do_not_stop_the_start() {
    let text = "\
find-process-mode: off
rules:
  - RULE-SET,remote,REJECT
  - RULE-SET,local,REJECT
  - RULE-SET,fallback,REJECT
  - GEOSITE,cn,REJECT
  - GEOIP,cn,REJECT
  - IP-ASN,13335,REJECT
  - PROCESS-NAME,curl,REJECT
  - PROCESS-NAME,wget,REJECT
  - MATCH,DIRECT
rule-providers:
  remote: {type: http, behavior: domain, url: 'https://example.com/list', interval: 86400, path: ./r.yaml}
  local: {type: file, behavior: domain, path: ./l.yaml}
  fallback: {type: http, behavior: domain, url: 'https://example.com/x', payload: ['+.blocked.example']}
  odd: {type: inline, behavior: ipcidr, payload: [10.0.0.0/8, 1.2.3.4, x]}
";
    let found = warnings(text);
    for about in [
        "initial rule provider local error: cannot read /nonexistent/adit/l.yaml: there is no such file",
        "rule provider odd: invalid Ipcidr:[1.2.3.4] (and 1 more entries like this)",
        "the GeoSite database is not available",
        "processes are not looked up, so this rule never matches (and in one more place)",
    ] {
        assert!(found.iter().any(|warning| warning.contains(about)), "{about}: {found:#?}");
    }
    let plan = plan(text);
    assert_eq!(route(&plan, "example.com:1").0, "DIRECT");
    assert_eq!(route(&plan, "www.blocked.example:1").0, "REJECT");
}

#[test]
fn rule_provider_files_are_read_from_home_only() {
    let home = std::env::temp_dir().join(format!("adit-config-{}", std::process::id()));
    std::fs::create_dir_all(home.join("rules")).unwrap();
    std::fs::write(home.join("rules/a.yaml"), "payload:\n  - '+.a.example'\n").unwrap();
    std::fs::write(home.join("rules/b.txt"), "# comment\nDOMAIN-KEYWORD,tracker\nMATCH\n").unwrap();
    std::fs::write(home.join("rules/broken.yaml"), "nothing: here\n").unwrap();
    std::fs::write(home.join("geosite.DAT"), b"not a database").unwrap();
    let mut source = source(
        "\
rules: ['RULE-SET,a,REJECT', 'RULE-SET,b,REJECT', 'GEOSITE,cn,REJECT', 'MATCH,DIRECT']
rule-providers:
  a: {type: file, behavior: domain, path: ./rules/a.yaml}
  b: {type: http, behavior: classical, format: text, path: rules/../rules/b.txt, url: 'https://example.com/'}
  broken: {type: file, behavior: domain, path: ./rules/broken.yaml}
",
    );
    source.home = home.clone();
    let loaded = load(&source);
    let shown = loaded.problems.render(false);
    let plan = loaded.plan.expect(&shown);
    assert_eq!(route(&plan, "x.a.example:1").0, "REJECT");
    assert_eq!(route(&plan, "my-tracker.example:1").0, "REJECT");
    assert_eq!(route(&plan, "example.com:1").0, "DIRECT");
    for about in ["file must have a `payload` field", "MATCH", "geosite.DAT: the file is damaged"] {
        assert!(shown.contains(about), "{about}: {shown}");
    }
    source.text = source.text.replace("./rules/a.yaml", "../../etc/passwd");
    let outside = load(&source);
    assert!(outside.plan.is_none());
    let problem = outside.problems.iter().find(|problem| problem.message.starts_with("path is not subpath")).unwrap();
    assert!(problem.hint.as_deref().unwrap().contains("SAFE_PATHS="), "{problem}");
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn rule_providers_that_are_wrong_are_refused_in_known_words() {
    for (provider, message) in [
        ("{type: htp, behavior: domain}", "unsupported vehicle type: htp"),
        ("{type: inline, behavior: domian}", "unsupported behavior type: domian"),
        ("{type: inline, behavior: domain, format: txt}", "unsupported format type: txt"),
        ("{type: inline}", "rule provider r: '' has unset fields: behavior"),
        ("{}", "rule provider r: '' has unset fields: behavior, type"),
        ("{type: file, behavior: domain}", "rule provider r: '' has unset fields: path"),
        ("{type: http, behavior: domain}", "rule provider r: '' has unset fields: url"),
        (
            "{type: http, behavior: domain, url: 'ftp://x/'}",
            "rule provider r: `url` is not one that begins with http:// or https://",
        ),
        ("{type: http, behavior: domain, url: 'http://x/', proxy: nobody}", "proxy [nobody] not found"),
        (
            "{type: http, behavior: domain, url: 'http://x/', header: {X: [\"a\\nb\"]}}",
            "`X` is not a valid HTTP header",
        ),
    ] {
        assert_eq!(errors(&format!("rule-providers: {{r: {provider}}}\n")), [message]);
    }
}

/// What a subscription service hands out, and what its users add.
fn subscription() -> String {
    let mut text = String::from(
        "\
# generated
port: 7890
socks-port: 7891
redir-port: 7892
mixed-port: 7893
allow-lan: true
bind-address: '*'
mode: Rule
log-level: info
ipv6: false
unified-delay: true
tcp-concurrent: true
find-process-mode: strict
global-client-fingerprint: chrome
external-controller: 0.0.0.0:9090
external-ui: ui
secret: ''
geodata-mode: true
geo-auto-update: true
geox-url: {geoip: 'https://example.com/geoip.dat'}
profile: {store-selected: true, store-fake-ip: true}
sniffer:
  enable: true
  sniff: {HTTP: {ports: [80, 8080-8880], override-destination: true}, TLS: {ports: [443, 8443]}}
  skip-domain: [Mijia Cloud]
tun: {enable: false, stack: mixed, dns-hijack: ['any:53'], auto-route: true}
dns:
  enable: true
  listen: 0.0.0.0:1053
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  nameserver: [https://dns.example.com/dns-query]
  fallback-filter: {geoip: true, geoip-code: CN}
hosts: {router.example: 192.168.1.1}
pr: &pr {type: select, proxies: [手动, 自动, DIRECT]}
use: &use {type: url-test, url: 'https://www.gstatic.com/generate_204', interval: 300, tolerance: 50, lazy: true}
rule-anchor:
  ip: &ip {type: http, interval: 86400, behavior: ipcidr, format: mrs}
  domain: &domain {type: http, interval: 86400, behavior: domain, format: mrs}
proxies:
",
    );
    for n in 0..60 {
        let kind = ["ss", "vmess", "trojan", "vless", "hysteria2", "tuic"][n % 6];
        let keys = match kind {
            "ss" => {
                "cipher: aes-128-gcm, password: secret, udp: true, plugin: obfs, plugin-opts: {mode: tls}".to_owned()
            }
            "vless" => format!(
                "uuid: {UUID}, network: tcp, tls: true, udp: true, flow: xtls-rprx-vision, servername: www.example.com, client-fingerprint: chrome, skip-cert-verify: false, reality-opts: {{public-key: {PUBLIC_KEY}, short-id: 6ba85179e30d4fc2}}, tfo: false"
            ),
            _ => format!("uuid: {UUID}, password: secret, alterId: 0, cipher: auto, network: ws, ws-opts: {{path: /}}"),
        };
        text.push_str(&format!(
            "  - {{name: '🇭🇰 香港 {n:02} {kind}', type: {kind}, server: node{n}.example.com, port: {}, {keys}}}\n",
            10000 + n
        ));
    }
    text.push_str(
        "  - {name: ws, type: vless, server: x.example.com, port: 443, uuid: my-id, tls: true, network: ws, ws-opts: {path: /a, headers: {Host: x.example.com}}}
  - {name: wg, type: wireguard, server: wg.example.com, port: 51820, ip: 172.16.0.2, private-key: eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=, public-key: Cr8hWlKvtDt7nrvf+f0brNQQzabAqrjfBvas9pmowjo=, udp: true}
  - {name: dns-out, type: dns}
proxy-providers:
  sub: {type: http, url: 'https://example.com/sub?token=x', interval: 3600, path: ./sub.yaml, health-check: {enable: true, url: 'https://www.gstatic.com/generate_204', interval: 300}}
proxy-groups:
  - {name: 手动, type: select, include-all: true, filter: '^(?!.*(官网|剩余)).*$'}
  - {name: 自动, <<: *use, include-all: true, filter: '(?i)hk|香港', exclude-type: 'vmess|shadowsocks'}
  - {name: 订阅, <<: *use, use: [sub]}
  - {name: AI, <<: *pr}
  - {name: 备用, type: fallback, proxies: [AI, 手动], url: 'https://www.gstatic.com/generate_204', interval: 300}
  - {name: 均衡, type: load-balance, proxies: [手动], strategy: consistent-hashing}
  - {name: 漏网, type: select, proxies: [AI, DIRECT], icon: 'https://example.com/i.png', hidden: false, disable-udp: false}
rule-providers:
  ai: {<<: *domain, url: 'https://example.com/ai.mrs'}
  cn-ip: {<<: *ip, url: 'https://example.com/cn.mrs', path: ./ruleset/cn.mrs}
  mine: {type: inline, behavior: classical, payload: ['DOMAIN-SUFFIX,mine.example', 'IP-CIDR,10.7.0.0/16,no-resolve']}
sub-rules:
  quic: ['AND,((NETWORK,udp),(DST-PORT,443)),REJECT']
rules:
  - DST-PORT,53,dns-out
  - SUB-RULE,(NETWORK,udp),quic
  - RULE-SET,mine,AI
  - RULE-SET,ai,AI
  - DOMAIN-KEYWORD,google,手动
  - PROCESS-NAME,transmission,DIRECT
  - GEOSITE,cn,DIRECT
  - RULE-SET,cn-ip,DIRECT,no-resolve
  - GEOIP,LAN,DIRECT,no-resolve
  - GEOIP,CN,DIRECT
  - MATCH,漏网
",
    );
    text
}

#[test]
fn an_unmodified_subscription_runs_with_warnings_only() {
    let text = subscription();
    let loaded = loaded(&text);
    let shown = loaded.problems.render(false);
    assert_eq!(errors(&text), [""; 0]);
    let plan = loaded.plan.unwrap();
    assert!(!shown.contains(UUID) && !shown.contains("token=x"), "{shown}");
    assert!(!shown.contains("in the configuration is not supported yet"), "{shown}");
    assert_eq!(shown.matches("geo databases are not downloaded").count(), 1, "{shown}");
    assert!(plan.general.unified_delay && plan.general.store_selected);
    assert_eq!(plan.controller.as_ref().unwrap().listen, Some("0.0.0.0:9090".parse().unwrap()));
    assert!(plan.notices.iter().any(|notice| notice.contains("without `secret`")), "{:?}", plan.notices);
    assert!(!shown.contains("unknown key"), "{shown}");
    assert!(loaded.problems.counts().warnings < 40, "{:?}", loaded.problems.counts());
    let dns = plan.dns.as_ref().unwrap();
    assert_eq!(dns.listen, Some("0.0.0.0:1053".parse().unwrap()));
    assert!(matches!(&dns.mode, DnsMode::FakeIp { store: Some(file), .. } if file.ends_with("fakeip.redb")));
    assert_eq!(route(&plan, "a.mine.example:443").0, "AI");
    assert_eq!(route(&plan, "www.google.com:443").0, "手动");
    assert_eq!(route(&plan, "example.com:443").0, "漏网");
    assert!(matches!(outbound(&plan, "dns-out").kind, Kind::Dns));
    // What would have gone through a node that we cannot speak to goes nowhere.
    assert!(plan.outbounds.iter().all(|outbound| outbound.common.udp || !matches!(outbound.kind, Kind::Reject)));
    let automatic = plan.groups.iter().find(|group| &*group.name == "自动").unwrap();
    assert!(automatic.members.iter().all(|member| !member.ends_with("vmess") && !member.ends_with(" ss")));
}

#[test]
fn everything_wrong_is_found_in_one_go_in_large_files_too() {
    let mut text = subscription().replace("MATCH,漏网", "MATCH,漏往");
    text = text.replace("mode: Rule", "mode: Rules").replace("DST-PORT,53,dns-out", "DST-PROT,53,dns-out");
    let found = errors(&text);
    assert_eq!(found.len(), 3, "{found:#?}");
}

/// Large lists load in time that grows with their length only. The bound is generous: tests run unoptimised.
#[test]
fn a_hundred_thousand_rules_load_quickly() {
    let mut text = String::from("proxies: [{name: P, type: direct}]\nrules:\n");
    for n in 0..100_000 {
        text.push_str(&format!("  - DOMAIN-SUFFIX,host{n}.example{}.com,P\n", n % 977));
    }
    text.push_str("  - MATCH,DIRECT\n");
    let source = Source { name: "large".into(), text, home: "/nonexistent".into(), overrides: Default::default() };
    let start = Instant::now();
    let plan = load(&source).plan.unwrap();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(route(&plan, "www.host99999.example345.com:1"), ("P".into(), Some(100_002)));
    assert_eq!(plan.rules.len(), 100_001);
}
