//! What was left out of a provider's content.

use std::collections::BTreeMap;
use std::fmt;

use crate::mask;
use crate::report::shown;

/// Nodes that cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Those of a kind that we do not speak, by their type in YAML or the scheme of their link; at most 32 kinds, the
    /// others together as `other`.
    pub unsupported: BTreeMap<String, usize>,
    /// How many others.
    pub bad: usize,
    /// Why, for the first 20 of these. No secrets.
    pub reasons: Vec<String>,
}

impl Skipped {
    const KINDS: usize = 32;
    const REASONS: usize = 20;

    /// Whether everything could be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.unsupported.values().sum::<usize>() + self.bad
    }

    pub(super) fn unsupported(&mut self, kind: &str) {
        const LONGEST: usize = 16;
        let is_word =
            kind.len() <= LONGEST && kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+'));
        let kind = if is_word { kind.to_ascii_lowercase() } else { "other".to_owned() };
        let is_full = self.unsupported.len() >= Self::KINDS && !self.unsupported.contains_key(&kind);
        *self.unsupported.entry(if is_full { "other".to_owned() } else { kind }).or_default() += 1;
    }

    pub(super) fn bad(&mut self, name: &str, why: String) {
        self.bad += 1;
        if self.reasons.len() < Self::REASONS {
            self.reasons.push(mask::message(format!("'{}': {why}", shown(name))));
        }
    }
}

/// One line: how many of which kind, and the first reason.
impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (kind, count) in &self.unsupported {
            write!(f, "{comma}{count} of type {kind}")?;
            comma = ", ";
        }
        let Some(first) = self.reasons.first() else { return Ok(()) };
        write!(f, "{comma}{} that cannot be used ({first}", self.bad)?;
        f.write_str(if self.bad > 1 { ", and others)" } else { ")" })
    }
}
