//! What can be wrong with a rule. The texts are those that users of Mihomo-style configs know and search for.

use std::fmt;
use std::ops::Range;

use adit_net::Tag;
use thiserror::Error;

use crate::BadRanges;

/// A rule that cannot be used, and where it stands.
///
/// `Display` gives `rules[3] [DOMAIN,x] error: format invalid`; control characters of the line are escaped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct RuleError {
    /// The sub-rule list; `None` for the main list.
    pub list: Option<Tag>,
    /// Position in the list, from 0.
    pub index: usize,
    /// The rule as written.
    pub line: String,
    /// What is wrong.
    pub kind: RuleErrorKind,
    /// The bytes of `line` that are to blame, where that can be told.
    pub offset: Option<Range<usize>>,
    /// What the user may have meant, or should do.
    pub hint: Option<String>,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, self.list.as_ref(), self.index, &self.line)?;
        write!(f, " error: {}", self.kind)
    }
}

fn place(f: &mut fmt::Formatter<'_>, list: Option<&Tag>, index: usize, line: &str) -> fmt::Result {
    match list {
        Some(list) => write!(f, "sub-rules[{list}][{index}] [{}]", shown(line)),
        None => write!(f, "rules[{index}] [{}]", shown(line)),
    }
}

/// `text` for a message: control characters escaped, cut at some 200 bytes (F-D13).
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= 200 {
            out.push('…');
            break;
        }
        let invisible =
            c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if invisible {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleErrorKind {
    /// The line has no target.
    #[error("format invalid")]
    NoTarget,
    /// The target is neither a proxy, a group nor built in.
    #[error("proxy [{}] not found", shown(.0))]
    UnknownTarget(String),
    /// `SUB-RULE` names a list that does not exist.
    #[error("sub-rule [{}] not found", shown(.0))]
    UnknownSubRule(String),
    /// A `SUB-RULE` inside a sub-rule list names a list that does not exist.
    #[error("sub-rule[{index}:{list}] error: [{}] not found", shown(.name))]
    UnknownInnerSubRule {
        /// Position in the list.
        index: usize,
        /// The list that the rule is in.
        list: Tag,
        /// The list it names.
        name: String,
    },
    /// Sub-rule lists that lead back to themselves.
    #[error("sub-rule error: circular references [{0}]")]
    SubRuleCycle(String),
    /// Sub-rule lists inside sub-rule lists, more than eight deep.
    #[error("sub-rule error: nested more than 8 lists deep")]
    SubRuleDepth,
    /// A rule that needs a payload has none.
    #[error("missing subsequent parameters: {}", shown(.0))]
    NoPayload(String),
    /// No rule type has this name.
    #[error("unsupported rule type: {}", shown(.0))]
    UnknownType(String),
    /// The payload is not what this type takes.
    #[error("payloadRule error")]
    Payload,
    /// `NETWORK` takes two values.
    #[error("unsupported network type, only TCP/UDP")]
    Network,
    /// A list of numbers is malformed.
    #[error(transparent)]
    Ranges(#[from] BadRanges),
    /// `DSCP` has six bits.
    #[error("DSCP couldn't be negative or exceed 63")]
    Dscp,
    /// An empty item in an `IN-TYPE` list.
    #[error("in type couldn't be empty")]
    EmptyInType,
    /// An unknown item in an `IN-TYPE` list.
    #[error("unknown type: {}", shown(.0))]
    UnknownInType(String),
    /// The regular expression is malformed, too large, or asks for what a linear-time engine cannot do.
    #[error("cannot use regular expression: {0}")]
    Regex(String),
    /// The site database has no such list.
    #[error("list [{}] not found in GeoSite.dat", shown(.0))]
    UnknownSiteList(String),
    /// The `GeoIP.dat` database has no such country.
    #[error("code [{}] not found in GeoIP.dat", shown(.0))]
    UnknownCountry(String),
    /// `RULE-SET` names a provider that does not exist.
    #[error("rule set [{}] not found", shown(.0))]
    UnknownRuleSet(String),
    /// A logic payload does not start with `(` and end with `)`.
    #[error("payload format error")]
    LogicFormat,
    /// A closing parenthesis too many.
    #[error("missing '('")]
    MissingOpen,
    /// An opening parenthesis too many.
    #[error("format error is missing )")]
    MissingClose,
    /// Logic rules nested deeper than anybody writes.
    #[error("logic rules nested too deeply")]
    LogicDepth,
    /// `MATCH` and `SUB-RULE` cannot be part of a logic rule.
    #[error("unsupported rule type [{0}] on logic rule")]
    NotInLogic(String),
    /// A pair of parentheses without a rule in it.
    #[error("[{}] format is error", shown(.0))]
    EmptyChild(String),
    /// `NOT` with no or several rules.
    #[error("not rule must contain one rule")]
    NotOne,
    /// A `SUB-RULE` condition with no or several rules.
    #[error("Sub-Rule rule must contain one rule")]
    SubRuleOne,
    /// `MATCH`, `RULE-SET` and `SUB-RULE` cannot be part of a classical rule set.
    #[error("unsupported rule type on classical rule-set: {0}")]
    NotInRuleSet(String),
}

/// Something a user should know about a rule that works, or that cannot ever match.
///
/// `Display` gives one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleWarning {
    /// The sub-rule list; `None` for the main list.
    pub list: Option<Tag>,
    /// Position in the list, from 0.
    pub index: usize,
    /// The rule as written.
    pub line: String,
    /// What to know.
    pub kind: RuleWarningKind,
}

impl fmt::Display for RuleWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, self.list.as_ref(), self.index, &self.line)?;
        write!(f, ": {}", self.kind)
    }
}

/// See [`RuleWarning`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleWarningKind {
    /// A trailing parameter that this rule type does not have.
    #[error("the parameter `{}` means nothing here and is ignored", shown(.0))]
    IgnoredParameter(String),
    /// Text between the parentheses of a logic rule that belongs to no rule.
    #[error("the text `{}` between the rules is ignored", shown(.0))]
    IgnoredText(String),
    /// The payload of a `DOMAIN` or `DOMAIN-SUFFIX` rule is no host name: a pattern, an address, not ASCII.
    #[error("no host name is like `{}`, so this rule never matches", shown(.0))]
    NoHostName(String),
    /// A valid Mihomo rule type that this program does not have.
    #[error("rules of type {0} are not supported and never match")]
    Unsupported(&'static str),
    /// A process rule, and nobody looks processes up.
    #[error("processes are not looked up, so this rule never matches")]
    NoProcess,
    /// A database that the rule needs is not there. Given once per database, at the first rule that needs it.
    #[error("{0} is not available: this rule and others that need it do not match")]
    NoDatabase(&'static str),
    /// Entries of a site list that cannot be used.
    #[error("{0} entries of this list cannot be used (unusable regular expressions)")]
    SkippedEntries(usize),
}
