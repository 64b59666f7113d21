//! The YAML format: a list under `payload:` or `rules:`.
//!
//! Nearly every such file is that header and one plain or quoted scalar per line, and files of half a million lines exist.
//! So such files are read line by line; a file that is anything else goes through a real YAML parser; and one that a
//! parser refuses is read line by line leaving out what cannot be read, as Mihomo does.
//!
//! Source: spec page 4.3.

use std::borrow::Cow;

use serde::Deserialize;

use super::text::lines;
use super::{ProviderError, ProviderWarning, RuleSetBuilder};

pub(super) fn read(bytes: &[u8], to: &mut RuleSetBuilder<'_>) -> Result<(), ProviderError> {
    let survey = Survey::of(bytes);
    if !survey.is_plain
        && let Some(entries) = parsed(bytes)
    {
        return entries.iter().try_for_each(|entry| to.add(entry));
    }
    if !survey.has_header {
        return Err(ProviderError::NoPayload);
    }
    let mut state = State::BeforeHeader;
    for (number, line) in lines(bytes) {
        match line.map(|line| state.read(line)) {
            Some(Line::Entry(entry)) => to.add(&entry)?,
            Some(Line::Other) => to.warnings.push(ProviderWarning::Line(number)),
            Some(Line::Nothing | Line::Header) => {}
            None => to.warnings.push(ProviderWarning::NotUtf8(number)),
        }
    }
    Ok(())
}

/// What a first look at the lines tells.
struct Survey {
    has_header: bool,
    /// Nothing but comments, one header, and entries that can be read alone.
    is_plain: bool,
}

impl Survey {
    fn of(bytes: &[u8]) -> Self {
        let mut state = State::BeforeHeader;
        let mut survey = Self { has_header: false, is_plain: true };
        for (_, line) in lines(bytes) {
            match line.map(|line| state.read(line)) {
                Some(Line::Header) => survey.has_header = true,
                Some(Line::Nothing | Line::Entry(_)) => {}
                Some(Line::Other) | None => survey.is_plain = false,
            }
        }
        survey.is_plain &= survey.has_header;
        survey
    }
}

enum State {
    BeforeHeader,
    InList,
}

enum Line<'a> {
    Nothing,
    Header,
    Entry(Cow<'a, str>),
    Other,
}

impl State {
    fn read<'a>(&mut self, line: &'a str) -> Line<'a> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Line::Nothing;
        }
        match self {
            Self::BeforeHeader => {
                let key = ["payload:", "rules:"].iter().find_map(|key| line.strip_prefix(key));
                if key.is_some_and(|rest| rest.is_empty() || is_comment(rest)) {
                    *self = Self::InList;
                    return Line::Header;
                }
                Line::Other
            }
            Self::InList => match line.strip_prefix('-') {
                Some(rest) if rest.starts_with([' ', '\t']) => {
                    scalar(rest.trim_start()).map_or(Line::Other, Line::Entry)
                }
                _ => Line::Other,
            },
        }
    }
}

/// Whether `rest`, which follows a token, is blank followed by a comment.
fn is_comment(rest: &str) -> bool {
    let text = rest.trim_start();
    text.is_empty() || (text.len() < rest.len() && text.starts_with('#'))
}

/// A scalar that can be read without looking at other lines. `None` for everything that needs a YAML parser.
fn scalar(text: &str) -> Option<Cow<'_, str>> {
    match text.chars().next()? {
        '\'' => {
            let (inside, rest) = closed(text.get(1..)?, '\'')?;
            is_comment(rest).then(|| match inside.contains("''") {
                true => Cow::Owned(inside.replace("''", "'")),
                false => Cow::Borrowed(inside),
            })
        }
        '"' => {
            let (inside, rest) = text.get(1..)?.split_once('"')?;
            (is_comment(rest) && !inside.contains('\\')).then_some(Cow::Borrowed(inside))
        }
        '&' | '*' | '!' | '|' | '>' | '%' | '@' | '`' | '[' | ']' | '{' | '}' | ',' | '#' | '?' => None,
        _ => {
            let text = text.find(" #").map_or(text, |at| &text[..at]).trim_end();
            let is_map = text.contains(": ") || text.ends_with(':') || text.contains("\t#");
            let is_list = text == "-" || text.starts_with("- ");
            let is_null = matches!(text, "~" | "null" | "Null" | "NULL");
            (!is_map && !is_list && !is_null).then_some(Cow::Borrowed(text))
        }
    }
}

/// What is before the closing single quote, and what is behind it; doubled quotes are part of the text.
fn closed(text: &str, quote: char) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(quote)?;
        let behind = text.get(at + 1..)?;
        if !behind.starts_with(quote) {
            return Some((text.get(..at)?, behind));
        }
        from = at + 2;
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    payload: Option<Vec<Option<String>>>,
    #[serde(default)]
    rules: Option<Vec<Option<String>>>,
}

fn parsed(bytes: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let file: File = serde_saphyr::from_str(text).ok()?;
    let list = file.payload.or(file.rules)?;
    Some(list.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::super::Behavior;
    use super::*;
    use crate::Geo;

    fn counted(text: &str) -> Result<(usize, usize), ProviderError> {
        let geo = Geo::default();
        let mut builder = RuleSetBuilder::new(Behavior::Domain, &geo);
        read(text.as_bytes(), &mut builder)?;
        let (set, warnings) = builder.build();
        Ok((set.rule_count(), warnings.len()))
    }

    #[test]
    fn lines_as_they_are_written() {
        let text = "\u{feff}# list\r\npayload: # all\r\n\r\n  - 'a.com'\r\n- \"+.b.com\" # two\r\n    - c.com # three\n# x\n- 'it''s.d'\n";
        assert_eq!(counted(text), Ok((4, 0)));
        assert_eq!(counted("rules:\n- a.com"), Ok((1, 0)));
        assert_eq!(counted("payload:\n"), Ok((0, 0)));
        assert_eq!(counted("payload:"), Ok((0, 0)));
    }

    #[test]
    fn real_yaml_is_accepted_too() {
        assert_eq!(counted("payload: [a.com, 'b.com']\n"), Ok((2, 0)));
        assert_eq!(counted("x: &x 'a.com'\npayload:\n- *x\n- \"b\\u002ecom\"\n"), Ok((2, 0)));
        assert_eq!(counted("version: 1\npayload:\n  - >-\n    a.com\nother: {}\n"), Ok((1, 0)));
        assert_eq!(counted("payload:\n- a.com\n- ~\n- 12\n"), Ok((2, 0)));
        assert_eq!(counted("{\"payload\": [\"a.com\"]}"), Ok((1, 0)));
    }

    #[test]
    fn lines_that_cannot_be_decoded_are_left_out_and_told() {
        assert_eq!(counted("payload:\n- a.com\n- *.b.com\n- 'unclosed\nnonsense\n- c.com\n"), Ok((2, 3)));
    }

    /// F-D5: captive portals, empty bodies and other formats are refused.
    #[test]
    fn files_without_a_list_are_refused() {
        for text in
            ["", "\n", "a.com\n", "<html>\n</html>\n", "payloads:\n- a.com\n", "[1, 2]", "- a.com\n", "key: value\n"]
        {
            assert_eq!(counted(text), Err(ProviderError::NoPayload), "{text:?}");
        }
    }

    /// F-D3: alias bombs and deep nesting neither hang nor overflow.
    #[test]
    fn bombs_are_refused() {
        let mut bomb = String::from("a0: &a0 [x.com, x.com]\n");
        for level in 1..40 {
            bomb += &format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}, *a{0}]\n", level - 1);
        }
        assert!(counted(&bomb).is_err());
        assert!(counted(&format!("payload: {}", "[".repeat(100_000))).is_err());
        assert!(counted(&format!("payload: {}", "{a: ".repeat(100_000))).is_err());
    }
}
