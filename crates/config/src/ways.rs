//! Every way out: proxies, what providers bring, groups. What providers bring changes while the daemon runs, so this is
//! kept and put together again.

use std::collections::{HashMap, HashSet};

use adit_net::Tag;
use adit_outbound::options::{Group, Kind, Outbound};

use crate::group::{self, Candidate, GLOBAL, GroupPlan};
use crate::provider::{Nodes, ProviderPlan};
use crate::proxy::BUILT_IN;
use crate::report::shown;

/// The ways out of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// `proxies:` in the order of the file, after those built-ins whose sockets have options (DIRECT).
    pub proxies: Vec<Outbound>,
    /// `proxy-groups:` in the order of the file.
    pub groups: Vec<GroupPlan>,
    /// `proxy-providers:` in the order of the file.
    pub providers: Vec<ProviderPlan>,
}

/// What a [`Book`](adit_outbound::Book) is built of, as long as no provider changes.
#[derive(Clone, Debug, Default)]
pub struct Assembled {
    /// The proxies, then the nodes of each provider, then the links of relays.
    pub outbounds: Vec<Outbound>,
    /// The groups with their members.
    pub groups: Vec<Group>,
    /// The nodes of each provider as groups see them, under the names that they have in `outbounds`.
    pub nodes: HashMap<Tag, Vec<Candidate>>,
    /// Lines about nodes that had to be left out.
    pub left_out: Vec<String>,
}

/// A proxy may be reached through so many others.
const MOST_HOPS: usize = 16;

impl Ways {
    /// Puts everything together, given what each provider has; one that is not in `contents` has nothing.
    ///
    /// Names are unique: a node that is called like a proxy, a group or a node of an earlier provider gets its provider's
    /// name behind its own, `HK 01 (sub)`. A node whose `dialer-proxy` does not exist, or leads in a circle, is left out.
    #[must_use]
    pub fn assemble(&self, contents: &HashMap<Tag, Nodes>) -> Assembled {
        let mut names: HashSet<Tag> = BUILT_IN.into_iter().chain([GLOBAL]).map(Tag::new).collect();
        names.extend(self.proxies.iter().map(|proxy| proxy.name.clone()));
        names.extend(self.groups.iter().map(|group| group.name().clone()));
        let mut provided: Vec<Outbound> = Vec::new();
        for provider in &self.providers {
            for node in contents.get(&provider.name).iter().flat_map(|nodes| &nodes.outbounds) {
                let mut node = node.clone();
                node.name = free(&node.name, &provider.name, &names);
                names.insert(node.name.clone());
                provided.push(node);
            }
        }
        let left_out = self.without_lost(&mut provided, &names);
        let mut nodes: HashMap<Tag, Vec<Candidate>> = HashMap::new();
        for node in &provided {
            let candidate = Candidate { name: node.name.clone(), kind: shown_type(&node.kind) };
            if let Some(provider) = &node.common.provider {
                nodes.entry(provider.clone()).or_default().push(candidate);
            }
        }
        let mut outbounds: Vec<Outbound> = self.proxies.iter().cloned().chain(provided).collect();
        let groups = self.groups.iter().map(|plan| {
            let mut group = plan.group(&nodes);
            if plan.relays() {
                group::chain(&mut group, plan.substitute(), &mut outbounds);
            }
            group
        });
        let groups = groups.collect();
        Assembled { outbounds, groups, nodes, left_out }
    }

    /// Takes away the nodes that cannot be reached: see [`Ways::assemble`]. Says which, up to a limit.
    fn without_lost(&self, provided: &mut Vec<Outbound>, names: &HashSet<Tag>) -> Vec<String> {
        const MOST: usize = 20;
        let dialers: HashMap<Tag, Tag> = self
            .proxies
            .iter()
            .chain(&*provided)
            .filter_map(|proxy| Some((proxy.name.clone(), proxy.common.dialer_proxy.clone()?)))
            .collect();
        let mut lost = Vec::new();
        let mut more = 0;
        provided.retain(|node| {
            let Err(why) = ends(node, &dialers, names) else { return true };
            if lost.len() < MOST {
                lost.push(why);
            } else {
                more += 1;
            }
            false
        });
        if more > 0 {
            lost.push(format!("and {more} more proxies like these"));
        }
        lost
    }
}

/// Whether the way to a node's server ends somewhere.
fn ends(node: &Outbound, dialers: &HashMap<Tag, Tag>, names: &HashSet<Tag>) -> Result<(), String> {
    let mut at = &node.name;
    for _ in 0..=MOST_HOPS {
        let Some(next) = dialers.get(at) else { return Ok(()) };
        if !names.contains(next) {
            return Err(format!("proxy [{}] dialer-proxy [{}] not found", shown(at), shown(next)));
        }
        at = next;
    }
    Err(format!("proxy [{}] has circular dialer-proxy dependency", shown(&node.name)))
}

/// A name that is not taken.
fn free(name: &Tag, provider: &Tag, taken: &HashSet<Tag>) -> Tag {
    if !taken.contains(name) {
        return name.clone();
    }
    let with_provider = Tag::from(format!("{name} ({provider})"));
    if !taken.contains(&with_provider) {
        return with_provider;
    }
    // One of the first `taken.len() + 1` numbers is free.
    let mut numbered = (1..=taken.len().saturating_add(1)).map(|n| Tag::from(format!("{with_provider}-{n:02}")));
    numbered.find(|name| !taken.contains(name)).unwrap_or(with_provider)
}

/// The type as the API shows it.
fn shown_type(kind: &Kind) -> &'static str {
    match kind {
        Kind::Direct => "Direct",
        Kind::Reject => "Reject",
        Kind::RejectDrop => "RejectDrop",
        Kind::Pass => "Pass",
        Kind::Dns => "Dns",
        Kind::Socks5(_) => "Socks5",
        Kind::Http(_) => "Http",
        Kind::Vless(_) => "Vless",
        Kind::WireGuard(_) => "WireGuard",
    }
}
