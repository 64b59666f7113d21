//! Decisions, seen through `Explanation`, which takes the same steps as a connection.

use adit_engine::{Explanation, Pin};
use adit_net::{Domain, HostsEntry, Network};
use adit_router::Mode;

use crate::scene::{Scene, session};

async fn explain(scene: Scene, network: Network, target: &str) -> String {
    let world = scene.world();
    let explanation = Explanation::of(&world, &session(network, target)).await;
    explanation.render(|rule| Some(format!("line {}", rule.index + 1)))
}

#[tokio::test]
async fn says_why_the_rules_before_did_not_match() {
    let scene = Scene::with_rules(&["DOMAIN-SUFFIX,google.com,REJECT", "DST-PORT,443,Choice", "MATCH,DIRECT"]);
    let text = explain(scene, Network::Tcp, "api.anthropic.com:443").await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "api.anthropic.com:443");
    assert!(lines[1].starts_with("  - line 1: DomainSuffix(google.com): "), "{text}");
    assert!(lines[2].starts_with("  * line 2: DstPort(443): "), "{text}");
    assert_eq!(lines[3], "look-up:  not needed");
    assert_eq!(lines[4], "outbound: Choice → NOUDP → DIRECT (Direct)");
}

#[tokio::test]
async fn a_rule_that_needs_an_address_asks_once() {
    let scene = Scene::with_rules(&["IP-CIDR,10.0.0.0/8,REJECT", "IP-CIDR,127.0.0.0/8,Choice", "MATCH,REJECT"]);
    let text = explain(scene, Network::Tcp, "localhost:80").await;
    assert!(text.contains("look-up:  localhost is 127.0.0.1"), "{text}");
    assert!(text.contains("outbound: Choice → NOUDP → DIRECT (Direct)"), "{text}");
    assert_eq!(text.matches("IPCIDR(10.0.0.0/8)").count(), 1, "{text}");
}

#[tokio::test]
async fn pass_and_outbounds_without_udp_are_passed_over() {
    let rules = ["DST-PORT,53,PASS", "DST-PORT,53,NOUDP", "DST-PORT,53,Choice", "MATCH,DIRECT"];
    let text = explain(Scene::with_rules(&rules), Network::Udp, "1.1.1.1:53").await;
    assert!(text.contains("outbound: DIRECT (Direct)"), "{text}");
    assert!(text.contains("NOUDP is passed over"), "{text}");
    let text = explain(Scene::with_rules(&rules), Network::Tcp, "1.1.1.1:53").await;
    assert!(text.contains("outbound: NOUDP → DIRECT (Direct)"), "{text}");
}

#[tokio::test]
async fn no_rule_means_direct_and_says_so() {
    let text = explain(Scene::with_rules(&[]), Network::Tcp, "1.1.1.1:53").await;
    assert!(text.contains("no rule matched: DIRECT"), "{text}");
    assert!(text.contains("outbound: DIRECT (Direct)"), "{text}");
}

#[tokio::test]
async fn hosts_come_before_the_rules() {
    let fixed = HostsEntry::Addresses(vec!["10.1.2.3".parse().unwrap()]);
    let scene = Scene::with_rules(&["IP-CIDR,10.0.0.0/8,Choice,no-resolve", "MATCH,REJECT"]).host("nas.lan", fixed);
    let text = explain(scene, Network::Tcp, "nas.lan:80").await;
    assert!(text.contains("hosts: 10.1.2.3") && text.contains("outbound: Choice"), "{text}");

    let alias = HostsEntry::Alias(Domain::new("example.org").unwrap());
    let scene = Scene::with_rules(&["DOMAIN,example.org,Choice", "MATCH,REJECT"]).host("short.lan", alias);
    let text = explain(scene, Network::Tcp, "short.lan:80").await;
    assert!(text.contains("outbound: Choice"), "{text}");
}

#[tokio::test]
async fn modes_and_pinned_listeners_ask_no_rule() {
    let mut scene = Scene::with_rules(&["MATCH,REJECT"]);
    scene.mode = Mode::Direct;
    assert!(explain(scene, Network::Tcp, "1.1.1.1:1").await.contains("mode: direct\n"));

    let mut scene = Scene::with_rules(&["MATCH,REJECT"]);
    scene.pins.insert("door".into(), Pin { rules: None, outbound: Some("Choice".into()) });
    assert!(explain(scene, Network::Tcp, "1.1.1.1:1").await.contains("outbound: Choice → NOUDP"));

    let mut scene = Scene::with_rules(&["MATCH,REJECT"]);
    scene.pins.insert("door".into(), Pin { rules: None, outbound: Some("gone".into()) });
    assert!(explain(scene, Network::Tcp, "1.1.1.1:1").await.contains("outbound: none: denied: proxy gone not found"));

    let mut scene = Scene::with_rules(&["MATCH,REJECT"]);
    scene.sub_rules.push(("own".into(), vec!["MATCH,Choice".into()]));
    scene.pins.insert("door".into(), Pin { rules: Some("own".into()), outbound: None });
    assert!(explain(scene, Network::Tcp, "1.1.1.1:1").await.contains("outbound: Choice → NOUDP"));
}
