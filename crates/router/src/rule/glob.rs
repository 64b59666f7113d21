//! Wildcards over whole texts: `*` is any number of characters, dots included, `?` exactly one.

/// A compiled wildcard pattern. Bytes, not characters; host names have no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Box<str>);

impl Glob {
    /// `text` in lower case; runs of `*` become one.
    pub(crate) fn new(text: &str) -> Self {
        let mut pattern = text.to_lowercase();
        let mut last = None;
        pattern.retain(|c| last.replace(c) != Some('*') || c != '*');
        Self(pattern.into())
    }

    /// Whether the whole of `text` fits, ASCII letters compared without case. At most pattern × text steps; nothing
    /// backtracks further than to the last `*`.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        if pattern.iter().filter(|b| **b != b'*').count() > text.len() {
            return false;
        }
        let (mut at, mut from) = (0, 0);
        let mut retry = None;
        while from < text.len() || at < pattern.len() {
            let fits = match (pattern.get(at), text.get(from)) {
                (Some(b'*'), _) => {
                    retry = Some((at, from));
                    at += 1;
                    continue;
                }
                (Some(b'?'), Some(_)) => true,
                (Some(wanted), Some(found)) => *wanted == found.to_ascii_lowercase(),
                _ => false,
            };
            if fits {
                at += 1;
                from += 1;
                continue;
            }
            match retry {
                Some((star, taken)) if taken < text.len() => {
                    retry = Some((star, taken + 1));
                    (at, from) = (star + 1, taken + 1);
                }
                _ => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_cross_dots_and_marks_are_one_byte() {
        for (pattern, yes, no) in [
            ("*.example.com", &["a.example.com", "a.b.example.com", ".example.com"][..], &["example.com"][..]),
            ("exam?le.*", &["example.com", "examqle.", "EXAMPLE.net"], &["examle.com", "example"]),
            ("*", &["", "a.b"], &[]),
            ("**a**", &["a", "bab"], &["b", ""]),
            ("a*b*c", &["abc", "axxbxxbc"], &["ab", "acb", "abcd"]),
            ("", &[""], &["a"]),
            ("?", &["a"], &["", "ab"]),
        ] {
            for text in yes {
                assert!(Glob::new(pattern).matches(text), "{pattern} {text}");
            }
            for text in no {
                assert!(!Glob::new(pattern).matches(text), "{pattern} {text}");
            }
        }
    }

    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                naive(rest, text) || text.split_first().is_some_and(|(_, less)| naive(pattern, less))
            }
            (Some((b'?', rest)), Some((_, less))) => naive(rest, less),
            (Some((a, rest)), Some((b, less))) => a == b && naive(rest, less),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
