//! Sets of names or addresses for those who judge no connections: policies of DNS, sniffers.

use std::collections::HashMap;
use std::net::IpAddr;

use adit_net::{Network, Protocol, Tag};
use thiserror::Error;

use crate::domain::lower;
use crate::geo::Geo;
use crate::provider::ProviderHandle;
use crate::query::{Destination, Facts, Opener};
use crate::rule::{Compiler, Condition, Outcome, Piece, Place, RuleErrorKind, RuleLine, RuleWarningKind};

/// A set of names or of addresses, written as a rule without its target: `GEOSITE,cn`, `RULE-SET,ads`,
/// `DOMAIN-SUFFIX,example.com`, `GEOIP,LAN`.
///
/// What else a rule may look at (ports, users, processes) is not known here, and does not match. A rule set that is
/// replaced is replaced here, too.
///
/// ```
/// use std::collections::HashMap;
/// use adit_router::{Geo, MembershipCompiler};
///
/// let (geo, providers) = (Geo::default(), HashMap::new());
/// let mut compiler = MembershipCompiler::new(&geo, &providers);
/// let (names, _) = compiler.compile("DOMAIN-SUFFIX,example.com")?;
/// assert!(names.has_name("www.example.com") && !names.has_name("example.org"));
/// let (lan, _) = compiler.compile("GEOIP,LAN")?;
/// assert!(lan.has_address([192, 168, 1, 1].into()) && !lan.has_name("nas.lan"));
/// # Ok::<(), adit_router::BadMembership>(())
/// ```
#[derive(Clone, Debug)]
pub struct Membership(Condition);

/// A rule that makes no set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct BadMembership {
    /// What is wrong.
    pub kind: RuleErrorKind,
    /// What the user may have meant, or should do.
    pub hint: Option<String>,
}

impl Membership {
    /// Whether `name` is one of them, whatever its case.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        self.has(&lower(name), Destination::Absent)
    }

    /// Whether `ip` is one of them.
    #[must_use]
    pub fn has_address(&self, ip: IpAddr) -> bool {
        self.has("", Destination::Known(ip.to_canonical()))
    }

    fn has(&self, host: &str, destination: Destination) -> bool {
        let facts = Facts {
            host,
            destination,
            destination_port: 0,
            source: None,
            source_port: 0,
            in_port: 0,
            network: Network::Tcp,
            protocol: Protocol::Inner,
            inbound: "",
            user: None,
            process: Opener::Unknown,
            dscp: 0,
        };
        self.0.test(&facts) == Outcome::Match
    }
}

/// Makes [`Membership`]s. All that one compiler makes share the memory that regular expressions may take.
pub struct MembershipCompiler<'a>(Compiler<'a>);

impl<'a> MembershipCompiler<'a> {
    /// A compiler whose rules refer to these databases and rule sets.
    #[must_use]
    pub fn new(geo: &'a Geo, providers: &'a HashMap<Tag, ProviderHandle>) -> Self {
        Self(Compiler::for_lists(geo, providers, true, false))
    }

    /// Compiles `rule`; with it comes what to know about it, such as that it lacks its database and has no members.
    /// A missing database is told of once.
    ///
    /// # Errors
    /// See [`BadMembership`].
    pub fn compile(&mut self, rule: &str) -> Result<(Membership, Vec<RuleWarningKind>), BadMembership> {
        let line = RuleLine::without_target(Piece::new(rule, 0));
        match self.0.condition(&line, Place::List) {
            Ok(condition) => Ok((Membership(condition), std::mem::take(&mut self.0.warnings))),
            Err(fault) => Err(BadMembership { kind: fault.kind, hint: fault.hint }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::site::sample;
    use crate::{Behavior, GeoSite, RuleSet};

    fn geo() -> Geo {
        Geo { site: GeoSite::parse(sample::small()).ok().map(Into::into), ..Geo::default() }
    }

    fn providers(sets: &[(&str, Behavior, &[&str])]) -> HashMap<Tag, ProviderHandle> {
        let handle = |behavior, entries: &[&str]| {
            let handle = ProviderHandle::new(behavior);
            handle.replace(RuleSet::from_entries(entries.iter().copied(), behavior, &Geo::default()).unwrap().0);
            handle
        };
        sets.iter().map(|(name, behavior, entries)| (Tag::new(name), handle(*behavior, entries))).collect()
    }

    #[test]
    fn names_and_addresses_are_members_of_what_rules_say() {
        let (geo, providers) = (
            geo(),
            providers(&[
                ("names", Behavior::Domain, &["+.a.example"]),
                ("nets", Behavior::IpCidr, &["10.0.0.0/8"]),
                ("rules", Behavior::Classical, &["DOMAIN-KEYWORD,track", "IP-CIDR,192.0.2.0/24", "DST-PORT,443"]),
            ]),
        );
        let mut compiler = MembershipCompiler::new(&geo, &providers);
        for (rule, yes, no) in [
            ("GEOSITE,google", "www.google.com", "example.cn"),
            ("GEOSITE,!google", "example.cn", "www.google.com"),
            ("GEOSITE,google@cn", "exact.example", "google.com"),
            ("RULE-SET,names", "WWW.A.example", "b.example"),
            ("RULE-SET,nets", "10.1.2.3", "11.1.2.3"),
            ("RULE-SET,rules", "my-tracker.example", "b.example"),
            ("RULE-SET,rules", "192.0.2.9", "192.0.3.9"),
            ("DOMAIN,a.example", "a.example", "x.a.example"),
            ("DOMAIN-WILDCARD,*.a.example", "x.a.example", "a.example"),
            ("DOMAIN-REGEX,^ad{1,3}[.]", "add.example", "bad.example"),
            ("GEOIP,LAN", "::ffff:192.168.1.1", "192.0.2.1"),
            ("MATCH", "anything", ""),
        ] {
            let (set, warnings) = compiler.compile(rule).unwrap();
            let has = |what: &str| what.parse().map_or_else(|_| set.has_name(what), |ip| set.has_address(ip));
            assert!(has(yes) && (no.is_empty() || !has(no)), "{rule}");
            assert_eq!(warnings, [], "{rule}");
        }
    }

    #[test]
    fn what_is_missing_has_no_members_and_is_told_once() {
        let (geo, providers) = (Geo::default(), HashMap::new());
        let mut compiler = MembershipCompiler::new(&geo, &providers);
        let (set, warnings) = compiler.compile("GEOSITE,cn").unwrap();
        assert!(!set.has_name("cn"));
        assert_eq!(warnings, [RuleWarningKind::NoDatabase("the GeoSite database")]);
        assert_eq!(compiler.compile("GEOSITE,us").unwrap().1, []);
        assert_eq!(compiler.compile("RULE-SET,x").unwrap_err().to_string(), "rule set [x] not found");
        assert_eq!(compiler.compile("DOMIAN,x").unwrap_err().hint.as_deref(), Some("did you mean DOMAIN?"));
    }
}
