//! The same decision, with the reason for every rule on the way.

use std::fmt;
use std::sync::Arc;

use crate::list::Action;
use crate::query::Query;
use crate::rule::{Outcome, Reason};
use crate::rules::{Cursor, RuleInfo, Rules, Step, Verdict};

/// What happened on the way to a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Every rule that was looked at, in order.
    pub rules: Vec<TracedRule>,
    /// Exactly what [`Rules::resume`] answers.
    pub step: Step,
}

/// One rule on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedRule {
    /// The rule.
    pub rule: Arc<RuleInfo>,
    /// How many `SUB-RULE` lines lead to its list.
    pub depth: usize,
    /// What it said.
    pub result: TraceResult,
    /// Why.
    pub reason: Reason,
}

/// See [`TracedRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceResult {
    /// It decided.
    Decided,
    /// It matched, and its list of sub-rules was gone through next.
    Entered,
    /// It matched, but its target means "go on": `PASS`, `PASS-RULE`.
    Passed,
    /// It did not match.
    NotMatched,
    /// It cannot tell without the target's address.
    NeedsAddress,
    /// It cannot tell without the process behind the connection.
    NeedsProcess,
}

/// Such as `  DomainSuffix(google.com): api.example.org does not end in .google.com`.
impl fmt::Display for TracedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = self.depth * 2;
        write!(f, "{:indent$}{}: {}", "", self.rule, self.reason)
    }
}

impl Rules {
    /// Decides as [`Rules::resume`] does, and tells why. It looks at every rule one by one, so it is for people, not for
    /// connections. After [`Step::NeedAddress`] or [`Step::NeedProcess`] call it again with the cursor and what it needs, and
    /// join the traces.
    #[must_use]
    pub fn explain(&self, from: Cursor, query: &Query<'_>) -> Trace {
        let facts = query.facts();
        let mut rules = Vec::new();
        let mut at = from;
        let step = loop {
            let Some(rule) = self.list_of(at).and_then(|list| list.rules.get(at.position() as usize)) else {
                match at.outer() {
                    Some(outer) => {
                        at = outer;
                        continue;
                    }
                    None => break Step::Use(Verdict::without_rule(at)),
                }
            };
            if rule.tally.is_disabled() {
                at = at.behind();
                continue;
            }
            let (outcome, reason) = rule.condition.explain(&facts);
            let result = match (outcome, &rule.action) {
                (Outcome::Miss, _) => TraceResult::NotMatched,
                (Outcome::NeedAddress, _) => TraceResult::NeedsAddress,
                (Outcome::NeedProcess, _) => TraceResult::NeedsProcess,
                (Outcome::Match, Action::Use(_)) => TraceResult::Decided,
                (Outcome::Match, Action::Enter(_)) => TraceResult::Entered,
                (Outcome::Match, Action::Pass | Action::PassRule) => TraceResult::Passed,
            };
            rules.push(TracedRule { rule: Arc::clone(&rule.info), depth: at.depth(), result, reason });
            match outcome {
                Outcome::Miss => at = at.behind(),
                Outcome::NeedAddress => break Step::NeedAddress(at),
                Outcome::NeedProcess => break Step::NeedProcess(at),
                Outcome::Match => match self.apply(at) {
                    Ok(verdict) => break Step::Use(verdict),
                    Err(next) => at = next,
                },
            }
        };
        Trace { rules, step }
    }
}
