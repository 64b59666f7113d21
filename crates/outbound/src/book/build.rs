//! From options to nodes.

use std::sync::{Arc, Weak};

use adit_net::{Dialer, Resolve, SocketOptions, Tag, Target};

use super::{Book, BookError, Node, Proxy, Role, TcpOnly, check};
use crate::carrier::{Carrier, Via};
use crate::connector::Connector;
use crate::direct::Direct;
use crate::group::Group;
use crate::http::Http;
use crate::options::{self, Common, GroupKind, Kind, Outbound};
use crate::reject::Reject;
use crate::server::Server;
use crate::socks5::Socks5;
use crate::tls::TlsOptionsError;
use crate::wireguard::WireGuard;

pub(super) const GLOBAL: &str = "GLOBAL";

pub(super) fn build(
    outbounds: Vec<Outbound>,
    groups: Vec<options::Group>,
    resolver: Arc<dyn Resolve>,
    server_resolver: Arc<dyn Resolve>,
) -> Result<Arc<Book>, BookError> {
    let groups = with_global(groups, &outbounds);
    let outbounds = with_built_ins(outbounds);
    check::check(&outbounds, &groups)?;
    let mut failed = None;
    let book = Arc::new_cyclic(|book| {
        let workshop = Workshop { resolver, server_resolver, book: Weak::clone(book) };
        let mut nodes = std::collections::HashMap::new();
        for outbound in outbounds {
            let name = outbound.name.clone();
            match workshop.proxy(outbound) {
                Ok(proxy) => {
                    nodes.insert(name, Node::Proxy(proxy));
                }
                Err(cause) => failed = Some(BookError::Tls { proxy: name, cause }),
            }
        }
        for group in groups {
            let name = group.name.clone();
            nodes.extend(Group::new(group).map(|group| (name, Node::Group(group))));
        }
        Book { nodes }
    });
    match failed {
        None => Ok(book),
        Some(error) => Err(error),
    }
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

/// What every proxy is built with.
struct Workshop {
    resolver: Arc<dyn Resolve>,
    server_resolver: Arc<dyn Resolve>,
    book: Weak<Book>,
}

impl Workshop {
    fn proxy(&self, Outbound { name, kind, common }: Outbound) -> Result<Proxy, TlsOptionsError> {
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
        let dialer: Arc<dyn Dialer> = match kind {
            Kind::Direct => match self.via(&name, &common) {
                Some(via) => Arc::new(via),
                None => Arc::new(Direct::new(connector(&common, &self.resolver))),
            },
            Kind::Reject => Arc::new(Reject::Tell),
            Kind::RejectDrop => Arc::new(Reject::Drop),
            Kind::Pass => Arc::new(Reject::Pass),
            Kind::Dns => Arc::new(Reject::Dns),
            Kind::Socks5(options) => {
                let server = self.server(&name, &options.server, &common);
                Arc::new(Socks5::new(server, &options)?)
            }
            Kind::Http(options) => {
                let server = self.server(&name, &options.server, &common);
                Arc::new(Http::new(server, &options)?)
            }
            Kind::Vless(options) => {
                let server = self.server(&name, &options.server, &common);
                Arc::new(crate::vless::Vless::new(server, *options)?)
            }
            // Refuses until the tunnel's dialer takes this place.
            Kind::WireGuard(options) => {
                let outer = connector(&common, &self.server_resolver);
                let (via, inner) = (self.via(&name, &common), Arc::clone(&self.resolver));
                Arc::new(WireGuard::new(name.clone(), *options, outer, via, inner))
            }
        };
        Ok(Proxy {
            tcp_only: Arc::new(TcpOnly(Arc::clone(&dialer))),
            dialer,
            udp,
            role,
            kind: api_name,
            via: common.dialer_proxy,
        })
    }

    fn server(&self, proxy: &Tag, at: &Target, common: &Common) -> Server {
        let carrier = match self.via(proxy, common) {
            Some(via) => Carrier::Via(via),
            None => Carrier::Direct(Direct::new(connector(common, &self.server_resolver))),
        };
        Server::new(proxy.clone(), at.clone(), carrier)
    }

    fn via(&self, owner: &Tag, common: &Common) -> Option<Via> {
        common.dialer_proxy.as_ref().map(|name| Via {
            owner: owner.clone(),
            name: name.clone(),
            book: Weak::clone(&self.book),
        })
    }
}

fn connector(common: &Common, resolver: &Arc<dyn Resolve>) -> Connector {
    Connector {
        socket: SocketOptions::clone(&common.socket),
        ip_version: common.ip_version,
        resolver: Arc::clone(resolver),
    }
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
