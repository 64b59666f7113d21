//! Keeping secrets out of the lines that diagnostics show (F-L2).

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

use fancy_regex::Regex;

use crate::suggest;
use crate::yaml::{At, Document, NodeId, Shape};

/// Keys whose values are nobody's business.
const SECRET: &[&str] = &[
    "authentication",
    "auth",
    "auth-str",
    "header",
    "headers",
    "mldsa65-verify",
    "obfs-password",
    "passwd",
    "password",
    "pre-shared-key",
    "private-key",
    "private-key-passphrase",
    "psk",
    "public-key",
    "secret",
    "short-id",
    "token",
    "uuid",
    "ws-headers",
];

/// Whether the values of this key are shown neither in messages nor in the lines beside them.
pub(crate) fn is_secret(key: &str) -> bool {
    SECRET.iter().any(|secret| {
        key.len() == secret.len()
            && key.bytes().zip(secret.bytes()).all(|(k, s)| k.eq_ignore_ascii_case(&s) || (k == b'_' && s == b'-'))
    })
}

/// Where the secret values of a document stand, those of misspelt secret keys included. Each value is visited once, however many aliases refer to it.
pub(crate) fn secrets(document: &Document<'_>) -> Vec<At> {
    let mut found = Vec::new();
    let mut seen: HashSet<(NodeId, bool)> = HashSet::new();
    let mut keys: HashMap<&str, bool> = HashMap::new();
    let mut next = vec![(document.root, false)];
    next.extend(subscriptions(document).map(|url| (url, true)));
    while let Some((id, secret)) = next.pop() {
        if !seen.insert((id, secret)) {
            continue;
        }
        let node = document.node(id);
        match &node.shape {
            Shape::Null => {}
            Shape::Scalar(_) => {
                if secret {
                    found.push(node.at);
                }
            }
            Shape::List(items) => next.extend(items.iter().map(|item| (*item, secret))),
            Shape::Map(entries) => {
                let mut is_secret = |key| {
                    let looks_like_one = || suggest::closest(key, SECRET.iter().copied()).is_some();
                    *keys.entry(key).or_insert_with(looks_like_one)
                };
                next.extend(entries.iter().map(|entry| (entry.value, secret || is_secret(&*entry.key))));
            }
        }
    }
    found.sort_unstable_by_key(|at| at.start);
    found
}

/// The URLs of proxy providers, any part of which may be a password.
fn subscriptions<'d>(document: &'d Document<'_>) -> impl Iterator<Item = NodeId> + 'd {
    let values = |id: NodeId, key: &'static str| {
        let entries = match &document.node(id).shape {
            Shape::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().filter(move |entry| key.is_empty() || entry.key == key).map(|entry| entry.value)
    };
    let providers = values(document.root, "proxy-providers").flat_map(move |providers| values(providers, ""));
    providers.flat_map(move |provider| values(provider, "url"))
}

/// What has to be hidden in one line.
pub(crate) enum Hidden<'a> {
    /// The file was understood: the secrets are known, in order.
    Known(&'a [At]),
    /// It was not: whatever may be one by its looks.
    Guessed,
}

/// The line at `line` of `text` with `mark` (a range of the file) in it, as far as both may be shown: secrets are
/// replaced by a fixed number of asterisks and very long lines are cut around the mark.
pub(crate) fn excerpt(text: &str, line: At, mark: At, hidden: &Hidden<'_>) -> (String, Range<usize>) {
    let start = line.range().start;
    let written = text.get(line.range()).unwrap_or("");
    let mut ranges: Vec<Range<usize>> = match hidden {
        Hidden::Known(secrets) => {
            let first = secrets.partition_point(|at| at.range().end <= start);
            let here = secrets.iter().skip(first).map(|at| at.range()).take_while(|at| at.start < line.range().end);
            here.map(|at| at.start.saturating_sub(start)..(at.end - start).min(written.len())).collect()
        }
        Hidden::Guessed => guessed(text, start, written),
    };
    ranges.extend(by_looks(written));
    ranges.sort_by_key(|range| range.start);
    let within = |at: usize| at.saturating_sub(start).min(written.len());
    let (shown, mark) = covered(written, &ranges, within(mark.range().start)..within(mark.range().end));
    window(shown, mark)
}

/// A message, without what looks like a secret in the text that it quotes.
pub(crate) fn message(text: String) -> String {
    let ranges = by_looks(&text);
    if ranges.is_empty() { text } else { covered(&text, &ranges, 0..0).0 }
}

/// Secrets that can be recognised without knowing the structure around them.
fn by_looks(line: &str) -> Vec<Range<usize>> {
    static LOOKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", // a UUID
            r"|(?:(?<![0-9a-z+/])|(?<=://))[0-9a-z+/]{43}(?![0-9a-z+/])=?",      // 32 bytes in base64: a key
            r"|[0-9a-z+/]{43}=",
            r"|://([^\s/'\x22]+)@(?:[^\s?'\x22]*\?([^\s'\x22]+))?", // a URL's userinfo, to its last `@`, and query
            r"|://[^\s?'\x22]*\?([^\s'\x22]+)",                     // a URL's query
            r"|(?:uuid|password|passwd|private-key|pre-shared-key|secret|psk|token)['\x22]?\s*[:=]\s*([^\s,}#][^,}#]*)",
        ))
        .ok()
    });
    let Some(looks) = LOOKS.as_ref() else { return Vec::new() };
    looks
        .captures_iter(line)
        .flatten()
        .flat_map(|found| {
            let parts: Vec<Range<usize>> = found.iter().skip(1).flatten().map(|part| part.range()).collect();
            if parts.is_empty() { found.get(0).map(|whole| vec![whole.range()]).unwrap_or_default() } else { parts }
        })
        .collect()
}

/// For a file that could not be parsed: the value of a secret key on this line, or the whole line if it belongs to a
/// secret key above it.
fn guessed(text: &str, start: usize, line: &str) -> Vec<Range<usize>> {
    let key_of = |line: &str| -> Option<(usize, bool)> {
        let (key, _) = line.split_once(':')?;
        let bare = key.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '"' | '\'' | '{' | '?'));
        let value = line.len() - line.get(key.len() + 1..)?.trim_start().len();
        Some((value, is_secret(bare)))
    };
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    if let Some((value, true)) = key_of(line) {
        return std::iter::once(value..line.len()).collect();
    }
    let mut inside = indent(line);
    let is_item = line.trim_start().starts_with('-');
    for above in text.get(..start).unwrap_or("").lines().rev() {
        let depth = indent(above);
        let is_parent = depth < inside || (is_item && depth == inside && !above.trim_start().starts_with('-'));
        if above.trim().is_empty() || !is_parent {
            continue;
        }
        if let Some((_, true)) = key_of(above) {
            return std::iter::once(0..line.len()).collect();
        }
        if depth == 0 {
            break;
        }
        inside = depth;
    }
    Vec::new()
}

const STARS: &str = "********";

/// `line` with `ranges` (sorted by start) replaced, and `mark` moved along.
fn covered(line: &str, ranges: &[Range<usize>], mark: Range<usize>) -> (String, Range<usize>) {
    let mut shown = String::with_capacity(line.len());
    let mut at = 0;
    let (mut start, mut end) = (None, None);
    for range in ranges.iter().filter(|range| !range.is_empty()) {
        if range.start < at {
            continue; // two reasons to hide the same
        }
        if mark.start < range.end && start.is_none() {
            start = Some(shown.len() + mark.start.clamp(at, range.start) - at);
        }
        if mark.end <= range.start && end.is_none() {
            end = Some(shown.len() + mark.end.clamp(at, range.start) - at);
        }
        shown.push_str(line.get(at..range.start).unwrap_or(""));
        shown.push_str(STARS);
        at = range.end;
        if mark.end <= range.end && end.is_none() {
            end = Some(shown.len());
        }
    }
    let start = start.unwrap_or_else(|| shown.len() + mark.start.saturating_sub(at));
    let end = end.unwrap_or_else(|| shown.len() + mark.end.saturating_sub(at));
    shown.push_str(line.get(at..).unwrap_or(""));
    (shown, start..end.max(start))
}

/// Cuts a very long line around the mark.
fn window(line: String, mark: Range<usize>) -> (String, Range<usize>) {
    const BEFORE: usize = 80;
    const LONGEST: usize = 240;
    if line.len() <= LONGEST {
        return (line, mark);
    }
    let boundary = |mut at: usize| {
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = boundary(mark.start.saturating_sub(BEFORE).min(line.len()));
    let to = boundary((from + LONGEST).min(line.len()));
    let within = |at: usize| boundary(at.clamp(from, to)) - from;
    let mark = within(mark.start)..within(mark.end);
    (line.get(from..to).unwrap_or("").to_owned(), mark)
}
