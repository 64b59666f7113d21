//! The keys of one group.

use std::ops::RangeInclusive;
use std::time::Duration;

use adit_outbound::options::{Check, GroupKind, Strategy, TestUrl};
use adit_router::IntRanges;

use super::Providers;
use crate::context::Context;
use crate::filter::{Patterns, Types};
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, Report, shown};

/// A group as written, once all of its keys are understood.
pub(super) struct Written<'d> {
    pub(super) name: Text<'d>,
    pub(super) kind: Kind,
    /// Whether its members are steps of one way.
    pub(super) relays: bool,
    pub(super) proxies: Vec<Text<'d>>,
    /// The providers that it uses, in order.
    pub(super) providers: Vec<&'d str>,
    pub(super) include_all_proxies: bool,
    pub(super) filter: Patterns,
    pub(super) exclude_filter: Patterns,
    pub(super) exclude_type: Types,
    pub(super) check: Check,
    pub(super) empty_fallback: Option<Text<'d>>,
    pub(super) default_selected: Option<Text<'d>>,
    pub(super) disable_udp: bool,
    pub(super) hidden: bool,
    pub(super) icon: String,
}

/// What `type` says, and the name of that in the API.
pub(super) struct Kind {
    /// `None` if there is no such type, which is reported.
    pub(super) kind: Option<GroupKind>,
    pub(super) shown: &'static str,
}

/// Mihomo took these from groups, and only says so.
const REMOVED: [&str; 3] = ["interface-name", "routing-mark", "dialer-proxy"];

/// Reads one group. What is wrong with it is reported; `None` if that is its name or type.
pub(super) fn read<'d>(
    index: usize,
    mut fields: Fields<'d>,
    providers: &Providers<'d>,
    cx: &Context<'d>,
) -> Option<Written<'d>> {
    let at = fields.first_key();
    let Some(name) = fields.take("name") else {
        cx.report.error(at, format!("proxy group {index}: missing name"));
        return None;
    };
    let name = name.text()?;
    let Some(kind) = fields.take("type") else {
        cx.report.error(name.at, format!("ProxyGroup {}: '' has unset fields: type", shown(name.text)));
        return None;
    };
    let kind = kind.text()?;
    if name.text.is_empty() || kind.text.is_empty() {
        cx.report.error(at, format!("proxy group[{index}]: format error"));
        return None;
    }
    let relays = kind.text == "relay";
    let kind = self::kind(kind, &mut fields, cx);
    let flag = |fields: &mut Fields<'d>, key| fields.take(key).and_then(Value::boolean).unwrap_or(false);
    let all = flag(&mut fields, "include-all");
    let include_all_proxies = flag(&mut fields, "include-all-proxies") | all;
    let all_providers = flag(&mut fields, "include-all-providers") | all;
    let used = fields.take("use").map(Value::texts).unwrap_or_default();
    let written = fields.take("proxies");
    if written.is_none() && used.is_empty() && !all_providers && !include_all_proxies && kind.kind.is_some() {
        cx.report.error(name.at, format!("{}: `use` or `proxies` missing", shown(name.text)));
    }
    let providers_used = if all_providers { providers.sorted() } else { known(name, used, providers, cx) };
    let text =
        |fields: &mut Fields<'d>, key| fields.take(key).and_then(Value::text).filter(|text| !text.text.is_empty());
    let proxies = written.map(Value::texts).unwrap_or_default();
    let has_proxies = !proxies.is_empty() || include_all_proxies;
    let check = check(name, &mut fields, &kind, has_proxies, &providers_used, providers, cx);
    let group = Written {
        name,
        kind,
        relays,
        proxies,
        providers: providers_used,
        include_all_proxies,
        filter: Patterns::read(text(&mut fields, "filter"), cx.report),
        exclude_filter: Patterns::read(text(&mut fields, "exclude-filter"), cx.report),
        exclude_type: Types::read(text(&mut fields, "exclude-type")),
        check,
        empty_fallback: text(&mut fields, "empty-fallback"),
        default_selected: text(&mut fields, "default-selected"),
        disable_udp: flag(&mut fields, "disable-udp"),
        hidden: flag(&mut fields, "hidden"),
        icon: text(&mut fields, "icon").map(|icon| icon.text.to_owned()).unwrap_or_default(),
    };
    for key in REMOVED {
        let at = fields.key_at(key);
        if let (Some(at), Some(_)) = (at, fields.take(key).filter(|value| !value.is_off())) {
            let text = format!("`{key}` was removed from groups and has no effect: set it on the proxies");
            cx.report.once(format!("group key {key}"), Draft::warning(at, text));
        }
    }
    fields.finish("a proxy group", &[]);
    Some(group)
}

fn kind<'d>(written: Text<'d>, fields: &mut Fields<'d>, cx: &Context<'d>) -> Kind {
    let kind = |kind, shown| Kind { kind: Some(kind), shown };
    match written.text {
        "select" => kind(GroupKind::Select { default: None }, "Selector"),
        "url-test" => {
            let tolerance = fields.take("tolerance").and_then(|value| value.number("milliseconds from 0 to 65535"));
            kind(GroupKind::UrlTest { tolerance: tolerance.unwrap_or(0) }, "URLTest")
        }
        "fallback" => kind(GroupKind::Fallback, "Fallback"),
        "load-balance" => kind(GroupKind::LoadBalance(strategy(fields, cx)), "LoadBalance"),
        // One way, which is the whole chain.
        "relay" => kind(GroupKind::Select { default: None }, "Selector"),
        other => {
            let text = format!("unsupported type: {}", shown(other));
            let known = ["select", "url-test", "fallback", "load-balance", "relay"];
            cx.report.add(Draft::error(written.at, text).meant(other, known));
            Kind { kind: None, shown: "Unknown" }
        }
    }
}

fn strategy(fields: &mut Fields<'_>, cx: &Context<'_>) -> Strategy {
    const STRATEGIES: [(&str, Strategy); 3] = [
        ("consistent-hashing", Strategy::ConsistentHashing),
        ("round-robin", Strategy::RoundRobin),
        ("sticky-sessions", Strategy::StickySessions),
    ];
    let Some(written) = fields.take("strategy").and_then(Value::text).filter(|text| !text.text.is_empty()) else {
        return Strategy::default();
    };
    let found = STRATEGIES.iter().find(|(name, _)| *name == written.text);
    if found.is_none() {
        let text = format!("unsupported strategy: {}", shown(written.text));
        cx.report.add(Draft::error(written.at, text).meant(written.text, STRATEGIES.map(|(name, _)| name)));
    }
    found.map(|(_, strategy)| *strategy).unwrap_or_default()
}

/// How the members are tested. A group that chooses by delay or life is tested every five minutes unless it, or its first
/// provider with a health check, says otherwise; Mihomo would never test one that has providers only, and none of them
/// with a health check.
///
/// `max-failed-times` is accepted, and nothing depends on it: a dial that does not reach its server counts at once.
fn check<'d>(
    name: Text<'d>,
    fields: &mut Fields<'d>,
    kind: &Kind,
    has_proxies: bool,
    used: &[&'d str],
    providers: &Providers<'d>,
    cx: &Context<'d>,
) -> Check {
    const USUAL: Duration = Duration::from_secs(300);
    let chooses = !matches!(kind.kind, Some(GroupKind::Select { .. }) | None);
    let _ = fields.take("max-failed-times").map(|value| value.number::<u32>("a number"));
    let mut check = Tests { title: shown(name.text) }.read(fields, providers.test_url(used), cx.report);
    if check.interval.is_none() {
        let adopted = if has_proxies { None } else { providers.interval(used) };
        check.interval = adopted.or_else(|| chooses.then_some(USUAL));
    }
    check
}

/// The keys about tests that groups and the `health-check` of providers share.
pub(crate) struct Tests {
    /// Whose they are, for messages.
    pub(crate) title: String,
}

impl Tests {
    /// Reads `url`, `interval`, `lazy`, `timeout` and `expected-status`; `url` is where tests go unless it is written.
    pub(crate) fn read(&self, fields: &mut Fields<'_>, url: Option<TestUrl>, report: &Report) -> Check {
        let default = Check::default();
        let written = fields.take("url").and_then(Value::text).filter(|url| !url.text.is_empty());
        let written = written.and_then(|written| match TestUrl::parse(written.text) {
            Ok(url) => Some(url),
            Err(why) => {
                let text = format!("{}: {why}; tests go to the usual place", self.title);
                report.warning(written.at, text);
                None
            }
        });
        let number = |value: Value<'_>, meaning: &str| value.number::<u32>(meaning).filter(|number| *number != 0);
        let seconds = fields.take("interval").and_then(|value| number(value, "a number of seconds"));
        let milliseconds = fields.take("timeout").and_then(|value| number(value, "a number of milliseconds"));
        Check {
            url: written.or(url).unwrap_or(default.url),
            expected: self.expected(fields, report),
            interval: seconds.map(|seconds| Duration::from_secs(seconds.into())),
            lazy: fields.take("lazy").and_then(Value::boolean).unwrap_or(true),
            timeout: milliseconds.map_or(default.timeout, |wait| Duration::from_millis(wait.into())),
        }
    }

    /// §3.3; empty is any.
    fn expected(&self, fields: &mut Fields<'_>, report: &Report) -> Vec<RangeInclusive<u16>> {
        let Some(written) = fields.take("expected-status").and_then(Value::text) else { return Vec::new() };
        match IntRanges::parse(written.text, u16::MAX.into()) {
            Ok(ranges) => {
                let narrow = |end: u32| u16::try_from(end).ok();
                ranges.iter().filter_map(|range| Some(narrow(*range.start())?..=narrow(*range.end())?)).collect()
            }
            Err(why) => {
                report.error(written.at, format!("{}: {why}", self.title));
                Vec::new()
            }
        }
    }
}

/// The providers of `used` that there are.
fn known<'d>(name: Text<'d>, used: Vec<Text<'d>>, providers: &Providers<'d>, cx: &Context<'d>) -> Vec<&'d str> {
    let mut known = Vec::with_capacity(used.len());
    for provider in used {
        if providers.contains(provider.text) {
            known.push(provider.text);
        } else if providers.is_group(provider.text) {
            let text = format!("proxy group {} can't contains in `use`", shown(provider.text));
            cx.report.add(Draft::error(provider.at, text).hint("groups are named in `proxies`"));
        } else {
            let text = format!("{}: '{}' not found", shown(name.text), shown(provider.text));
            cx.report.add(Draft::error(provider.at, text).meant(provider.text, providers.sorted()));
        }
    }
    known
}
