//! What is wrong with a configuration, and how it is shown.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::mask::{Hidden, excerpt};
use crate::report::{Place, is_bidi};
use crate::source::Source;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// There is no plan.
    Error,
    /// There is a plan, but it may not be what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong, with its place.
///
/// INVARIANT: nothing in it shows a secret: messages never repeat the value of a secret key, and the line is masked.
#[derive(Clone, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The name of the [`Source`].
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// The offending bytes of the source's text.
    pub span: Range<usize>,
    /// What is wrong. One line; Mihomo's words where it has some.
    pub message: String,
    /// What to do about it, if we have an idea.
    pub hint: Option<String>,
    /// The line as it may be shown.
    excerpt: String,
    /// The offending part of `excerpt`.
    mark: Range<usize>,
}

impl Problem {
    pub(crate) fn new(
        severity: Severity,
        source: &Source,
        place: Place,
        hidden: &Hidden<'_>,
        message: String,
        hint: Option<String>,
    ) -> Self {
        let (excerpt, mark) = without_bidi(&excerpt(&source.text, place.text, place.at, hidden));
        let before = place.text.range().start..place.at.range().start;
        Self {
            severity,
            file: source.name.clone(),
            line: place.line,
            column: 1 + source.text.get(before).map_or(0, |text| text.chars().count()),
            span: place.at.range(),
            message,
            hint,
            excerpt,
            mark,
        }
    }

    /// The offending line, secrets replaced by asterisks, very long lines cut around the place.
    #[must_use]
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }

    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippet = Snippet::source(&*self.excerpt)
            .path(&*self.file)
            .line_start(self.line)
            .annotation(AnnotationKind::Primary.span(self.mark.clone()));
        let mut group = level.primary_title(&*self.message).element(snippet);
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(&**hint));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Problem {
    /// `file:line:column: severity: message (hint)`, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, severity, message, .. } = self;
        write!(f, "{file}:{line}:{column}: {severity}: {message}")?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of its lines.
///
/// At most a thousand of each severity are kept; the others are counted.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    left_out: Counts,
}

impl Problems {
    pub(crate) fn new(list: Vec<Problem>, left_out: Counts) -> Self {
        Self { list, left_out }
    }

    /// Each with its line, as a compiler would show it; `color` for terminals.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for problem in &self.list {
            out.push_str(&problem.render(&renderer));
            out.push_str("\n\n");
        }
        let Counts { errors, warnings } = self.left_out;
        if errors + warnings > 0 {
            out.push_str(&format!("and {errors} more errors and {warnings} more warnings\n\n"));
        }
        out
    }

    /// What stands at `from` in `text` or behind it came from `origin`, whose lines begin there.
    pub(crate) fn blame_from(&mut self, from: usize, text: &str, origin: &str) {
        let lines = text.get(..from).map_or(0, |before| before.matches('\n').count());
        for problem in self.list.iter_mut().filter(|problem| problem.span.start >= from) {
            origin.clone_into(&mut problem.file);
            problem.line = problem.line.saturating_sub(lines);
        }
    }

    /// Whether there is an error among them.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.counts().errors > 0
    }

    /// How many there are, kept or not.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.left_out;
        for problem in &self.list {
            *counts.of(problem.severity) += 1;
        }
        counts
    }

    /// One after the other, by line.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// How many problems there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
}

impl Counts {
    pub(crate) fn of(&mut self, severity: Severity) -> &mut usize {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
    }
}

/// A terminal would show such a line in another order than its bytes, and the mark in the wrong place.
fn without_bidi((line, mark): &(String, Range<usize>)) -> (String, Range<usize>) {
    let part = |range: Range<usize>| line.get(range).unwrap_or("").replace(is_bidi, "\u{fffd}");
    let (before, marked, after) = (part(0..mark.start), part(mark.clone()), part(mark.end..line.len()));
    let mark = before.len()..before.len() + marked.len();
    (before + &marked + &after, mark)
}
