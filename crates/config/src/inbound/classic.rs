//! The classic ports: `port`, `socks-port`, `mixed-port`, `redir-port` and `tproxy-port`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use adit_inbound::{Interception, Kind, Options};
use adit_net::Tag;

use super::doors::{Doors, Port};
use super::transparent::Captured;
use super::{Bound, InboundPlan, Listening};
use crate::context::Context;

/// Adds a listener for each classic port and address.
pub(super) fn add(doors: &Doors, listening: &mut Listening, cx: &Context<'_>) {
    for (kind, port) in &doors.classic {
        for (listen, optional) in addresses(doors, port) {
            listening.bound.push(Bound { what: format!("`{}`", port.key), at: port.at, listen });
            let options = Options {
                name: Tag::new(match kind {
                    Kind::Http => "DEFAULT-HTTP",
                    Kind::Socks => "DEFAULT-SOCKS",
                    Kind::Mixed => "DEFAULT-MIXED",
                }),
                kind: *kind,
                listen,
                users: doors.users.clone(),
                access: doors.access(&doors.users, listen),
                udp: true,
                keep_alive: cx.socket.keep_alive,
            };
            listening.inbounds.push(InboundPlan { options, optional, rule: None, proxy: None });
        }
    }
    if doors.allow_lan && !listening.inbounds.is_empty() && !doors.bind.is_loopback() && doors.users.is_empty() {
        listening.notices.push(doors.open("allow-lan"));
    }
    for (interception, port) in &doors.transparent {
        for (listen, optional) in addresses(doors, port) {
            listening.bound.push(Bound { what: format!("`{}`", port.key), at: port.at, listen });
            let captured = Captured {
                name: match interception {
                    Interception::Redirect => "DEFAULT-REDIR",
                    Interception::Tproxy => "DEFAULT-TPROXY",
                },
                interception: *interception,
                udp: None,
                mark: None,
            };
            listening.transparent.push(captured.plan(port.at, listen, optional, doors, cx));
        }
    }
}

/// Where a classic port listens, and whether that may be missing.
fn addresses(doors: &Doors, port: &Port) -> impl Iterator<Item = (SocketAddr, bool)> {
    // F-C1: both families, so that `localhost` works whatever it resolves to.
    const LOOPBACK: [(IpAddr, bool); 2] =
        [(IpAddr::V4(Ipv4Addr::LOCALHOST), false), (IpAddr::V6(Ipv6Addr::LOCALHOST), true)];
    let addresses = if doors.allow_lan { vec![(doors.bind, false)] } else { LOOPBACK.to_vec() };
    let number = port.number;
    addresses.into_iter().map(move |(address, optional)| (SocketAddr::new(address, number), optional))
}
