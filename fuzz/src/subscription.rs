//! What subscriptions send: lists of proxies in YAML, share links, base64 of either.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use adit_config::{ContentError, Nodes, ProviderPlan, Source, Ways, load};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::input::Input;

/// A plain provider, one with everything that changes nodes, and groups that filter both.
const CONFIG: &str = r"
proxies:
  - {name: HK 1, type: socks5, server: 192.0.2.1, port: 1080}
proxy-providers:
  plain: {type: http, url: 'https://example.com/plain', path: plain}
  changed:
    type: http
    url: https://example.com/changed
    path: changed
    size-limit: 4000
    filter: 'HK`(?i)us|us-(\d+)'
    exclude-filter: expired
    exclude-type: http|ss
    dialer-proxy: HK 1
    override:
      udp: true
      skip-cert-verify: true
      ip-version: ipv6-prefer
      interface-name: eth0
      routing-mark: 45
      additional-prefix: '[sub] '
      additional-suffix: ' end'
      proxy-name: [{pattern: 'HK (\d+)', target: '${1}$$HK'}, {pattern: '(?<=a)b+', target: ''}]
proxy-groups:
  - {name: all, type: select, include-all: true}
  - {name: some, type: url-test, use: [plain, changed], filter: '\d`^.$', exclude-type: vless, exclude-filter: '(?!x)y'}
";

fn ways() -> &'static Ways {
    static WAYS: OnceLock<Ways> = OnceLock::new();
    WAYS.get_or_init(|| {
        let source = Source {
            name: "config.yaml".into(),
            text: CONFIG.into(),
            home: "/nonexistent/adit".into(),
            overrides: Default::default(),
        };
        let loaded = load(&source);
        loaded.plan.unwrap_or_else(|| panic!("{}", loaded.problems.render(false))).ways
    })
}

const UUID: &str = "5783a3e7-e373-51cd-8642-c83782b807c5";

/// Any bytes as the content of each provider: raw, in base64, behind the beginning of a list or of a link with a secret,
/// which must never be repeated. The same content always becomes the same nodes, and those can be put together with what
/// else there is.
pub fn subscription(data: &[u8]) {
    let mut input = Input(data);
    let form = input.byte();
    let behind = |front: &str| [front.as_bytes(), input.0].concat();
    let content = match form % 4 {
        0 => input.0.to_vec(),
        1 => BASE64_STANDARD.encode(input.0).into_bytes(),
        2 => {
            behind(&format!("proxies:\n- {{name: HK 1, type: vless, uuid: {UUID}, server: 192.0.2.1, port: 443}}\n- "))
        }
        _ => behind(&format!("vless://{UUID}@192.0.2.1:443#HK 1\nvless://{UUID}@")),
    };
    let hides_secret = form % 4 >= 2 && !contains(input.0, b"5783");
    let mut contents = HashMap::new();
    for provider in &ways().providers {
        let nodes = provider.nodes(&content);
        let told = match &nodes {
            Ok(nodes) => format!("{nodes:?} {}", nodes.skipped),
            Err(why) => format!("{why} {why:?}"),
        };
        assert!(!(hides_secret && told.contains(&UUID[..8])), "{told}");
        let again = provider.nodes(&content);
        assert_eq!(seen(&nodes), seen(&again), "the same content became something else");
        if let Ok(nodes) = nodes {
            check(provider, &nodes);
            contents.insert(provider.name.clone(), nodes);
        }
    }
    put_together(&contents);
}

fn check(provider: &ProviderPlan, nodes: &Nodes) {
    assert!(!nodes.outbounds.is_empty(), "nothing, and no error");
    let names: HashSet<_> = nodes.outbounds.iter().map(|node| &node.name).collect();
    assert_eq!(names.len(), nodes.outbounds.len(), "a name twice");
    for node in &nodes.outbounds {
        assert_eq!(node.common.provider.as_ref(), Some(&provider.name));
        assert_eq!(node.common.socket.mark & 0xff00_0000, 0, "a mark of host rules");
    }
    assert!(nodes.skipped.reasons.len() <= 20 && nodes.skipped.unsupported.len() <= 33, "unbounded");
}

/// Every name is there once, and every group has members that exist.
fn put_together(contents: &HashMap<adit_net::Tag, Nodes>) {
    let made = ways().assemble(contents);
    let names: HashSet<_> = made.outbounds.iter().map(|node| &*node.name).collect();
    assert_eq!(names.len(), made.outbounds.len(), "a name twice");
    for group in &made.groups {
        assert!(!group.members.is_empty());
        let missing = group.members.iter().find(|member| !names.contains(&***member) && &***member != "REJECT");
        assert_eq!(missing, None, "{} has a member that is not there", group.name);
    }
}

/// What two readings of the same content have in common.
fn seen(nodes: &Result<Nodes, ContentError>) -> Result<(Vec<String>, String), String> {
    match nodes {
        Ok(nodes) => Ok((nodes.outbounds.iter().map(|node| format!("{node:?}")).collect(), nodes.skipped.to_string())),
        Err(why) => Err(why.to_string()),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
