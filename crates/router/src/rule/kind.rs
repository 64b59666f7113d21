//! The names of rules: as configs write them and as the API shows them.

use std::fmt;

/// What a rule looks at. `Display` gives the name that the API and the connection records use (`DomainSuffix`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the rule type of the same name; spec page 3.2 is the list")]
pub enum RuleKind {
    Domain,
    DomainSuffix,
    DomainKeyword,
    DomainWildcard,
    DomainRegex,
    GeoSite,
    IpCidr,
    SrcIpCidr,
    IpSuffix,
    SrcIpSuffix,
    IpAsn,
    SrcIpAsn,
    GeoIp,
    SrcGeoIp,
    DstPort,
    SrcPort,
    InPort,
    Network,
    Dscp,
    InType,
    InName,
    InUser,
    RematchName,
    ProcessName,
    ProcessPath,
    ProcessNameWildcard,
    ProcessPathWildcard,
    ProcessNameRegex,
    ProcessPathRegex,
    Uid,
    RuleSet,
    And,
    Or,
    Not,
    SubRule,
    Match,
}

impl RuleKind {
    /// The kind that a config calls `name`, which must be upper case.
    pub(crate) fn from_config(name: &str) -> Option<Self> {
        NAMES.iter().find(|(written, _, _)| *written == name).map(|(_, kind, _)| *kind)
    }

    /// The config's name that looks most like `name`, if one is close enough to be meant.
    pub(crate) fn suggest(name: &str) -> Option<&'static str> {
        NAMES
            .iter()
            .map(|(written, _, _)| (distance(name, written), *written))
            .min()
            .filter(|(edits, written)| *edits <= written.len().div_ceil(3))
            .map(|(_, written)| written)
    }

    /// Whether the payload may contain commas, so that the last piece of the line is the target.
    pub(crate) fn bears_commas(self) -> bool {
        matches!(
            self,
            Self::And
                | Self::Or
                | Self::Not
                | Self::SubRule
                | Self::DomainRegex
                | Self::ProcessNameRegex
                | Self::ProcessPathRegex
        )
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, kind, _)| kind == self).map_or("", |(_, _, api)| api))
    }
}

/// As written in configs, kind, as shown by the API. `IP-CIDR6` follows `IP-CIDR`, which is its canonical spelling.
const NAMES: [(&str, RuleKind, &str); 37] = [
    ("DOMAIN", RuleKind::Domain, "Domain"),
    ("DOMAIN-SUFFIX", RuleKind::DomainSuffix, "DomainSuffix"),
    ("DOMAIN-KEYWORD", RuleKind::DomainKeyword, "DomainKeyword"),
    ("DOMAIN-WILDCARD", RuleKind::DomainWildcard, "DomainWildcard"),
    ("DOMAIN-REGEX", RuleKind::DomainRegex, "DomainRegex"),
    ("GEOSITE", RuleKind::GeoSite, "GeoSite"),
    ("IP-CIDR", RuleKind::IpCidr, "IPCIDR"),
    ("IP-CIDR6", RuleKind::IpCidr, "IPCIDR"),
    ("SRC-IP-CIDR", RuleKind::SrcIpCidr, "SrcIPCIDR"),
    ("IP-SUFFIX", RuleKind::IpSuffix, "IPSuffix"),
    ("SRC-IP-SUFFIX", RuleKind::SrcIpSuffix, "SrcIPSuffix"),
    ("IP-ASN", RuleKind::IpAsn, "IPASN"),
    ("SRC-IP-ASN", RuleKind::SrcIpAsn, "SrcIPASN"),
    ("GEOIP", RuleKind::GeoIp, "GeoIP"),
    ("SRC-GEOIP", RuleKind::SrcGeoIp, "SrcGeoIP"),
    ("DST-PORT", RuleKind::DstPort, "DstPort"),
    ("SRC-PORT", RuleKind::SrcPort, "SrcPort"),
    ("IN-PORT", RuleKind::InPort, "InPort"),
    ("NETWORK", RuleKind::Network, "Network"),
    ("DSCP", RuleKind::Dscp, "DSCP"),
    ("IN-TYPE", RuleKind::InType, "InType"),
    ("IN-NAME", RuleKind::InName, "InName"),
    ("IN-USER", RuleKind::InUser, "InUser"),
    ("REMATCH-NAME", RuleKind::RematchName, "RematchName"),
    ("PROCESS-NAME", RuleKind::ProcessName, "ProcessName"),
    ("PROCESS-PATH", RuleKind::ProcessPath, "ProcessPath"),
    ("PROCESS-NAME-WILDCARD", RuleKind::ProcessNameWildcard, "ProcessNameWildcard"),
    ("PROCESS-PATH-WILDCARD", RuleKind::ProcessPathWildcard, "ProcessPathWildcard"),
    ("PROCESS-NAME-REGEX", RuleKind::ProcessNameRegex, "ProcessNameRegex"),
    ("PROCESS-PATH-REGEX", RuleKind::ProcessPathRegex, "ProcessPathRegex"),
    ("UID", RuleKind::Uid, "Uid"),
    ("RULE-SET", RuleKind::RuleSet, "RuleSet"),
    ("AND", RuleKind::And, "AND"),
    ("OR", RuleKind::Or, "OR"),
    ("NOT", RuleKind::Not, "NOT"),
    ("SUB-RULE", RuleKind::SubRule, "SubRules"),
    ("MATCH", RuleKind::Match, "Match"),
];

/// Levenshtein distance over bytes; inputs longer than any rule name are cut.
fn distance(a: &str, b: &str) -> usize {
    let a = a.as_bytes().get(..40).unwrap_or(a.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (diagonal + usize::from(*x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(RuleKind::suggest("DOMAIN-SUFIX"), Some("DOMAIN-SUFFIX"));
        assert_eq!(RuleKind::suggest("DOMAINSUFFIX"), Some("DOMAIN-SUFFIX"));
        assert_eq!(RuleKind::suggest("GEO-IP"), Some("GEOIP"));
        assert_eq!(RuleKind::suggest("IPCIDR"), Some("IP-CIDR"));
        assert_eq!(RuleKind::suggest("FINAL-ANSWER-OF-ALL"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }

    #[test]
    fn names_go_both_ways() {
        assert_eq!(RuleKind::from_config("IP-CIDR6"), Some(RuleKind::IpCidr));
        assert_eq!(RuleKind::from_config("domain"), None, "callers upper-case first");
        for (written, kind, api) in NAMES {
            assert_eq!(RuleKind::from_config(written), Some(kind));
            assert_eq!(kind.to_string(), api);
        }
    }
}
