//! `enhanced-mode` and fake addresses. Spec: mihomo-surface §7.1, §7.5.

use std::str::FromStr;
use std::sync::Arc;

use adit_dns::{BadRange, FakeAction, FakeFilter, FakeIp, FakeRanges, NameMatch};
use adit_router::Behavior;
use ipnet::{Ipv4Net, Ipv6Net};

use super::{DnsMode, Section};
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};
use crate::yaml::At;

/// `fake-ip-range`, unless written.
const RANGE: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(198, 18, 0, 1), 16);
/// Names that Windows asks for to find out whether there is an internet, and compares the addresses of.
const PROBES: [&str; 3] = ["dns.msftncsi.com", "www.msftncsi.com", "www.msftconnecttest.com"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Enhanced {
    Normal,
    RedirHost,
    FakeIp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FilterMode {
    Blacklist,
    Whitelist,
    Rule,
}

/// Reads `enhanced-mode` and the keys about fake addresses. Ranges are checked in every mode, names only where there are
/// fake addresses.
pub(super) fn mode<'d>(fields: &mut Fields<'d>, section: &Section<'_, 'd>) -> Option<DnsMode> {
    let words = [("normal", Enhanced::Normal), ("redir-host", Enhanced::RedirHost), ("fake-ip", Enhanced::FakeIp)];
    let mode_at = fields.place("enhanced-mode").unwrap_or(At::NOWHERE);
    let mode = fields.take("enhanced-mode").and_then(|value| value.word("invalid enhanced-mode", &words));
    let mode = mode.unwrap_or(Enhanced::RedirHost);
    let places = ["fake-ip-range", "fake-ip-range6"].map(|key| fields.place(key).unwrap_or(At::NOWHERE));
    let ranges = ranges(fields, section);
    let ttl = fields.take("fake-ip-ttl").and_then(|value| value.number::<u32>("a number of seconds")).unwrap_or(1);
    let filter_modes =
        [("blacklist", FilterMode::Blacklist), ("whitelist", FilterMode::Whitelist), ("rule", FilterMode::Rule)];
    let filter_mode =
        fields.take("fake-ip-filter-mode").and_then(|value| value.word("invalid fake-ip-filter-mode", &filter_modes));
    let list = fields.take("fake-ip-filter").map(Value::texts);
    match mode {
        Enhanced::Normal => return Some(DnsMode::Normal),
        Enhanced::RedirHost => return Some(DnsMode::RedirHost),
        Enhanced::FakeIp => {}
    }
    let filter = filter(filter_mode.unwrap_or(FilterMode::Blacklist), list, section);
    if ranges.v4.is_none() && ranges.v6.is_none() {
        let message = "disallow `fake-ip-range` and `fake-ip-range6` both empty with fake-ip mode";
        section.cx.report.add(Draft::error(mode_at, message).hint("write `fake-ip-range: 198.18.0.1/16`"));
    }
    check_room(ranges, places, section);
    Some(DnsMode::FakeIp { ranges, filter: filter?, ttl: ttl.max(1), store: section.store() })
}

/// Both ranges. An empty text is no range, and without IPv6 there is none for it.
fn ranges(fields: &mut Fields<'_>, section: &Section<'_, '_>) -> FakeRanges {
    let v4 = match fields.take("fake-ip-range") {
        Some(written) => range(written, Some(RANGE), "dns.fake-ip-range must be a IPv4 prefix", "198.18.0.1/16"),
        None => Some(RANGE),
    };
    let v6 = fields
        .take("fake-ip-range6")
        .and_then(|written| range(written, None, "dns.fake-ip-range6 must be a IPv6 prefix", "fdfe:dcba:9876::1/64"));
    FakeRanges { v4, v6: v6.filter(|_: &Ipv6Net| section.cx.ipv6) }
}

/// One range; `instead` of a wrong one, which is reported as `message`.
fn range<N: FromStr>(written: Value<'_>, instead: Option<N>, message: &str, example: &str) -> Option<N> {
    let text = written.text()?;
    if text.text.is_empty() {
        return None;
    }
    match text.text.parse() {
        Ok(range) => Some(range),
        Err(_) => {
            let draft = Draft::error(text.at, format!("{message}, found '{}'", shown(text.text)));
            written.report.add(draft.hint(format!("write it like {example}")));
            instead
        }
    }
}

fn check_room(ranges: FakeRanges, places: [At; 2], section: &Section<'_, '_>) {
    let FakeRanges { v4, v6 } = ranges;
    let each = [FakeRanges { v4, v6: None }, FakeRanges { v4: None, v6 }];
    for (range, at) in each.into_iter().zip(places) {
        if let Err(BadRange::Small(_)) = FakeIp::new(range) {
            let draft = Draft::error(at, "ipnet don't have valid ip");
            section.cx.report.add(draft.hint("a range begins after its fourth address: write a larger one"));
        }
    }
}

/// `fake-ip-filter`, as its mode says.
fn filter(mode: FilterMode, list: Option<Vec<Text<'_>>>, section: &Section<'_, '_>) -> Option<FakeFilter> {
    let names = |list: Vec<Text<'_>>| section.sets.names(list, "dns.fake-ip-filter: ", section.cx);
    match (mode, list) {
        (FilterMode::Blacklist, None) => {
            names(PROBES.map(|text| Text { text, at: At::NOWHERE }).into()).map(FakeFilter::Blacklist)
        }
        (FilterMode::Blacklist, Some(list)) => names(list).map(FakeFilter::Blacklist),
        (FilterMode::Whitelist, list) => names(list.unwrap_or_default()).map(FakeFilter::Whitelist),
        (FilterMode::Rule, list) => {
            let lines = list.unwrap_or_default();
            let rules = lines.iter().enumerate().map(|(index, text)| Rule { index, text: *text, section }.read());
            // All of them are read before the first wrong one ends it, so that each is reported.
            rules.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>().map(FakeFilter::Rules)
        }
    }
}

/// The types of rules that look at names only.
const KINDS: [&str; 8] =
    ["DOMAIN", "DOMAIN-SUFFIX", "DOMAIN-KEYWORD", "DOMAIN-REGEX", "DOMAIN-WILDCARD", "GEOSITE", "RULE-SET", "MATCH"];

/// A line of the filter in its mode `rule`: `TYPE,payload,action`, or `MATCH,action`.
struct Rule<'c, 'd> {
    index: usize,
    text: Text<'d>,
    section: &'c Section<'c, 'd>,
}

impl Rule<'_, '_> {
    fn read(&self) -> Option<(NameMatch, FakeAction)> {
        let (kind, rest) = self.text.text.split_once(',').unwrap_or((self.text.text, ""));
        let kind = kind.trim().to_ascii_uppercase();
        let (payload, action) = match kind.as_str() {
            "MATCH" => ("", rest),
            "DOMAIN-REGEX" => rest.rsplit_once(',').unwrap_or((rest, "")),
            _ => {
                let (payload, rest) = rest.split_once(',').unwrap_or((rest, ""));
                (payload, rest.split(',').next().unwrap_or_default())
            }
        };
        let (payload, action) = (payload.trim(), self.action(action.trim()));
        if !KINDS.contains(&kind.as_str()) {
            let text = format!("rule type '{}' not supported, only domain-based rules allowed", shown(&kind));
            self.blame(self.error(text).hint(format!("it is one of: {}", KINDS.join(", "))).meant(&kind, KINDS));
            return None;
        }
        if kind == "RULE-SET" {
            self.check_provider(payload)?;
        }
        let rule = if kind == "MATCH" { kind } else { format!("{kind},{payload}") };
        let set = self.section.sets.rule(&rule, self.text.at, self.section.cx);
        let set = set.map_err(|draft| self.blame(draft)).ok()?;
        Some((Arc::new(move |name: &str| set.has_name(name)), action?))
    }

    fn action(&self, action: &str) -> Option<FakeAction> {
        match action.to_ascii_lowercase().as_str() {
            "fake-ip" => Some(FakeAction::Fake),
            "real-ip" => Some(FakeAction::Real),
            _ => {
                let text = format!("invalid action '{}', must be 'fake-ip' or 'real-ip'", shown(action));
                self.blame(self.error(text).meant(action, ["fake-ip", "real-ip"]));
                None
            }
        }
    }

    fn check_provider(&self, name: &str) -> Option<()> {
        let providers = self.section.sets.providers();
        match providers.get(name).map(|provider| provider.behavior()) {
            None => {
                let draft = self.error(format!("rule-set '{}' not found", shown(name)));
                self.blame(draft.meant(name, providers.keys().map(|name| name.as_str())));
                None
            }
            Some(Behavior::IpCidr) => {
                self.blame(self.error("rule-set behavior is IPCIDR, must be domain or classical".into()));
                None
            }
            Some(Behavior::Domain | Behavior::Classical) => Some(()),
        }
    }

    fn error(&self, message: String) -> Draft {
        Draft::error(self.text.at, message)
    }

    fn blame(&self, draft: Draft) {
        let prefix = format!("dns.fake-ip-filter[{}] [{}] error: ", self.index, shown(self.text.text));
        self.section.cx.report.add(draft.after(&prefix));
    }
}
