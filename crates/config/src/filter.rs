//! `filter`, `exclude-filter` and `exclude-type`: which nodes are meant, by their names and types.

use fancy_regex::{Regex, RegexBuilder};

use crate::read::Text;
use crate::report::{Report, shown};

/// Regular expressions separated by back-ticks. They have look-around, as in Mihomo, where people use it to exclude.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patterns(Vec<Regex>);

impl Patterns {
    /// What is not a regular expression is reported, and left out.
    pub(crate) fn read(written: Option<Text<'_>>, report: &Report) -> Self {
        let Some(written) = written else { return Self::default() };
        let patterns = written.text.split('`').filter(|pattern| !pattern.is_empty());
        Self(patterns.filter_map(|pattern| regex(Text { text: pattern, at: written.at }, report)).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether any of them matches `name`.
    pub(crate) fn match_any(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }

    /// The items whose names match, those of the first pattern first; each at most once. `name` tells an item's name.
    pub(crate) fn sort<'i, T>(&self, items: &'i [T], name: impl Fn(&'i T) -> &'i str) -> Vec<&'i T> {
        let mut taken = vec![false; items.len()];
        let mut sorted = Vec::with_capacity(items.len());
        for pattern in &self.0 {
            for (item, taken) in items.iter().zip(&mut taken) {
                if !*taken && matches(pattern, name(item)) {
                    *taken = true;
                    sorted.push(item);
                }
            }
        }
        sorted
    }
}

/// A match that takes too long counts as none.
fn matches(pattern: &Regex, name: &str) -> bool {
    pattern.is_match(name).unwrap_or(false)
}

/// A regular expression for names, or a report why it is none.
pub(crate) fn regex(written: Text<'_>, report: &Report) -> Option<Regex> {
    // Names are short, so a low limit is enough against bombs (F-D4).
    match RegexBuilder::new(written.text).backtrack_limit(100_000).build() {
        Ok(regex) => Some(regex),
        Err(error) => {
            let why = error.to_string();
            let why = shown(why.lines().last().unwrap_or_default());
            report.error(written.at, format!("not a regular expression: {} ({why})", shown(written.text)));
            None
        }
    }
}

/// Types separated by `|`, in any case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Types(Vec<String>);

impl Types {
    pub(crate) fn read(written: Option<Text<'_>>) -> Self {
        let types = written.map_or("", |types| types.text).split('|').map(str::trim);
        Self(types.filter(|kind| !kind.is_empty()).map(str::to_owned).collect())
    }

    pub(crate) fn contain(&self, kind: &str) -> bool {
        self.0.iter().any(|excluded| excluded.eq_ignore_ascii_case(kind))
    }
}
