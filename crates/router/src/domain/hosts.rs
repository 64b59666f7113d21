//! `hosts`: fixed addresses and aliases for domain patterns.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use adit_net::{Domain, Host, HostsEntry, HostsTable};
use thiserror::Error;

use super::{BadPattern, DomainMap, DomainPattern};
use crate::shown;

/// The `hosts` table. `localhost` is 127.0.0.1 unless the table says otherwise.
#[derive(Clone, Debug)]
pub struct Hosts {
    map: DomainMap<HostsEntry>,
}

/// Why a `hosts` table is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostsError {
    /// The key is not a domain pattern.
    #[error("{}: {why}", shown(.key))]
    BadKey {
        /// The key as written.
        key: String,
        /// What is wrong with it.
        why: BadPattern,
    },
    /// The value is neither an address, nor a list of addresses, nor a name of at least two labels.
    #[error("{} is not a valid value", shown(.0))]
    BadValue(String),
    /// Following aliases leads back to where it began.
    #[error("{}, there is a cycle in domain name mapping", shown(.0))]
    Cycle(String),
}

impl Hosts {
    /// Builds the table. Keys are domain patterns; of equal keys the last one counts.
    ///
    /// # Errors
    /// A key that is no pattern, or aliases that form a cycle.
    pub fn new<'a>(entries: impl IntoIterator<Item = (&'a str, HostsEntry)>) -> Result<Self, HostsError> {
        let mut map = DomainMap::default();
        let localhost =
            DomainPattern::parse("localhost").map_err(|why| HostsError::BadKey { key: "localhost".into(), why })?;
        map.insert(&localhost, HostsEntry::Addresses(vec![Ipv4Addr::LOCALHOST.into()]));
        let mut aliases = Vec::new();
        for (key, entry) in entries {
            let pattern = DomainPattern::parse(key).map_err(|why| HostsError::BadKey { key: key.into(), why })?;
            if let HostsEntry::Alias(to) = &entry {
                aliases.push((key, to.clone()));
            }
            map.insert(&pattern, entry);
        }
        let hosts = Self { map };
        for (key, to) in aliases {
            hosts.follow(&to).map_err(|Cycle| HostsError::Cycle(key.into()))?;
        }
        Ok(hosts)
    }

    /// The last name that aliases lead to from `name`, which is `name` itself when it has none.
    #[must_use]
    pub fn canonical(&self, name: &Domain) -> Domain {
        self.follow(name).unwrap_or_else(|Cycle| name.clone())
    }

    fn follow(&self, name: &Domain) -> Result<Domain, Cycle> {
        let mut seen = HashSet::new();
        let mut name = name.clone();
        while let Some(HostsEntry::Alias(to)) = self.map.get(name.as_str()) {
            if !seen.insert(to.clone()) {
                return Err(Cycle);
            }
            name = to.clone();
        }
        Ok(name)
    }
}

struct Cycle;

impl HostsTable for Hosts {
    fn lookup(&self, name: &Domain) -> Option<HostsEntry> {
        self.map.get(name.as_str()).cloned()
    }
}

/// Reads the value of a `hosts` key: one address, one name of at least two labels (dots around it are removed), or
/// several addresses. The special value `lan` is the caller's business.
///
/// # Errors
/// [`HostsError::BadValue`] with the part that is neither.
pub fn parse_hosts_value(values: &[&str]) -> Result<HostsEntry, HostsError> {
    if let [single] = values
        && single.parse::<IpAddr>().is_err()
    {
        let name = single.trim_matches('.');
        return match name.parse::<Host>() {
            Ok(Host::Domain(name)) if name.as_str().contains('.') => Ok(HostsEntry::Alias(name)),
            _ => Err(HostsError::BadValue((*single).to_owned())),
        };
    }
    if values.is_empty() {
        return Err(HostsError::BadValue(String::new()));
    }
    let address = |value: &&str| match value.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_canonical()),
        Err(_) => Err(HostsError::BadValue((*value).to_owned())),
    };
    values.iter().map(address).collect::<Result<_, _>>().map(HostsEntry::Addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[(&str, &[&str])]) -> Result<Hosts, HostsError> {
        let entries: Vec<_> = entries.iter().map(|(key, values)| (*key, parse_hosts_value(values).unwrap())).collect();
        Hosts::new(entries)
    }

    fn domain(name: &str) -> Domain {
        Domain::new(name).unwrap()
    }

    fn addresses(list: &[&str]) -> HostsEntry {
        HostsEntry::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    #[test]
    fn patterns_addresses_and_aliases() {
        let hosts = hosts(&[
            ("*.lan.example", &["192.168.1.1", "fd00::1"]),
            ("nas.lan.example", &["192.168.1.2"]),
            ("alias.example", &[".nas.lan.example."]),
        ])
        .unwrap();
        assert_eq!(hosts.lookup(&domain("x.lan.example")), Some(addresses(&["192.168.1.1", "fd00::1"])));
        assert_eq!(hosts.lookup(&domain("nas.lan.example")), Some(addresses(&["192.168.1.2"])));
        assert_eq!(hosts.lookup(&domain("alias.example")), Some(HostsEntry::Alias(domain("nas.lan.example"))));
        assert_eq!(hosts.canonical(&domain("alias.example")), domain("nas.lan.example"));
        assert_eq!(hosts.lookup(&domain("localhost")), Some(addresses(&["127.0.0.1"])));
        assert_eq!(hosts.lookup(&domain("other.example")), None);
    }

    #[test]
    fn localhost_can_be_changed() {
        let hosts = hosts(&[("localhost", &["::1"])]).unwrap();
        assert_eq!(hosts.lookup(&domain("localhost")), Some(addresses(&["::1"])));
    }

    /// F-E15: hosts with loops and wildcards are bounded.
    #[test]
    fn cycles_are_found_through_patterns_too() {
        for (entries, key) in [
            (&[("a.x", &["b.x"][..]), ("b.x", &["a.x"])][..], "a.x"),
            (&[("+.x", &["a.x"])], "+.x"),
            (&[("a.y", &["b.y"]), ("b.y", &["c.y"]), ("*.y", &["b.y"])], "a.y"),
        ] {
            let error = hosts(entries).unwrap_err();
            assert_eq!(error.to_string(), format!("{key}, there is a cycle in domain name mapping"));
        }
    }

    #[test]
    fn bad_values_are_named() {
        for (values, bad) in [(&["single"][..], "single"), (&["1.1.1.1", "a.b"], "a.b"), (&["a b.c"], "a b.c")] {
            assert_eq!(parse_hosts_value(values).unwrap_err().to_string(), format!("{bad} is not a valid value"));
        }
        assert!(parse_hosts_value(&[]).is_err());
        assert!(matches!(Hosts::new([("a..b", addresses(&["1.1.1.1"]))]), Err(HostsError::BadKey { .. })));
    }
}
