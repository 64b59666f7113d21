//! Metrics, and that what we ship to watch them names only what there is.

use std::collections::BTreeSet;

use crate::theatre::{ODD, Scene, session};

/// The names of all samples, and of families that may be without one.
fn names(text: &str) -> BTreeSet<String> {
    let families =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split(' ').next());
    families.map(str::to_owned).collect()
}

#[tokio::test]
async fn numbers_are_told_in_both_dialects() {
    let scene = Scene::open();
    let row = adit_controller::Daemon::engine(&*scene.daemon).table().enter(session("secret-host.test:443"));
    row.decided(adit_engine::Decision { rule: None, chain: vec![ODD.into()], process: None });
    row.counters().add_up(11);
    let plain = scene.get("/metrics").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "adit_connections_active 1",
        "adit_dial_errors_total{class=\"refused\"} 0",
        "# TYPE adit_dial_seconds histogram",
        "# TYPE adit_dns_questions_total counter",
        "adit_rule_hits_total{rule=\"2\",type=\"Match\",payload=\"\",target=\"REJECT\"} 0",
        "adit_group_member_up{group=\"Proxy\",member=\"one\"} 1",
        "adit_build_info{version=\"v9.9.9\"} 1",
        "xray_up 1",
        "xray_traffic_uplink_bytes_total 11",
        "xray_connections_active 1",
        "# TYPE xray_traffic_downlink_bytes_total counter",
    ] {
        assert!(plain.body.lines().any(|one| one == line), "{line}\n{}", plain.body);
    }
    assert!(plain.body.contains(&format!("adit_bytes_total{{outbound=\"{ODD}\",direction=\"up\"}} 11")));
    assert!(
        !plain.body.contains("secret-host") && !plain.body.contains("192.168.1.10") && !plain.body.contains("# EOF")
    );
    let open = scene.ask("GET", "/scrape", &["Accept: application/openmetrics-text;version=1.0.0,*/*"], "").await;
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with("# EOF\n") && open.body.contains("# TYPE adit_bytes counter\n"));
}

/// The samples of a histogram have names of their own.
fn family(sample: &str) -> &str {
    let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|suffix| sample.ends_with(suffix));
    sample.strip_suffix(suffix.unwrap_or_default()).unwrap_or(sample)
}

/// Every `adit_…`, `xray_…` and `process_…` in the files that we ship is served.
#[tokio::test]
async fn what_is_watched_is_served() {
    let scene = Scene::open();
    let served = names(&scene.get("/metrics").await.body);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/monitoring");
    for file in ["prometheus.yml", "alerts.yml", "grafana.json"] {
        let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let watched = words.filter(|word| ["adit_", "xray_", "process_"].iter().any(|prefix| word.starts_with(prefix)));
        let unknown: Vec<&str> = watched.filter(|word| !served.contains(family(word))).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
        assert!(file == "prometheus.yml" || text.contains("adit_"), "{file} watches nothing");
    }
}
