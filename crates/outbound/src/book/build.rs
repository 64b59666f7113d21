//! From options to nodes.

use std::collections::HashMap;
use std::sync::Arc;

use adit_net::{Dialer, Resolve, SocketOptions, Tag, Target};

use super::{Book, BookError, Node, Proxy, Role, TcpOnly, check};
use crate::carrier::{Carrier, Via};
use crate::connector::Connector;
use crate::direct::Direct;
use crate::group::Group;
use crate::health::Health;
use crate::http::Http;
use crate::lineage::Lineage;
use crate::options::{self, Common, GroupKind, Kind, Outbound};
use crate::reject::Reject;
use crate::server::Server;
use crate::socks5::Socks5;
use crate::tls::TlsOptionsError;
use crate::wireguard::WireGuard;

pub(super) const GLOBAL: &str = "GLOBAL";

/// Builds a book of `lineage`, which keeps of `before` what is still the same.
pub(super) fn build(
    lineage: Arc<Lineage>,
    outbounds: Vec<Outbound>,
    groups: Vec<options::Group>,
    before: Option<&Book>,
) -> Result<Arc<Book>, BookError> {
    let groups = with_global(groups, &outbounds);
    let outbounds = with_built_ins(outbounds);
    check::check(&outbounds, &groups)?;
    let order = outbounds.iter().map(|outbound| &outbound.name).chain(groups.iter().map(|group| &group.name));
    let order = order.cloned().collect();
    let mut nodes = HashMap::new();
    for outbound in outbounds {
        let name = outbound.name.clone();
        let proxy = match before.and_then(|before| before.unchanged(&outbound)) {
            Some(proxy) => proxy,
            None => {
                let proxy = proxy(&lineage, outbound);
                Arc::new(proxy.map_err(|cause| BookError::Tls { proxy: name.clone(), cause })?)
            }
        };
        nodes.insert(name, Node::Proxy(proxy));
    }
    for options in groups {
        let name = options.name.clone();
        let old = before.and_then(|before| match before.nodes.get(&name) {
            Some(Node::Group(group, health)) => Some((&**group, health)),
            _ => None,
        });
        let health =
            old.map_or_else(|| Arc::new(Health::new(Arc::clone(&lineage.alarm))), |(_, health)| Arc::clone(health));
        nodes.insert(name, Node::Group(Box::new(Group::new(options, old.map(|(group, _)| group))), health));
    }
    Ok(Arc::new(Book { nodes, order, lineage }))
}

/// Adds the selector over everything that the file names, in the file's order; dashboards sort by it.
fn with_global(mut groups: Vec<options::Group>, outbounds: &[Outbound]) -> Vec<options::Group> {
    if groups.iter().any(|group| &*group.name == GLOBAL) {
        return groups;
    }
    let built_in = |name: &Tag| built_ins().iter().any(|(built_in, _)| *built_in == &**name);
    let proxies = outbounds.iter().map(|outbound| &outbound.name).filter(|name| !built_in(name));
    let members = ["DIRECT", "REJECT"]
        .map(Tag::new)
        .into_iter()
        .chain(proxies.cloned())
        .chain(groups.iter().map(|group| group.name.clone()))
        .collect();
    groups.push(options::Group {
        name: Tag::new(GLOBAL),
        kind: GroupKind::Select { default: None },
        members,
        check: options::Check::default(),
        disable_udp: false,
        hidden: false,
        icon: String::new(),
    });
    groups
}

fn built_ins() -> [(&'static str, Kind); 6] {
    [
        ("DIRECT", Kind::Direct),
        ("COMPATIBLE", Kind::Direct),
        ("REJECT", Kind::Reject),
        ("REJECT-DROP", Kind::RejectDrop),
        ("PASS", Kind::Pass),
        ("PASS-RULE", Kind::Pass),
    ]
}

fn with_built_ins(mut outbounds: Vec<Outbound>) -> Vec<Outbound> {
    for (name, kind) in built_ins() {
        if outbounds.iter().any(|outbound| &*outbound.name == name) {
            continue;
        }
        let direct = outbounds.iter().find(|outbound| &*outbound.name == "DIRECT");
        outbounds.push(Outbound {
            name: Tag::new(name),
            common: direct.map(|direct| direct.common.clone()).unwrap_or_default(),
            kind,
        });
    }
    outbounds
}

fn proxy(lineage: &Arc<Lineage>, Outbound { name, kind, common }: Outbound) -> Result<Proxy, TlsOptionsError> {
    let role = match &kind {
        Kind::Pass => Role::Pass,
        Kind::Dns => Role::Dns,
        _ => Role::Dial,
    };
    let api_name = api_name(&name, &kind);
    // Mihomo: always on for these, never there for HTTP.
    let udp = match &kind {
        Kind::Direct | Kind::Reject | Kind::RejectDrop | Kind::Pass | Kind::Dns => true,
        Kind::Http(_) => false,
        Kind::Socks5(_) | Kind::Vless(_) | Kind::WireGuard(_) => common.udp,
    };
    let health = Arc::new(Health::new(Arc::clone(&lineage.alarm)));
    let workshop = Workshop { lineage, name: &name, common: &common, health: &health };
    let dialer = workshop.dialer(kind)?;
    Ok(Proxy { tcp_only: Arc::new(TcpOnly(Arc::clone(&dialer))), dialer, udp, role, kind: api_name, health, common })
}

/// What a proxy is built with.
struct Workshop<'a> {
    lineage: &'a Arc<Lineage>,
    name: &'a Tag,
    common: &'a Common,
    health: &'a Arc<Health>,
}

impl Workshop<'_> {
    fn dialer(&self, kind: Kind) -> Result<Arc<dyn Dialer>, TlsOptionsError> {
        let names = || Arc::clone(&self.lineage.names) as Arc<dyn Resolve>;
        Ok(match kind {
            Kind::Direct => match self.via() {
                Some(via) => Arc::new(via),
                None => Arc::new(Direct::new(connector(self.common, names()))),
            },
            Kind::Reject => Arc::new(Reject::Tell),
            Kind::RejectDrop => Arc::new(Reject::Drop),
            Kind::Pass => Arc::new(Reject::Pass),
            Kind::Dns => Arc::new(Reject::Dns),
            Kind::Socks5(options) => Arc::new(Socks5::new(self.server(&options.server), &options)?),
            Kind::Http(options) => Arc::new(Http::new(self.server(&options.server), &options)?),
            Kind::Vless(options) => Arc::new(crate::vless::Vless::new(self.server(&options.server), *options)?),
            Kind::WireGuard(options) => {
                let outer = connector(self.common, self.server_names());
                let health = Arc::clone(self.health);
                Arc::new(WireGuard::new(self.name.clone(), *options, outer, self.via(), names(), health))
            }
        })
    }

    fn server_names(&self) -> Arc<dyn Resolve> {
        Arc::clone(&self.lineage.server_names) as _
    }

    fn server(&self, at: &Target) -> Server {
        let carrier = match self.via() {
            Some(via) => Carrier::Via(via),
            None => Carrier::Direct(Direct::new(connector(self.common, self.server_names()))),
        };
        Server::new(self.name.clone(), at.clone(), carrier, Arc::clone(self.health))
    }

    fn via(&self) -> Option<Via> {
        self.common.dialer_proxy.as_ref().map(|name| Via {
            owner: self.name.clone(),
            name: name.clone(),
            lineage: Arc::clone(self.lineage),
        })
    }
}

fn connector(common: &Common, resolver: Arc<dyn Resolve>) -> Connector {
    Connector { socket: SocketOptions::clone(&common.socket), ip_version: common.ip_version, resolver }
}

/// The type as dashboards know it.
fn api_name(name: &Tag, kind: &Kind) -> &'static str {
    match (kind, &**name) {
        (Kind::Direct, "COMPATIBLE") => "Compatible",
        (Kind::Direct, _) => "Direct",
        (Kind::Reject, _) => "Reject",
        (Kind::RejectDrop, _) => "RejectDrop",
        (Kind::Pass, "PASS-RULE") => "PassRule",
        (Kind::Pass, _) => "Pass",
        (Kind::Dns, _) => "Dns",
        (Kind::Socks5(_), _) => "Socks5",
        (Kind::Http(_), _) => "Http",
        (Kind::Vless(_), _) => "Vless",
        (Kind::WireGuard(_), _) => "WireGuard",
    }
}
