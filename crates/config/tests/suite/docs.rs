//! What the documentation tells people to write.

use adit_config::{DnsMode, load};

use crate::scene::source;

/// The blocks of a page that are configurations.
fn configurations(page: &str) -> Vec<&str> {
    page.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect()
}

/// The page for newcomers: what it says to put into a file captures, answers, looks, and is not complained about.
#[test]
fn the_configuration_of_the_page_about_transparent_use_is_one() {
    let page = include_str!("../../../../docs/transparent.md");
    let [text] = configurations(page)[..] else { panic!("the page has one configuration") };
    let loaded = load(&source(text));
    assert_eq!(loaded.problems.render(false), "");
    let plan = loaded.plan.unwrap();
    assert_eq!(plan.notices, Vec::<String>::new());
    assert!(!plan.transparent.is_empty() && plan.transparent.iter().all(|listener| listener.options.udp));
    assert!(plan.transparent.iter().any(|listener| listener.options.listen.ip().is_unspecified()));
    assert_ne!(plan.general.routing_mark, 0);
    let dns = plan.dns.unwrap();
    assert!(
        matches!(dns.mode, DnsMode::FakeIp { .. }) && dns.listen.is_some_and(|listen| listen.ip().is_unspecified())
    );
    let sniffer = plan.sniffer.unwrap();
    assert!(sniffer.tls.is_some() && sniffer.http.is_some() && sniffer.quic.is_some());
}
