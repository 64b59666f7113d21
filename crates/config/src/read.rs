//! Reading values leniently, as Mihomo does: text, numbers and booleans turn into one another where that makes sense,
//! `null` is absent, and whatever cannot be read is reported and then treated as absent (spec: mihomo-surface §1.1).

use crate::mask::is_secret;
use crate::report::{Draft, Report, shown};
use crate::yaml::{At, Document, Entry, Node, NodeId, Shape};

/// A value together with the key it belongs to, for messages.
#[derive(Clone, Copy)]
pub(crate) struct Value<'d> {
    pub(crate) document: &'d Document<'d>,
    pub(crate) report: &'d Report,
    /// The key it was written under; for an item of a list, the list's.
    pub(crate) key: &'d str,
    node: &'d Node<'d>,
}

/// A text and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'d> {
    pub(crate) text: &'d str,
    pub(crate) at: At,
}

impl<'d> Value<'d> {
    pub(crate) fn root(document: &'d Document<'d>, report: &'d Report) -> Self {
        Self { document, report, key: "", node: document.node(document.root) }
    }

    pub(crate) fn at(&self) -> At {
        self.node.at
    }

    fn with(self, key: &'d str, id: NodeId) -> Self {
        Self { key, node: self.document.node(id), ..self }
    }

    /// A scalar as text.
    pub(crate) fn text(self) -> Option<Text<'d>> {
        match &self.node.shape {
            Shape::Scalar(text) => Some(Text { text, at: self.at() }),
            _ => self.refused("a text"),
        }
    }

    pub(crate) fn string(self) -> Option<String> {
        self.text().map(|text| text.text.to_owned())
    }

    /// A whole number; bases as Go reads them: `0x`, `0o`, `0b`, a leading `0` is octal, `_` between digits.
    pub(crate) fn number<T: TryFrom<i64>>(self, meaning: &str) -> Option<T> {
        let Shape::Scalar(text) = &self.node.shape else {
            return self.refused(meaning);
        };
        let number = integer(text).or_else(|| boolean(text).map(i64::from));
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => Some(number),
            None => self.refused(meaning),
        }
    }

    /// A port to listen on; 0 is off.
    pub(crate) fn port(self) -> Option<u16> {
        self.number("a port from 0 to 65535")
    }

    /// A port to connect to.
    pub(crate) fn server_port(self) -> Option<u16> {
        match self.number::<u16>("a port from 1 to 65535") {
            Some(0) => self.refused("a port from 1 to 65535"),
            port => port,
        }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        let Shape::Scalar(text) = &self.node.shape else {
            return self.refused("true or false");
        };
        match boolean(text).or_else(|| integer(text).map(|number| number != 0)) {
            Some(value) => Some(value),
            None => self.refused("true or false"),
        }
    }

    /// One of a few words, in any case. `None` is reported with `message` and the closest word.
    pub(crate) fn word<T: Copy>(self, message: &str, words: &[(&'static str, T)]) -> Option<T> {
        let written = self.text()?;
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(written.text));
        if found.is_none() {
            let names = words.iter().map(|(word, _)| *word);
            let draft = Draft::error(written.at, format!("{message}: {}", shown(written.text)));
            let all: Vec<&str> = names.clone().collect();
            let draft = draft.hint(format!("it is one of: {}", all.join(", ")));
            self.report.add(draft.meant(written.text, names));
        }
        found.map(|(_, value)| *value)
    }

    /// The items of a list; nulls are left out.
    pub(crate) fn list(self) -> Option<Vec<Self>> {
        match &self.node.shape {
            Shape::List(items) => {
                let values = items.iter().map(|item| self.with(self.key, *item));
                Some(values.filter(|value| !value.is_null()).collect())
            }
            Shape::Null => Some(Vec::new()),
            _ => {
                let draft = Draft::error(self.at(), format!("'{}' is not a slice", self.key));
                self.report.add(draft.hint("write a list: one `- item` per line, or [a, b]"));
                None
            }
        }
    }

    /// The texts of a list.
    pub(crate) fn texts(self) -> Vec<Text<'d>> {
        let items = self.list().unwrap_or_default();
        items.into_iter().filter_map(Self::text).collect()
    }

    pub(crate) fn strings(self) -> Vec<String> {
        self.texts().into_iter().map(|text| text.text.to_owned()).collect()
    }

    /// The keys of a mapping.
    pub(crate) fn fields(self) -> Option<Fields<'d>> {
        match &self.node.shape {
            Shape::Map(entries) => {
                Some(Fields { map: self, entries, taken: vec![false; entries.len()], asked: Vec::new(), loose: false })
            }
            _ => self.refused("a mapping"),
        }
    }

    /// Where the value of `key` stands, if this is a mapping in which it was written.
    pub(crate) fn place(self, key: &str) -> Option<At> {
        let Shape::Map(entries) = &self.node.shape else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        Some(self.with(self.key, entry.value).at())
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node.shape, Shape::Null)
    }

    /// The value under `key`, if this is a mapping that has it. Nothing is reported, and nothing taken.
    pub(crate) fn peek(self, key: &str) -> Option<Self> {
        let Shape::Map(entries) = &self.node.shape else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        let value = self.with(&entry.key, entry.value);
        (!value.is_null()).then_some(value)
    }

    /// A scalar as text; nothing is reported.
    pub(crate) fn peek_text(self) -> Option<&'d str> {
        match &self.node.shape {
            Shape::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that fits; nothing is reported.
    pub(crate) fn peek_number<T: TryFrom<i64>>(self) -> Option<T> {
        integer(self.peek_text()?).and_then(|number| T::try_from(number).ok())
    }

    /// True or false; nothing is reported.
    pub(crate) fn peek_boolean(self) -> Option<bool> {
        let text = self.peek_text()?;
        boolean(text).or_else(|| integer(text).map(|number| number != 0))
    }

    /// The items of a list; nothing is reported.
    pub(crate) fn peek_list(self) -> Option<Vec<Self>> {
        let Shape::List(items) = &self.node.shape else { return None };
        Some(items.iter().map(|item| self.with(self.key, *item)).filter(|value| !value.is_null()).collect())
    }

    /// The same value, with what is wrong with it reported elsewhere.
    pub(crate) fn reporting_to<'r>(self, report: &'r Report) -> Value<'r>
    where
        'd: 'r,
    {
        Value { report, ..self }
    }

    /// A text that is the same for values that say the same, in whatever order their keys are. `None` if it would be
    /// longer than 64 KiB, which aliases of aliases can bring about, or nested deeper than 64.
    pub(crate) fn canonical(self) -> Option<String> {
        let mut text = String::new();
        canonical(self.document, self.node, 0, &mut text)?;
        Some(text)
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self.node.shape, Shape::Map(_))
    }

    /// Null, or a text without a character.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.node.shape {
            Shape::Scalar(text) => text.is_empty(),
            shape => matches!(shape, Shape::Null),
        }
    }

    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self.node.shape, Shape::Scalar(_))
    }

    /// Whether the value says that the feature it configures is not wanted: nothing is lost when we ignore that.
    pub(crate) fn is_off(&self) -> bool {
        match &self.node.shape {
            Shape::Null => true,
            Shape::Scalar(text) => matches!(&**text, "" | "0" | "false" | "False" | "FALSE" | "off" | "no"),
            Shape::List(items) => items.is_empty(),
            Shape::Map(entries) => {
                let switch = entries.iter().find(|entry| matches!(&*entry.key, "enable" | "enabled"));
                match switch {
                    Some(entry) => self.with(self.key, entry.value).is_off(),
                    None => entries.is_empty(),
                }
            }
        }
    }

    /// Reports that the value is not `meaning`. A secret is not repeated.
    fn refused<T>(self, meaning: &str) -> Option<T> {
        let found = match &self.node.shape {
            Shape::Null => "nothing".to_owned(),
            Shape::Scalar(_) if is_secret(self.key) => "something else".to_owned(),
            Shape::Scalar(text) => format!("'{}'", shown(text)),
            Shape::List(_) => "a list".to_owned(),
            Shape::Map(_) => "a mapping".to_owned(),
        };
        let message = if self.key.is_empty() {
            format!("expected {meaning}, found {found}")
        } else {
            format!("`{}` must be {meaning}, found {found}", shown(self.key))
        };
        self.report.error(self.at(), message);
        None
    }
}

/// A mapping that is being read key by key. [`Fields::finish`] reports the keys nobody asked for.
pub(crate) struct Fields<'d> {
    map: Value<'d>,
    entries: &'d [Entry<'d>],
    taken: Vec<bool>,
    asked: Vec<&'static str>,
    loose: bool,
}

impl<'d> Fields<'d> {
    /// `_` and `-` are the same in keys, as Mihomo has it for proxies and listeners.
    pub(crate) fn loosely_spelt(mut self) -> Self {
        self.loose = true;
        self
    }

    pub(crate) fn at(&self) -> At {
        self.map.at()
    }

    /// The value of `key`; `None` if it is absent or null.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'d>> {
        self.asked.push(key);
        let loose = self.loose;
        let index = self.entries.iter().position(|entry| same_key(&entry.key, key, loose))?;
        let entry = self.entries.get(index)?;
        *self.taken.get_mut(index)? = true;
        let value = self.map.with(&entry.key, entry.value);
        (!value.is_null()).then_some(value)
    }

    /// Where the value of `key` stands, if it was written.
    pub(crate) fn place(&self, key: &str) -> Option<At> {
        let entry = self.entries.iter().find(|entry| same_key(&entry.key, key, self.loose))?;
        Some(self.map.with(&entry.key, entry.value).at())
    }

    /// Where `key` itself stands, if it was written.
    pub(crate) fn key_at(&self, key: &str) -> Option<At> {
        let entry = self.entries.iter().find(|entry| same_key(&entry.key, key, self.loose))?;
        Some(entry.at)
    }

    /// Takes every key for which `wanted` (given the key and where its value stands) says yes.
    pub(crate) fn take_if(&mut self, wanted: impl Fn(&str, At) -> bool) {
        for (entry, taken) in self.entries.iter().zip(&mut self.taken) {
            let value = self.map.with(&entry.key, entry.value);
            *taken |= wanted(&entry.key, value.at());
        }
    }

    /// Where the first entry stands: the place for what is missing in the mapping.
    pub(crate) fn first_key(&self) -> At {
        self.entries.first().map_or_else(|| self.at(), |entry| entry.at)
    }

    /// Every entry as key and value, for mappings whose keys are names.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Text<'d>, Value<'d>)> {
        let map = self.map;
        self.entries.iter().map(move |entry| {
            let key = Text { text: &entry.key, at: entry.at };
            (key, map.with(&entry.key, entry.value))
        })
    }

    /// Reports what was not taken: keys of `unsupported` once each, others as unknown. `section` says whose keys
    /// they are.
    pub(crate) fn finish(self, section: &str, unsupported: &[&'static str]) {
        let report = self.map.report;
        let left = self.entries.iter().zip(&self.taken).filter(|(_, taken)| !**taken);
        for (entry, _) in left {
            let value = self.map.with(&entry.key, entry.value);
            if let Some(key) = unsupported.iter().find(|key| same_key(&entry.key, key, self.loose)) {
                if !value.is_off() {
                    let message = format!("`{key}` in {section} is not supported yet and has no effect");
                    report.once(format!("{section}: {key}"), Draft::warning(entry.at, message));
                }
                continue;
            }
            let key = shown(&entry.key);
            let message = format!("unknown key `{key}` in {section}; it has no effect");
            let known = self.asked.iter().chain(unsupported).copied();
            let draft = Draft::warning(entry.at, message).meant(&entry.key, known);
            report.once(format!("{section}? {key}"), draft);
        }
    }
}

/// Texts have their length before them, so that no two values share a text.
fn canonical(document: &Document<'_>, node: &Node<'_>, depth: usize, out: &mut String) -> Option<()> {
    const LONGEST: usize = 64 << 10;
    const DEEPEST: usize = 64;
    if depth > DEEPEST || out.len() > LONGEST {
        return None;
    }
    let put = |text: &str, out: &mut String| {
        out.push_str(&text.len().to_string());
        out.push(':');
        out.push_str(text);
    };
    match &node.shape {
        Shape::Null => out.push('~'),
        Shape::Scalar(text) => put(text, out),
        Shape::List(items) => {
            out.push('[');
            for item in items {
                canonical(document, document.node(*item), depth + 1, out)?;
            }
            out.push(']');
        }
        Shape::Map(entries) => {
            let mut sorted: Vec<&Entry<'_>> = entries.iter().collect();
            sorted.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            out.push('{');
            for entry in sorted {
                put(&entry.key, out);
                canonical(document, document.node(entry.value), depth + 1, out)?;
            }
            out.push('}');
        }
    }
    (out.len() <= LONGEST).then_some(())
}

fn same_key(written: &str, key: &str, loose: bool) -> bool {
    written == key
        || (loose
            && written.len() == key.len()
            && written.bytes().zip(key.bytes()).all(|(w, k)| w == k || (w == b'_' && k == b'-')))
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i64::from_str_radix(&digits.replace('_', ""), base).ok()?;
    if negative { number.checked_neg() } else { Some(number) }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "on" | "y" => Some(true),
        "false" | "f" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_bases_that_go_reads() {
        for (text, number) in [
            ("443", Some(443)),
            ("0x1bb", Some(443)),
            ("0o673", Some(443)),
            ("0673", Some(443)),
            ("0b11", Some(3)),
            ("7_890", Some(7890)),
            ("-1", Some(-1)),
            ("+1", Some(1)),
            ("0", Some(0)),
            ("", None),
            ("0x", None),
            ("--1", None),
            ("0x-1", None),
            ("1e5", None),
            ("9223372036854775808", None),
        ] {
            assert_eq!(integer(text), number, "{text}");
        }
    }
}
