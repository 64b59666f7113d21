//! The pattern grammar of domain rule sets, `hosts` and name policies.

use std::borrow::Cow;

use thiserror::Error;

/// A pattern such as `example.com`, `*.example.com`, `.example.com` or `+.example.com`.
///
/// `*` stands for exactly one whole label, in any position. `+` is special as the first label only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainPattern<'a> {
    /// Which names below `name` are meant.
    pub scope: Scope,
    /// The rest of the pattern, lower case, possibly with `*` labels. Empty only for the pattern `+`, which matches
    /// every name.
    pub name: Cow<'a, str>,
}

/// See [`DomainPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `x`: that name only.
    Exact,
    /// `.x`: one or more labels in front of it, not the name itself.
    Below,
    /// `+.x`: the name and everything below it.
    ExactAndBelow,
}

/// Why a text is not a [`DomainPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadPattern {
    /// Nothing there.
    #[error("the pattern is empty")]
    Empty,
    /// White space at the start or the end. Inside a label it is allowed.
    #[error("the pattern begins or ends with white space")]
    OuterSpace,
    /// A dot at the end, two dots in a row.
    #[error("the pattern has an empty label")]
    EmptyLabel,
}

impl<'a> DomainPattern<'a> {
    /// Reads a pattern and lower-cases it.
    ///
    /// # Errors
    /// See [`BadPattern`].
    pub fn parse(text: &'a str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.trim() != text {
            return Err(BadPattern::OuterSpace);
        }
        let (scope, name) = match text.strip_prefix('+') {
            Some("") => (Scope::ExactAndBelow, ""),
            Some(rest) if rest.starts_with('.') => (Scope::ExactAndBelow, &rest[1..]),
            _ => match text.strip_prefix('.') {
                Some(rest) => (Scope::Below, rest),
                None => (Scope::Exact, text),
            },
        };
        if text != "+" && name.split('.').any(str::is_empty) {
            return Err(BadPattern::EmptyLabel);
        }
        Ok(Self { scope, name: lower(name) })
    }
}

/// `text` in lower case, borrowed if it already is.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

/// The patterns, matches and non-matches that all structures of this module are tested against, and the plain
/// definition of what a pattern means.
#[cfg(test)]
pub(crate) mod model {
    use super::*;

    pub(crate) const TABLE: &[(&str, &[&str], &[&str])] = &[
        ("example.com", &["example.com"], &["www.example.com", "xample.com", "com"]),
        ("*.example.com", &["a.example.com"], &["example.com", "a.b.example.com"]),
        ("a.*.example.com", &["a.b.example.com"], &["a.example.com", "b.b.example.com", "a.b.c.example.com"]),
        ("*.*.x.com", &["a.b.x.com"], &["b.x.com", "a.b.c.x.com"]),
        ("www.baidu.*", &["www.baidu.com", "www.baidu.cn"], &["baidu.com", "www.baidu.com.cn"]),
        (".example.com", &["a.example.com", "a.b.example.com"], &["example.com", "badexample.com"]),
        ("+.example.com", &["example.com", "a.example.com", "a.b.example.com"], &["badexample.com", "com"]),
        ("*", &["localhost"], &["a.b"]),
        ("+.*", &["localhost", "a.b", "a.b.c"], &[]),
        ("+", &["localhost", "a.b.c"], &[]),
        ("Mijia Cloud", &["mijia cloud"], &["mijia"]),
        ("EXAMPLE.Com", &["example.com"], &[]),
        ("+.*.example.com", &["a.example.com", "b.a.example.com"], &["example.com"]),
    ];

    pub(crate) fn matches(pattern: &DomainPattern<'_>, name: &str) -> bool {
        let labels: Vec<&str> = name.split('.').rev().collect();
        let wanted: Vec<&str> = pattern.name.split('.').rev().filter(|label| !label.is_empty()).collect();
        let fits = wanted.len() <= labels.len()
            && wanted.iter().zip(&labels).all(|(wanted, label)| *wanted == "*" || wanted == label);
        fits && match pattern.scope {
            Scope::Exact => labels.len() == wanted.len(),
            Scope::Below => labels.len() > wanted.len(),
            Scope::ExactAndBelow => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_agrees_with_the_table() {
        for (pattern, yes, no) in model::TABLE {
            let parsed = DomainPattern::parse(pattern).unwrap();
            for name in *yes {
                assert!(model::matches(&parsed, name), "{pattern} {name}");
            }
            for name in *no {
                assert!(!model::matches(&parsed, name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for (text, why) in [
            ("", BadPattern::Empty),
            (" a", BadPattern::OuterSpace),
            ("a\t", BadPattern::OuterSpace),
            (".", BadPattern::EmptyLabel),
            ("..dev", BadPattern::EmptyLabel),
            ("a..b", BadPattern::EmptyLabel),
            ("a.", BadPattern::EmptyLabel),
            ("+.", BadPattern::EmptyLabel),
            ("+..a", BadPattern::EmptyLabel),
        ] {
            assert_eq!(DomainPattern::parse(text), Err(why), "{text:?}");
        }
    }
}
