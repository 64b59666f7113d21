//! One list of rules, indexed so that its length hardly matters.
//!
//! The rules that long lists consist of, names, suffixes, keywords, expressions and prefixes of destinations, go into
//! tables that yield the first of them to match. All others are tried in order, as far as that first match.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use adit_net::Tag;
use aho_corasick::AhoCorasick;
use ipnet::IpNet;
use regex::bytes::RegexSet;

use crate::domain::regex_set;
use crate::query::{Destination, Facts};
use crate::rule::{Condition, End, IpTest, Outcome, Test};
use crate::rules::RuleInfo;
use crate::tally::Tally;

/// A rule of a list.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) info: Arc<RuleInfo>,
    pub(crate) condition: Condition,
    pub(crate) action: Action,
    pub(crate) tally: Tally,
}

/// What happens when a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Use(Tag),
    /// `PASS`: leave this list.
    Pass,
    /// `PASS-RULE`: as if it had not matched.
    PassRule,
    /// `SUB-RULE`: the number of the list to go through.
    Enter(u32),
}

#[derive(Debug)]
pub(crate) struct List {
    pub(crate) name: Option<Tag>,
    pub(crate) rules: Box<[Rule]>,
    index: Index,
}

impl List {
    pub(crate) fn new(name: Option<Tag>, rules: Vec<Rule>) -> Self {
        Self { name, index: Index::of(&rules), rules: rules.into() }
    }

    /// The first rule at or behind `from` that matches, or that needs an address to tell.
    pub(crate) fn find(&self, from: u32, facts: &Facts<'_>) -> Option<(u32, Outcome)> {
        let (end, outcome) = match self.index.first_match(from, facts) {
            (Some(first), outcome) => (first, outcome),
            (None, _) => (u32::MAX, Outcome::Miss),
        };
        for at in self.index.others.iter().skip_while(|at| **at < from).take_while(|at| **at < end) {
            let Some(rule) = self.rules.get(*at as usize) else { break };
            match rule.condition.test(facts) {
                Outcome::Miss => {}
                found => return Some((*at, found)),
            }
        }
        (end != u32::MAX).then_some((end, outcome))
    }
}

/// Positions in the list, ascending.
type Positions = Box<[u32]>;

#[derive(Debug)]
struct Index {
    names: HashMap<Box<str>, Named>,
    keywords: Option<(AhoCorasick, Positions)>,
    regexes: Option<(RegexSet, Positions)>,
    v4: Prefixes<u32>,
    v6: Prefixes<u128>,
    /// Destination prefixes that may ask for an address.
    asking: Positions,
    /// Everything that is tried in order.
    others: Positions,
}

#[derive(Debug, Default)]
struct Named {
    exact: Vec<u32>,
    suffix: Vec<u32>,
}

/// For each prefix length in use, the prefixes of that length.
#[derive(Debug)]
struct Prefixes<T>(Vec<(T, HashMap<T, Vec<u32>>)>);

impl Index {
    fn of(rules: &[Rule]) -> Self {
        let mut names: HashMap<Box<str>, Named> = HashMap::new();
        let (mut keywords, mut keyword_positions) = (Vec::new(), Vec::new());
        let (mut regexes, mut regex_positions) = (Vec::new(), Vec::new());
        let (mut v4, mut v6) = (Prefixes(Vec::new()), Prefixes(Vec::new()));
        let (mut asking, mut others) = (Vec::new(), Vec::new());
        for (at, rule) in (0..).zip(rules) {
            let payload = &*rule.condition.payload;
            match &rule.condition.test {
                Test::Domain => names.entry(payload.into()).or_default().exact.push(at),
                Test::Suffix => names.entry(payload.into()).or_default().suffix.push(at),
                Test::Keyword => {
                    keywords.push(payload);
                    keyword_positions.push(at);
                }
                Test::Regex(_) => {
                    regexes.push(payload);
                    regex_positions.push(at);
                }
                Test::Ip { end: End::Destination { ask }, test: IpTest::Net(net) } => {
                    match net {
                        IpNet::V4(net) => v4.add(net.netmask().to_bits(), net.network().to_bits(), at),
                        IpNet::V6(net) => v6.add(net.netmask().to_bits(), net.network().to_bits(), at),
                    }
                    if *ask {
                        asking.push(at);
                    }
                }
                _ => others.push(at),
            }
        }
        let automaton = AhoCorasick::new(&keywords).ok().filter(|_| !keywords.is_empty());
        let set = regex_set(&regexes).filter(|_| !regexes.is_empty());
        // What could not be compiled together is tried one by one.
        if automaton.is_none() {
            others.append(&mut keyword_positions);
        }
        if set.is_none() {
            others.append(&mut regex_positions);
        }
        others.sort_unstable();
        Self {
            names,
            keywords: automaton.map(|automaton| (automaton, keyword_positions.into())),
            regexes: set.map(|set| (set, regex_positions.into())),
            v4,
            v6,
            asking: asking.into(),
            others: others.into(),
        }
    }

    /// The first indexed rule at or behind `from` that matches or asks.
    fn first_match(&self, from: u32, facts: &Facts<'_>) -> (Option<u32>, Outcome) {
        let mut best = self.first_named(from, facts.host);
        if let Some(ip) = facts.destination.ip() {
            best = sooner(best, self.first_prefix(from, ip));
        }
        best = sooner(best, self.first_keyword(from, facts.host));
        best = sooner(best, self.first_regex(from, best, facts.host));
        if facts.destination == Destination::Askable
            && let Some(asks) = at_or_behind(&self.asking, from)
            && best.is_none_or(|best| asks < best)
        {
            return (Some(asks), Outcome::NeedAddress);
        }
        (best, Outcome::Match)
    }

    fn first_named(&self, from: u32, host: &str) -> Option<u32> {
        if host.is_empty() || self.names.is_empty() {
            return None;
        }
        let mut best = None;
        let mut left = Some(host);
        while let Some(name) = left {
            if let Some(named) = self.names.get(name) {
                best = sooner(best, at_or_behind(&named.suffix, from));
                if name.len() == host.len() {
                    best = sooner(best, at_or_behind(&named.exact, from));
                }
            }
            left = name.split_once('.').map(|(_, rest)| rest);
        }
        best
    }

    fn first_prefix(&self, from: u32, ip: IpAddr) -> Option<u32> {
        match ip {
            IpAddr::V4(ip) => self.v4.first(from, ip.to_bits()),
            IpAddr::V6(ip) => self.v6.first(from, ip.to_bits()),
        }
    }

    fn first_keyword(&self, from: u32, host: &str) -> Option<u32> {
        let (automaton, positions) = self.keywords.as_ref()?;
        automaton
            .find_overlapping_iter(host)
            .filter_map(|found| positions.get(found.pattern().as_usize()).copied())
            .filter(|at| *at >= from)
            .min()
    }

    fn first_regex(&self, from: u32, before: Option<u32>, host: &str) -> Option<u32> {
        let (set, positions) = self.regexes.as_ref()?;
        let first = at_or_behind(positions, from)?;
        if before.is_some_and(|before| before < first) || !set.is_match(host.as_bytes()) {
            return None;
        }
        set.matches(host.as_bytes()).iter().filter_map(|pattern| positions.get(pattern).copied()).find(|at| *at >= from)
    }
}

impl<T: Copy + Eq + std::hash::Hash + std::ops::BitAnd<Output = T>> Prefixes<T> {
    fn add(&mut self, mask: T, network: T, at: u32) {
        let of_length = match self.0.iter().position(|(known, _)| *known == mask) {
            Some(found) => self.0.get_mut(found),
            None => {
                self.0.push((mask, HashMap::new()));
                self.0.last_mut()
            }
        };
        if let Some((_, networks)) = of_length {
            networks.entry(network).or_default().push(at);
        }
    }

    fn first(&self, from: u32, bits: T) -> Option<u32> {
        self.0.iter().fold(None, |best, (mask, networks)| {
            let found = networks.get(&(bits & *mask));
            sooner(best, found.and_then(|positions| at_or_behind(positions, from)))
        })
    }
}

fn at_or_behind(positions: &[u32], from: u32) -> Option<u32> {
    positions.get(positions.partition_point(|at| *at < from)).copied()
}

fn sooner(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
