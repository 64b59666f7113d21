//! What is kept of a group to know its members whenever those of its providers change.

use std::collections::{HashMap, HashSet};

use adit_net::Tag;
use adit_outbound::options::{Check, Group, GroupKind};

use crate::filter::{Patterns, Types};

/// Something that may become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name among all ways out.
    pub name: Tag,
    /// Its type as the API shows it: `Vless`, `Selector`.
    pub kind: &'static str,
}

/// A group whose members are not known yet, because some come from providers.
#[derive(Clone, Debug)]
pub struct GroupPlan {
    pub(super) name: Tag,
    pub(super) kind: GroupKind,
    /// Whether the members are steps of one way.
    pub(super) relays: bool,
    pub(super) check: Check,
    /// Those that are written, and those that `include-all-proxies` brings.
    pub(super) own: Vec<Candidate>,
    pub(super) providers: Vec<Tag>,
    pub(super) filter: Patterns,
    pub(super) exclude_filter: Patterns,
    pub(super) exclude_type: Types,
    /// The member where there would be none.
    pub(super) substitute: Tag,
    pub(super) disable_udp: bool,
    pub(super) hidden: bool,
    pub(super) icon: String,
}

impl GroupPlan {
    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &Tag {
        &self.name
    }

    /// The providers that it takes members from, in order.
    #[must_use]
    pub fn providers(&self) -> &[Tag] {
        &self.providers
    }

    /// Whether it is of type `relay`: [`Ways::assemble`](crate::Ways::assemble) makes one member of its members.
    #[must_use]
    pub fn relays(&self) -> bool {
        self.relays
    }

    /// The member of the group while it has no other.
    #[must_use]
    pub fn substitute(&self) -> &Tag {
        &self.substitute
    }

    /// The members, given what each provider has; never empty, each name once. A provider that is not in `nodes` has
    /// nothing.
    ///
    /// Order (mihomo-surface §6.1): written ones, which `filter` does not concern, then the providers' in the group's order
    /// of providers. With `filter` a provider's nodes are sorted by the first pattern that matches; with several patterns,
    /// and several sources of members, everything is, and what matches none (written ones only) comes last. What is
    /// excluded is excluded wherever it comes from.
    #[must_use]
    pub fn members(&self, nodes: &HashMap<Tag, Vec<Candidate>>) -> Vec<Tag> {
        let found = self.found(nodes);
        if found.is_empty() {
            return vec![self.substitute.clone()];
        }
        found.into_iter().map(|candidate| candidate.name.clone()).collect()
    }

    /// Whether its only member is the substitute.
    #[must_use]
    pub fn is_empty(&self, nodes: &HashMap<Tag, Vec<Candidate>>) -> bool {
        self.found(nodes).is_empty()
    }

    fn found<'n>(&'n self, nodes: &'n HashMap<Tag, Vec<Candidate>>) -> Vec<&'n Candidate> {
        let mut candidates: Vec<&Candidate> = self.own.iter().collect();
        for provider in &self.providers {
            let provided = nodes.get(provider).map(Vec::as_slice).unwrap_or_default();
            if self.filter.is_empty() {
                candidates.extend(provided);
            } else {
                candidates.extend(self.filter.sort(provided, |node| node.name.as_str()));
            }
        }
        let sources = self.providers.len() + usize::from(!self.own.is_empty());
        if sources > 1 && self.filter.len() > 1 {
            let sorted: Vec<&Candidate> =
                self.filter.sort(&candidates, |candidate| candidate.name.as_str()).into_iter().copied().collect();
            candidates.retain(|candidate| !self.filter.match_any(&candidate.name));
            candidates.splice(0..0, sorted);
        }
        let mut seen = HashSet::new();
        candidates.retain(|Candidate { name, kind }| {
            !self.exclude_filter.match_any(name) && !self.exclude_type.contain(kind) && seen.insert(name)
        });
        candidates
    }

    /// The group with the members that it has now. `default-selected` counts once it is one of them.
    #[must_use]
    pub fn group(&self, nodes: &HashMap<Tag, Vec<Candidate>>) -> Group {
        let members = self.members(nodes);
        let kind = match &self.kind {
            GroupKind::Select { default } => {
                GroupKind::Select { default: default.clone().filter(|default| members.contains(default)) }
            }
            other => other.clone(),
        };
        Group {
            name: self.name.clone(),
            kind,
            members,
            check: self.check.clone(),
            disable_udp: self.disable_udp,
            hidden: self.hidden,
            icon: self.icon.clone(),
        }
    }
}
