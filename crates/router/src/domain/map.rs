//! From domain patterns to values, the most specific pattern first.

use std::collections::HashMap;

use super::pattern::lower;
use super::{DomainPattern, Scope};

/// A map whose keys are [`DomainPattern`]s.
///
/// Priority: a literal label before `*` before `.`/`+`, decided label by label from the right; when the more specific
/// branch leads nowhere, the next one is tried. Where `+.x` and `x` both apply, `x` wins.
#[derive(Clone, Debug)]
pub struct DomainMap<V> {
    root: Node,
    values: Vec<V>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literal: HashMap<Box<str>, Self>,
    star: Option<Box<Self>>,
    /// `x`
    exact: Option<usize>,
    /// `+.x` for the name itself
    apex: Option<usize>,
    /// `.x` and `+.x` for names below
    below: Option<usize>,
}

impl<V> Default for DomainMap<V> {
    fn default() -> Self {
        Self { root: Node::default(), values: Vec::new() }
    }
}

impl<V> DomainMap<V> {
    /// Sets the value of a pattern; a later value replaces an earlier one. Patterns with more than 127 labels match no
    /// name and are left out.
    pub fn insert(&mut self, pattern: &DomainPattern<'_>, value: V) {
        let labels = pattern.name.split('.').filter(|label| !label.is_empty());
        if labels.clone().count() > MAX_LABELS {
            return;
        }
        let node = labels.rev().fold(&mut self.root, |node, label| match label {
            "*" => node.star.get_or_insert_default(),
            _ => node.literal.entry(label.into()).or_default(),
        });
        let id = Some(self.values.len());
        match pattern.scope {
            Scope::Exact => node.exact = id,
            Scope::Below => node.below = id,
            Scope::ExactAndBelow => (node.apex, node.below) = (id, id),
        }
        self.values.push(value);
    }

    /// The value of the most specific pattern that matches `name`, whatever its case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&V> {
        if name.is_empty() || name.starts_with('.') || name.split('.').count() > MAX_LABELS {
            return None;
        }
        self.values.get(self.root.find(Some(&lower(name)))?)
    }

    /// Whether no pattern was inserted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl Node {
    /// `left` is what is left of the name; `None` when all labels have been used. As deep as the name has labels.
    fn find(&self, left: Option<&str>) -> Option<usize> {
        let Some(left) = left else {
            return self.exact.or(self.apex);
        };
        let (rest, label) = match left.rsplit_once('.') {
            Some((rest, label)) => (Some(rest), label),
            None => (None, left),
        };
        self.literal
            .get(label)
            .and_then(|node| node.find(rest))
            .or_else(|| self.star.as_ref().and_then(|node| node.find(rest)))
            .or(self.below)
    }
}

/// A name of 253 bytes has no more.
const MAX_LABELS: usize = 127;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pattern::model;
    use super::*;

    fn map(patterns: &[&str]) -> DomainMap<String> {
        let mut map = DomainMap::default();
        for text in patterns {
            map.insert(&DomainPattern::parse(text).unwrap(), (*text).to_owned());
        }
        map
    }

    #[test]
    fn each_row_of_the_pattern_table() {
        for (pattern, yes, no) in model::TABLE {
            let map = map(&[pattern]);
            for name in *yes {
                assert!(map.get(name).is_some(), "{pattern} {name}");
            }
            for name in *no {
                assert!(map.get(name).is_none(), "{pattern} {name}");
            }
        }
        assert!(map(&["+.a"]).get(".a").is_none());
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let map = map(&["+.example.com", "*.example.com", "a.example.com", ".a.example.com", "example.com", "+.com"]);
        for (name, pattern) in [
            ("example.com", "example.com"),
            ("a.example.com", "a.example.com"),
            ("b.example.com", "*.example.com"),
            ("x.a.example.com", ".a.example.com"),
            ("x.b.example.com", "+.example.com"),
            ("other.com", "+.com"),
            ("com", "+.com"),
        ] {
            assert_eq!(map.get(name).map(String::as_str), Some(pattern), "{name}");
        }
        assert!(map.get("org").is_none());
    }

    #[test]
    fn a_branch_that_leads_nowhere_is_left() {
        let map = map(&["a.b.c", "*.*.c", "+.c"]);
        assert_eq!(map.get("x.b.c").unwrap(), "*.*.c");
        assert_eq!(map.get("y.x.b.c").unwrap(), "+.c");
    }

    #[test]
    fn later_values_replace_earlier_ones() {
        let mut map = DomainMap::default();
        let pattern = DomainPattern::parse("+.a").unwrap();
        map.insert(&pattern, 1);
        map.insert(&pattern, 2);
        assert_eq!(map.get("x.a"), Some(&2));
        assert!(!map.is_empty());
    }

    proptest! {
        #[test]
        fn finds_something_exactly_when_a_pattern_matches(
            patterns in prop::collection::vec("(\\+\\.|\\.)?(a|b|\\*)(\\.(a|b|\\*)){0,3}", 0..10),
            name in "(a|b|c)(\\.(a|b|c)){0,4}",
        ) {
            let map = map(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
            let naive = patterns.iter().any(|text| model::matches(&DomainPattern::parse(text).unwrap(), &name));
            match map.get(&name) {
                Some(found) => prop_assert!(model::matches(&DomainPattern::parse(found).unwrap(), &name)),
                None => prop_assert!(!naive),
            }
        }
    }
}
