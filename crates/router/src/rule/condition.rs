//! One compiled rule: what it looks at, and whether a connection has it.

use std::net::IpAddr;
use std::sync::Arc;

use adit_net::{Network, Protocol};
use ipnet::IpNet;
use regex::bytes::Regex;

use super::RuleKind;
use super::glob::Glob;
use crate::IntRanges;
use crate::domain::DomainMatcher;
use crate::geo::{AsnDatabase, Country, Mmdb};
use crate::ip_set::is_lan;
use crate::provider::ProviderHandle;
use crate::query::{Destination, Facts, Opener, Process};

/// A rule without its target.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) kind: RuleKind,
    /// The payload as the API shows it. For `DOMAIN`, `DOMAIN-SUFFIX`, `DOMAIN-KEYWORD`, `PROCESS-NAME` and `PROCESS-PATH` it is
    /// also what is compared.
    pub(crate) payload: Box<str>,
    pub(crate) test: Test,
}

#[derive(Clone, Debug)]
pub(crate) enum Test {
    Always,
    /// A rule type that is read but not supported.
    Never,
    Domain,
    Suffix,
    Keyword,
    Wildcard(Glob),
    Regex(Box<Regex>),
    /// `None`: the database is missing.
    Site {
        list: Option<Arc<DomainMatcher>>,
        negate: bool,
    },
    Ip {
        end: End,
        test: IpTest,
    },
    DstPort(IntRanges),
    SrcPort(IntRanges),
    InPort(IntRanges),
    Network(Network),
    Dscp(IntRanges),
    InType(Box<[Protocol]>),
    InName(Box<[Box<str>]>),
    InUser(Box<[Box<str>]>),
    Process(ProcessTest),
    Set {
        set: ProviderHandle,
        src: bool,
        ask: bool,
    },
    All(Box<[Condition]>),
    Any(Box<[Condition]>),
    Not(Box<Condition>),
}

/// Which end of the connection an address rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination {
        /// Whether the rule may ask for the address of a name; `no-resolve` forbids it.
        ask: bool,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum IpTest {
    Net(IpNet),
    Suffix { address: IpAddr, bits: u8 },
    Asn { number: u32, database: Option<Arc<AsnDatabase>> },
    Country { database: CountryTest, negate: bool },
}

#[derive(Clone, Debug)]
pub(crate) enum CountryTest {
    Lan,
    Missing,
    Mmdb(Arc<Mmdb>, Box<str>),
    Dat(Country),
}

#[derive(Clone, Debug)]
pub(crate) enum ProcessTest {
    Name,
    Path,
    NameWildcard(Glob),
    PathWildcard(Glob),
    NameRegex(Box<Regex>),
    PathRegex(Box<Regex>),
    Uid(IntRanges),
}

/// What a rule says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Match,
    Miss,
    /// It cannot tell before the destination's address has been looked up.
    NeedAddress,
    /// It cannot tell before the process has been looked up.
    NeedProcess,
}

impl From<bool> for Outcome {
    fn from(matches: bool) -> Self {
        if matches { Self::Match } else { Self::Miss }
    }
}

impl Condition {
    pub(crate) fn test(&self, facts: &Facts<'_>) -> Outcome {
        let host = facts.host;
        let matches = match &self.test {
            Test::Always => true,
            Test::Never => false,
            Test::Domain => host == &*self.payload,
            Test::Suffix => has_suffix(host, &self.payload),
            Test::Keyword => host.contains(&*self.payload),
            Test::Wildcard(glob) => glob.matches(host),
            Test::Regex(regex) => regex.is_match(host.as_bytes()),
            Test::Site { list, negate } => list.as_ref().is_some_and(|list| list.matches(host) != *negate),
            Test::Ip { end, test } => match end.address(facts) {
                _ if test.lacks_database() => false,
                Wanted::Known(ip) => test.contains(ip),
                Wanted::Unknown => false,
                Wanted::Askable => return Outcome::NeedAddress,
            },
            Test::DstPort(ports) => ports.contains(facts.destination_port.into()),
            Test::SrcPort(ports) => ports.contains(facts.source_port.into()),
            Test::InPort(ports) => ports.contains(facts.in_port.into()),
            Test::Network(network) => *network == facts.network,
            Test::Dscp(values) => values.contains(facts.dscp.into()),
            Test::InType(protocols) => protocols.contains(&facts.protocol),
            Test::InName(names) => names.iter().any(|name| **name == *facts.inbound),
            Test::InUser(names) => facts.user.is_some_and(|user| names.iter().any(|name| **name == *user)),
            Test::Process(test) => match facts.process {
                Opener::NotAsked => return Outcome::NeedProcess,
                Opener::Known(process) => test.matches(process, &self.payload),
                Opener::Unknown => false,
            },
            Test::Set { set, src, ask } => return set.test(&set_facts(facts, *src, *ask)),
            Test::All(parts) => return until(parts, facts, Outcome::Match),
            Test::Any(parts) => return until(parts, facts, Outcome::Miss),
            Test::Not(part) => {
                return match part.test(facts) {
                    Outcome::Match => Outcome::Miss,
                    Outcome::Miss => Outcome::Match,
                    need => need,
                };
            }
        };
        matches.into()
    }

    /// Whether the rule can cause a name to be looked up.
    pub(crate) fn may_ask(&self) -> bool {
        match &self.test {
            Test::Ip { end, test } => *end == (End::Destination { ask: true }) && !test.lacks_database(),
            Test::Set { set, src, ask } => *ask && !src && set.may_ask(),
            Test::All(parts) | Test::Any(parts) => parts.iter().any(Self::may_ask),
            Test::Not(part) => part.may_ask(),
            _ => false,
        }
    }

    /// Whether the rule, or a part of it, looks at the process.
    pub(crate) fn needs_process(&self) -> bool {
        match &self.test {
            Test::Process(_) => true,
            Test::Set { set, .. } => set.needs_process(),
            Test::All(parts) | Test::Any(parts) => parts.iter().any(Self::needs_process),
            Test::Not(part) => part.needs_process(),
            _ => false,
        }
    }
}

/// Left to right while the parts say `go_on`, whose value is also the result of an empty list.
fn until(parts: &[Condition], facts: &Facts<'_>, go_on: Outcome) -> Outcome {
    parts.iter().map(|part| part.test(facts)).find(|outcome| *outcome != go_on).unwrap_or(go_on)
}

/// What a rule set sees of a connection.
pub(crate) fn set_facts<'a>(facts: &Facts<'a>, src: bool, ask: bool) -> Facts<'a> {
    match (src, ask) {
        (true, _) => facts.swapped(),
        (false, false) => facts.without_asking(),
        (false, true) => *facts,
    }
}

/// Whether `host` is `suffix` or a name below it.
pub(crate) fn has_suffix(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

pub(crate) enum Wanted {
    Known(IpAddr),
    Unknown,
    Askable,
}

impl End {
    pub(crate) fn address(self, facts: &Facts<'_>) -> Wanted {
        let known = |ip: Option<IpAddr>| ip.map_or(Wanted::Unknown, Wanted::Known);
        match self {
            Self::Source => known(facts.source),
            Self::Destination { ask: true } if facts.destination == Destination::Askable => Wanted::Askable,
            Self::Destination { .. } => known(facts.destination.ip()),
        }
    }
}

impl IpTest {
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        match self {
            Self::Net(net) => net.contains(&ip),
            Self::Suffix { address, bits } => same_suffix(*address, ip, *bits),
            Self::Asn { number, database } => {
                database.as_ref().is_some_and(|database| database.number(ip) == Some(*number))
            }
            Self::Country { database, negate } => {
                *negate
                    != match database {
                        CountryTest::Lan => is_lan(ip),
                        CountryTest::Missing => return false,
                        CountryTest::Mmdb(database, code) => database.is_in(ip, code),
                        CountryTest::Dat(country) => country.contains(ip),
                    }
            }
        }
    }

    /// A rule without its database must not even ask for an address.
    pub(crate) fn lacks_database(&self) -> bool {
        matches!(self, Self::Asn { database: None, .. } | Self::Country { database: CountryTest::Missing, .. })
    }
}

/// Whether the low `bits` bits are equal and the families are.
fn same_suffix(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let mask = u32::MAX.checked_shr(32_u32.saturating_sub(bits.into())).unwrap_or(0);
            (a.to_bits() ^ b.to_bits()) & mask == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let mask = u128::MAX.checked_shr(128_u32.saturating_sub(bits.into())).unwrap_or(0);
            (a.to_bits() ^ b.to_bits()) & mask == 0
        }
        _ => false,
    }
}

impl ProcessTest {
    fn matches(&self, process: &Process, payload: &str) -> bool {
        match self {
            Self::Name => process.name().eq_ignore_ascii_case(payload),
            Self::Path => process.path.eq_ignore_ascii_case(payload),
            Self::NameWildcard(glob) => glob.matches(process.name()),
            Self::PathWildcard(glob) => glob.matches(&process.path),
            Self::NameRegex(regex) => regex.is_match(process.name().as_bytes()),
            Self::PathRegex(regex) => regex.is_match(process.path.as_bytes()),
            Self::Uid(uids) => process.uid != 0 && uids.contains(process.uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_end_at_a_label() {
        assert!(has_suffix("google.com", "google.com") && has_suffix("a.google.com", "google.com"));
        assert!(!has_suffix("content-google.com", "google.com") && !has_suffix("com", "google.com"));
        assert!(!has_suffix("", "google.com"));
    }

    #[test]
    fn low_bits_of_any_length() {
        let same = |a: &str, b: &str, bits| same_suffix(a.parse().unwrap(), b.parse().unwrap(), bits);
        assert!(same("8.8.8.8", "9.9.8.8", 16) && !same("8.8.8.8", "9.9.9.8", 16));
        assert!(same("8.8.8.8", "9.9.9.8", 8) && same("8.8.8.8", "9.9.9.24", 4) && !same("8.8.8.8", "9.9.9.24", 5));
        assert!(same("8.8.8.8", "8.8.8.8", 32) && !same("8.8.8.8", "0.8.8.8", 32));
        assert!(same("1.2.3.4", "5.6.7.8", 0) && !same("1.2.3.4", "::1", 0));
        assert!(same("2001:db8::1", "fe80::1", 64) && !same("2001:db8::1", "fe80::1", 128));
        assert!(same("fe80::1", "fe80::1", 128) && same("fe80::1", "::", 0));
    }
}
