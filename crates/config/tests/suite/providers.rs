//! `proxy-providers:` and `rule-providers:`, and what their content becomes.

use std::path::Path;
use std::time::{Duration, Instant};

use adit_config::{ContentError, Download, Nodes, ProviderPlan, Vehicle, load};
use adit_net::Tag;
use adit_outbound::options::{IpVersion, Kind, Outbound, Verify};
use base64::Engine as _;

use crate::scene::{PUBLIC_KEY, UUID, errors, loaded, plan, source, warnings};

/// A provider of type http with some more keys.
fn provider(keys: &str) -> ProviderPlan {
    let text = format!("proxy-providers:\n  sub: {{type: http, url: 'https://example.com/sub'{keys}}}\n");
    plan(&text).ways.providers.remove(0)
}

fn names(nodes: &Nodes) -> Vec<&str> {
    nodes.outbounds.iter().map(|outbound| &*outbound.name).collect()
}

const YAML: &str = "\
port: 7890
proxies:
  - {name: HK 1, type: socks5, server: a.test, port: 1}
  - {name: US 1, type: http, server: b.test, port: 2, tls: true, skip-cert-verify: true}
  - {name: old, type: ss, server: c.test, port: 3, cipher: x, password: hunter2}
  - {name: bad, type: socks5, server: d.test, port: 99999}
  - {name: half, type: vless, server: e.test, port: 443, uuid: 00000000-0000-0000-0000-000000000001, network: ws}
  - {name: HK 1, type: socks5, server: f.test, port: 5}
  - {type: socks5, server: g.test, port: 5}
  - just text
";

#[test]
fn yaml_becomes_nodes_and_bad_ones_are_told() {
    let nodes = provider("").nodes(YAML.as_bytes()).unwrap();
    assert_eq!(names(&nodes), ["HK 1", "US 1", "HK 1-01"]);
    assert!(nodes.outbounds.iter().all(|node| node.common.provider.as_deref() == Some("sub")));
    let skipped = &nodes.skipped;
    assert_eq!(skipped.unsupported.iter().collect::<Vec<_>>(), [(&"ss".to_owned(), &1)]);
    assert_eq!((skipped.bad, skipped.count()), (4, 5));
    let reasons = skipped.reasons.join("\n");
    for why in [
        "'bad': `port` must be a port from 1 to 65535, found '99999'",
        "'half': `network: ws` is not supported",
        "'': proxy 6: '' has unset fields: name",
        "'': proxy 7: missing type",
    ] {
        assert!(skipped.reasons.iter().any(|reason| reason == why), "{why}: {reasons}");
    }
    assert!(skipped.to_string().starts_with("1 of type ss, 4 that cannot be used ("), "{skipped}");
}

#[test]
fn links_become_nodes_plain_and_in_base64() {
    let links = format!(
        "# comment\r\nSTATUS=ignored\r\n\r\nvless://{UUID}@a.test:443?security=reality&pbk={PUBLIC_KEY}&sni=x.test#%F0%9F%87%AD%F0%9F%87%B0: 1\r\n\
         socks5://u:p@b.test:1080#two\r\nSS://abc@c.test:1#x\r\nvmess://eyJ9\r\nvmess://eyJ9\r\n\
         socks://b.test:1080#two\r\nhttps://h.test#three\r\nvless://nobody@a.test#wrong\r\n"
    );
    let plain = provider("").nodes(links.as_bytes()).unwrap();
    assert_eq!(names(&plain), ["🇭🇰: 1", "two", "two-01", "three"]);
    assert_eq!((plain.skipped.unsupported["ss"], plain.skipped.unsupported["vmess"]), (1, 2));
    assert_eq!(plain.skipped.bad, 2, "{:?}", plain.skipped);
    assert!(plain.outbounds[0].common.udp && !plain.outbounds[3].common.udp);
    let engine = base64::engine::general_purpose::STANDARD;
    let padded = engine.encode(&links);
    let lines: Vec<&str> = padded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&links);
    for body in [padded.clone(), padded.trim_end_matches('=').to_owned(), lines.join("\r\n") + "\n", url_safe] {
        assert_eq!(names(&provider("").nodes(body.as_bytes()).unwrap()), names(&plain));
    }
    // Without a comment before it, the first link looks like a mapping.
    let bare = links.lines().nth(3).unwrap();
    assert_eq!(names(&provider("").nodes(bare.as_bytes()).unwrap()), ["🇭🇰: 1"]);
}

/// F-D5
#[test]
fn content_without_nodes_is_refused_in_known_words() {
    let error = |keys: &str, content: &str| provider(keys).nodes(content.as_bytes()).unwrap_err();
    assert_eq!(error("", "other: thing\n").to_string(), "file must have a `proxies` field");
    assert_eq!(error("", "").to_string(), "file must have a `proxies` field");
    assert_eq!(error("", "proxies: ~\n"), ContentError::NoProxies);
    assert_eq!(error("", "proxies: []\n").to_string(), "file doesn't have any proxy");
    assert_eq!(error(", filter: nothing", YAML).to_string(), "doesn't match any proxy, please check your filter");
    let only = error("", "proxies: [{name: a, type: ss}]\n").to_string();
    assert_eq!(only, "file doesn't have any proxy that can be used: 1 of type ss");
    assert!(matches!(error("", "<html>\n<body>: [\n"), ContentError::NotYaml(_)));
    assert!(matches!(error("", "proxies: [{name: a, type: dir"), ContentError::NotYaml(_)));
    assert!(matches!(error("", "proxies: []\nproxies: []\n"), ContentError::NotYaml(_)));
    assert_eq!(error(", size-limit: 10", YAML), ContentError::TooLarge(10));
    assert_eq!(provider("").nodes(b"proxies: \xff").unwrap_err(), ContentError::NotText);
}

#[test]
fn filters_are_about_the_names_before_override() {
    let of = |keys: &str| {
        let nodes = provider(keys).nodes(YAML.as_bytes()).unwrap();
        names(&nodes).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(", filter: 'US`HK'"), ["US 1", "HK 1", "HK 1-01"]);
    assert_eq!(of(", exclude-filter: '-01$`US'"), ["HK 1"]);
    assert_eq!(of(", exclude-type: 'HTTP|ss'"), ["HK 1", "HK 1-01"]);
    assert_eq!(
        of(", filter: '^HK', override: {additional-prefix: '[s] ', additional-suffix: ' ·', \
            proxy-name: [{pattern: '(?<cc>\\w+) (\\d)', target: '$2nd ${cc}$$'}, {pattern: '-.*', target: ''}]}"),
        ["[s] 1nd HK$ ·", "[s] 1nd HK$ ·-01"]
    );
}

#[test]
fn override_wins_over_what_nodes_say() {
    let keys = ", dialer-proxy: x, override: {udp: true, dialer-proxy: y, skip-cert-verify: false, interface-name: eth7, \
                routing-mark: 7, ip-version: ipv6-prefer}";
    let nodes = provider(keys).nodes(YAML.as_bytes()).unwrap();
    let node = &nodes.outbounds[1].common;
    assert!(node.udp);
    assert_eq!(node.dialer_proxy, Some(Tag::new("y")));
    assert_eq!((node.socket.interface.as_deref(), node.socket.mark), (Some("eth7"), 7));
    assert_eq!(node.ip_version, IpVersion::PreferV6);
    let verify = |nodes: &Nodes| match &nodes.outbounds[1].kind {
        Kind::Http(options) => options.tls.clone().unwrap().verify,
        _ => panic!(),
    };
    assert!(matches!(verify(&nodes), Verify::Roots(_)));
    assert!(matches!(verify(&provider("").nodes(YAML.as_bytes()).unwrap()), Verify::Off));
    let forced = provider(", dialer-proxy: x").nodes(YAML.as_bytes()).unwrap();
    assert_eq!(forced.outbounds[0].common.dialer_proxy, Some(Tag::new("x")));
    // Marks of ours that host rules would take for theirs (F-E): not from strangers.
    let marked =
        "proxies: [{name: a, type: direct, routing-mark: 0x1000000}, {name: b, type: direct, routing-mark: 9}]\n";
    assert_eq!(names(&provider("").nodes(marked.as_bytes()).unwrap()), ["b"]);
}

#[test]
fn providers_have_their_keys() {
    let text = "\
proxies: [{name: p, type: direct}]
proxy-providers:
  sub:
    type: http
    url: 'https://user:hunter2@example.com/sub?token=hunter3'
    interval: 3600
    proxy: p
    size-limit: 1000
    header: {User-Agent: [clash, mihomo], X: y}
    health-check: {enable: true, url: 'http://t.test/', interval: 60, timeout: 900, lazy: false, expected-status: 204}
  cached: {type: http, url: 'https://example.com/sub', health-check: {enable: false, interval: 5}}
  mine: {type: file, path: ./mine.yaml, health-check: {enable: true}}
";
    let plan = plan(text);
    let [sub, cached, mine] = &plan.ways.providers[..] else { panic!() };
    let Vehicle::Http(Download { url, path, interval, proxy, headers, size_limit }) = &sub.vehicle else { panic!() };
    assert_eq!(url.reveal(), "https://user:hunter2@example.com/sub?token=hunter3");
    assert!(path.starts_with("/nonexistent/adit/proxies") && path.file_name().unwrap().len() == 32, "{path:?}");
    assert_eq!((*interval, proxy.as_deref(), *size_limit), (Some(Duration::from_secs(3600)), Some("p"), Some(1000)));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, value.reveal())).collect();
    assert_eq!(headers, [("User-Agent", "clash"), ("User-Agent", "mihomo"), ("X", "y")]);
    let check = sub.health_check.as_ref().unwrap();
    assert_eq!((check.url.as_str(), check.lazy, check.expected.len()), ("http://t.test/", false, 1));
    assert!(cached.health_check.is_none());
    assert_eq!(cached.vehicle.path(), Some(Path::new("/nonexistent/adit/proxies/3dd403f32a12bab6123243ae838133fb")));
    assert_eq!(mine.health_check.as_ref().unwrap().interval, Some(Duration::from_secs(300)));
    assert_eq!((mine.vehicle.as_str(), mine.vehicle.path()), ("File", Some(Path::new("/nonexistent/adit/mine.yaml"))));
    assert_eq!(warnings(text), ["initial proxy provider mine error: there is no such file"]);
    assert!(!format!("{plan:?}").contains("hunter"), "F-L2");
}

#[test]
fn providers_that_are_wrong_are_refused_in_known_words() {
    for (text, message) in [
        ("default: {type: inline, payload: []}", "can not defined a provider called `default`"),
        ("G: {type: inline, payload: []}", "duplicate provider name: G is a group"),
        ("s: {}", "parse proxy provider s error: '' has unset fields: type"),
        ("s: {type: ftp}", "unsupport vehicle type: ftp"),
        ("s: {type: http}", "proxy provider s: '' has unset fields: url"),
        ("s: {type: file}", "proxy provider s: '' has unset fields: path"),
        ("s: {type: http, url: 'https://x/', proxy: nobody}", "proxy [nobody] not found"),
        (
            "s: {type: http, url: 'https://x/', path: ../../etc/passwd}",
            "path is not subpath of home directory or SAFE_PATHS: ../../etc/passwd",
        ),
        ("s: {type: http, url: 'https://x/', filter: '('}", "not a regular expression: ("),
        ("s: {type: http, url: 'https://x/', override: {proxy-name: [{pattern: '['}]}}", "not a regular expression: ["),
        (
            "s: {type: http, url: 'https://x/', health-check: {expected-status: x}}",
            "proxy provider s: invalid range: x",
        ),
    ] {
        let text =
            format!("proxy-groups: [{{name: G, type: select, proxies: [DIRECT]}}]\nproxy-providers: {{{text}}}\n");
        let found = errors(&text);
        assert!(found.len() == 1 && found[0].starts_with(message), "{message}: {found:?}");
    }
}

/// F-D7: first what is on the disk, then what stands in the configuration.
#[test]
fn the_file_of_the_last_download_is_used_and_then_the_payload() {
    let home = std::env::temp_dir().join(format!("adit-config-providers-{}", std::process::id()));
    std::fs::create_dir_all(home.join("proxies")).unwrap();
    std::fs::write(home.join("good.yaml"), "proxies: [{name: from file, type: direct}]\n").unwrap();
    std::fs::write(home.join("damaged.yaml"), "proxies: [").unwrap();
    let payload = "payload: [{name: fallback, type: direct}]";
    let mut source = source(&format!(
        "\
proxy-providers:
  good: {{type: http, url: 'https://x.test/', path: good.yaml, {payload}}}
  damaged: {{type: http, url: 'https://x.test/', path: damaged.yaml, {payload}}}
  absent: {{type: http, url: 'https://x.test/'}}
proxy-groups: [{{name: G, type: select, include-all: true}}]
rule-providers:
  list: {{type: http, url: 'https://x.test/', behavior: domain, payload: [+.a.test]}}
  later: {{type: http, url: 'https://x.test/', behavior: classical, interval: 5}}
rules: ['RULE-SET,list,G', 'RULE-SET,later,G', 'MATCH,DIRECT']
"
    ));
    source.home = home.clone();
    let loaded = load(&source);
    let shown = loaded.problems.render(false);
    let plan = loaded.plan.expect(&shown);
    let members: Vec<&str> = plan.groups[0].members.iter().map(|member| &**member).collect();
    assert_eq!(members, ["fallback", "from file"]);
    assert_eq!(shown.matches("warning").count(), 1, "{shown}");
    assert!(shown.contains("initial proxy provider damaged error: not valid YAML"), "{shown}");
    assert_eq!(plan.contents.len(), 2);
    let [list, later] = &plan.rule_providers[..] else { panic!() };
    assert!(list.handle.is_loaded() && !later.handle.is_loaded());
    assert_eq!((list.payload.len(), list.handle.rule_count()), (1, 1));
    let (set, warnings) = later.parse(b"payload:\n  - DOMAIN,x.test\n  - MATCH\n").unwrap();
    later.handle.replace(set);
    assert_eq!((later.handle.rule_count(), warnings.len()), (1, 1));
    assert!(later.parse(b"nothing: here").is_err());
    assert!(later.vehicle.path().unwrap().starts_with(home.join("rules")));
    std::fs::remove_dir_all(&home).unwrap();
}

/// The bound is generous: tests run unoptimised.
#[test]
fn ten_thousand_nodes_are_quick() {
    let mut yaml = String::from("proxies:\n");
    let mut links = String::new();
    for n in 0..10_000 {
        let reality = format!("reality-opts: {{public-key: {PUBLIC_KEY}, short-id: 6ba85179e30d4fc2}}");
        yaml.push_str(&format!(
            "  - {{name: node {n}, type: vless, server: n{n}.test, port: 443, uuid: {UUID}, udp: true, tls: true, \
             flow: xtls-rprx-vision, servername: www.example.com, client-fingerprint: chrome, alterId: 0, {reality}}}\n"
        ));
        links.push_str(&format!("vless://{UUID}@n{n}.test:443?security=reality&pbk={PUBLIC_KEY}&sni=x.test#node\n"));
    }
    for content in [yaml, links] {
        let start = Instant::now();
        let nodes =
            provider(", filter: 'node', override: {additional-suffix: ' x'}").nodes(content.as_bytes()).unwrap();
        assert_eq!(nodes.outbounds.len(), 10_000);
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    }
}

/// F-D3: a node that refers to much is read, and only is not recognised after a reload.
#[test]
fn aliases_of_aliases_do_not_grow() {
    let mut yaml = String::from("a0: &a0 {x: [1, 2, 3, 4]}\n");
    for n in 1..40 {
        yaml.push_str(&format!("a{n}: &a{n} {{x: [*a{m}, *a{m}, *a{m}, *a{m}]}}\n", m = n - 1));
    }
    yaml.push_str("proxies: [{name: a, type: direct, junk: *a39}]\n");
    let nodes = provider("").nodes(yaml.as_bytes()).unwrap();
    assert!(nodes.outbounds[0].common.written.is_none());
    let deep = format!("proxies: [{{name: a, type: direct, junk: {}{}}}]\n", "[".repeat(50_000), "]".repeat(50_000));
    match provider("").nodes(deep.as_bytes()) {
        Ok(nodes) => assert!(nodes.outbounds[0].common.written.is_none()),
        Err(why) => assert!(matches!(why, ContentError::NotYaml(_)), "{why}"),
    }
}

/// F-D3: what somebody else sends takes a bounded amount of everything.
#[test]
fn endless_lists_end() {
    let links = "http://a.test#n\n".repeat(60_000);
    let nodes = provider("").nodes(links.as_bytes()).unwrap();
    assert_eq!((nodes.outbounds.len(), nodes.skipped.bad, nodes.skipped.reasons.len()), (50_000, 10_000, 20));
    let kinds: String = (0..100).map(|n| format!("kind{n}://x\n")).collect();
    let Err(ContentError::Empty(skipped)) = provider("").nodes(kinds.as_bytes()) else { panic!() };
    assert_eq!((skipped.count(), skipped.unsupported.len(), skipped.unsupported["other"]), (100, 33, 68));
    let chain: String =
        (0..100).map(|n| format!("  - {{name: n{n}, type: direct, dialer-proxy: n{}}}\n", n + 1)).collect();
    let text = format!("proxy-providers:\n  p:\n    type: inline\n    payload:\n{}", chain.replace("  - ", "      - "));
    let plan = plan(&format!("{text}      - {{name: n100, type: direct}}\n"));
    assert_eq!(plan.outbounds.len(), 1 + 17, "DIRECT, the end, and sixteen before it");
}

fn written(text: &str) -> Option<String> {
    let plan = plan(text);
    let outbound: &Outbound = plan.outbounds.iter().find(|outbound| &*outbound.name == "p").unwrap();
    Some(outbound.common.written.as_ref()?.reveal().to_owned())
}

/// By this a reload knows which proxies are still the same.
#[test]
fn what_a_proxy_is_made_of_is_the_same_text_until_it_changes() {
    let text = "proxies:\n  - {name: p, type: socks5, server: x.test, port: 1, udp: true}\n";
    let before = written(text).unwrap();
    for same in [
        "# comment\nmode: direct\nproxies:\n  - name: p\n    udp: true\n    port: 1\n    server: 'x.test'\n    type: socks5\n",
        "proxies:\n  - {name: other, type: direct}\n  - {name: p, type: socks5, server: x.test, port: 1, udp: true}\n",
    ] {
        assert_eq!(written(same).unwrap(), before, "{same}");
    }
    for other in [
        text.replace("port: 1", "port: 2"),
        text.replace("udp: true", "udp: false"),
        text.replace("udp: true", "udp: true, dialer-proxy: DIRECT"),
        format!("routing-mark: 5\n{text}"),
        format!("interface-name: eth0\n{text}"),
        format!("keep-alive-idle: 5\n{text}"),
        format!("ipv6: false\n{text}"),
    ] {
        assert_ne!(written(&other).unwrap(), before, "{other}");
    }
    let direct = |text: &str| plan(text).outbounds[0].common.written.clone().unwrap();
    assert_eq!(direct(text), direct("mode: global\n"));
    assert_ne!(direct(text), direct("routing-mark: 5\n"));
    let node = |keys: &str| provider(keys).nodes(YAML.as_bytes()).unwrap().outbounds[1].common.written.clone().unwrap();
    assert_eq!(node(""), node(", interval: 5"));
    assert_ne!(node(""), node(", override: {skip-cert-verify: false}"));
    assert!(!format!("{:?}", plan(text).outbounds).contains("x.test:1 "), "it is a secret");
}

/// F-L2
#[test]
fn a_provider_that_is_wrong_shows_no_secret() {
    let text = "proxy-providers: {s: {type: http, url: 'https://x.test/hunter2/hunter2', filter: '('}}\n";
    let shown = loaded(text).problems.render(false);
    assert!(shown.contains("not a regular expression") && !shown.contains("hunter2"), "{shown}");
    let text = "proxy-providers: {s: {type: inline, payload: [{name: a, type: vless, server: x, port: 1, uuid: hunter2hunter2hunter2hunter2hunter2}]}}\n";
    let shown = loaded(text).problems.render(false);
    assert!(shown.contains("file doesn't have any proxy") && !shown.contains("hunter2"), "{shown}");
}

/// Content is read on whatever thread has time for it.
#[test]
fn plans_of_providers_go_where_they_are_needed() {
    fn anywhere<T: Send + Sync + Clone + 'static>(_: &T) {}
    let text = "\
proxies: [{name: n, type: direct}]
proxy-providers: {p: {type: inline, payload: [{name: n, type: direct}, {name: n (p), type: direct}]}}
rule-providers: {r: {type: inline, behavior: domain, payload: [a.test]}}
";
    let plan = plan(text);
    anywhere(&plan.ways);
    anywhere(&plan.contents);
    anywhere(&plan.rule_providers);
    let again = plan.ways.assemble(&plan.contents);
    let names = |outbounds: &[Outbound]| outbounds.iter().map(|outbound| outbound.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&again.outbounds), names(&plan.outbounds));
    assert_eq!(names(&plan.outbounds), ["DIRECT", "n", "n (p)", "n (p) (p)"].map(Tag::new));
    assert_eq!(again.nodes["p"].len(), 2);
}
