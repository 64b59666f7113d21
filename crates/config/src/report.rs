//! Collecting what is wrong while a file is read; [`Problems`] is what comes out.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::mask::{self, Hidden};
use crate::problem::{Counts, Problem, Problems, Severity};
use crate::source::Source;
use crate::yaml::At;

/// Everything found so far. Shared by reference, because everybody who reads has something to report.
#[derive(Debug, Default)]
pub(crate) struct Report {
    found: RefCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    drafts: Vec<Draft>,
    kept: Counts,
    /// How many more there were than anybody reads.
    left_out: Counts,
    /// Warnings that are said once however often they apply: their subject → index in `drafts`.
    once: HashMap<String, usize>,
}

/// More problems of a severity than this are only counted: a wrong file can have one per line.
const MOST: usize = 1000;

impl Found {
    /// Keeps `draft`, or only counts it; its index if it was kept.
    fn add(&mut self, draft: Draft) -> Option<usize> {
        let kept = self.kept.of(draft.severity);
        if *kept >= MOST {
            *self.left_out.of(draft.severity) += 1;
            return None;
        }
        *kept += 1;
        self.drafts.push(draft);
        Some(self.drafts.len() - 1)
    }
}

/// A problem before its line is known.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    severity: Severity,
    at: At,
    message: String,
    hint: Option<String>,
    /// In how many more places the same was found.
    more: usize,
}

impl Draft {
    pub(crate) fn error(at: At, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, at, message.into())
    }

    pub(crate) fn warning(at: At, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, at, message.into())
    }

    fn new(severity: Severity, at: At, message: String) -> Self {
        Self { severity, at, message, hint: None, more: 0 }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts `prefix` before the message.
    pub(crate) fn after(mut self, prefix: &str) -> Self {
        self.message.insert_str(0, prefix);
        self
    }

    /// Adds "did you mean" if one of `candidates` is close to `written`.
    pub(crate) fn meant<'c>(self, written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Self {
        match crate::suggest::closest(written, candidates) {
            Some(candidate) => self.hint(format!("did you mean '{}'?", shown(candidate))),
            None => self,
        }
    }
}

impl Report {
    pub(crate) fn add(&self, draft: Draft) {
        self.found.borrow_mut().add(draft);
    }

    pub(crate) fn error(&self, at: At, message: impl Into<String>) {
        self.add(Draft::error(at, message));
    }

    pub(crate) fn warning(&self, at: At, message: impl Into<String>) {
        self.add(Draft::warning(at, message));
    }

    /// Adds `draft` unless the same `subject` was reported before; then only counts it.
    pub(crate) fn once(&self, subject: impl Into<String>, draft: Draft) {
        let found = &mut *self.found.borrow_mut();
        let subject = subject.into();
        if let Some(first) = found.once.get(&subject).and_then(|first| found.drafts.get_mut(*first)) {
            first.more += 1;
        } else if let Some(index) = found.add(draft) {
            found.once.insert(subject, index);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.borrow().drafts.is_empty()
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.borrow().kept.errors > 0
    }

    /// The first error, or else the first warning, without secrets.
    pub(crate) fn first_message(&self) -> Option<String> {
        self.first_error().or_else(|| {
            let found = self.found.borrow();
            found.drafts.first().map(|draft| mask::message(draft.message.clone()))
        })
    }

    /// The first error, without secrets.
    pub(crate) fn first_error(&self) -> Option<String> {
        let found = self.found.borrow();
        let error = found.drafts.iter().find(|draft| draft.severity == Severity::Error)?;
        Some(mask::message(error.message.clone()))
    }

    /// Gives every problem its line, in the order of the file. What is `hidden` is masked in the lines shown.
    pub(crate) fn into_problems(self, source: &Source, hidden: &Hidden<'_>) -> Problems {
        let Found { mut drafts, left_out, .. } = self.found.into_inner();
        drafts.sort_by_key(|draft| draft.at.start);
        let lines = LineStarts::new(&source.text);
        let mut problems = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let mut message = mask::message(draft.message);
            match draft.more {
                0 => {}
                1 => message.push_str(" (and in one more place)"),
                n => message.push_str(&format!(" (and in {n} more places)")),
            }
            let place = lines.place(draft.at);
            problems.push(Problem::new(draft.severity, source, place, hidden, message, draft.hint));
        }
        Problems::new(problems, left_out)
    }
}

/// A range of the file and the line it begins on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) at: At,
    /// 1-based.
    pub(crate) line: usize,
    /// Where that line begins and ends, without its line break.
    pub(crate) text: At,
}

/// Where lines begin.
pub(crate) struct LineStarts<'s> {
    text: &'s str,
    starts: Vec<usize>,
}

impl<'s> LineStarts<'s> {
    pub(crate) fn new(text: &'s str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// The 1-based line of a byte.
    pub(crate) fn line(&self, byte: u32) -> usize {
        self.starts.partition_point(|start| *start <= byte as usize)
    }

    fn place(&self, at: At) -> Place {
        let line = self.line(at.start);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        let written = self.text.get(start..end).unwrap_or("").trim_end_matches('\r');
        Place { at, line, text: At::new(start, start + written.len()) }
    }
}

/// A text of the user's for a message: control characters and bidi marks escaped, at most 80 characters (F-D13, F-L1).
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() || is_bidi(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Marks that make a terminal show text in another order than it is written, and invisible ones.
pub(crate) fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{061c}')
}
