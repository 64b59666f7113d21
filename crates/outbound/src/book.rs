//! Names → ways out: proxies, built-ins, and groups with their current choice.

use std::collections::HashMap;
use std::sync::Arc;

use adit_net::{BoxFuture, BoxStream, Dial, DialError, Dialer, Resolve, Tag};
use thiserror::Error;

use crate::group::Group;
use crate::options;
use crate::tls::TlsOptionsError;

mod build;
mod check;

/// Every way out that a configuration has, by name.
///
/// Immutable but for the choices of its groups: a reload builds a new one. `dialer-proxy` and groups are followed when
/// somebody dials, so a choice takes effect with the next connection.
pub struct Book {
    /// INVARIANT: every group member is a key, and groups form no loop.
    nodes: HashMap<Tag, Node>,
}

/// A name, followed to the proxy that stands behind it at this moment.
#[derive(Clone)]
pub struct Way {
    /// The proxy. Without UDP (`udp: false`, `disable-udp`), its `datagrams` answers [`DialError::Unsupported`].
    pub dialer: Arc<dyn Dialer>,
    /// How it was found: the proxy first, the name that was asked for last.
    pub chain: Vec<Tag>,
    /// Whether UDP may go here.
    pub udp: bool,
    /// What is to be done here.
    pub role: Role,
    /// The proxy's type as the API spells it (`Direct`, `Vless`, `Socks5` …).
    pub kind: &'static str,
}

/// What becomes of a session that a rule sends to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is dialled.
    Dial,
    /// This is PASS: the rule that led here counts as not matched. It is never dialled.
    Pass,
    /// This is a proxy of type `dns`: our own DNS answers what the client asks. It is never dialled.
    Dns,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way")
            .field("chain", &self.chain)
            .field("kind", &self.kind)
            .field("udp", &self.udp)
            .finish_non_exhaustive()
    }
}

/// Why no book can be made of some options. The texts are those of Mihomo, which users search for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BookError {
    /// Two proxies have one name.
    #[error("proxy {0} is the duplicate name")]
    DuplicateProxy(Tag),
    /// Two groups have one name.
    #[error("ProxyGroup {0}: duplicate group name")]
    DuplicateGroup(Tag),
    /// A group has the name of a proxy or of a built-in.
    #[error("proxy group {0}: the duplicate name")]
    GroupNamedLikeProxy(Tag),
    /// A group without members.
    #[error("{0}: `use` or `proxies` missing")]
    NoMembers(Tag),
    /// A member that does not exist.
    #[error("{group}: '{member}' not found")]
    UnknownMember {
        /// The group that names it.
        group: Tag,
        /// The name.
        member: Tag,
    },
    /// Groups that contain each other, sorted by name.
    #[error("loop is detected in ProxyGroup, please check following ProxyGroups: [{}]", list(.0))]
    GroupLoop(Vec<Tag>),
    /// A `dialer-proxy` that does not exist.
    #[error("proxy [{proxy}] dialer-proxy [{via}] not found")]
    UnknownDialerProxy {
        /// The proxy that names it.
        proxy: Tag,
        /// The name.
        via: Tag,
    },
    /// A proxy that is reached through itself.
    #[error("proxy [{0}] has circular dialer-proxy dependency")]
    DialerProxyLoop(Tag),
    /// Unusable TLS options.
    #[error("proxy [{proxy}]: {cause}")]
    Tls {
        /// Whose they are.
        proxy: Tag,
        /// What is wrong.
        cause: TlsOptionsError,
    },
}

/// Why a choice by hand is not possible. The texts are those of the REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SelectError {
    /// There is nothing of that name (404).
    #[error("resource not found")]
    NotFound,
    /// A proxy, or a group that chooses by itself (400).
    #[error("Must be a Selector")]
    NotASelector,
    /// Not one of the group's members (400).
    #[error("Selector update error: proxy not exist")]
    NotAMember,
}

impl Book {
    /// The names that every book has, whatever its options.
    pub const ALWAYS: [&'static str; 7] =
        ["DIRECT", "COMPATIBLE", "REJECT", "REJECT-DROP", "PASS", "PASS-RULE", build::GLOBAL];

    /// Builds every way out. `resolver` answers for destinations of `direct`, `server_resolver` for the names of proxy
    /// servers.
    ///
    /// The built-ins DIRECT, REJECT, REJECT-DROP, COMPATIBLE, PASS, PASS-RULE and the selector GLOBAL (DIRECT, REJECT,
    /// all proxies, all groups) are added unless the options define them. COMPATIBLE uses the sockets of DIRECT.
    ///
    /// # Errors
    /// See [`BookError`].
    pub fn build(
        outbounds: Vec<options::Outbound>,
        groups: Vec<options::Group>,
        resolver: Arc<dyn Resolve>,
        server_resolver: Arc<dyn Resolve>,
    ) -> Result<Arc<Self>, BookError> {
        build::build(outbounds, groups, resolver, server_resolver)
    }

    /// The way behind `name` at this moment; `None` if there is nothing of that name. Names are case-sensitive.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Way> {
        let (mut tag, mut node) = self.nodes.get_key_value(name)?;
        let mut chain = vec![tag.clone()];
        let mut udp = true;
        loop {
            match node {
                Node::Proxy(proxy) => {
                    chain.reverse();
                    return Some(proxy.way(chain, udp));
                }
                Node::Group(group) => {
                    udp &= !group.disable_udp();
                    (tag, node) = self.nodes.get_key_value(group.now()?)?;
                    chain.push(tag.clone());
                }
            }
        }
    }

    /// Makes `member` the choice of `group`, for connections that are dialled from now on.
    ///
    /// # Errors
    /// See [`SelectError`].
    pub fn select(&self, group: &str, member: &str) -> Result<(), SelectError> {
        let group = match self.nodes.get(group) {
            Some(Node::Group(group)) => group,
            Some(Node::Proxy(_)) => return Err(SelectError::NotASelector),
            None => return Err(SelectError::NotFound),
        };
        let select = group.select().ok_or(SelectError::NotASelector)?;
        let place = group.members().iter().position(|name| &**name == member);
        select.choose(place.ok_or(SelectError::NotAMember)?);
        Ok(())
    }

    /// The way that `owner` uses to reach its server, when its `dialer-proxy` is `name`.
    ///
    /// # Errors
    /// [`DialError::Denied`] if the proxies lead in a circle. Which ones they are depends on what groups have chosen, so
    /// it cannot be known before.
    pub(crate) fn hop(&self, owner: &Tag, name: &Tag) -> Result<Way, DialError> {
        let mut seen = vec![owner];
        let mut next = name;
        loop {
            let Some((proxy, via)) = self.leaf(next) else {
                return Err(DialError::Denied(format!("proxy [{owner}] dialer-proxy [{name}] not found")));
            };
            if seen.contains(&proxy) {
                return Err(DialError::Denied(format!(
                    "proxy [{owner}] has circular dialer-proxy dependency (through [{name}])"
                )));
            }
            seen.push(proxy);
            match via {
                Some(via) => next = via,
                None => break,
            }
        }
        self.find(name).ok_or_else(|| DialError::Denied(format!("proxy [{owner}] dialer-proxy [{name}] not found")))
    }

    /// The proxy behind `name`, and its `dialer-proxy`.
    fn leaf(&self, name: &str) -> Option<(&Tag, Option<&Tag>)> {
        let (mut tag, mut node) = self.nodes.get_key_value(name)?;
        loop {
            match node {
                Node::Proxy(proxy) => return Some((tag, proxy.via.as_ref())),
                Node::Group(group) => (tag, node) = self.nodes.get_key_value(group.now()?)?,
            }
        }
    }
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").field("names", &self.nodes.keys()).finish_non_exhaustive()
    }
}

enum Node {
    Proxy(Proxy),
    Group(Group),
}

/// A proxy or a built-in.
struct Proxy {
    dialer: Arc<dyn Dialer>,
    /// The same without UDP.
    tcp_only: Arc<dyn Dialer>,
    udp: bool,
    role: Role,
    kind: &'static str,
    /// Its `dialer-proxy`.
    via: Option<Tag>,
}

impl Proxy {
    fn way(&self, chain: Vec<Tag>, group_udp: bool) -> Way {
        let udp = self.udp && group_udp;
        Way {
            dialer: Arc::clone(if udp { &self.dialer } else { &self.tcp_only }),
            chain,
            udp,
            role: self.role,
            kind: self.kind,
        }
    }
}

/// A dialer whose `datagrams` is the default one, which refuses.
struct TcpOnly(Arc<dyn Dialer>);

impl Dialer for TcpOnly {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        self.0.connect(dial)
    }
}

fn list(tags: &[Tag]) -> String {
    tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use adit_net::SystemResolver;

    use super::*;

    #[test]
    fn a_book_of_nothing_has_the_names_that_every_book_has() {
        let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
        let book = Book::build(Vec::new(), Vec::new(), Arc::clone(&resolver), resolver).unwrap();
        let names: HashSet<&str> = book.nodes.keys().map(Tag::as_str).collect();
        assert_eq!(names, HashSet::from(Book::ALWAYS));
    }
}
