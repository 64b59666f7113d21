//! Rule sets: lists of domains, of prefixes or of rules, that `RULE-SET` rules refer to by name.
//!
//! Bytes in, a compiled set out. Who fetches, caches and refreshes the bytes is elsewhere; a [`ProviderHandle`] is where
//! a newer set takes the place of an older one while connections are being decided.

mod classical;
mod mrs;
mod text;
mod yaml;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use thiserror::Error;

use crate::domain::{DomainPattern, DomainSet, DomainSetBuilder};
use crate::geo::Geo;
use crate::ip_set::{IpSet, IpSetBuilder};
use crate::parse_prefix;
use crate::query::{Destination, Facts};
use crate::rule::{Outcome, set_sentence, shown};
use classical::{Classical, ClassicalBuilder};

/// What the entries of a rule set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Behavior {
    /// Domain patterns.
    Domain,
    /// Prefixes.
    IpCidr,
    /// Rules without a target.
    Classical,
}

/// How a rule set is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A `payload:` list.
    Yaml,
    /// An entry per line.
    Text,
    /// The compiled binary form.
    Mrs,
}

/// Exact lower case, as configs write it.
impl FromStr for Behavior {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        match text {
            "domain" => Ok(Self::Domain),
            "ipcidr" => Ok(Self::IpCidr),
            "classical" => Ok(Self::Classical),
            _ => Err(ProviderError::UnknownBehavior(text.to_owned())),
        }
    }
}

/// As the API shows it.
impl fmt::Display for Behavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Domain => "Domain",
            Self::IpCidr => "IPCIDR",
            Self::Classical => "Classical",
        })
    }
}

/// `yaml`, `text`, `mrs`; an empty text is `yaml`.
impl FromStr for Format {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        match text {
            "" | "yaml" => Ok(Self::Yaml),
            "text" => Ok(Self::Text),
            "mrs" => Ok(Self::Mrs),
            _ => Err(ProviderError::UnknownFormat(text.to_owned())),
        }
    }
}

/// Why a rule set is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// Not one of the three behaviours.
    #[error("unsupported behavior type: {}", shown(.0))]
    UnknownBehavior(String),
    /// Not one of the three formats.
    #[error("unsupported format type: {}", shown(.0))]
    UnknownFormat(String),
    /// `mrs` does not exist for classical sets.
    #[error("invalid format")]
    ClassicalMrs,
    /// More than 64 MiB, after decompression.
    #[error("the rule set is larger than 64 MiB")]
    TooLarge,
    /// More than two million entries.
    #[error("the rule set has more than 2000000 entries")]
    TooMany,
    /// A YAML file without a list of rules.
    #[error("file must have a `payload` field")]
    NoPayload,
    /// Not a Zstandard frame, or a damaged one.
    #[error("the file cannot be decompressed: {0}")]
    Compression(String),
    /// Not an mrs file.
    #[error("invalid MrsMagic bytes")]
    Magic,
    /// An mrs file of another behaviour.
    #[error("invalid behavior")]
    WrongBehavior,
    /// An mrs file of a version that is not known.
    #[error("version is invalid")]
    Version,
    /// A count or length in an mrs file that cannot be.
    #[error("length is invalid")]
    Length,
    /// The trie of an mrs file contradicts itself.
    #[error(transparent)]
    Trie(#[from] crate::DamagedTrie),
}

/// An entry that was left out, or what else is odd about a rule set. `Display` gives one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProviderWarning {
    /// Not a domain pattern.
    #[error("invalid domain:[{}]", shown(.0))]
    Domain(String),
    /// Not a prefix.
    #[error("invalid Ipcidr:[{}]", shown(.0))]
    IpCidr(String),
    /// Not a rule.
    #[error("parse classical rule [{}] error: {}", shown(.0), .1)]
    Classical(String, crate::RuleErrorKind),
    /// A line of a YAML file that is no list entry, or cannot be decoded.
    #[error("line {0} is not a list entry and is left out")]
    Line(usize),
    /// A line that is not UTF-8.
    #[error("line {0} is not valid UTF-8 and is left out")]
    NotUtf8(usize),
    /// What classical entries lack.
    #[error(transparent)]
    Rule(crate::RuleWarningKind),
    /// So many more that were not kept.
    #[error("and {0} more like these")]
    More(usize),
}

/// The most bytes that a rule set may have, after decompression.
const MAX_BYTES: usize = 64 << 20;
/// The most entries that a rule set may have.
const MAX_ENTRIES: usize = 2_000_000;

/// A compiled rule set.
#[derive(Clone, Debug)]
pub struct RuleSet {
    count: usize,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Domain(DomainSet),
    IpCidr(IpSet),
    Classical(Box<Classical>),
}

impl RuleSet {
    /// Reads a rule set. `geo` serves classical entries that refer to a database. Invalid entries are left out with a
    /// warning; at most 20 warnings are kept.
    ///
    /// # Errors
    /// See [`ProviderError`]; an old set should then stay in force.
    pub fn parse(
        bytes: &[u8],
        behavior: Behavior,
        format: Format,
        geo: &Geo,
    ) -> Result<(Self, Vec<ProviderWarning>), ProviderError> {
        if bytes.len() > MAX_BYTES {
            return Err(ProviderError::TooLarge);
        }
        if format == Format::Mrs {
            return mrs::parse(bytes, behavior).map(|set| (set, Vec::new()));
        }
        let mut builder = RuleSetBuilder::new(behavior, geo);
        match format {
            Format::Yaml => yaml::read(bytes, &mut builder)?,
            _ => text::read(bytes, &mut builder)?,
        }
        Ok(builder.build())
    }

    /// Compiles entries that are already in memory: `payload` of an inline provider.
    ///
    /// # Errors
    /// [`ProviderError::TooMany`].
    pub fn from_entries<'a>(
        entries: impl IntoIterator<Item = &'a str>,
        behavior: Behavior,
        geo: &Geo,
    ) -> Result<(Self, Vec<ProviderWarning>), ProviderError> {
        let mut builder = RuleSetBuilder::new(behavior, geo);
        for entry in entries {
            builder.add(entry)?;
        }
        Ok(builder.build())
    }

    /// Number of accepted entries before merging; for mrs the number that the file states.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.count
    }

    /// What its entries are.
    #[must_use]
    pub fn behavior(&self) -> Behavior {
        match self.content {
            Content::Domain(_) => Behavior::Domain,
            Content::IpCidr(_) => Behavior::IpCidr,
            Content::Classical(_) => Behavior::Classical,
        }
    }

    fn test(&self, facts: &Facts<'_>) -> Outcome {
        match &self.content {
            Content::Domain(set) => set.contains(facts.host).into(),
            Content::IpCidr(set) => match facts.destination {
                Destination::Askable => Outcome::NeedAddress,
                destination => destination.ip().is_some_and(|ip| set.contains(ip)).into(),
            },
            Content::Classical(rules) => rules.test(facts),
        }
    }

    fn may_ask(&self) -> bool {
        match &self.content {
            Content::Domain(_) => false,
            Content::IpCidr(_) => true,
            Content::Classical(rules) => rules.may_ask(),
        }
    }
}

/// Takes entries one by one.
struct RuleSetBuilder<'a> {
    count: usize,
    content: Building<'a>,
    warnings: Warnings,
}

enum Building<'a> {
    Domain(DomainSetBuilder),
    IpCidr(IpSetBuilder),
    Classical(Box<ClassicalBuilder<'a>>),
}

impl<'a> RuleSetBuilder<'a> {
    fn new(behavior: Behavior, geo: &'a Geo) -> Self {
        Self {
            count: 0,
            content: match behavior {
                Behavior::Domain => Building::Domain(DomainSetBuilder::default()),
                Behavior::IpCidr => Building::IpCidr(IpSetBuilder::default()),
                Behavior::Classical => Building::Classical(Box::new(ClassicalBuilder::new(geo))),
            },
            warnings: Warnings::default(),
        }
    }

    fn add(&mut self, entry: &str) -> Result<(), ProviderError> {
        if self.count == MAX_ENTRIES {
            return Err(ProviderError::TooMany);
        }
        let refused = match &mut self.content {
            Building::Domain(set) => match DomainPattern::parse(entry) {
                Ok(pattern) if !entry.contains('/') => {
                    set.add(&pattern);
                    None
                }
                _ => Some(ProviderWarning::Domain(entry.to_owned())),
            },
            Building::IpCidr(set) => match parse_prefix(entry) {
                Some(net) => {
                    set.add(net);
                    None
                }
                None => Some(ProviderWarning::IpCidr(entry.to_owned())),
            },
            Building::Classical(rules) => {
                rules.add(entry).err().map(|why| ProviderWarning::Classical(entry.to_owned(), why))
            }
        };
        match refused {
            Some(warning) => self.warnings.push(warning),
            None => self.count += 1,
        }
        Ok(())
    }

    fn build(mut self) -> (RuleSet, Vec<ProviderWarning>) {
        let content = match self.content {
            Building::Domain(set) => Content::Domain(set.build()),
            Building::IpCidr(set) => Content::IpCidr(set.build()),
            Building::Classical(rules) => {
                let (rules, warnings) = rules.build();
                for warning in warnings {
                    self.warnings.push(ProviderWarning::Rule(warning));
                }
                Content::Classical(Box::new(rules))
            }
        };
        let set = RuleSet { count: self.count, content };
        (set, self.warnings.finish())
    }
}

/// The first warnings, and the number of the others: a file of a million bad lines must not fill memory or logs.
#[derive(Debug, Default)]
struct Warnings {
    first: Vec<ProviderWarning>,
    more: usize,
}

impl Warnings {
    fn push(&mut self, warning: ProviderWarning) {
        if self.first.len() < 20 {
            self.first.push(warning);
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<ProviderWarning> {
        if self.more > 0 {
            self.first.push(ProviderWarning::More(self.more));
        }
        self.first
    }
}

/// A place for a rule set that rules refer to. Clones share it; replacing the set takes effect for the next decision.
///
/// A handle that never had a set matches nothing and asks for no address.
#[derive(Clone)]
pub struct ProviderHandle(Arc<Shared>);

struct Shared {
    behavior: Behavior,
    current: ArcSwapOption<RuleSet>,
}

impl ProviderHandle {
    /// A handle without a set.
    #[must_use]
    pub fn new(behavior: Behavior) -> Self {
        Self(Arc::new(Shared { behavior, current: ArcSwapOption::empty() }))
    }

    /// Puts a set in force.
    pub fn replace(&self, set: RuleSet) {
        self.0.current.store(Some(Arc::new(set)));
    }

    /// What the provider's config says its entries are.
    #[must_use]
    pub fn behavior(&self) -> Behavior {
        self.0.behavior
    }

    /// Number of entries of the set in force, 0 without one.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.0.current.load().as_ref().map_or(0, |set| set.rule_count())
    }

    /// Whether a set is in force.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.0.current.load().is_some()
    }

    pub(crate) fn test(&self, facts: &Facts<'_>) -> Outcome {
        self.0.current.load().as_ref().map_or(Outcome::Miss, |set| set.test(facts))
    }

    pub(crate) fn may_ask(&self) -> bool {
        self.0.current.load().as_ref().is_some_and(|set| set.may_ask())
    }

    pub(crate) fn needs_process(&self) -> bool {
        match self.0.current.load().as_ref().map(|set| &set.content) {
            Some(Content::Classical(rules)) => rules.needs_process(),
            _ => false,
        }
    }

    pub(crate) fn reason(&self, facts: &Facts<'_>, outcome: Outcome) -> String {
        let current = self.0.current.load();
        let Some(set) = current.as_ref() else {
            return "the rule set has not been loaded".into();
        };
        match &set.content {
            Content::Classical(rules) => match rules.matching(facts) {
                Some(reason) => format!("in the rule set, {reason}"),
                None => set_sentence(facts, outcome, "rule set"),
            },
            _ => set_sentence(facts, outcome, "rule set"),
        }
    }
}

impl fmt::Debug for ProviderHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderHandle")
            .field("behavior", &self.0.behavior)
            .field("rules", &self.rule_count())
            .finish_non_exhaustive()
    }
}
