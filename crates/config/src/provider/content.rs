//! What a provider's content says, before anything is made of it.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::skipped::Skipped;
use crate::proxy::links::{self, Link};
use crate::read::Value;

/// A node before it is checked.
pub(super) struct Written<'a> {
    /// Unique in its content.
    pub(super) name: String,
    /// What the YAML key `type` would be.
    pub(super) kind: Cow<'a, str>,
    pub(super) source: Source<'a>,
}

pub(super) enum Source<'a> {
    Yaml { index: usize, value: Value<'a> },
    Link { text: &'a str, link: Box<Link> },
}

/// The nodes of a list in YAML. What is no mapping with a name and a type is left out.
pub(super) fn yaml<'a>(items: Vec<Value<'a>>, skipped: &mut Skipped) -> Vec<Written<'a>> {
    let mut names = Names::default();
    let mut written = Vec::with_capacity(items.len());
    for (index, value) in items.into_iter().enumerate() {
        let text = |key| value.peek(key).and_then(Value::peek_text);
        let (name, kind) = (text("name"), text("type"));
        match (name, kind) {
            (Some(name), Some(kind)) => {
                let name = names.free(name);
                written.push(Written { name, kind: Cow::Borrowed(kind), source: Source::Yaml { index, value } });
            }
            (name, None) => skipped.bad(name.unwrap_or(""), format!("proxy {index}: missing type")),
            (None, Some(_)) => skipped.bad("", format!("proxy {index}: '' has unset fields: name")),
        }
    }
    written
}

/// The nodes of links, one per line.
pub(super) fn links<'a>(text: &'a str, most: usize, skipped: &mut Skipped) -> Vec<Written<'a>> {
    let mut names = Names::default();
    let mut written = Vec::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("//")) {
        let Some((scheme, _)) = line.split_once("://") else {
            skipped.bad("", "a line that is no link".to_owned());
            continue;
        };
        let Some(kind) = kind(scheme) else {
            skipped.unsupported(scheme);
            continue;
        };
        if written.len() >= most {
            skipped.bad("", format!("more than {most} links"));
            continue;
        }
        match links::read(line) {
            Ok(link) => {
                let name = names.free(&link.name);
                let source = Source::Link { text: line, link: Box::new(link) };
                written.push(Written { name, kind: Cow::Borrowed(kind), source });
            }
            Err(why) => {
                let name = line.rsplit_once('#').map_or("", |(_, name)| name);
                skipped.bad(&percent_encoding::percent_decode_str(name).decode_utf8_lossy(), why.to_string());
            }
        }
    }
    written
}

/// The YAML type of the links of a scheme, if we speak it.
fn kind(scheme: &str) -> Option<&'static str> {
    Some(match scheme.to_ascii_lowercase().as_str() {
        "vless" => "vless",
        "wireguard" | "wg" | "awg" => "wireguard",
        "socks5" | "socks" | "socks5h" => "socks5",
        "http" | "https" => "http",
        _ => return None,
    })
}

/// The text behind a body that is base64 as a whole, with or without padding, in either alphabet, line breaks inside.
pub(super) fn decoded(body: &str) -> Option<String> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let compact: Vec<u8> = body
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let bytes = GeneralPurpose::new(&alphabet::STANDARD, config).decode(compact).ok()?;
    String::from_utf8(bytes).ok()
}

/// Names that are taken.
#[derive(Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// How often a name was wanted again.
    again: std::collections::HashMap<String, usize>,
}

impl Names {
    /// `name`, or, if that is taken, `name-01` and so on.
    pub(super) fn free(&mut self, name: &str) -> String {
        if self.taken.insert(name.to_owned()) {
            return name.to_owned();
        }
        let count = self.again.entry(name.to_owned()).or_default();
        loop {
            *count += 1;
            let next = format!("{name}-{count:02}");
            if self.taken.insert(next.clone()) {
                return next;
            }
        }
    }
}
