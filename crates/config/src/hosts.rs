//! `hosts:`. Spec: mihomo-surface §1.4.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_net::HostsEntry;
use adit_router::{DomainPattern, Hosts, HostsError, parse_hosts_value};

use crate::context::Context;
use crate::read::{Text, Value};
use crate::report::shown;
use crate::yaml::At;

/// Reads `hosts:`. Every bad entry is reported; the table is made of the others.
pub(crate) fn read(map: Option<Value<'_>>, cx: &Context<'_>) -> Option<Hosts> {
    let fields = map.and_then(Value::fields);
    let mut entries = Vec::new();
    for (key, value) in fields.iter().flat_map(|fields| fields.named()) {
        if value.is_null() {
            continue;
        }
        if let Err(why) = DomainPattern::parse(key.text) {
            cx.report.error(key.at, format!("`{}` in hosts: {why}", shown(key.text)));
        } else if let Some(entry) = entry(value, cx) {
            entries.push((key, entry));
        }
    }
    // Every turn takes one bad entry out.
    let mut refused = 0;
    loop {
        let error = match Hosts::new(entries.iter().map(|(key, entry)| (key.text, entry.clone()))) {
            Ok(hosts) => return Some(hosts),
            Err(error) => error,
        };
        let bad = match &error {
            HostsError::BadKey { key, .. } | HostsError::Cycle(key) | HostsError::BadValue(key) => key,
        };
        let culprit = entries.iter().position(|(key, _)| key.text == bad);
        let at = culprit.and_then(|at| entries.get(at)).map_or(At::NOWHERE, |(key, _)| key.at);
        cx.report.error(at, error.to_string());
        entries.remove(culprit?);
        refused += 1;
        if refused == MOST {
            return None;
        }
    }
}

/// The table is built anew after each bad alias, so there is an end to it.
const MOST: usize = 32;

/// One value: addresses, a name, or `lan`.
fn entry(value: Value<'_>, cx: &Context<'_>) -> Option<HostsEntry> {
    let texts = if value.is_scalar() { vec![value.text()?] } else { value.texts() };
    if let [only] = texts.as_slice()
        && only.text == "lan"
    {
        return lan(*only, cx);
    }
    let values: Vec<&str> = texts.iter().map(|text| text.text).collect();
    match parse_hosts_value(&values) {
        Ok(entry) => Some(entry),
        Err(error) => {
            let bad = match &error {
                HostsError::BadValue(bad) => texts.iter().find(|text| text.text == bad),
                _ => None,
            };
            cx.report.error(bad.map_or_else(|| value.at(), |text| text.at), error.to_string());
            None
        }
    }
}

/// All addresses of this machine that others can reach, as they are now.
fn lan(written: Text<'_>, cx: &Context<'_>) -> Option<HostsEntry> {
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let addresses = lan_addresses(&v4, &v6);
    if addresses.is_empty() {
        cx.report.warning(written.at, "this machine has no address but loopback now, so `lan` means nothing");
        return None;
    }
    Some(HostsEntry::Addresses(addresses))
}

/// The addresses that the kernel lists in `/proc/net/fib_trie` and `/proc/net/if_inet6`, without loopback and link-local
/// ones. There is no safe interface to `getifaddrs` in the standard library, and these files are older than that call.
fn lan_addresses(fib_trie: &str, if_inet6: &str) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in fib_trie.lines() {
        if let Some(address) = line.trim_start().strip_prefix("|-- ") {
            leaf = address.trim().parse().ok();
        } else if line.trim() == "/32 host LOCAL"
            && let Some(ip) = leaf.filter(|ip| !ip.is_loopback() && !ip.is_link_local())
        {
            addresses.push(ip.into());
        }
    }
    for line in if_inet6.lines() {
        let digits = line.split(' ').next().unwrap_or_default();
        let Ok(bits) = u128::from_str_radix(digits, 16) else { continue };
        let ip = Ipv6Addr::from_bits(bits);
        if !ip.is_loopback() && !ip.is_unicast_link_local() {
            addresses.push(ip.into());
        }
    }
    let mut seen = HashSet::new();
    addresses.retain(|ip| seen.insert(*ip));
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lan_is_every_address_but_loopback_and_link_local() {
        let fib_trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 127.0.0.0/8\n        \
                        |-- 127.0.0.1\n           /32 host LOCAL\n     |-- 192.168.1.5\n        /32 host LOCAL\n     \
                        |-- 192.168.1.255\n        /32 link BROADCAST\nLocal:\n     |-- 192.168.1.5\n        /32 host LOCAL\n";
        let if_inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                        20010db8000000000000000000000007 02 40 00 80     eth0\n\
                        fe800000000000000000000000000001 02 40 20 80     eth0\n";
        let expected: Vec<IpAddr> = vec!["192.168.1.5".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        assert_eq!(lan_addresses(fib_trie, if_inet6), expected);
        assert!(lan_addresses("garbage\n|-- x\n/32 host LOCAL", "zz\n\n").is_empty());
    }
}
