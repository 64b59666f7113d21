//! `rule-providers:` and the databases, opened once for all sections, and the sets of names and addresses that are made
//! of them. Spec: mihomo-surface §3.4, §4.

mod geo;
mod providers;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use adit_dns::{AddressMatch, NameMatch};
use adit_net::Tag;
use adit_router::{
    Behavior, DomainPattern, DomainSetBuilder, Geo, IpSetBuilder, Membership, MembershipCompiler, ProviderHandle,
    RuleWarningKind,
};
use ipnet::IpNet;

use crate::context::Context;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};
use crate::vehicle;
use crate::yaml::At;
use geo::{Databases, Needed};

pub use providers::RuleProviderPlan;

/// What lists of names and addresses may refer to.
pub(crate) struct Sets {
    databases: Arc<Databases>,
    providers: HashMap<Tag, ProviderHandle>,
}

/// What a list consists of.
struct Members {
    /// How its entries refer to other lists, and the rule that they mean.
    references: [(&'static str, &'static str); 2],
    /// The rule sets that have nothing of it.
    without: Behavior,
    /// What Mihomo says that it expects instead.
    expected: &'static str,
}

const NAMES: Members = Members {
    references: [("geosite:", "GEOSITE"), (RULE_SET, "RULE-SET")],
    without: Behavior::IpCidr,
    expected: "domain",
};
const ADDRESSES: Members = Members {
    references: [("geoip:", "GEOIP"), (RULE_SET, "RULE-SET")],
    without: Behavior::Domain,
    expected: "ipcidr",
};
const RULE_SET: &str = "rule-set:";

impl Sets {
    /// Reads the providers, whose plans it returns, too. Databases are opened when something first needs them: they are
    /// large. `targets` are the names that providers may be downloaded through.
    pub(crate) fn read<'d>(
        fields: &mut Fields<'d>,
        targets: &HashSet<&str>,
        cx: &Context<'d>,
    ) -> (Self, Vec<RuleProviderPlan>) {
        let prefers_dat = fields.take("geodata-mode").and_then(Value::boolean).unwrap_or(false);
        let databases = Arc::new(Databases::new(cx.home.dir(), prefers_dat));
        let read = providers::read(fields.take("rule-providers"), &databases, cx);
        for provider in &read {
            vehicle::check_proxy(&provider.plan.vehicle, provider.proxy_at, targets, cx);
        }
        let providers = providers::handles(&read);
        (Self { databases, providers }, read.into_iter().map(|provider| provider.plan).collect())
    }

    /// The rule providers by their names.
    pub(crate) fn providers(&self) -> &HashMap<Tag, ProviderHandle> {
        &self.providers
    }

    /// The databases that `rules` need, as far as they are there.
    pub(crate) fn geo<'t>(&self, rules: impl Iterator<Item = Text<'t>>, cx: &Context<'_>) -> Geo {
        self.databases.open(Needed::of(rules), cx.report)
    }

    /// The names that any entry of `list` means: domain patterns, `geosite:a,b`, `rule-set:a,b`. What is wrong with an
    /// entry is reported, with `prefix` before it, and makes the whole `None`.
    pub(crate) fn names<'t>(
        &self,
        list: impl IntoIterator<Item = Text<'t>>,
        prefix: &str,
        cx: &Context<'_>,
    ) -> Option<NameMatch> {
        let mut patterns = DomainSetBuilder::default();
        let plain = |text: Text<'_>| match DomainPattern::parse(text.text) {
            Ok(pattern) => {
                patterns.add(&pattern);
                Ok(())
            }
            Err(why) => {
                Err(Draft::error(text.at, format!("invalid domain: {}", shown(text.text))).hint(why.to_string()))
            }
        };
        let members = self.collect(&NAMES, list, plain, prefix, cx)?;
        let patterns = patterns.build();
        Some(Arc::new(move |name: &str| patterns.contains(name) || members.iter().any(|set| set.has_name(name))))
    }

    /// The addresses that any entry of `list` means: prefixes and addresses, `geoip:a,b`, `rule-set:a,b`. Otherwise as
    /// [`Sets::names`].
    pub(crate) fn addresses<'t>(
        &self,
        list: impl IntoIterator<Item = Text<'t>>,
        prefix: &str,
        cx: &Context<'_>,
    ) -> Option<AddressMatch> {
        let mut networks = IpSetBuilder::default();
        let plain = |text: Text<'_>| match network(text.text) {
            Some(network) => {
                networks.add(network);
                Ok(())
            }
            None => {
                let draft = Draft::error(text.at, format!("invalid prefix: {}", shown(text.text)));
                Err(draft.hint("write a prefix like 192.168.0.0/16, `geoip:<code>` or `rule-set:<name>`"))
            }
        };
        let members = self.collect(&ADDRESSES, list, plain, prefix, cx)?;
        let networks = networks.build();
        Some(Arc::new(move |ip: IpAddr| {
            networks.contains(ip.to_canonical()) || members.iter().any(|set| set.has_address(ip))
        }))
    }

    /// Whether an entry of a list of names refers to others, rather than being a pattern.
    pub(crate) fn is_reference(text: &str) -> bool {
        NAMES.reference(text).is_some()
    }

    /// The set that `rule` means: a rule without its target. `at` is where it stands.
    pub(crate) fn rule(&self, rule: &str, at: At, cx: &Context<'_>) -> Result<Membership, Draft> {
        let geo = self.geo(std::iter::once(Text { text: rule, at }), cx);
        let (set, warnings) = MembershipCompiler::new(&geo, &self.providers).compile(rule).map_err(|bad| {
            let draft = Draft::error(at, bad.to_string());
            bad.hint.into_iter().fold(draft, Draft::hint)
        })?;
        for warning in warnings {
            let draft = |text: String| Draft::warning(at, text);
            match warning {
                RuleWarningKind::NoDatabase(database) => {
                    let text = format!("{database} is not available: lists that refer to it have nothing from it");
                    cx.report.once(format!("sets: {database}"), draft(text));
                }
                other => cx.report.add(draft(format!("{}: {other}", shown(rule)))),
            }
        }
        Ok(set)
    }

    fn collect<'t>(
        &self,
        members: &Members,
        list: impl IntoIterator<Item = Text<'t>>,
        mut plain: impl FnMut(Text<'t>) -> Result<(), Draft>,
        prefix: &str,
        cx: &Context<'_>,
    ) -> Option<Vec<Membership>> {
        let mut sets = Vec::new();
        let mut is_whole = true;
        for text in list {
            let read = match members.reference(text.text) {
                Some((kind, names)) => names.split(',').map(str::trim).try_for_each(|name| {
                    if kind == "RULE-SET" {
                        self.check_provider(members, name, text, cx)?;
                    }
                    sets.push(self.rule(&format!("{kind},{name}"), text.at, cx)?);
                    Ok(())
                }),
                None => plain(text),
            };
            if let Err(draft) = read {
                is_whole = false;
                cx.report.add(draft.after(prefix));
            }
        }
        is_whole.then_some(sets)
    }

    /// Whether there is a provider `name` that has `members`.
    fn check_provider(&self, members: &Members, name: &str, text: Text<'_>, cx: &Context<'_>) -> Result<(), Draft> {
        let Members { without, expected, .. } = members;
        let Some(provider) = self.providers.get(name) else {
            let draft = Draft::error(text.at, format!("not found rule-set: {}", shown(name)));
            return Err(draft.meant(name, self.providers.keys().map(Tag::as_str)));
        };
        let behavior = provider.behavior();
        if behavior == *without {
            let message = format!("rule provider type error, except {expected},actual {behavior}");
            return Err(Draft::error(text.at, message));
        }
        if behavior == Behavior::Classical {
            let part = if *without == Behavior::IpCidr { "names" } else { "addresses" };
            let message = format!("the rule set {} is classical: only its rules about {part} count here", shown(name));
            cx.report.once(format!("sets: {part} of {name}"), Draft::warning(text.at, message));
        }
        Ok(())
    }
}

impl Members {
    /// The rule that `text` refers to others by, and their names.
    fn reference<'t>(&self, text: &'t str) -> Option<(&'static str, &'t str)> {
        self.references.iter().find_map(|(prefix, rule)| {
            let (front, names) = text.split_at_checked(prefix.len())?;
            front.eq_ignore_ascii_case(prefix).then_some((*rule, names))
        })
    }
}

/// A prefix, or an address as one.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
