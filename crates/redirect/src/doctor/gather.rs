//! Facts, from `/proc` and from what `nft`, `iptables-save` and `ip` print. What cannot be read is left out.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};

use ipnet::IpNet;

use super::{Facts, Installed};
use crate::{Firewall, Options, Plan, TABLE, host};

/// Bit of `CAP_NET_ADMIN`: capabilities(7), `include/uapi/linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;

/// What tables and chains of other proxies are called.
const PROXIES: [&str; 10] =
    ["clash", "mihomo", "sing-box", "singbox", "xray", "v2ray", "redsocks", "shadowsocks", "passwall", "homeproxy"];

impl Facts {
    /// Looks at this host and changes nothing. Blocks for as long as a few programs run. [`Facts::refusal`] is left out: it
    /// depends on the rules that are wanted ([`refusal`]).
    #[must_use]
    pub fn gather() -> Self {
        let installed = installed();
        let interfaces = installed.as_ref().map(|installed| installed.interfaces.clone()).unwrap_or_default();
        Self {
            is_privileged: is_privileged(),
            has_nft: host::has("nft"),
            has_iptables: host::has("iptables"),
            has_ip: host::has("ip"),
            refusal: None,
            filtered_bridge: host::filtered_bridge(&interfaces),
            precedes_filter: precedes_filter(&said("nft", &["list", "hooks"])),
            installed,
            tcp: [sockets("tcp", "0A"), sockets("tcp6", "0A")].concat(),
            udp: [sockets("udp", "07"), sockets("udp6", "07")].concat(),
            forwards_v4: host::is_on("ipv4/ip_forward"),
            forwards_v6: host::is_on("ipv6/conf/all/forwarding"),
            links: host::links(),
            nameservers: nameservers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
            others: others(),
            routing_rules: lines("ip", &["rule", "show"]).chain(lines("ip", &["-6", "rule", "show"])).collect(),
            networks: networks(),
        }
    }
}

fn is_privileged() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits & (1 << CAP_NET_ADMIN) != 0)
}

/// What a program prints; nothing if it fails.
fn said(program: &str, words: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(words).env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success());
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn lines(program: &str, words: &[&str]) -> impl Iterator<Item = String> {
    said(program, words).lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().into_iter()
}

fn installed() -> Option<Installed> {
    match Firewall::of_this_host() {
        Firewall::Nftables => Installed::from_nft(&said("nft", &["list", "table", "inet", TABLE])),
        Firewall::Iptables => Installed::from_iptables(&said("iptables-save", &[]), &said("ip6tables-save", &[])),
    }
}

/// From the functions and chains at each hook, in the order in which packets meet them. `ip_sabotage_in` is where
/// `br_netfilter` skips what comes later.
fn precedes_filter(hooks: &str) -> Option<bool> {
    let (mut comes_late, mut answer) = (false, None);
    for line in hooks.lines() {
        if line.contains('{') {
            comes_late = false;
        } else if line.contains("ip_sabotage_in") {
            comes_late = true;
            answer = answer.or(Some(false));
        } else if line.contains(TABLE) && line.contains("bridged") {
            if comes_late {
                return Some(false);
            }
            answer = Some(true);
        }
    }
    answer
}

/// Why this host does not take the rules of `wanted`: they are installed where nobody is hurt by it, in a network namespace
/// that ends at once. `None` also where that cannot be tried.
#[must_use]
pub fn refusal(wanted: &Options) -> Option<String> {
    if !is_privileged() || Firewall::of_this_host() != Firewall::Nftables || !host::has("nft") || !host::has("unshare")
    {
        return None;
    }
    let plan = Plan::up(wanted).ok()?;
    crate::apply::try_table(&plan).err().map(|why| why.to_string())
}

/// Local addresses of sockets in a state, from `/proc/net/tcp` and its relatives (proc_net_tcp(5)): numbers are
/// hexadecimal, addresses in words of the host's byte order.
fn sockets(table: &str, state: &str) -> Vec<SocketAddr> {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
    let socket = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next()?;
        (fields.nth(1)? == state).then(|| address(local))?
    };
    text.lines().skip(1).filter_map(socket).collect()
}

fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn nameservers(resolv_conf: &str) -> Vec<IpAddr> {
    let server = |line: &str| line.trim().strip_prefix("nameserver")?.trim().parse().ok();
    resolv_conf.lines().filter_map(server).collect()
}

/// Chains of iptables are among those of nftables, but for the old back end.
fn others() -> Vec<String> {
    let mut names: Vec<String> = lines("nft", &["list", "tables"]).collect();
    names.extend(lines("nft", &["list", "chains"]).filter(|line| line.starts_with("chain ")));
    names.extend(lines("iptables-legacy-save", &[]).filter(|line| line.starts_with(':')));
    if !host::has("nft") {
        names.extend(lines("iptables-save", &[]).filter(|line| line.starts_with(':')));
    }
    foreign(names)
}

fn foreign(names: Vec<String>) -> Vec<String> {
    let is_foreign = |name: &String| {
        let name = name.to_ascii_lowercase();
        PROXIES.iter().any(|proxy| name.contains(proxy))
    };
    let short = |name: &str| {
        name.trim_end_matches('{').trim_start_matches(':').split(" - ").next().map(str::trim).map(str::to_owned)
    };
    let mut names: Vec<String> = names.into_iter().filter(is_foreign).filter_map(|name| short(&name)).collect();
    names.sort();
    names.dedup();
    names
}

/// The first word of each line of the main table, but for the default route.
fn networks() -> Vec<IpNet> {
    let network = |line: String| {
        let first = line.split(' ').next()?;
        first.parse().ok().or_else(|| first.parse::<IpAddr>().ok().map(IpNet::from))
    };
    lines("ip", &["route", "show"]).chain(lines("ip", &["-6", "route", "show"])).filter_map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_hooks_is_understood() {
        let hook =
            |lines: [&str; 2]| format!("family ip {{\n\thook prerouting {{\n\t\t{}\n\t}}\n}}\n", lines.join("\n\t\t"));
        let ours = "-2147483648 chain inet adit bridged [nf_tables]";
        let theirs = "-2147483648 ip_sabotage_in [br_netfilter]";
        let another = "-0000000400 ipv4_conntrack_defrag [nf_defrag_ipv4]";
        for (listing, expected) in [
            (hook([ours, theirs]), Some(true)),
            (hook([theirs, ours]), Some(false)),
            (hook([theirs, another]), Some(false)),
            (hook([ours, another]), Some(true)),
            (hook([ours, theirs]) + &hook([theirs, ours]), Some(false)),
            (hook([ours, theirs]) + &hook([ours, theirs]), Some(true)),
            (String::new(), None),
        ] {
            assert_eq!(precedes_filter(&listing), expected, "{listing}");
        }
        // As nft 1.0.0 prints it.
        let hooks = "family ip hook prerouting {\n\t-2147483648 ip_sabotage_in [br_netfilter]\n\
                     \t-2147483648 nft_do_chain_inet [nf_tables]\t# nft table inet adit chain bridged\n}\n";
        assert_eq!(precedes_filter(hooks), Some(false));
    }

    #[test]
    fn what_programs_print_is_understood() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:1ED5"), Some("127.0.0.1:7893".parse().unwrap()));
            assert_eq!(address("00000000000000000000000001000000:0035"), Some("[::1]:53".parse().unwrap()));
        }
        assert_eq!(address("nonsense"), None);
        let servers = nameservers("# nameserver 1.1.1.1\nnameserver 127.0.0.53\nnameserver\t::1\noptions edns0\n");
        assert_eq!(servers, ["127.0.0.53".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        let names = ["table inet mihomo", "chain CLASH_DNS {", ":XRAY - [0:0]", "table inet adit", "chain OUTPUT {"];
        let expected = ["XRAY", "chain CLASH_DNS", "table inet mihomo"];
        assert_eq!(foreign(names.map(str::to_owned).to_vec()), expected);
    }
}
