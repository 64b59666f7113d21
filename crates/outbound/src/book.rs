//! Names → ways out: proxies, built-ins, and groups with their current choice.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use adit_net::{BoxFuture, BoxStream, Dial, DialError, Dialer, Resolve, Session, Tag};
use thiserror::Error;

use crate::checks::ProviderCheck;
use crate::group::Group;
use crate::health::{Condition, Health, Tested};
use crate::lineage::Lineage;
use crate::options;
use crate::tls::TlsOptionsError;

mod build;
mod check;
mod report;

pub use report::{GroupReport, NodeReport};

/// Every way out that a configuration has, by name.
///
/// Immutable but for what is known of its proxies and the choices of its groups: a reload builds a new one out of it
/// ([`Book::renew`]). `dialer-proxy` and groups are followed when somebody dials, so a choice takes effect with the next
/// connection.
pub struct Book {
    /// INVARIANT: every group member is a key, and groups form no loop.
    nodes: HashMap<Tag, Node>,
    /// Its keys: built-ins and proxies, then groups, each in the order of the configuration.
    order: Vec<Tag>,
    lineage: Arc<Lineage>,
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
        let book = build::build(Lineage::new(resolver, server_resolver), outbounds, groups, None)?;
        book.lineage.install(&book);
        Ok(book)
    }

    /// Builds a book that is to take the place of this one. What is made of the same text is the same proxy in both, with
    /// its tunnel, its sessions and what is known of it; a group of the same name and kind keeps its choice.
    ///
    /// Nothing changes until the new book is [installed](Book::install).
    ///
    /// # Errors
    /// See [`BookError`].
    pub fn renew(
        &self,
        outbounds: Vec<options::Outbound>,
        groups: Vec<options::Group>,
    ) -> Result<Arc<Self>, BookError> {
        build::build(Arc::clone(&self.lineage), outbounds, groups, Some(self))
    }

    /// Makes this the book that its proxies, and those that it kept, follow for `dialer-proxy` and names.
    pub fn install(self: &Arc<Self>, resolver: Arc<dyn Resolve>, server_resolver: Arc<dyn Resolve>) {
        self.lineage.names.set(resolver);
        self.lineage.server_names.set(server_resolver);
        self.lineage.install(self);
    }

    /// The way behind `name` at this moment; `None` if there is nothing of that name. Names are case-sensitive.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Way> {
        self.follow(name, None)
    }

    /// As [`Book::find`], for a connection that is about to be dialled: groups that spread connections look at it, and
    /// count it.
    #[must_use]
    pub fn find_for(&self, name: &str, session: &Session) -> Option<Way> {
        self.follow(name, Some(session))
    }

    fn follow(&self, name: &str, session: Option<&Session>) -> Option<Way> {
        let (mut tag, mut node) = self.nodes.get_key_value(name)?;
        let mut chain = vec![tag.clone()];
        let mut udp = true;
        loop {
            match node {
                Node::Proxy(proxy) => {
                    chain.reverse();
                    return Some(proxy.way(chain, udp));
                }
                Node::Group(group, _) => {
                    udp &= !group.options.disable_udp;
                    (tag, node) = self.nodes.get_key_value(self.member(group, session)?)?;
                    chain.push(tag.clone());
                }
            }
        }
    }

    /// The member of `group` that is used now.
    fn member<'b>(&self, group: &'b Group, session: Option<&Session>) -> Option<&'b Tag> {
        let url = group.options.check.url.as_str();
        let place = group.now(&|member| self.condition(member, url), session, Instant::now());
        group.options.members.get(place)
    }

    /// What a group that tests `url` sees of `name`. A group is no better than the member that it would use.
    fn condition(&self, name: &Tag, url: &str) -> Condition {
        match self.nodes.get(name) {
            Some(Node::Proxy(proxy)) => proxy.health.condition(url),
            Some(Node::Group(group, health)) => {
                let own = health.condition(url);
                let suspected = self.leaf_of(group).is_some_and(|(_, proxy)| proxy.health.is_suspected());
                if suspected { Condition { alive: false, delay: None } } else { own }
            }
            None => Condition { alive: false, delay: None },
        }
    }

    /// Makes `member` the choice of `group`, for connections that are dialled from now on: for good in a selector, for as
    /// long as it lives in `url-test` and `fallback`.
    ///
    /// # Errors
    /// See [`SelectError`].
    pub fn select(&self, group: &str, member: &str) -> Result<(), SelectError> {
        let group = self.group(group)?;
        let member = group.options.members.iter().find(|name| &***name == member).cloned();
        group.choose(Some(member.ok_or(SelectError::NotAMember)?)).map_err(|_| SelectError::NotASelector)
    }

    /// Gives `group` the choice that was stored for it. A name that is no member is kept, and counts once it is one.
    pub fn restore(&self, group: &str, member: &str) {
        if let Ok(group) = self.group(group) {
            let _ = group.choose(Some(Tag::new(member)));
        }
    }

    /// Lets `group`, which chooses by itself, do so again.
    ///
    /// # Errors
    /// See [`SelectError`]; `NotASelector` also for selectors.
    pub fn unpin(&self, group: &str) -> Result<(), SelectError> {
        self.group(group)?.unpin().map_err(|_| SelectError::NotASelector)
    }

    /// The groups, and how their members are to be tested.
    pub(crate) fn checked(&self) -> impl Iterator<Item = Checked<'_>> {
        self.order.iter().filter_map(|name| match self.nodes.get(name)? {
            Node::Group(group, _) => Some(Checked {
                whose: Whose::Group(name.clone()),
                members: Cow::Borrowed(&group.options.members),
                check: &group.options.check,
                chooses: !matches!(group.options.kind, options::GroupKind::Select { .. }),
                owns_url: matches!(group.options.kind, options::GroupKind::UrlTest { .. }),
                uses: group.uses(),
            }),
            Node::Proxy(_) => None,
        })
    }

    /// A provider's members. It counts as used when a group is that has one of them.
    pub(crate) fn checked_of<'b>(&'b self, provider: &'b ProviderCheck) -> Checked<'b> {
        let is_of = |name: &Tag| match self.nodes.get(name) {
            Some(Node::Proxy(proxy)) => proxy.common.provider.as_ref() == Some(&provider.name),
            _ => false,
        };
        let members: Vec<Tag> = self.order.iter().filter(|name| is_of(name)).cloned().collect();
        let groups = self.checked().filter(|group| group.members.iter().any(is_of));
        Checked {
            whose: Whose::Provider(provider.name.clone()),
            uses: groups.map(|group| group.uses).sum(),
            members: Cow::Owned(members),
            check: &provider.check,
            chooses: false,
            owns_url: false,
        }
    }

    /// Whether a dial through `name`, or through the proxy that it leads to, has failed since the last success.
    pub(crate) fn is_suspected(&self, name: &str) -> bool {
        match self.nodes.get(name) {
            Some(Node::Proxy(proxy)) => proxy.health.is_suspected(),
            Some(Node::Group(group, _)) => self.leaf_of(group).is_some_and(|(_, proxy)| proxy.health.is_suspected()),
            None => false,
        }
    }

    /// Whether `url` was asked for through `name`.
    pub(crate) fn is_tested(&self, name: &str, url: &str) -> bool {
        match self.nodes.get(name) {
            Some(Node::Proxy(proxy)) => proxy.health.is_tested(url),
            Some(Node::Group(_, health)) => health.is_tested(url),
            None => false,
        }
    }

    /// Notes a delay test, also of the proxy that a group led to.
    pub(crate) fn note(&self, name: &str, url: &Arc<str>, tested: Tested, at: SystemTime) {
        match self.nodes.get(name) {
            Some(Node::Proxy(proxy)) => proxy.health.tested(url, tested, at),
            Some(Node::Group(_, health)) => health.tested(url, tested, at),
            None => {}
        }
    }

    /// Lets `group` decide anew.
    pub(crate) fn reconsider(&self, group: &str) {
        if let Ok(group) = self.group(group) {
            group.reconsider();
        }
    }

    /// What all books have in common that came of each other.
    pub(crate) fn lineage(&self) -> &Arc<Lineage> {
        &self.lineage
    }

    fn group(&self, name: &str) -> Result<&Group, SelectError> {
        match self.nodes.get(name) {
            Some(Node::Group(group, _)) => Ok(group),
            Some(Node::Proxy(_)) => Err(SelectError::NotASelector),
            None => Err(SelectError::NotFound),
        }
    }

    /// The proxy that `outbound` would become, if there is one made of the same text.
    fn unchanged(&self, outbound: &options::Outbound) -> Option<Arc<Proxy>> {
        let Some(Node::Proxy(proxy)) = self.nodes.get(&outbound.name) else { return None };
        let same = outbound.common.written.is_some() && outbound.common.written == proxy.common.written;
        same.then(|| Arc::clone(proxy))
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
        let (tag, proxy) = match self.nodes.get_key_value(name)? {
            (tag, Node::Proxy(proxy)) => (tag, proxy),
            (_, Node::Group(group, _)) => self.leaf_of(group)?,
        };
        Some((tag, proxy.common.dialer_proxy.as_ref()))
    }

    /// The proxy that `group` leads to now.
    fn leaf_of<'b>(&'b self, mut group: &'b Group) -> Option<(&'b Tag, &'b Arc<Proxy>)> {
        loop {
            match self.nodes.get_key_value(self.member(group, None)?)? {
                (tag, Node::Proxy(proxy)) => return Some((tag, proxy)),
                (_, Node::Group(inner, _)) => group = inner,
            }
        }
    }
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").field("names", &self.nodes.keys()).finish_non_exhaustive()
    }
}

/// Whose members are tested.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    Group(Tag),
    Provider(Tag),
}

impl Whose {
    pub(crate) fn is_group(&self, name: &str) -> bool {
        matches!(self, Self::Group(group) if **group == *name)
    }
}

/// A group or provider, as those who test its members see it.
pub(crate) struct Checked<'a> {
    pub(crate) whose: Whose,
    pub(crate) members: Cow<'a, [Tag]>,
    pub(crate) check: &'a options::Check,
    /// Whether it chooses by itself, so that it matters who is back.
    pub(crate) chooses: bool,
    /// Whether it is tested with its own URL, whatever else is asked for.
    pub(crate) owns_url: bool,
    /// How many connections it was asked for so far.
    pub(crate) uses: u64,
}

enum Node {
    Proxy(Arc<Proxy>),
    Group(Box<Group>, Arc<Health>),
}

/// A proxy or a built-in.
struct Proxy {
    dialer: Arc<dyn Dialer>,
    /// The same without UDP.
    tcp_only: Arc<dyn Dialer>,
    udp: bool,
    role: Role,
    kind: &'static str,
    health: Arc<Health>,
    common: options::Common,
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
