//! Writing YAML: only what a proxy needs.

use crate::report::is_bidi;

/// A value that is to be written.
#[derive(Clone)]
pub(crate) enum Written {
    /// A text; quoted unless it cannot be taken for anything else.
    Text(String),
    /// A number or a boolean, as it is.
    Bare(String),
    /// On one line.
    Texts(Vec<String>),
    /// Numbers, on one line.
    Bytes(Vec<u8>),
    Map(Keys),
    /// One mapping per item.
    Maps(Vec<Keys>),
}

/// The keys of a mapping, in order.
pub(crate) type Keys = Vec<(&'static str, Written)>;

impl Written {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn bare(value: impl ToString) -> Self {
        Self::Bare(value.to_string())
    }
}

/// Appends an item of a list: a mapping whose first key stands behind the hyphen, which is indented by `indent`.
pub(crate) fn item(out: &mut String, indent: usize, keys: &Keys) {
    for (index, (key, value)) in keys.iter().enumerate() {
        let lead = if index == 0 { "- " } else { "  " };
        out.push_str(&" ".repeat(indent));
        out.push_str(lead);
        entry(out, indent + 2, key, value);
    }
}

/// `key: value` and the line's end; the indentation of the first line is already there.
fn entry(out: &mut String, indent: usize, key: &str, value: &Written) {
    out.push_str(key);
    out.push(':');
    match value {
        Written::Text(text) => out.push_str(&format!(" {}\n", scalar(text))),
        Written::Bare(text) => out.push_str(&format!(" {text}\n")),
        Written::Texts(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            out.push_str(&format!(" [{}]\n", texts.join(", ")));
        }
        Written::Bytes(bytes) => {
            let bytes: Vec<String> = bytes.iter().map(u8::to_string).collect();
            out.push_str(&format!(" [{}]\n", bytes.join(", ")));
        }
        Written::Map(keys) => {
            out.push('\n');
            for (key, value) in keys {
                out.push_str(&" ".repeat(indent + 2));
                entry(out, indent + 2, key, value);
            }
        }
        Written::Maps(items) => {
            out.push('\n');
            for keys in items {
                item(out, indent + 2, keys);
            }
        }
    }
}

/// A text that reads back as itself: bare if it begins with a letter and is made of a few harmless characters and is no
/// word for something else, quoted otherwise.
pub(crate) fn scalar(text: &str) -> String {
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "null"];
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '+' | '=' | '-' | ',');
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(harmless)
        && !words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if bare { text.to_owned() } else { quoted(text) }
}

/// In double quotes (YAML 1.2 §7.3.1), with escapes for what an editor or a terminal would not show as it is.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || is_bidi(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_when_they_could_be_something_else() {
        for (text, written) in [
            ("wg0", "wg0"),
            ("xtls-rprx-vision", "xtls-rprx-vision"),
            ("eCtX+4/PbhDk=", "eCtX+4/PbhDk="),
            ("MATCH,wg0", "MATCH,wg0"),
            ("", "\"\""),
            ("0123", "\"0123\""),
            ("No", "\"No\""),
            ("a: b", "\"a: b\""),
            ("\u{202e}a\n\"\\", "\"\\u202ea\\u000a\\\"\\\\\""),
            ("家", "\"家\""),
        ] {
            assert_eq!(scalar(text), written, "{text}");
        }
    }
}
