//! What takes the place of keys of a file.

use adit_config::{Overrides, load};
use serde_json::json;

use crate::scene::source;

#[test]
fn an_override_takes_the_place_of_a_key_and_adds_to_a_mapping() {
    let mut source = source("mixed-port: 1\nsniffer: {sniff: {TLS: {ports: [443]}}}\nsecret: old\n");
    source.overrides.set("mixed-port", 2);
    source.overrides.set("sniffer", json!({ "enable": true }));
    source.overrides.set("external-controller", "127.0.0.1:9090");
    source.overrides.set("secret", "a \"b\": c\n- d");
    let plan = load(&source).plan.unwrap();
    assert_eq!(plan.settings.mixed_port, 2);
    assert!(plan.sniffer.is_some());
    assert_eq!(plan.controller.unwrap().secret.unwrap().reveal(), "a \"b\": c\n- d");
}

#[test]
fn a_wrong_override_is_told_with_its_own_place_and_a_wrong_file_with_its() {
    let mut source = source("mode: rule\nmixed-port: 1\nrules:\n  - MATCH,DIRCET\n");
    source.overrides.set("external-controller", "nowhere");
    source.overrides.set("secret", "sesame-street");
    let problems = load(&source).problems;
    let told: Vec<_> = problems.iter().map(|problem| (&*problem.file, problem.line)).collect();
    assert_eq!(told, [("config.yaml", 4), (Overrides::ORIGIN, 1)]);
    assert!(!problems.render(false).contains("sesame"));
}

#[test]
fn overrides_make_no_configuration_of_what_is_none() {
    for text in ["", "[]", "~", "rules: [", "just a text"] {
        let mut source = source(text);
        source.overrides.set("mixed-port", 2);
        assert!(load(&source).plan.is_none(), "{text}");
    }
}
