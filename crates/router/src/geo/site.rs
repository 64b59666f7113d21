//! `GeoSite.dat`: named lists of domains.
//!
//! ```text
//! file   = repeated 1: list
//! list   = 1: code, repeated 2: entry
//! entry  = 1: type (0 substring, 1 expression, 2 suffix, 3 whole name), 2: value, repeated 3: { 1: attribute }
//! ```
//! Source: spec page 4.7.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::GeoError;
use super::wire::{Damaged, Fields, Value, text};
use crate::domain::{DomainMatcher, DomainMatcherBuilder, RegexBudget, Scope, bytes_regex, lower};

/// A site database. Lists are decoded when a rule asks for them; rules that ask for the same one share it.
pub struct GeoSite {
    bytes: Vec<u8>,
    /// Lower-case code → where its lists are in `bytes`. INVARIANT: they decode without error.
    lists: HashMap<String, Vec<Range<usize>>>,
    /// What rules have of it: code and attributes in lower case → the list, how many of its entries cannot be used.
    in_use: Mutex<HashMap<String, (Weak<DomainMatcher>, usize)>>,
}

impl GeoSite {
    /// Reads the structure of a database; no list has to exist.
    ///
    /// # Errors
    /// [`GeoError::Damaged`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, GeoError> {
        match index(&bytes) {
            Ok(lists) => Ok(Self { bytes, lists, in_use: Mutex::default() }),
            Err(Damaged) => Err(GeoError::Damaged("GeoSite")),
        }
    }

    /// Whether there is a list of this name, whatever its case.
    #[must_use]
    pub fn contains(&self, list: &str) -> bool {
        self.lists.contains_key(&*lower(list))
    }

    /// The list most similar in name: for "did you mean". Only prefixes of each other count as similar.
    pub(crate) fn suggest(&self, list: &str) -> Option<&str> {
        let list = lower(list);
        self.lists
            .keys()
            .filter(|known| known.starts_with(&*list) || list.starts_with(known.as_str()))
            .min_by_key(|known| (known.len().abs_diff(list.len()), known.as_str()))
            .map(String::as_str)
    }

    /// As [`GeoSite::matcher`] of `wanted`, a list and its attributes as rules write them (`google@cn`).
    ///
    /// # Errors
    /// The name of a list that does not exist.
    pub(crate) fn shared<'w>(&self, wanted: &'w str) -> Result<(Arc<DomainMatcher>, usize), &'w str> {
        let mut parts = wanted.split('@').map(str::trim);
        let list = parts.next().unwrap_or_default();
        let attributes: Vec<&str> = parts.filter(|attribute| !attribute.is_empty()).collect();
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let key = wanted.to_lowercase();
        if let Some((known, skipped)) = in_use.get(&key)
            && let Some(matcher) = known.upgrade()
        {
            return Ok((matcher, *skipped));
        }
        let (matcher, skipped) = self.matcher(list, &attributes).ok_or(list)?;
        let matcher = Arc::new(matcher);
        in_use.insert(key, (Arc::downgrade(&matcher), skipped));
        Ok((matcher, skipped))
    }

    /// Compiles the entries of `list` that have all of `attributes`. Second, the number of entries that cannot be used.
    /// `None` if there is no such list.
    fn matcher(&self, list: &str, attributes: &[&str]) -> Option<(DomainMatcher, usize)> {
        let mut builder = DomainMatcherBuilder::default();
        let mut budget = RegexBudget::default();
        let mut skipped = 0;
        let messages = self.lists.get(&*lower(list))?;
        for entry in messages.iter().flat_map(|range| entries(self.bytes.get(range.clone()).unwrap_or_default())) {
            let wanted = |attribute: &&str| entry.attributes().any(|has| has.eq_ignore_ascii_case(attribute));
            if attributes.iter().all(wanted) && !entry.add_to(&mut builder, &mut budget) {
                skipped += 1;
            }
        }
        let (matcher, refused) = builder.build();
        Some((matcher, skipped + refused))
    }
}

impl std::fmt::Debug for GeoSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeoSite").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

fn index(bytes: &[u8]) -> Result<HashMap<String, Vec<Range<usize>>>, Damaged> {
    let mut lists: HashMap<String, Vec<Range<usize>>> = HashMap::new();
    for field in Fields::new(bytes) {
        let (1, Value::Bytes(list)) = field? else { continue };
        let mut code = "";
        for field in Fields::new(list) {
            match field? {
                (1, Value::Bytes(bytes)) => code = text(bytes)?,
                (2, Value::Bytes(bytes)) => {
                    Entry::read(bytes)?;
                }
                _ => {}
            }
        }
        // `list` lies inside `bytes`, so the difference of the addresses is its offset.
        let start = (list.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
        lists.entry(code.to_lowercase()).or_default().push(start..start + list.len());
    }
    if lists.is_empty() { Err(Damaged) } else { Ok(lists) }
}

fn entries(list: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    Fields::new(list).filter_map(|field| match field {
        Ok((2, Value::Bytes(bytes))) => Entry::read(bytes).ok(),
        _ => None,
    })
}

struct Entry<'a> {
    kind: u64,
    value: &'a str,
    message: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Damaged> {
        let mut entry = Self { kind: 0, value: "", message };
        for field in Fields::new(message) {
            match field? {
                (1, Value::Varint(kind)) => entry.kind = kind,
                (2, Value::Bytes(value)) => entry.value = text(value)?,
                (3, Value::Bytes(attribute)) => {
                    for field in Fields::new(attribute) {
                        field?;
                    }
                }
                _ => {}
            }
        }
        Ok(entry)
    }

    fn attributes(&self) -> impl Iterator<Item = &'a str> {
        let attributes = Fields::new(self.message).filter_map(|field| match field {
            Ok((3, Value::Bytes(attribute))) => Some(attribute),
            _ => None,
        });
        attributes.flat_map(|attribute| {
            Fields::new(attribute).filter_map(|field| match field {
                Ok((1, Value::Bytes(key))) => text(key).ok(),
                _ => None,
            })
        })
    }

    /// Whether the entry can be used.
    fn add_to(&self, builder: &mut DomainMatcherBuilder, budget: &mut RegexBudget) -> bool {
        if self.value.is_empty() {
            return false;
        }
        match self.kind {
            0 => builder.keywords.push(lower(self.value).into_owned()),
            1 if bytes_regex(self.value, budget).is_ok() => builder.regexes.push(self.value.to_owned()),
            2 => builder.names.add_literal(Scope::ExactAndBelow, &lower(self.value)),
            3 => builder.names.add_literal(Scope::Exact, &lower(self.value)),
            _ => return false,
        }
        true
    }
}

/// Databases for tests.
#[cfg(test)]
pub(crate) mod sample {
    use super::super::wire::write::{bytes, number};

    pub(crate) type Entry<'a> = (u64, &'a str, &'a [&'a str]);

    pub(crate) fn database(lists: &[(&str, &[Entry<'_>])]) -> Vec<u8> {
        let mut file = Vec::new();
        for (code, entries) in lists {
            let mut list = bytes(1, code.as_bytes());
            for (kind, value, attributes) in *entries {
                let mut entry = number(1, *kind);
                entry.extend(bytes(2, value.as_bytes()));
                for attribute in *attributes {
                    let mut message = bytes(1, attribute.as_bytes());
                    message.extend(number(2, 1));
                    entry.extend(bytes(3, &message));
                }
                list.extend(bytes(2, &entry));
            }
            file.extend(bytes(1, &list));
        }
        file
    }

    pub(crate) fn small() -> Vec<u8> {
        database(&[
            (
                "GOOGLE",
                &[
                    (2, "google.com", &[]),
                    (3, "exact.example", &["cn"]),
                    (0, "youtu", &["cn", "ads"]),
                    (1, r"^r\d+\.gvt1\.com$", &[]),
                ],
            ),
            ("CN", &[(2, "cn", &[])]),
        ])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_four_kinds_of_entries() {
        let site = GeoSite::parse(sample::small()).unwrap();
        assert!(site.contains("Google") && !site.contains("nope"));
        let (google, skipped) = site.matcher("google", &[]).unwrap();
        assert_eq!(skipped, 0);
        for yes in ["google.com", "a.google.com", "exact.example", "myoutube.net", "r12.gvt1.com"] {
            assert!(google.matches(yes), "{yes}");
        }
        for no in ["googles.com", "a.exact.example", "r.gvt1.com"] {
            assert!(!google.matches(no), "{no}");
        }
        assert!(site.matcher("nope", &[]).is_none());
        assert_eq!(site.suggest("google-cn"), Some("google"));
    }

    #[test]
    fn rules_that_ask_for_the_same_list_share_it() {
        let site = GeoSite::parse(sample::small()).unwrap();
        let (first, _) = site.shared("google@cn").unwrap();
        assert!(Arc::ptr_eq(&first, &site.shared("Google@CN").unwrap().0));
        assert!(!Arc::ptr_eq(&first, &site.shared("google").unwrap().0));
        assert!(first.matches("exact.example") && !first.matches("google.com"));
        assert_eq!(site.shared("nope@cn").unwrap_err(), "nope");
    }

    #[test]
    fn attributes_are_all_required() {
        let site = GeoSite::parse(sample::small()).unwrap();
        let matches = |attributes: &[&str], name| site.matcher("GOOGLE", attributes).unwrap().0.matches(name);
        assert!(matches(&["CN"], "exact.example") && matches(&["cn", "ads"], "youtube.com"));
        assert!(!matches(&["cn", "ads"], "exact.example") && !matches(&["cn"], "google.com"));
        assert!(!matches(&["other"], "youtube.com"));
    }

    #[test]
    fn entries_that_cannot_be_used_are_counted() {
        let file = sample::database(&[("X", &[(1, "(?=a)", &[]), (9, "a", &[]), (2, "", &[]), (2, "ok.com", &[])])]);
        let (matcher, skipped) = GeoSite::parse(file).unwrap().matcher("x", &[]).unwrap();
        assert_eq!(skipped, 3);
        assert!(matcher.matches("ok.com"));
    }

    /// F-D10: truncated at every byte.
    #[test]
    fn cut_files_are_refused_or_shorter() {
        let whole = sample::small();
        let last = whole.len();
        for cut in 0..last {
            if let Ok(site) = GeoSite::parse(whole[..cut].to_vec()) {
                assert!(site.contains("google") && !site.contains("cn"), "cut at {cut}");
            }
        }
        assert_eq!(GeoSite::parse(Vec::new()).unwrap_err(), GeoError::Damaged("GeoSite"));
        assert!(GeoSite::parse(b"<html>not a database</html>".to_vec()).is_err());
    }

    proptest! {
        #[test]
        fn flipped_bytes_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
            let mut bytes = sample::small();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(site) = GeoSite::parse(bytes)
                && let Some((matcher, _)) = site.matcher("google", &["cn"])
            {
                matcher.matches("a.google.com");
            }
        }
    }
}
