//! A `wg-quick` file as sections of keys, each with its place. Knows no key.

use crate::report::{Draft, Report, shown};
use crate::yaml::At;

/// `[Name]` and what stands below it.
#[derive(Debug)]
pub(super) struct Section<'s> {
    pub(super) name: &'s str,
    pub(super) at: At,
    pub(super) entries: Vec<Entry<'s>>,
}

/// `Key = value`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'s> {
    pub(super) key: &'s str,
    pub(super) key_at: At,
    pub(super) value: &'s str,
    pub(super) at: At,
}

/// Splits a file. `#` begins a comment anywhere, as `wg` has it; `;` at the start of a line.
pub(super) fn sections<'s>(text: &'s str, report: &Report) -> Vec<Section<'s>> {
    let mut sections: Vec<Section<'s>> = Vec::new();
    for line in lines(text) {
        let (line, at) = line;
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push(Section { name: name.trim(), at, entries: Vec::new() });
            continue;
        }
        // Nothing else is quoted in a message: it may be a part of a secret.
        let Some((key, value)) = line.split_once('=').filter(|(key, _)| is_key(key.trim_end())) else {
            let text = "neither a `[Section]` nor `Key = value`";
            report.error(at, text);
            continue;
        };
        let start = at.range().start;
        let value_start = start + key.len() + 1 + (value.len() - value.trim_start().len());
        let (key, value) = (key.trim_end(), value.trim());
        let entry = Entry {
            key,
            key_at: At::new(start, start + key.len()),
            value,
            at: At::new(value_start, value_start + value.len()),
        };
        match sections.last_mut() {
            Some(section) => section.entries.push(entry),
            None => {
                let text = format!("`{}` stands before the first `[Section]`", shown(key));
                report.add(Draft::error(entry.key_at, text).hint("the file begins with [Interface]"));
            }
        }
    }
    sections
}

/// The lines that say something, without comments and surrounding space, and where they stand.
fn lines(text: &str) -> impl Iterator<Item = (&str, At)> {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let from = start;
        start += line.len();
        let said = line.split('#').next().unwrap_or("");
        let said = if from == 0 { said.trim_start_matches('\u{feff}') } else { said };
        // What was cut off in front: the mark of the byte order.
        let from = from + line.find(said).unwrap_or(0);
        let bare = said.trim();
        if bare.is_empty() || bare.starts_with(';') {
            return None;
        }
        let from = from + (said.len() - said.trim_start().len());
        Some((bare, At::new(from, from + bare.len())))
    })
}

fn is_key(text: &str) -> bool {
    const LONGEST: usize = 40;
    let in_keys = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(in_keys)
}
