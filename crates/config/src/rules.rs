//! `rules:` and `sub-rules:`. Spec: mihomo-surface §3.

use std::collections::{HashMap, HashSet};

use adit_net::Tag;
use adit_router::{RuleError, RuleErrorKind, RuleInfo, RuleWarning, RuleWarningKind, Rules, Sources};

use crate::context::Context;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, LineStarts};
use crate::sets::Sets;
use crate::source::Source;
use crate::yaml::At;

/// Where rules stand in the file.
#[derive(Clone, Debug, Default)]
pub struct RuleLines {
    main: Vec<usize>,
    sub_rules: HashMap<Tag, Vec<usize>>,
}

impl RuleLines {
    /// The 1-based line of a rule of the same plan.
    #[must_use]
    pub fn line(&self, rule: &RuleInfo) -> Option<usize> {
        self.line_of(rule.list.as_ref(), rule.index)
    }

    /// The 1-based line of the rule at `index` (from 0) of a sub-rule list, or of the main list.
    #[must_use]
    pub fn line_of(&self, list: Option<&Tag>, index: usize) -> Option<usize> {
        let lines = match list {
            None => &self.main,
            Some(name) => self.sub_rules.get(name)?,
        };
        lines.get(index).copied()
    }
}

/// What became of the rules.
pub(crate) struct Routes<'d> {
    /// `None` if one of them is wrong, which is reported.
    pub(crate) rules: Option<Rules>,
    pub(crate) lines: RuleLines,
    /// The names of the sub-rule lists.
    pub(crate) sub_rules: HashSet<&'d str>,
}

/// The rules as written.
struct Written<'d> {
    main: Vec<Text<'d>>,
    sub_rules: Vec<(Text<'d>, Vec<Text<'d>>)>,
}

/// Reads and compiles the rules. `targets` are the names they may send to, `sets` what they may refer to.
pub(crate) fn read<'d>(
    source: &Source,
    fields: &mut Fields<'d>,
    targets: &HashSet<&str>,
    sets: &Sets,
    cx: &Context<'d>,
) -> Routes<'d> {
    let sub_rules = fields.take("sub-rules").and_then(Value::fields);
    let written = Written {
        main: fields.take("rules").map(Value::texts).unwrap_or_default(),
        sub_rules: sub_rules
            .iter()
            .flat_map(Fields::named)
            .map(|(name, list)| (name, if list.is_null() { Vec::new() } else { list.texts() }))
            .collect(),
    };
    let geo = sets.geo(written.all(), cx);

    let main: Vec<String> = written.main.iter().map(|text| text.text.to_owned()).collect();
    let sub_rules: Vec<(Tag, Vec<String>)> = written
        .sub_rules
        .iter()
        .map(|(name, list)| (Tag::new(name.text), list.iter().map(|text| text.text.to_owned()).collect()))
        .collect();
    let compiled = Rules::compile(Sources {
        rules: &main,
        sub_rules: &sub_rules,
        providers: sets.providers(),
        geo: &geo,
        known_target: &|name| targets.contains(name),
        no_resolve_all: false,
        processes: cx.processes,
    });
    let rules = match compiled {
        Ok(rules) => {
            for warning in rules.warnings() {
                written.warn(warning, cx);
            }
            Some(rules)
        }
        Err(errors) => {
            let names = Names {
                targets,
                sub_rules: written.sub_rules.iter().map(|(name, _)| name.text).collect(),
                providers: sets.providers().keys().map(Tag::as_str).collect(),
            };
            for error in errors {
                written.blame(source, error, &names, cx);
            }
            None
        }
    };
    Routes {
        rules,
        lines: written.lines(source),
        sub_rules: written.sub_rules.iter().map(|(name, _)| name.text).collect(),
    }
}

/// What names in rules can refer to, for hints.
struct Names<'n> {
    targets: &'n HashSet<&'n str>,
    sub_rules: Vec<&'n str>,
    providers: Vec<&'n str>,
}

impl<'d> Written<'d> {
    fn all(&self) -> impl Iterator<Item = Text<'d>> {
        let inner = self.sub_rules.iter().flat_map(|(_, list)| list);
        self.main.iter().chain(inner).copied()
    }

    fn find(&self, list: Option<&Tag>, index: usize) -> Option<Text<'d>> {
        let lines = match list {
            None => &self.main,
            Some(name) => &self.sub_rules.iter().find(|(written, _)| *written.text == **name)?.1,
        };
        lines.get(index).copied()
    }

    fn lines(&self, source: &Source) -> RuleLines {
        let starts = LineStarts::new(&source.text);
        let lines = |list: &[Text<'_>]| list.iter().map(|text| starts.line(text.at.start)).collect();
        RuleLines {
            main: lines(&self.main),
            sub_rules: self.sub_rules.iter().map(|(name, list)| (Tag::new(name.text), lines(list))).collect(),
        }
    }

    fn blame(&self, source: &Source, error: RuleError, names: &Names<'_>, cx: &Context<'_>) {
        let nowhere = Text { text: "", at: At::NOWHERE };
        let text = self.find(error.list.as_ref(), error.index).unwrap_or(nowhere);
        let at = match &error.offset {
            Some(part) => within(source, text, part.start, part.end),
            None => text.at,
        };
        let draft = Draft::error(at, error.to_string());
        cx.report.add(match (error.hint, &error.kind) {
            (_, RuleErrorKind::UnknownTarget(name)) => draft.meant(name, names.targets.iter().copied()),
            (_, RuleErrorKind::UnknownSubRule(name) | RuleErrorKind::UnknownInnerSubRule { name, .. }) => {
                draft.meant(name, names.sub_rules.iter().copied())
            }
            (_, RuleErrorKind::UnknownRuleSet(name)) => draft.meant(name, names.providers.iter().copied()),
            (Some(hint), _) => draft.hint(hint),
            (None, RuleErrorKind::NoTarget) => draft.hint("a rule ends with its target: TYPE,payload,target"),
            (None, _) => draft,
        });
    }

    fn warn(&self, warning: &RuleWarning, cx: &Context<'_>) {
        let Some(text) = self.find(warning.list.as_ref(), warning.index) else { return };
        let draft = Draft::warning(text.at, warning.to_string());
        match &warning.kind {
            // The same for every such rule: one is enough.
            kind @ (RuleWarningKind::NoProcess | RuleWarningKind::Unsupported(_)) => {
                cx.report.once(format!("rules: {kind}"), draft);
            }
            _ => cx.report.add(draft),
        }
    }
}

/// The bytes `start..end` of a scalar's text in the file, if it is written there as it is; else the whole scalar.
pub(crate) fn within(source: &Source, text: Text<'_>, start: usize, end: usize) -> At {
    let quote = usize::from(source.text.get(text.at.range()).is_some_and(|raw| raw.starts_with(['"', '\''])));
    let first = text.at.range().start + quote;
    let is_verbatim = source.text.get(first..first + text.text.len()) == Some(text.text);
    if is_verbatim { At::new(first + start, first + end) } else { text.at }
}
