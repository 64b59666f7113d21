//! `rule-providers:`. Spec: mihomo-surface §4.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use adit_net::Tag;
use adit_router::{Behavior, Format, Geo, ProviderError, ProviderHandle, ProviderWarning, RuleSet};

use crate::context::Context;
use crate::home::reason;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};

/// Rule providers as written, their files read.
pub(super) struct Providers<'d>(Vec<Provider<'d>>);

struct Provider<'d> {
    name: Text<'d>,
    behavior: Behavior,
    format: Format,
    /// The content of the file, if there is one.
    file: Option<Vec<u8>>,
    payload: Vec<Text<'d>>,
}

/// Larger files are not read; it is also what the router takes at most.
const MAX_BYTES: u64 = 64 << 20;

pub(super) fn read<'d>(map: Option<Value<'d>>, cx: &Context<'d>) -> Providers<'d> {
    let fields = map.and_then(Value::fields);
    let entries = fields.iter().flat_map(Fields::named);
    Providers(entries.filter_map(|(name, value)| provider(name, value.fields()?, cx)).collect())
}

fn provider<'d>(name: Text<'d>, mut fields: Fields<'d>, cx: &Context<'d>) -> Option<Provider<'d>> {
    let title = shown(name.text);
    let (kind, behavior) = (fields.take("type"), fields.take("behavior"));
    let mut missing = Vec::new();
    for (key, value) in [("behavior", behavior), ("type", kind)] {
        if value.is_none() {
            missing.push(key);
        }
    }
    if !missing.is_empty() {
        cx.report.error(name.at, format!("rule provider {title}: '' has unset fields: {}", missing.join(", ")));
    }
    let kind = kind?.text()?;
    let behavior = parsed(behavior?, ["domain", "ipcidr", "classical"]);
    let format = fields.take("format").map_or(Some(Format::Yaml), |value| parsed(value, ["yaml", "text", "mrs"]));
    let path = fields.take("path").and_then(Value::text).filter(|path| !path.text.is_empty());
    let payload = fields.take("payload").map(Value::texts).unwrap_or_default();
    let file = match kind.text {
        "inline" => None,
        "file" => file(&title, path, name, cx),
        "http" => cached(&title, path, kind, cx),
        other => {
            let text = format!("unsupported vehicle type: {}", shown(other));
            cx.report.add(Draft::error(kind.at, text).meant(other, ["http", "file", "inline"]));
            None
        }
    };
    if kind.text != "inline" {
        for key in ["url", "interval", "proxy", "header", "size-limit"] {
            let _ = fields.take(key); // how to fetch; the warning about the type says that nobody does
        }
    }
    fields.finish("a rule provider", &["path-in-bundle"]);
    Some(Provider { name, behavior: behavior?, format: format?, file, payload })
}

fn parsed<T: std::str::FromStr<Err = ProviderError>>(value: Value<'_>, known: [&str; 3]) -> Option<T> {
    let text = value.text()?;
    let report = value.report;
    text.text
        .parse()
        .map_err(|error: ProviderError| report.add(Draft::error(text.at, error.to_string()).meant(text.text, known)))
        .ok()
}

fn file(title: &str, path: Option<Text<'_>>, name: Text<'_>, cx: &Context<'_>) -> Option<Vec<u8>> {
    let Some(path) = path else {
        cx.report.error(name.at, format!("rule provider {title}: '' has unset fields: path"));
        return None;
    };
    let resolved = cx.home.resolve("path", path, cx.report)?;
    match content(&resolved) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let why = reason(&error);
            let text = format!("initial rule provider {title} error: cannot read {}: {why}", shown(path.text));
            cx.report.warning(path.at, format!("{text}; rules on it do not match"));
            None
        }
    }
}

/// The file that an earlier download left, under the name that the file gives it.
fn cached(title: &str, path: Option<Text<'_>>, kind: Text<'_>, cx: &Context<'_>) -> Option<Vec<u8>> {
    let resolved = match path {
        Some(path) => Some(cx.home.resolve("path", path, cx.report)?),
        None => None,
    };
    let found = resolved.as_deref().and_then(|path| content(path).ok());
    let text = match &found {
        Some(_) => format!("rule providers of type http are not downloaded yet; '{title}' is read from its file"),
        None => format!(
            "rule providers of type http are not downloaded yet; '{title}' has no file: rules on it do not match"
        ),
    };
    let subject = format!("rule provider http {}", found.is_some());
    cx.report.once(subject, Draft::warning(kind.at, text).hint("`type: file` with a `path` works"));
    found
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl<'d> Providers<'d> {
    /// Texts that may name a database.
    pub(super) fn classical_texts(&self) -> impl Iterator<Item = Text<'_>> {
        let classical = self.0.iter().filter(|provider| provider.behavior == Behavior::Classical);
        classical.flat_map(|provider| {
            let file = provider.file.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
            let lines = file
                .into_iter()
                .flat_map(str::lines)
                .map(|line| Text { text: line.trim_start_matches([' ', '-', '"', '\'']), at: provider.name.at });
            lines.chain(provider.payload.iter().copied())
        })
    }

    /// Compiles every set. One that is wrong is reported and stays empty: rules on it do not match (F-D7).
    pub(super) fn compile(self, geo: &Geo, cx: &Context<'d>) -> HashMap<Tag, ProviderHandle> {
        let mut handles = HashMap::with_capacity(self.0.len());
        for provider in self.0 {
            let handle = ProviderHandle::new(provider.behavior);
            if let Some(set) = provider.set(geo, cx) {
                handle.replace(set);
            }
            handles.insert(Tag::new(provider.name.text), handle);
        }
        handles
    }
}

impl Provider<'_> {
    fn set(&self, geo: &Geo, cx: &Context<'_>) -> Option<RuleSet> {
        if let Some(bytes) = &self.file {
            match RuleSet::parse(bytes, self.behavior, self.format, geo) {
                Ok((set, warnings)) => {
                    self.warn(&warnings, cx);
                    return Some(set);
                }
                Err(error) => self.refused(&error, cx),
            }
        }
        // `payload` is the whole set of an inline provider, and what others have until their file is there.
        let entries = self.payload.iter().map(|entry| entry.text);
        match RuleSet::from_entries(entries, self.behavior, geo) {
            Ok((set, warnings)) => {
                self.warn(&warnings, cx);
                Some(set)
            }
            Err(error) => {
                self.refused(&error, cx);
                None
            }
        }
    }

    fn refused(&self, error: &ProviderError, cx: &Context<'_>) {
        let text = format!("initial rule provider {} error: {error}", shown(self.name.text));
        cx.report.warning(self.name.at, text);
    }

    fn warn(&self, warnings: &[ProviderWarning], cx: &Context<'_>) {
        let Some((first, rest)) = warnings.split_first() else { return };
        let others: usize = rest
            .iter()
            .map(|warning| match warning {
                ProviderWarning::More(more) => *more,
                _ => 1,
            })
            .sum();
        let mut text = format!("rule provider {}: {first}", shown(self.name.text));
        if others > 0 {
            text.push_str(&format!(" (and {others} more entries like this)"));
        }
        // Of an inline entry the place is known.
        let culprit = self.payload.iter().find(|entry| match first {
            ProviderWarning::Domain(bad) | ProviderWarning::IpCidr(bad) | ProviderWarning::Classical(bad, _) => {
                entry.text == bad
            }
            _ => false,
        });
        cx.report.warning(culprit.map_or(self.name.at, |entry| entry.at), text);
    }
}
