//! From a provider's content to outbounds.

use adit_net::{SocketOptions, Tag};
use adit_outbound::options::{Common, IpVersion, Kind, Outbound};
use thiserror::Error;

use super::content::{self, Names, Source, Written};
use super::rewrite::Rewrite;
use super::skipped::Skipped;
use crate::context::Context;
use crate::filter::{Patterns, Types};
use crate::general::EmptyGroup;
use crate::home::Home;
use crate::inbound::CAPTURE_MASK;
use crate::proxy::{self, links, written};
use crate::read::Value;
use crate::report::Report;
use crate::yaml;

/// What a provider has.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// In order; never empty, no name twice. `common.provider` is the provider.
    pub outbounds: Vec<Outbound>,
    /// What was left out.
    pub skipped: Skipped,
}

/// Why there is no node in some content.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContentError {
    /// More than this many bytes: `size-limit`, or 64 MiB.
    #[error("the content is larger than {0} bytes")]
    TooLarge(u64),
    /// Not text in UTF-8.
    #[error("the content is not UTF-8 text")]
    NotText,
    /// Neither YAML nor links. What is wrong with it as YAML.
    #[error("{0}")]
    NotYaml(String),
    /// YAML about something else.
    #[error("file must have a `proxies` field")]
    NoProxies,
    /// There are nodes, and all of them were left out.
    #[error("file doesn't have any proxy{}", because(.0))]
    Empty(Box<Skipped>),
    /// There are nodes, and `filter`, `exclude-filter` and `exclude-type` leave none.
    #[error("doesn't match any proxy, please check your filter")]
    Filtered,
}

fn because(skipped: &Skipped) -> String {
    if skipped.is_empty() { String::new() } else { format!(" that can be used: {skipped}") }
}

/// How content becomes nodes.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) provider: Tag,
    pub(super) filter: Patterns,
    pub(super) exclude_filter: Patterns,
    pub(super) exclude_type: Types,
    /// Forced onto every node.
    pub(super) dialer: Option<Tag>,
    pub(super) rewrite: Rewrite,
    pub(super) size_limit: Option<u64>,
    pub(super) home: Home,
    /// What sockets are unless a node says otherwise.
    pub(super) socket: SocketOptions,
    pub(super) ipv6: bool,
}

/// More nodes than this are left out.
const MOST: usize = 50_000;

impl Recipe {
    pub(super) fn nodes(&self, bytes: &[u8]) -> Result<Nodes, ContentError> {
        const LARGEST: u64 = 64 << 20;
        let largest = self.size_limit.unwrap_or(LARGEST).min(LARGEST);
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > largest {
            return Err(ContentError::TooLarge(largest));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ContentError::NotText)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let report = Report::default();
        let document = yaml::parse(text, &report);
        let root = document.as_ref().map(|document| Value::root(document, &report)).filter(Value::is_map);
        let Some(root) = root.filter(|root| root.peek("proxies").is_some() || !begins_with_link(text)) else {
            return self.links(text, &report);
        };
        if report.has_errors() {
            return Err(ContentError::NotYaml(report.first_message().unwrap_or_default()));
        }
        self.payload(root.peek("proxies").ok_or(ContentError::NoProxies)?)
    }

    /// The nodes of a list in YAML.
    pub(super) fn payload(&self, list: Value<'_>) -> Result<Nodes, ContentError> {
        let mut items = list.peek_list().ok_or(ContentError::NoProxies)?;
        let mut skipped = Skipped::default();
        for _ in MOST..items.len() {
            skipped.bad("", format!("more than {MOST} proxies"));
        }
        items.truncate(MOST);
        let written = content::yaml(items, &mut skipped);
        self.made(written, skipped)
    }

    fn links(&self, text: &str, report: &Report) -> Result<Nodes, ContentError> {
        let decoded = content::decoded(text);
        let text = decoded.as_deref().unwrap_or(text);
        if !text.lines().any(is_link) {
            let why = report.first_message();
            return Err(why.map_or(ContentError::NoProxies, ContentError::NotYaml));
        }
        let mut skipped = Skipped::default();
        let written = content::links(text, MOST, &mut skipped);
        self.made(written, skipped)
    }

    fn made(&self, written: Vec<Written<'_>>, mut skipped: Skipped) -> Result<Nodes, ContentError> {
        let had_some = !written.is_empty();
        // §6.4: by the names that they were given, before they are changed.
        let kept: Vec<&Written<'_>> = if self.filter.is_empty() {
            written.iter().collect()
        } else {
            self.filter.sort(&written, |node| &node.name)
        };
        let kept = kept
            .into_iter()
            .filter(|node| !self.exclude_filter.match_any(&node.name) && !self.exclude_type.contain(&node.kind));
        let mut names = Names::default();
        let mut is_left = false;
        let mut outbounds = Vec::new();
        for node in kept {
            is_left = true;
            if let Some(outbound) = self.node(node, &mut names, &mut skipped) {
                outbounds.push(outbound);
            }
        }
        match outbounds.is_empty() {
            false => Ok(Nodes { outbounds, skipped }),
            true if had_some && !is_left => Err(ContentError::Filtered),
            true => Err(ContentError::Empty(Box::new(skipped))),
        }
    }

    fn node(&self, node: &Written<'_>, names: &mut Names, skipped: &mut Skipped) -> Option<Outbound> {
        let made = match &node.source {
            Source::Yaml { index, value } => self.read_yaml(*index, *value, &node.kind),
            Source::Link { text, link } => self.read_link(text, link),
        };
        let (mut outbound, text) = match made {
            Ok(made) => made,
            Err(Unusable::Unsupported) => {
                skipped.unsupported(&node.kind);
                return None;
            }
            Err(Unusable::Bad(why)) => {
                skipped.bad(&node.name, why);
                return None;
            }
        };
        if self.dialer.is_some() {
            outbound.common.dialer_proxy.clone_from(&self.dialer);
        }
        self.rewrite.apply(&mut outbound, self.ipv6);
        outbound.name = Tag::from(names.free(&self.rewrite.name(&node.name)));
        outbound.common.provider = Some(self.provider.clone());
        written::write(&mut outbound, text, self.ipv6);
        Some(outbound)
    }

    fn read_yaml(&self, index: usize, value: Value<'_>, kind: &str) -> Result<Made, Unusable> {
        if proxy::is_unsupported(kind) {
            return Err(Unusable::Unsupported);
        }
        let report = Report::default();
        let cx = Context {
            report: &report,
            home: &self.home,
            ipv6: self.ipv6,
            processes: false,
            empty_group: EmptyGroup::default(),
            socket: self.socket.clone(),
        };
        let node = proxy::one(index, value.reporting_to(&report), &cx);
        let why = || report.first_message().unwrap_or_else(|| format!("proxy {index}: it is not complete"));
        if report.has_errors() {
            return Err(Unusable::Bad(report.first_error().unwrap_or_default()));
        }
        let node = node.ok_or_else(|| Unusable::Bad(why()))?;
        // What would be a stub that refuses in the configuration is no use from a provider.
        if matches!(node.outbound.kind, Kind::Reject) && node.shown_type != "Reject" {
            let why = why();
            return Err(Unusable::Bad(why.strip_suffix(proxy::REFUSES).unwrap_or(&why).to_owned()));
        }
        let mark = node.outbound.common.socket.mark;
        if mark & CAPTURE_MASK != 0 {
            return Err(Unusable::Bad(format!("its `routing-mark` {mark:#x} is one of host rules")));
        }
        Ok((node.outbound, value.canonical()))
    }

    fn read_link(&self, text: &str, link: &links::Link) -> Result<Made, Unusable> {
        let (kind, udp) = link.kind().map_err(|why| Unusable::Bad(why.to_string()))?;
        let ip_version = if self.ipv6 { IpVersion::Dual } else { IpVersion::V4 };
        let common = Common { udp, socket: self.socket.clone(), ip_version, ..Common::default() };
        // The name comes later.
        Ok((Outbound { name: Tag::new(""), kind, common }, Some(text.to_owned())))
    }
}

/// A node and the text that it was made of.
type Made = (Outbound, Option<String>);

/// Why a node is left out.
enum Unusable {
    /// Its type is one that we do not have.
    Unsupported,
    Bad(String),
}

/// Whether the first line that says something is a link. A name behind it may look like a mapping.
fn begins_with_link(text: &str) -> bool {
    text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).is_some_and(is_link)
}

fn is_link(line: &str) -> bool {
    let scheme = line.trim().split_once("://").map_or("", |(scheme, _)| scheme);
    !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-'))
}
