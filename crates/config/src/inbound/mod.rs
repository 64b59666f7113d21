//! What is listened on: the classic ports and `listeners:`. Spec: mihomo-surface §1.2, §2.5, §2.6.

mod classic;
mod doors;
mod listener;
mod transparent;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use adit_inbound::{Options, TransparentOptions};
use adit_net::Tag;

use crate::context::Context;
use crate::read::{Fields, Value};
use crate::report::shown;
use crate::yaml::At;
use listener::Listener;

pub(crate) use doors::{Doors, doors};
pub(crate) use transparent::{CAPTURE_MASK, check_mark};

/// A listener to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundPlan {
    /// What the listener is told.
    pub options: Options,
    /// It may be missing without being missed: the IPv6 twin of an IPv4 loopback listener, on a machine without IPv6.
    pub optional: bool,
    /// The sub-rule list that decides for its clients instead of the main list.
    pub rule: Option<Tag>,
    /// The outbound that its clients use without asking any rule.
    pub proxy: Option<Tag>,
}

/// A listener to start for clients that do not know of us.
///
/// Where it listens decides what can reach it. A redirected connection arrives at the address of the interface it came
/// in on, one of this host's own at 127.0.0.1 or `::1`; TPROXY looks for the listener at the same places. So a listener
/// on the unspecified address takes everything that host rules send, one on loopback only what this host sends itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransparentPlan {
    /// What the listener is told. It serves every source but those of `lan-disallowed-ips`: host rules decide whose
    /// traffic gets here, and a stranger who connects to the port itself is refused, because nothing was captured.
    /// `lan-allowed-ips` has no say, as in Mihomo: captured clients have addresses that no list can know, such as this
    /// host's own public ones and those that IPv6 clients change daily.
    pub options: TransparentOptions,
    /// It may be missing without being missed: the IPv6 twin of an IPv4 listener, on a machine without IPv6.
    pub optional: bool,
    /// The sub-rule list that decides for its clients instead of the main list.
    pub rule: Option<Tag>,
    /// The outbound that its clients use without asking any rule.
    pub proxy: Option<Tag>,
}

/// Everything that is listened on.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    pub(crate) inbounds: Vec<InboundPlan>,
    pub(crate) transparent: Vec<TransparentPlan>,
    /// Lines that start-up should say.
    pub(crate) notices: Vec<String>,
    bound: Vec<Bound>,
}

/// A bound address, for the check that no two listeners want the same.
#[derive(Debug)]
struct Bound {
    what: String,
    at: At,
    listen: SocketAddr,
}

const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Makes the listeners. `rules` and `outbounds` are the names that `rule` and `proxy` may use.
pub(crate) fn plan<'d>(
    doors: &Doors,
    listeners: Option<Value<'d>>,
    rules: &HashSet<&str>,
    outbounds: &HashSet<&str>,
    cx: &Context<'d>,
) -> Listening {
    let mut listening = Listening::default();
    classic::add(doors, &mut listening, cx);
    let mut names: HashSet<&str> = HashSet::new();
    for (index, item) in listeners.and_then(Value::list).unwrap_or_default().into_iter().enumerate() {
        let Some(fields) = item.fields().map(Fields::loosely_spelt) else { continue };
        let listener = Listener { index, doors, rules, outbounds, cx };
        let Some(entry) = listener.read(fields) else { continue };
        if names.insert(entry.name.text) {
            entry.add(doors, &mut listening, cx);
        } else {
            cx.report.error(entry.name.at, format!("listener {} is the duplicate name", shown(entry.name.text)));
        }
    }
    if !listening.transparent.is_empty() && doors.names_sources() {
        let notice = "`lan-allowed-ips` does not concern redir and tproxy listeners: \
                      host rules decide whose traffic gets there";
        listening.notices.push(notice.to_owned());
    }
    listening
}

impl Listening {
    /// The DNS server and the API listen, too, if they are told where.
    pub(crate) fn add(&mut self, what: String, listen: Option<SocketAddr>, at: Option<At>) {
        self.bound.extend(listen.zip(at).map(|(listen, at)| Bound { what, at, listen }));
    }

    /// F-D12: no two listeners on one address.
    pub(crate) fn check_addresses(&self, cx: &Context<'_>) {
        let mut blamed = Vec::new();
        for (index, second) in self.bound.iter().enumerate() {
            let earlier = self.bound.get(..index).unwrap_or_default();
            let first = earlier.iter().find(|first| first.at != second.at && clash(first.listen, second.listen));
            if let Some(first) = first
                && !blamed.contains(&second.at.start)
            {
                blamed.push(second.at.start);
                let text = format!("port {} is taken by {} already", second.listen.port(), first.what);
                cx.report.error(second.at, text);
            }
        }
    }
}

/// Whether two listeners cannot be at these addresses at once.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    // `[::]` is dual-stack.
    let is_everywhere = a.ip() == ANY || b.ip() == ANY;
    let is_in_family = a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified());
    a.port() == b.port() && (a.ip() == b.ip() || is_everywhere || is_in_family)
}
