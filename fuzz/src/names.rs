//! Names, addresses and patterns as people write them.

use std::str::FromStr;

use adit_net::{Domain, Host, HostsTable as _, Target};
use adit_outbound::vless::UserId;
use adit_reality::{ClientVersion, Fingerprint, MlDsaKey, PublicKey, ServerName, ShortId};
use adit_router::{DomainMap, DomainPattern, DomainSet, Hosts, IntRanges, parse_hosts_value, parse_prefix};

use crate::input::Input;

/// Everything that is read from one word or a few lines.
pub fn names(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let Ok(text) = std::str::from_utf8(input.0) else { return };
    match kind % 5 {
        0 => {
            reads_what_it_writes::<Domain>(text);
            reads_what_it_writes::<Host>(text);
            reads_what_it_writes::<Target>(text);
        }
        1 => patterns(text),
        2 => hosts(text),
        3 => {
            if let Some(prefix) = parse_prefix(text) {
                assert_eq!(parse_prefix(&prefix.to_string()), Some(prefix));
            }
            if let Ok(ranges) = IntRanges::parse(text, 65535) {
                assert_eq!(IntRanges::parse(&ranges.to_string(), 65535), Ok(ranges));
            }
        }
        _ => {
            let _ = UserId::parse(text);
            let _ = (text.parse::<ShortId>(), text.parse::<PublicKey>(), text.parse::<ServerName>());
            let _ = (text.parse::<Fingerprint>(), text.parse::<MlDsaKey>(), text.parse::<ClientVersion>());
        }
    }
}

fn reads_what_it_writes<T: FromStr + ToString + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert!(written.parse::<T>().is_ok_and(|again| again == value), "{text:?} became {written:?}");
    }
}

/// A set and a map of the same patterns agree on which names are in them, as long as `*` is a whole label: anything
/// else is not part of the grammar.
fn patterns(text: &str) {
    let (names, patterns): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('='));
    let in_grammar = |line: &&str| line.split('.').all(|label| label == "*" || !label.contains('*'));
    let patterns = patterns.into_iter().filter(in_grammar);
    let patterns: Vec<_> = patterns.filter_map(|line| DomainPattern::parse(line).ok()).collect();
    let mut map = DomainMap::default();
    for pattern in &patterns {
        map.insert(pattern, ());
    }
    let set: DomainSet = patterns.into_iter().collect();
    for name in names.into_iter().filter_map(|line| line[1..].parse::<Domain>().ok()) {
        let name = name.as_str();
        assert_eq!(set.contains(name), map.get(name).is_some(), "{name}");
    }
}

fn hosts(text: &str) {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some(key) = words.next()
            && let Ok(entry) = parse_hosts_value(&words.collect::<Vec<_>>())
        {
            entries.push((key, entry));
        }
    }
    if let Ok(hosts) = Hosts::new(entries.clone()) {
        for name in entries.iter().filter_map(|(key, _)| key.parse::<Domain>().ok()) {
            let last = hosts.canonical(&name);
            assert_eq!(hosts.canonical(&last), last);
            let _ = hosts.lookup(&name);
        }
    }
}
