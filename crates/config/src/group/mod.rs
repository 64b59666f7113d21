//! `proxy-groups:`. Spec: mihomo-surface §6.1.

mod keys;
mod plan;
mod relay;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use adit_net::Tag;
use adit_outbound::options::{GroupKind, TestUrl};

use crate::context::Context;
use crate::proxy::{BUILT_IN, Proxy};
use crate::read::{Text, Value};
use crate::report::{Draft, shown};
use keys::Written;

pub(crate) use keys::Tests;
pub use plan::{Candidate, GroupPlan};
pub(crate) use relay::chain;

/// The group that mode `global` uses. It exists unless the file defines it.
pub(crate) const GLOBAL: &str = "GLOBAL";

/// What groups have to know of `proxy-providers`.
#[derive(Default)]
pub(crate) struct Providers<'d> {
    /// By name.
    pub(crate) known: BTreeMap<&'d str, ProviderTests>,
    /// The names of all groups.
    pub(crate) groups: HashSet<&'d str>,
}

/// What groups take from the `health-check` of a provider.
#[derive(Default)]
pub(crate) struct ProviderTests {
    /// Where its tests go, if that is written.
    pub(crate) url: Option<TestUrl>,
    /// How often its nodes are tested, if they are.
    pub(crate) interval: Option<Duration>,
}

impl<'d> Providers<'d> {
    fn contains(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    fn is_group(&self, name: &str) -> bool {
        self.groups.contains(name)
    }

    fn sorted(&self) -> Vec<&'d str> {
        self.known.keys().copied().collect()
    }

    /// Of the first of `used` that has a URL.
    fn test_url(&self, used: &[&str]) -> Option<TestUrl> {
        used.iter().find_map(|name| self.known.get(name)?.url.clone())
    }

    /// Of the first of `used` that is tested.
    fn interval(&self, used: &[&str]) -> Option<Duration> {
        used.iter().find_map(|name| self.known.get(name)?.interval)
    }
}

/// The names of the groups of `list`, as far as they have some.
pub(crate) fn names(list: Option<Value<'_>>) -> HashSet<&str> {
    let items = list.and_then(Value::peek_list).unwrap_or_default();
    items.into_iter().filter_map(|item| item.peek("name")?.peek_text()).collect()
}

/// A group and where its name stands.
pub(crate) struct Group<'d> {
    pub(crate) name: Text<'d>,
    pub(crate) plan: GroupPlan,
    /// Whether somebody chose what it has instead of members.
    has_fallback: bool,
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

/// Reads `proxy-groups:`. Whatever a group that comes out refers to exists.
pub(crate) fn read<'d>(
    list: Option<Value<'d>>,
    proxies: &[Proxy<'d>],
    providers: &Providers<'d>,
    cx: &Context<'d>,
) -> Vec<Group<'d>> {
    let items = list.and_then(Value::list).unwrap_or_default();
    let taken: HashSet<&str> = proxies.iter().map(|proxy| &*proxy.outbound.name).chain(BUILT_IN).collect();
    let mut groups = HashSet::new();
    let mut written = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let Some(group) = item.fields().and_then(|fields| keys::read(index, fields, providers, cx)) else {
            continue;
        };
        let name = group.name.text;
        if taken.contains(name) {
            cx.report.error(group.name.at, format!("proxy group {}: the duplicate name", shown(name)));
        } else if !groups.insert(name) {
            cx.report.error(group.name.at, format!("ProxyGroup {}: duplicate group name", shown(name)));
        } else {
            written.push(group);
        }
    }
    let names = Names {
        proxies: proxies.iter().map(|proxy| (&*proxy.outbound.name, proxy.shown_type)).collect(),
        groups: written.iter().map(|group| (group.name.text, group.kind.shown)).collect(),
    };
    let groups: Vec<Group<'d>> = written.into_iter().map(|group| planned(group, &names, cx)).collect();
    check_loops(&groups, cx);
    groups
}

fn planned<'d>(group: Written<'d>, names: &Names<'_>, cx: &Context<'_>) -> Group<'d> {
    let own = own(&group, names, cx);
    if group.relays {
        check_steps(&group, names, cx);
    }
    let substitute = substitute(&group, names, cx);
    let has_fallback = group.empty_fallback.is_some();
    let mut kind = group.kind.kind.unwrap_or(GroupKind::Select { default: None });
    if let GroupKind::Select { default } = &mut kind {
        *default = group.default_selected.map(|choice| Tag::new(choice.text));
    }
    let plan = GroupPlan {
        name: Tag::new(group.name.text),
        kind,
        relays: group.relays,
        check: group.check,
        own,
        providers: group.providers.into_iter().map(Tag::new).collect(),
        filter: group.filter,
        exclude_filter: group.exclude_filter,
        exclude_type: group.exclude_type,
        substitute,
        disable_udp: group.disable_udp,
        hidden: group.hidden,
        icon: group.icon,
    };
    if let Some(choice) = group.default_selected.filter(|_| plan.providers().is_empty()) {
        let members = plan.members(&HashMap::new());
        if !members.iter().any(|member| &**member == choice.text) {
            let text = format!("{}: the default '{}' is not a member", shown(group.name.text), shown(choice.text));
            cx.report.add(Draft::warning(choice.at, text).meant(choice.text, members.iter().map(Tag::as_str)));
        }
    }
    Group { name: group.name, plan, has_fallback }
}

/// What comes behind another step of a relay is reached through that, which only a proxy can be.
fn check_steps(group: &Written<'_>, names: &Names<'_>, cx: &Context<'_>) {
    for step in group.proxies.iter().skip(1) {
        let is_proxy = names.proxies.contains_key(step.text) || step.text == "DIRECT";
        if !is_proxy && names.shown_type(step.text).is_some() {
            let text =
                format!("{}: only the first step of a relay can be '{}'", shown(group.name.text), shown(step.text));
            cx.report.add(Draft::error(step.at, text).hint("name the proxies behind it, or use their `dialer-proxy`"));
        }
    }
}

/// The members that no provider brings: written ones, then those that `include-all-proxies` and `filter` choose.
fn own(group: &Written<'_>, names: &Names<'_>, cx: &Context<'_>) -> Vec<Candidate> {
    let mut own: Vec<Candidate> = Vec::new();
    for member in &group.proxies {
        if let Some(kind) = names.shown_type(member.text) {
            own.push(Candidate { name: Tag::new(member.text), kind });
        } else {
            let text = format!("{}: '{}' not found", shown(group.name.text), shown(member.text));
            cx.report.add(Draft::error(member.at, text).meant(member.text, names.all()));
        }
    }
    if group.include_all_proxies {
        // Sorted by name, as Mihomo has it.
        let all: Vec<Candidate> =
            names.proxies.iter().map(|(name, kind)| Candidate { name: Tag::new(name), kind }).collect();
        if group.filter.is_empty() {
            own.extend(all);
        } else {
            own.extend(group.filter.sort(&all, |proxy| proxy.name.as_str()).into_iter().cloned());
        }
    }
    own
}

/// What the group has while it has no members: `empty-fallback`, or REJECT. Mihomo takes COMPATIBLE, which would send out
/// openly what the user wanted to go through a proxy; `empty-group: direct` does that.
fn substitute(group: &Written<'_>, names: &Names<'_>, cx: &Context<'_>) -> Tag {
    let usual = Tag::new(cx.empty_group.substitute());
    let Some(fallback) = group.empty_fallback else { return usual };
    let is_group = names.groups.contains_key(fallback.text);
    if !is_group && names.shown_type(fallback.text).is_some() {
        return Tag::new(fallback.text);
    }
    let title = shown(group.name.text);
    let text = format!("{title}: empty fallback proxy '{}' not found", shown(fallback.text));
    cx.report.add(Draft::error(fallback.at, text).meant(fallback.text, names.proxies.keys().copied().chain(BUILT_IN)));
    usual
}

/// Says which groups have nothing now, and what becomes of their connections.
pub(crate) fn warn_of_empty(groups: &[Group<'_>], nodes: &HashMap<Tag, Vec<Candidate>>, cx: &Context<'_>) {
    for group in groups.iter().filter(|group| !group.has_fallback && group.plan.is_empty(nodes)) {
        let why = if group.plan.providers().is_empty() {
            "nothing is left of its members"
        } else {
            "its providers have nothing for it yet"
        };
        let what = match &**group.plan.substitute() {
            "REJECT" => "it refuses all connections",
            _ => "all its connections are DIRECT",
        };
        let text = format!("the group '{}' has no members ({why}): {what}", shown(group.name.text));
        cx.report.warning(group.name.at, text);
    }
}

/// Groups that contain each other are reported together, once. Providers have no groups, so what they bring cannot
/// close a loop.
fn check_loops(groups: &[Group<'_>], cx: &Context<'_>) {
    let members: Vec<(&str, Vec<Tag>)> =
        groups.iter().map(|group| (group.name.text, group.plan.members(&HashMap::new()))).collect();
    let mut left: HashMap<&str, Vec<&str>> =
        members.iter().map(|(name, members)| (*name, members.iter().map(Tag::as_str).collect())).collect();
    // What is left after groups without members among the remaining groups are taken away, again and again.
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
    if let Some(first) = groups.iter().find(|group| names.contains(&group.name.text)) {
        let shown: Vec<String> = names.iter().map(|name| shown(name)).collect();
        let text = format!("loop is detected in ProxyGroup, please check following ProxyGroups: [{}]", shown.join(" "));
        cx.report.error(first.name.at, text);
    }
}
