//! All rules of a configuration, compiled, and the decision itself.
//!
//! Source: spec page 3.1 (errors), 3.5 (sub-rules), 3.6 (addresses), 3.7 (what a match means).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use adit_net::Tag;

use crate::geo::Geo;
use crate::list::{Action, List, Rule};
use crate::provider::ProviderHandle;
use crate::query::Query;
use crate::rule::{
    Compiler, Fault, Outcome, Place, RuleError, RuleErrorKind, RuleKind, RuleLine, RuleWarning, RuleWarningKind, shown,
};
use crate::tally::{RuleStats, Tally, stats};

/// What rules are compiled from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The lines of `rules`, in order.
    pub rules: &'a [String],
    /// The lists of `sub-rules`.
    pub sub_rules: &'a [(Tag, Vec<String>)],
    /// The rule providers by name. Their sets may come later.
    pub providers: &'a HashMap<Tag, ProviderHandle>,
    /// Databases for `GEOIP`, `GEOSITE` and `IP-ASN`.
    pub geo: &'a Geo,
    /// Whether there is a proxy or group of this name. Also asked about the built-in ones, except `PASS` and `PASS-RULE`.
    pub known_target: &'a dyn Fn(&str) -> bool,
    /// Treat every rule as if it had `no-resolve`.
    pub no_resolve_all: bool,
    /// Whether queries will carry a [`Process`](crate::Process); if not, process rules get a warning.
    pub processes: bool,
}

/// The compiled rules. Shared by all connections; immutable, apart from the rule sets behind their handles, what is
/// counted, and rules that are [switched off](Rules::set_disabled).
#[derive(Debug)]
pub struct Rules {
    /// The main list, then the sub-rule lists.
    lists: Vec<List>,
    warnings: Vec<RuleWarning>,
    /// Decisions that no rule made.
    unmatched: Tally,
}

/// One rule as the API and the log show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// The sub-rule list; `None` for the main list.
    pub list: Option<Tag>,
    /// Position in its list, from 0.
    pub index: usize,
    /// The type; its `Display` is the API's name, such as `DomainSuffix`.
    pub kind: RuleKind,
    /// The payload as the API echoes it (lower-cased, prefix compressed …); empty for `MATCH`.
    pub payload: String,
    /// The target; for `SUB-RULE` the name of the list.
    pub target: Tag,
}

/// Such as `DomainSuffix(google.com)` or `Match`.
impl fmt::Display for RuleInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.payload.is_empty() {
            return write!(f, "{}", self.kind);
        }
        write!(f, "{}({})", self.kind, shown(&self.payload))
    }
}

/// Where in the rules a decision stands. Small, `Copy`, and worth nothing to other [`Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The list being gone through comes last; each before it is to be continued where it says.
    frames: [Frame; MAX_DEPTH + 1],
    depth: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Frame {
    list: u32,
    at: u32,
}

/// Sub-rule lists may be nested this deep.
const MAX_DEPTH: usize = 8;

/// The next step of a decision. The router never waits: it says what it needs, and is resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This is where the connection goes.
    Use(Verdict),
    /// A rule needs the address of the target's name. Look it up, once, and [`Rules::resume`] with
    /// [`Address::Known`](crate::Address::Known) or [`Address::Unresolvable`](crate::Address::Unresolvable).
    NeedAddress(Cursor),
    /// A rule looks at the process behind the connection. Find it, once, and [`Rules::resume`] with
    /// [`Opener::Known`](crate::Opener::Known) or [`Opener::Unknown`](crate::Opener::Unknown).
    NeedProcess(Cursor),
}

/// Where a connection goes, and because of which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The proxy, group or built-in outbound.
    pub outbound: Tag,
    /// The rule; for a rule inside sub-rules, the outermost `SUB-RULE` line. `None` if no rule matched.
    pub rule: Option<Arc<RuleInfo>>,
    /// Where the rule that decided stands.
    at: Cursor,
}

impl Verdict {
    /// Where to go on when the outbound does not want the connection: it turns out to be `PASS`, or cannot carry UDP.
    /// Inside a sub-rule list that is the list around it, otherwise the next rule.
    #[must_use]
    pub fn next(&self) -> Cursor {
        self.at.passed()
    }

    /// Where to go on when the outbound turns out to be `PASS-RULE`: the next rule of the same list.
    #[must_use]
    pub fn next_in_list(&self) -> Cursor {
        self.at.behind()
    }
}

impl Rules {
    /// Compiles all lists.
    ///
    /// # Errors
    /// Every rule that cannot be used, in the order of the lists.
    pub fn compile(sources: Sources<'_>) -> Result<Self, Vec<RuleError>> {
        let numbers: HashMap<&str, u32> =
            (1..).zip(sources.sub_rules).map(|(at, (name, _))| (name.as_str(), at)).collect();
        let mut compiler =
            Compiler::for_lists(sources.geo, sources.providers, sources.no_resolve_all, sources.processes);
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        let mut lists = Vec::new();
        let main = std::iter::once((None, sources.rules));
        for (name, lines) in main.chain(sources.sub_rules.iter().map(|(name, lines)| (Some(name), &lines[..]))) {
            let mut rules = Vec::with_capacity(lines.len());
            for (index, line) in lines.iter().enumerate() {
                let place = Located { name, index, line };
                match place.rule(&mut compiler, &numbers, sources.known_target) {
                    Ok(rule) => rules.push(rule),
                    Err(fault) => errors.push(place.error(fault)),
                }
                warnings.extend(compiler.warnings.drain(..).map(|kind| place.warning(kind)));
            }
            lists.push(List::new(name.cloned(), rules));
        }
        if errors.is_empty() {
            errors.extend(nesting_error(&lists, sources));
        }
        if errors.is_empty() { Ok(Self { lists, warnings, unmatched: Tally::default() }) } else { Err(errors) }
    }

    /// Where to begin: the main list, or the sub-rule list that a listener's `rule` names. A name that does not exist
    /// means the main list.
    #[must_use]
    pub fn start(&self, list: Option<&Tag>) -> Cursor {
        let number = list.and_then(|name| self.lists.iter().position(|list| list.name.as_ref() == Some(name)));
        Cursor::start(number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0))
    }

    /// Decides by the main list. When no rule matches, the verdict is `DIRECT` without a rule.
    #[must_use]
    pub fn decide(&self, query: &Query<'_>) -> Step {
        self.resume(Cursor::start(0), query)
    }

    /// Goes on at `from`: at the rule that asked, behind a verdict that was not wanted, or at another list's start.
    ///
    /// Asks for address and process again only if `query` still says that nobody has asked.
    #[must_use]
    pub fn resume(&self, from: Cursor, query: &Query<'_>) -> Step {
        let facts = query.facts();
        let mut at = from;
        loop {
            let Frame { list, at: from } = at.top();
            let found = self.lists.get(list as usize).and_then(|list| list.find(from, &facts));
            let Some((rule, outcome)) = found else {
                match at.outer() {
                    Some(outer) => at = outer,
                    None => {
                        self.unmatched.hit(SystemTime::now());
                        return Step::Use(Verdict::without_rule(at));
                    }
                }
                continue;
            };
            at = at.at_rule(rule);
            if self.is_disabled(at) {
                at = at.behind();
                continue;
            }
            match outcome {
                Outcome::NeedAddress => return Step::NeedAddress(at),
                Outcome::NeedProcess => return Step::NeedProcess(at),
                Outcome::Match | Outcome::Miss => self.hit(at),
            }
            match self.apply(at) {
                Ok(verdict) => return Step::Use(verdict),
                Err(next) => at = next,
            }
        }
    }

    /// Whether somebody switched off the rule at `at`.
    pub(crate) fn is_disabled(&self, at: Cursor) -> bool {
        self.rule(at.top()).is_some_and(|rule| rule.tally.is_disabled())
    }

    fn hit(&self, at: Cursor) {
        if let Some(rule) = self.rule(at.top()) {
            rule.tally.hit(SystemTime::now());
        }
    }

    /// What a match at `at` leads to: a verdict, or the place to go on.
    pub(crate) fn apply(&self, at: Cursor) -> Result<Verdict, Cursor> {
        let Some(rule) = self.rule(at.top()) else {
            return Err(at.behind());
        };
        match &rule.action {
            Action::Use(outbound) => Ok(Verdict {
                outbound: outbound.clone(),
                rule: self.outermost(at).map(|rule| Arc::clone(&rule.info)),
                at,
            }),
            Action::Pass => Err(at.passed()),
            Action::PassRule => Err(at.behind()),
            Action::Enter(list) => Err(at.behind().enter(*list)),
        }
    }

    pub(crate) fn list_of(&self, at: Cursor) -> Option<&List> {
        self.lists.get(at.top().list as usize)
    }

    fn rule(&self, frame: Frame) -> Option<&Rule> {
        self.lists.get(frame.list as usize)?.rules.get(frame.at as usize)
    }

    /// The rule of the list that the decision began with.
    fn outermost(&self, at: Cursor) -> Option<&Rule> {
        let [first, ..] = at.frames;
        if at.depth == 0 {
            return self.rule(first);
        }
        // A list that was left for a sub-rule is to be continued behind its SUB-RULE line.
        self.rule(Frame { at: first.at.checked_sub(1)?, ..first })
    }

    /// The main list as the API shows it.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RuleInfo>> {
        self.lists.first().into_iter().flat_map(|list| list.rules.iter().map(|rule| &rule.info))
    }

    /// What has become of each rule of the main list, in the order of [`Rules::iter`].
    #[must_use]
    pub fn stats(&self) -> Vec<RuleStats> {
        let rules = self.lists.first().map_or(&[][..], |list| &list.rules);
        stats(rules.iter().map(|rule| (&rule.tally, matches!(rule.action, Action::Use(_)))), &self.unmatched)
    }

    /// Switches a rule of the main list off, which then matches nothing, or on again. False if there is none at `index`.
    pub fn set_disabled(&self, index: usize, is_disabled: bool) -> bool {
        let rule = self.lists.first().and_then(|list| list.rules.get(index));
        rule.is_some_and(|rule| {
            rule.tally.set_disabled(is_disabled);
            true
        })
    }

    /// Number of rules of the main list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.first().map_or(0, |list| list.rules.len())
    }

    /// Whether the main list has no rule, so that everything is DIRECT.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rules of all lists that can cause a name to be looked up, with the rule sets that are loaded now.
    pub fn resolving(&self) -> impl Iterator<Item = &Arc<RuleInfo>> {
        self.all().filter(|rule| rule.condition.may_ask()).map(|rule| &rule.info)
    }

    /// Whether a rule looks at the process behind a connection, with the rule sets that are loaded now.
    #[must_use]
    pub fn needs_process(&self) -> bool {
        self.all().any(|rule| rule.condition.needs_process())
    }

    /// What a user should know about these rules.
    #[must_use]
    pub fn warnings(&self) -> &[RuleWarning] {
        &self.warnings
    }

    fn all(&self) -> impl Iterator<Item = &Rule> {
        self.lists.iter().flat_map(|list| &list.rules)
    }
}

impl Cursor {
    fn start(list: u32) -> Self {
        let mut frames = [Frame::default(); MAX_DEPTH + 1];
        if let Some(first) = frames.first_mut() {
            first.list = list;
        }
        Self { frames, depth: 0 }
    }

    fn top(self) -> Frame {
        self.frames.get(self.depth).copied().unwrap_or_default()
    }

    /// How many `SUB-RULE` lines lead here.
    pub(crate) fn depth(self) -> usize {
        self.depth
    }

    /// Position in the list that is being gone through.
    pub(crate) fn position(self) -> u32 {
        self.top().at
    }

    pub(crate) fn at_rule(mut self, rule: u32) -> Self {
        if let Some(frame) = self.frames.get_mut(self.depth) {
            frame.at = rule;
        }
        self
    }

    /// The next rule of the same list.
    pub(crate) fn behind(self) -> Self {
        self.at_rule(self.top().at.saturating_add(1))
    }

    /// Where the list around this one goes on; `None` in the list that the decision began with.
    pub(crate) fn outer(mut self) -> Option<Self> {
        self.depth = self.depth.checked_sub(1)?;
        for unused in self.frames.iter_mut().skip(self.depth + 1) {
            *unused = Frame::default();
        }
        Some(self)
    }

    fn passed(self) -> Self {
        self.outer().unwrap_or_else(|| self.behind())
    }

    fn enter(mut self, list: u32) -> Self {
        if let Some(frame) = self.frames.get_mut(self.depth + 1) {
            *frame = Frame { list, at: 0 };
            self.depth += 1;
        }
        self
    }
}

impl Verdict {
    pub(crate) fn without_rule(at: Cursor) -> Self {
        Self { outbound: Tag::new("DIRECT"), rule: None, at: at.at_rule(u32::MAX) }
    }
}

/// A line and where it stands.
struct Located<'a> {
    name: Option<&'a Tag>,
    index: usize,
    line: &'a str,
}

impl Located<'_> {
    /// The checks come in the order that users know: target, payload, type, the rest.
    fn rule(
        &self,
        compiler: &mut Compiler<'_>,
        lists: &HashMap<&str, u32>,
        known_target: &dyn Fn(&str) -> bool,
    ) -> Result<Rule, Fault> {
        let line = RuleLine::with_target(self.line);
        let Some(target) = line.target else {
            let whole = crate::rule::Piece::new(self.line, 0);
            return Err(Fault::at(whole, RuleErrorKind::NoTarget));
        };
        let action = match (line.kind, target.text) {
            (Some(RuleKind::SubRule), name) => match lists.get(name) {
                Some(list) => Action::Enter(*list),
                None => return Err(self.unknown_list(target, name)),
            },
            (_, "PASS") => Action::Pass,
            (_, "PASS-RULE") if self.name.is_some() => Action::PassRule,
            (_, "PASS-RULE") => Action::Pass,
            (_, name) if known_target(name) => Action::Use(Tag::new(name)),
            (_, name) => return Err(Fault::at(target, RuleErrorKind::UnknownTarget(name.to_owned()))),
        };
        let condition = compiler.condition(&line, Place::List)?;
        let info = Arc::new(RuleInfo {
            list: self.name.cloned(),
            index: self.index,
            kind: condition.kind,
            payload: condition.payload.to_string(),
            target: match &action {
                Action::Use(tag) => tag.clone(),
                _ => Tag::new(target.text),
            },
        });
        Ok(Rule { info, condition, action, tally: Tally::default() })
    }

    fn unknown_list(&self, target: crate::rule::Piece<'_>, name: &str) -> Fault {
        let kind = match self.name {
            None => RuleErrorKind::UnknownSubRule(name.to_owned()),
            Some(list) => {
                RuleErrorKind::UnknownInnerSubRule { index: self.index, list: list.clone(), name: name.to_owned() }
            }
        };
        Fault::at(target, kind)
    }

    fn error(&self, fault: Fault) -> RuleError {
        RuleError {
            list: self.name.cloned(),
            index: self.index,
            line: self.line.to_owned(),
            kind: fault.kind,
            offset: fault.offset,
            hint: fault.hint,
        }
    }

    fn warning(&self, kind: RuleWarningKind) -> RuleWarning {
        RuleWarning { list: self.name.cloned(), index: self.index, line: self.line.to_owned(), kind }
    }
}

/// Finds sub-rule lists that lead back to themselves, or too deep.
fn nesting_error(lists: &[List], sources: Sources<'_>) -> Option<RuleError> {
    let mut depths = vec![Depth::Unknown; lists.len()];
    (0..lists.len()).find_map(|list| {
        let (at, rule, kind) = depth(lists, list, &mut Vec::new(), &mut depths).err()?;
        let name = lists.get(at)?.name.as_ref();
        let lines = match at.checked_sub(1) {
            Some(sub) => &sources.sub_rules.get(sub)?.1,
            None => sources.rules,
        };
        Some(RuleError {
            list: name.cloned(),
            index: rule,
            line: lines.get(rule).cloned().unwrap_or_default(),
            kind,
            offset: None,
            hint: None,
        })
    })
}

#[derive(Clone, Copy)]
enum Depth {
    Unknown,
    Known(usize),
}

/// How many lists deep one can get from `list`. Recursion ends at [`MAX_DEPTH`] or at a cycle.
fn depth(
    lists: &[List],
    list: usize,
    path: &mut Vec<usize>,
    depths: &mut [Depth],
) -> Result<usize, (usize, usize, RuleErrorKind)> {
    if let Some(Depth::Known(depth)) = depths.get(list) {
        return Ok(*depth);
    }
    path.push(list);
    let mut deepest = 0;
    for (index, rule) in lists.get(list).into_iter().flat_map(|list| list.rules.iter().enumerate()) {
        let Action::Enter(inner) = rule.action else { continue };
        let inner = inner as usize;
        if let Some(from) = path.iter().position(|seen| *seen == inner) {
            let names = path.iter().skip(from).chain([&inner]).filter_map(|at| lists.get(*at)?.name.as_deref());
            let cycle = names.collect::<Vec<_>>().join("->");
            return Err((list, index, RuleErrorKind::SubRuleCycle(shown(&cycle))));
        }
        if path.len() > MAX_DEPTH {
            return Err((list, index, RuleErrorKind::SubRuleDepth));
        }
        let below = depth(lists, inner, path, depths)? + 1;
        if below > MAX_DEPTH {
            return Err((list, index, RuleErrorKind::SubRuleDepth));
        }
        deepest = deepest.max(below);
    }
    path.pop();
    if let Some(known) = depths.get_mut(list) {
        *known = Depth::Known(deepest);
    }
    Ok(deepest)
}
