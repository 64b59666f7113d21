//! What there is to say of proxies and groups, for those who show it.

use adit_net::Tag;

use super::{Book, Node};
use crate::health::HealthReport;
use crate::options::{Common, GroupKind, Strategy};

/// One proxy or group.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// Its name.
    pub name: Tag,
    /// Its type as the API spells it.
    pub kind: &'static str,
    /// Whether UDP may go here now.
    pub udp: bool,
    /// What tests and dials have shown.
    pub health: HealthReport,
    /// The provider it came from.
    pub provider: Option<Tag>,
    /// Its `dialer-proxy`.
    pub dialer_proxy: Option<Tag>,
    /// The interface that its sockets are bound to.
    pub interface: Option<String>,
    /// The mark of its sockets.
    pub mark: u32,
    /// What only groups have.
    pub group: Option<GroupReport>,
}

/// What only groups have.
#[derive(Clone, Debug)]
pub struct GroupReport {
    /// Its members in order.
    pub all: Vec<Tag>,
    /// The member that is used now; none where each connection has its own.
    pub now: Option<Tag>,
    /// What was chosen by hand, in groups that choose by themselves.
    pub fixed: Option<Tag>,
    /// How it chooses.
    pub kind: GroupKind,
    /// What its members are tested with.
    pub test_url: String,
    /// The status that counts as success, as it is written.
    pub expected: String,
    /// For dashboards.
    pub hidden: bool,
    /// For dashboards.
    pub icon: String,
}

impl Book {
    /// The names of everything: built-ins and proxies, then groups, each in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &Tag> {
        self.order.iter()
    }

    /// What there is to say of `name`.
    #[must_use]
    pub fn report(&self, name: &str) -> Option<NodeReport> {
        let (name, node) = self.nodes.get_key_value(name)?;
        let udp = self.find(name).is_some_and(|way| way.udp);
        let (kind, health, common) = match node {
            Node::Proxy(proxy) => (proxy.kind, proxy.health.report(), proxy.common.clone()),
            Node::Group(group, health) => (kind(&group.options.kind), health.report(), Common::default()),
        };
        Some(NodeReport {
            name: name.clone(),
            kind,
            udp,
            health,
            provider: common.provider,
            dialer_proxy: common.dialer_proxy,
            interface: common.socket.interface,
            mark: common.socket.mark,
            group: self.group_report(node),
        })
    }

    fn group_report(&self, node: &Node) -> Option<GroupReport> {
        let Node::Group(group, _) = node else { return None };
        let options = &group.options;
        let (pins, spreads) = match options.kind {
            GroupKind::Select { .. } => (false, false),
            GroupKind::UrlTest { .. } | GroupKind::Fallback => (true, false),
            GroupKind::LoadBalance(_) => (false, true),
        };
        let expected = options.check.expected.iter().map(|range| match (range.start(), range.end()) {
            (from, to) if from == to => from.to_string(),
            (from, to) => format!("{from}-{to}"),
        });
        let expected: Vec<String> = expected.collect();
        Some(GroupReport {
            all: options.members.clone(),
            now: if spreads { None } else { self.member(group, None).cloned() },
            fixed: if pins { group.chosen() } else { None },
            kind: options.kind.clone(),
            test_url: options.check.url.as_str().to_owned(),
            expected: if expected.is_empty() { "*".to_owned() } else { expected.join("/") },
            hidden: options.hidden,
            icon: options.icon.clone(),
        })
    }

    /// What was chosen by hand in each group, to be stored; selectors that were never touched have nothing.
    pub fn choices(&self) -> impl Iterator<Item = (&Tag, Tag)> {
        self.order.iter().filter_map(|name| match self.nodes.get(name)? {
            Node::Group(group, _) => Some((name, group.chosen()?)),
            Node::Proxy(_) => None,
        })
    }
}

/// The group's type as dashboards know it.
fn kind(kind: &GroupKind) -> &'static str {
    match kind {
        GroupKind::Select { .. } => "Selector",
        GroupKind::UrlTest { .. } => "URLTest",
        GroupKind::Fallback => "Fallback",
        GroupKind::LoadBalance(Strategy::ConsistentHashing | Strategy::RoundRobin | Strategy::StickySessions) => {
            "LoadBalance"
        }
    }
}
