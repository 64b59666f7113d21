//! Names, suffixes, keywords and expressions in one: what a site list or a classical rule set compiles to.

use aho_corasick::AhoCorasick;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::{DomainSet, DomainSetBuilder};

/// Says whether any of its entries matches a name.
#[derive(Clone, Debug)]
pub(crate) struct DomainMatcher {
    names: DomainSet,
    keywords: Option<AhoCorasick>,
    regexes: Option<RegexSet>,
}

impl DomainMatcher {
    /// `name` is in lower case.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.names.contains(name)
            || self.keywords.as_ref().is_some_and(|keywords| keywords.is_match(name))
            || self.regexes.as_ref().is_some_and(|regexes| regexes.is_match(name.as_bytes()))
    }
}

/// Collects entries for a [`DomainMatcher`].
#[derive(Debug, Default)]
pub(crate) struct DomainMatcherBuilder {
    pub(crate) names: DomainSetBuilder,
    pub(crate) keywords: Vec<String>,
    /// INVARIANT: each of them went through [`bytes_regex`].
    pub(crate) regexes: Vec<String>,
}

impl DomainMatcherBuilder {
    /// Freezes the entries. Second, how many expressions had to be left out because all of them together are too large.
    pub(crate) fn build(self) -> (DomainMatcher, usize) {
        let keywords = (!self.keywords.is_empty()).then(|| AhoCorasick::new(&self.keywords).ok()).flatten();
        let regexes = (!self.regexes.is_empty()).then(|| regex_set(&self.regexes));
        let refused = if matches!(regexes, Some(None)) { self.regexes.len() } else { 0 };
        let matcher = DomainMatcher { names: self.names.build(), keywords, regexes: regexes.flatten() };
        (matcher, refused)
    }
}

/// What all regular expressions of one config or rule set may cost together.
///
/// The engine does not tell the size of what it compiled, so each expression is charged the smallest limit of a ladder
/// under which it compiles.
#[derive(Clone, Debug)]
pub(crate) struct RegexBudget {
    left: usize,
}

impl Default for RegexBudget {
    fn default() -> Self {
        Self { left: MAX_TOTAL }
    }
}

/// What all expressions may take together. The faults page allows 64 MiB in all and 2 MiB each; but the time to judge a
/// name that the automaton has not met grows with its size, and at 2 MiB one name can take 40 ms (F-D4 wants 1 ms).
/// These limits keep ordinary names at microseconds, and the worst expression that fits at 5 ms for its first name.
const MAX_TOTAL: usize = 8 << 20;
/// The last is the most that one expression may take: some three hundred names in one alternation.
const LADDER: [usize; 4] = [4 << 10, 16 << 10, 64 << 10, 256 << 10];

/// Compiles an expression as rules use them: case-insensitive, unanchored, over ASCII names, in linear time.
///
/// # Errors
/// What is wrong with it, in one line.
pub(crate) fn bytes_regex(text: &str, budget: &mut RegexBudget) -> Result<Regex, String> {
    let mut outcome = Err(String::new());
    for limit in LADDER {
        if limit > budget.left {
            return Err("all regular expressions together are too large".into());
        }
        match RegexBuilder::new(text).case_insensitive(true).unicode(false).size_limit(limit).build() {
            Ok(regex) => {
                budget.left -= limit;
                return Ok(regex);
            }
            Err(regex::Error::CompiledTooBig(_)) => {
                outcome = Err(format!("it needs more than {} KiB when compiled", limit >> 10));
            }
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                return Err(last.strip_prefix("error: ").unwrap_or(last).to_owned());
            }
        }
    }
    outcome
}

/// One automaton for many expressions; `None` if they are too large together.
pub(crate) fn regex_set<S: AsRef<str>>(texts: &[S]) -> Option<RegexSet> {
    RegexSetBuilder::new(texts).case_insensitive(true).unicode(false).size_limit(MAX_TOTAL).build().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Scope;
    use super::*;

    #[test]
    fn any_entry_matches() {
        let mut builder = DomainMatcherBuilder::default();
        builder.names.add_literal(Scope::ExactAndBelow, "example.com");
        builder.keywords.push("track".into());
        builder.regexes.push(r"^ad\d+\.".into());
        let (matcher, refused) = builder.build();
        assert_eq!(refused, 0);
        for yes in ["example.com", "a.example.com", "x.trackers.net", "ad1.net"] {
            assert!(matcher.matches(yes), "{yes}");
        }
        for no in ["", "badexample.com", "ad.net", "bad1.net"] {
            assert!(!matcher.matches(no), "{no}");
        }
    }

    /// F-D4: expressions are linear or refused, with the reason in one line.
    #[test]
    fn expressions_that_need_backtracking_are_refused() {
        let mut budget = RegexBudget::default();
        for (text, why) in [
            ("(?=a)b", "look-around"),
            (r"(a)\1", "backreferences"),
            ("a{1000}{1000}", "KiB when compiled"),
            ("(", "unclosed group"),
        ] {
            let error = bytes_regex(text, &mut budget).unwrap_err();
            assert!(error.contains(why) && !error.contains('\n'), "{text}: {error}");
        }
    }

    /// F-D4: what makes backtracking engines explode takes no time here.
    #[test]
    fn bombs_are_judged_at_once() {
        let mut budget = RegexBudget::default();
        let name = format!("{}.com", "a".repeat(246));
        for text in ["(a+)+$", "^(a|a)*b", "(.*a){25}x", "^(([a-z])+.)+[A-Z]([a-z])+$", "([a-z0-9-]{1,63}\\.){1,5}y$"] {
            let regex = bytes_regex(text, &mut budget).unwrap();
            let start = std::time::Instant::now();
            regex.is_match(name.as_bytes());
            let took = start.elapsed();
            assert!(took < std::time::Duration::from_millis(20), "{text}: {took:?} in an unoptimised build");
        }
    }

    #[test]
    fn all_expressions_share_one_budget() {
        let mut budget = RegexBudget { left: 9 << 10 };
        assert!(bytes_regex("a", &mut budget).is_ok());
        assert!(bytes_regex("b", &mut budget).is_ok());
        assert!(bytes_regex("c", &mut budget).unwrap_err().contains("together"));
    }
}
