//! Rule sets whose entries are rules: compiled so that their order costs nothing, because any match is a match.
//!
//! Names go into one domain matcher, prefixes into range tables; only what is left is tried one by one. Entries that need
//! no address come first, so that a name is looked up only when nothing else decides.

use crate::domain::{DomainMatcher, DomainMatcherBuilder, Scope};
use crate::geo::Geo;
use crate::ip_set::{IpSet, IpSetBuilder};
use crate::query::{Destination, Facts};
use crate::rule::{Compiler, Condition, End, IpTest, Outcome, Piece, Place, Reason, RuleLine, Test};
use crate::{RuleErrorKind, RuleWarningKind};

#[derive(Clone, Debug)]
pub(super) struct Classical {
    names: DomainMatcher,
    source: IpSet,
    /// Destinations of entries that may ask for an address.
    asking: IpSet,
    /// Destinations of entries with `no-resolve`.
    silent: IpSet,
    others: Box<[Condition]>,
}

impl Classical {
    pub(super) fn test(&self, facts: &Facts<'_>) -> Outcome {
        let destination = facts.destination.ip();
        if self.names.matches(facts.host)
            || facts.source.is_some_and(|ip| self.source.contains(ip))
            || destination.is_some_and(|ip| self.silent.contains(ip) || self.asking.contains(ip))
        {
            return Outcome::Match;
        }
        let mut outcome = match facts.destination {
            Destination::Askable if !self.asking.is_empty() => Outcome::NeedAddress,
            _ => Outcome::Miss,
        };
        for condition in &self.others {
            match condition.test(facts) {
                Outcome::Match => return Outcome::Match,
                Outcome::Miss => {}
                need => outcome = need,
            }
        }
        outcome
    }

    pub(super) fn may_ask(&self) -> bool {
        !self.asking.is_empty() || self.others.iter().any(Condition::may_ask)
    }

    pub(super) fn needs_process(&self) -> bool {
        self.others.iter().any(Condition::needs_process)
    }

    /// Why an entry that is tried one by one matches, if one does.
    pub(super) fn matching(&self, facts: &Facts<'_>) -> Option<Reason> {
        let explained = self.others.iter().map(|condition| condition.explain(facts));
        explained.into_iter().find(|(outcome, _)| *outcome == Outcome::Match).map(|(_, reason)| reason)
    }
}

/// Kept at most, however long the list.
const MAX_WARNINGS: usize = 20;

pub(super) struct ClassicalBuilder<'a> {
    compiler: Compiler<'a>,
    names: DomainMatcherBuilder,
    source: IpSetBuilder,
    asking: IpSetBuilder,
    silent: IpSetBuilder,
    others: Vec<Condition>,
}

impl<'a> ClassicalBuilder<'a> {
    pub(super) fn new(geo: &'a Geo) -> Self {
        Self {
            compiler: Compiler::for_rule_set(geo),
            names: DomainMatcherBuilder::default(),
            source: IpSetBuilder::default(),
            asking: IpSetBuilder::default(),
            silent: IpSetBuilder::default(),
            others: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, entry: &str) -> Result<(), RuleErrorKind> {
        let line = RuleLine::without_target(Piece::new(entry, 0));
        let condition = self.compiler.condition(&line, Place::RuleSet).map_err(|fault| fault.kind)?;
        self.compiler.warnings.truncate(MAX_WARNINGS);
        match &condition.test {
            Test::Domain => self.names.names.add_literal(Scope::Exact, &condition.payload),
            Test::Suffix => self.names.names.add_literal(Scope::ExactAndBelow, &condition.payload),
            Test::Keyword => self.names.keywords.push(condition.payload.into()),
            Test::Regex(_) => self.names.regexes.push(condition.payload.into()),
            Test::Ip { end, test: IpTest::Net(net) } => match end {
                End::Source => self.source.add(*net),
                End::Destination { ask: true } => self.asking.add(*net),
                End::Destination { ask: false } => self.silent.add(*net),
            },
            _ => self.others.push(condition),
        }
        Ok(())
    }

    pub(super) fn build(self) -> (Classical, Vec<RuleWarningKind>) {
        let mut warnings = self.compiler.warnings;
        let (names, refused) = self.names.build();
        if refused > 0 {
            warnings.push(RuleWarningKind::SkippedEntries(refused));
        }
        let rules = Classical {
            names,
            source: self.source.build(),
            asking: self.asking.build(),
            silent: self.silent.build(),
            others: self.others.into(),
        };
        (rules, warnings)
    }
}
