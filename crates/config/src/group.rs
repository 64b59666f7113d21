//! `proxy-groups:`. Spec: mihomo-surface §6.1.

use std::collections::{BTreeMap, HashMap, HashSet};

use adit_net::Tag;
use adit_outbound::options::{Check, Group, GroupKind};
use fancy_regex::Regex;

use crate::context::Context;
use crate::proxy::{BUILT_IN, Proxy};
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};

/// The group that mode `global` uses. It exists unless the file defines it.
pub(crate) const GLOBAL: &str = "GLOBAL";

/// A group as written, once all of its keys are understood.
struct Written<'d> {
    name: Text<'d>,
    shown_type: &'static str,
    proxies: Vec<Text<'d>>,
    has_providers: bool,
    include_all_proxies: bool,
    filter: Vec<Regex>,
    exclude_filter: Vec<Regex>,
    exclude_type: Vec<String>,
    empty_fallback: Option<Text<'d>>,
    default_selected: Option<Text<'d>>,
    disable_udp: bool,
    hidden: bool,
    icon: String,
}

/// Names that groups may refer to.
struct Names<'n> {
    /// Proxies: name and type.
    proxies: BTreeMap<&'n str, &'static str>,
    /// Groups: name and type.
    groups: HashMap<&'n str, &'static str>,
}

impl<'n> Names<'n> {
    fn shown_type(&self, name: &str) -> Option<&'static str> {
        let built_in = match name {
            "DIRECT" => Some("Direct"),
            "REJECT" => Some("Reject"),
            "REJECT-DROP" => Some("RejectDrop"),
            "COMPATIBLE" => Some("Compatible"),
            "PASS" => Some("Pass"),
            "PASS-RULE" => Some("PassRule"),
            _ => None,
        };
        built_in.or_else(|| self.proxies.get(name).copied()).or_else(|| self.groups.get(name).copied())
    }

    fn all(&self) -> impl Iterator<Item = &'n str> {
        self.proxies.keys().copied().chain(self.groups.keys().copied()).chain(BUILT_IN)
    }
}

/// Reads `proxy-groups:`. Every group that comes out has members, all of them known.
pub(crate) fn read<'d>(
    list: Option<Value<'d>>,
    proxies: &[Proxy<'d>],
    providers: &HashSet<&'d str>,
    cx: &Context<'d>,
) -> Vec<Group> {
    let items = list.and_then(Value::list).unwrap_or_default();
    let mut taken = HashSet::new();
    let mut written = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let Some(group) = item.fields().and_then(|fields| one(index, fields, providers, cx)) else {
            continue;
        };
        let name = group.name.text;
        let is_proxy = BUILT_IN.contains(&name) || proxies.iter().any(|proxy| &*proxy.outbound.name == name);
        if is_proxy {
            cx.report.error(group.name.at, format!("proxy group {}: the duplicate name", shown(name)));
        } else if !taken.insert(name) {
            cx.report.error(group.name.at, format!("ProxyGroup {}: duplicate group name", shown(name)));
        } else {
            written.push(group);
        }
    }
    let names = Names {
        proxies: proxies.iter().map(|proxy| (&*proxy.outbound.name, proxy.shown_type)).collect(),
        groups: written.iter().map(|group| (group.name.text, group.shown_type)).collect(),
    };
    let groups: Vec<Group> = written.iter().map(|group| resolved(group, &names, cx)).collect();
    check_loops(&written, &groups, cx);
    groups
}

fn one<'d>(
    index: usize,
    mut fields: Fields<'d>,
    providers: &HashSet<&'d str>,
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
    let shown_type = shown_type(name, kind, &mut fields, cx);
    let has_providers = providers_of(name, &mut fields, providers, cx);
    let flag = |fields: &mut Fields<'d>, key| fields.take(key).and_then(Value::boolean).unwrap_or(false);
    let all = flag(&mut fields, "include-all");
    let include_all_proxies = flag(&mut fields, "include-all-proxies") || all;
    let has_providers = has_providers || flag(&mut fields, "include-all-providers") || all;
    let has_proxies = fields.take("proxies");
    if has_proxies.is_none() && !has_providers && !include_all_proxies {
        let text = format!("{}: `use` or `proxies` missing", shown(name.text));
        if matches!(shown_type, "Selector" | "URLTest" | "Fallback" | "LoadBalance") {
            cx.report.error(name.at, text);
        }
    }
    let text =
        |fields: &mut Fields<'d>, key| fields.take(key).and_then(Value::text).filter(|text| !text.text.is_empty());
    let exclude_type = text(&mut fields, "exclude-type").map_or("", |types| types.text);
    let group = Written {
        name,
        shown_type,
        proxies: has_proxies.map(Value::texts).unwrap_or_default(),
        has_providers,
        include_all_proxies,
        filter: filters(text(&mut fields, "filter"), cx),
        exclude_filter: filters(text(&mut fields, "exclude-filter"), cx),
        exclude_type: exclude_type.split('|').filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
        empty_fallback: text(&mut fields, "empty-fallback"),
        default_selected: text(&mut fields, "default-selected"),
        disable_udp: flag(&mut fields, "disable-udp"),
        hidden: flag(&mut fields, "hidden"),
        icon: text(&mut fields, "icon").map(|icon| icon.text.to_owned()).unwrap_or_default(),
    };
    fields.finish(
        "a proxy group",
        &[
            "url",
            "interval",
            "lazy",
            "timeout",
            "max-failed-times",
            "expected-status",
            "interface-name",
            "routing-mark",
            "dialer-proxy",
        ],
    );
    Some(group)
}

/// The group's type as the API shows it. Types that choose by themselves are not here yet: such a group is like `select`
/// and uses its first member until somebody chooses, which is never DIRECT unless the file says so.
fn shown_type<'d>(name: Text<'d>, kind: Text<'d>, fields: &mut Fields<'d>, cx: &Context<'d>) -> &'static str {
    let shown_type = match kind.text {
        "select" => return "Selector",
        "url-test" => "URLTest",
        "fallback" => "Fallback",
        "load-balance" => "LoadBalance",
        "relay" => {
            let name = shown(name.text);
            let text = format!(
                "unsupported type: The group [{name}] with relay type was removed, please using dialer-proxy instead"
            );
            cx.report.error(kind.at, text);
            return "Relay";
        }
        other => {
            let text = format!("unsupported type: {}", shown(other));
            let known = ["select", "url-test", "fallback", "load-balance"];
            cx.report.add(Draft::error(kind.at, text).meant(other, known));
            return "Unknown";
        }
    };
    // Keys of the health check and of the choice: the warning about the type covers them.
    for key in ["url", "interval", "lazy", "timeout", "max-failed-times", "expected-status", "tolerance"] {
        let _ = fields.take(key);
    }
    if let Some(strategy) = fields.take("strategy").and_then(Value::text)
        && !["consistent-hashing", "round-robin", "sticky-sessions"].contains(&strategy.text)
    {
        cx.report.error(strategy.at, format!("unsupported strategy: {}", shown(strategy.text)));
    }
    let text = format!(
        "groups of type {} do not measure or switch yet: '{}' uses its first member until another is chosen by hand",
        kind.text,
        shown(name.text)
    );
    cx.report.once(format!("group type {}", kind.text), Draft::warning(kind.at, text));
    shown_type
}

/// Whether the group has members from providers.
fn providers_of<'d>(name: Text<'d>, fields: &mut Fields<'d>, known: &HashSet<&'d str>, cx: &Context<'d>) -> bool {
    let used = fields.take("use").map(Value::texts).unwrap_or_default();
    for provider in used.iter().filter(|provider| !known.contains(provider.text)) {
        let text = format!("{}: '{}' not found", shown(name.text), shown(provider.text));
        let draft = Draft::error(provider.at, text).meant(provider.text, known.iter().copied());
        cx.report.add(draft);
    }
    !used.is_empty()
}

/// Regular expressions separated by back-ticks. They have look-around, as in Mihomo, where people use it to exclude.
fn filters(written: Option<Text<'_>>, cx: &Context<'_>) -> Vec<Regex> {
    let Some(written) = written else { return Vec::new() };
    let mut filters = Vec::new();
    for pattern in written.text.split('`').filter(|pattern| !pattern.is_empty()) {
        // Names are short and this happens once, so a low limit is enough against bombs (F-D4).
        match fancy_regex::RegexBuilder::new(pattern).backtrack_limit(100_000).build() {
            Ok(filter) => filters.push(filter),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default();
                cx.report.error(written.at, format!("not a regular expression: {} ({})", shown(pattern), shown(why)));
            }
        }
    }
    filters
}

/// Whether one of the filters matches. A match that takes too long counts as none.
fn matches(filter: &Regex, name: &str) -> bool {
    filter.is_match(name).unwrap_or(false)
}

fn resolved(group: &Written<'_>, names: &Names<'_>, cx: &Context<'_>) -> Group {
    let mut members = members(group, names, cx);
    if members.is_empty() {
        members.push(substitute(group, names, cx));
    }
    let default = group.default_selected.filter(|choice| {
        let is_member = members.contains(&choice.text);
        if !is_member {
            let text = format!("{}: the default '{}' is not a member", shown(group.name.text), shown(choice.text));
            cx.report.add(Draft::warning(choice.at, text).meant(choice.text, members.iter().copied()));
        }
        is_member
    });
    Group {
        name: Tag::new(group.name.text),
        kind: GroupKind::Select { default: default.map(|choice| Tag::new(choice.text)) },
        members: members.into_iter().map(Tag::new).collect(),
        check: Check::default(),
        disable_udp: group.disable_udp,
        hidden: group.hidden,
        icon: group.icon.clone(),
    }
}

/// Explicit members, which filters do not concern, then included ones, then what is excluded taken away.
fn members<'n>(group: &Written<'n>, names: &Names<'n>, cx: &Context<'_>) -> Vec<&'n str> {
    let mut members: Vec<&str> = Vec::new();
    for member in &group.proxies {
        if names.shown_type(member.text).is_some() {
            members.push(member.text);
        } else {
            let text = format!("{}: '{}' not found", shown(group.name.text), shown(member.text));
            cx.report.add(Draft::error(member.at, text).meant(member.text, names.all()));
        }
    }
    if group.include_all_proxies {
        let all = names.proxies.keys().copied(); // sorted by name, as Mihomo has it
        if group.filter.is_empty() {
            members.extend(all);
        } else {
            let filtered = group.filter.iter().flat_map(|filter| all.clone().filter(|name| matches(filter, name)));
            members.extend(filtered);
        }
    }
    let mut seen = HashSet::new();
    members.retain(|name| {
        let shown_type = names.shown_type(name).unwrap_or("");
        let excluded = group.exclude_filter.iter().any(|filter| matches(filter, name))
            || group.exclude_type.iter().any(|kind| kind.eq_ignore_ascii_case(shown_type));
        !excluded && seen.insert(*name)
    });
    members
}

/// What a group without members has instead: `empty-fallback`, or REJECT. Mihomo takes DIRECT, which would send out
/// openly what the user wanted to go through a proxy.
fn substitute<'n>(group: &Written<'n>, names: &Names<'n>, cx: &Context<'_>) -> &'n str {
    let title = shown(group.name.text);
    if let Some(fallback) = group.empty_fallback {
        let is_group = names.groups.contains_key(fallback.text);
        if !is_group && names.shown_type(fallback.text).is_some() {
            return fallback.text;
        }
        let text = format!("{title}: empty fallback proxy '{}' not found", shown(fallback.text));
        cx.report.add(Draft::error(fallback.at, text).meant(fallback.text, names.all()));
    } else {
        let why = if group.has_providers {
            "proxy providers are not supported yet"
        } else {
            "nothing is left of its members"
        };
        let text = format!("the group '{title}' has no members ({why}): it refuses all connections");
        cx.report.warning(group.name.at, text);
    }
    "REJECT"
}

/// Groups that contain each other are reported together, once.
fn check_loops(written: &[Written<'_>], groups: &[Group], cx: &Context<'_>) {
    // What is left after groups without members among the remaining groups are taken away, again and again.
    let mut left: HashMap<&str, Vec<&str>> =
        groups.iter().map(|group| (&*group.name, group.members.iter().map(|member| &**member).collect())).collect();
    loop {
        let before = left.len();
        let names: HashSet<&str> = left.keys().copied().collect();
        left.retain(|_, members| members.iter().any(|member| names.contains(member)));
        if left.len() == before {
            break;
        }
    }
    // And groups that nobody of the rest contains: they lead to the loop without being part of it.
    loop {
        let before = left.len();
        let contained: HashSet<&str> = left.values().flatten().copied().collect();
        left.retain(|name, _| contained.contains(name));
        if left.len() == before {
            break;
        }
    }
    let mut names: Vec<&str> = left.keys().copied().collect();
    names.sort_unstable();
    if let Some(first) = written.iter().find(|group| names.contains(&group.name.text)) {
        let shown: Vec<String> = names.iter().map(|name| shown(name)).collect();
        let text = format!("loop is detected in ProxyGroup, please check following ProxyGroups: [{}]", shown.join(" "));
        cx.report.error(first.name.at, text);
    }
}
