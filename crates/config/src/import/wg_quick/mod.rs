//! `wg-quick` files, AmneziaWG's among them. Source: wg(8), wg-quick(8), the README of amneziawg-tools.

mod lines;
mod peer;

use std::net::IpAddr;

use adit_net::Target;
use adit_outbound::options::WireGuard;
use adit_wireguard::options::{Addresses, Mtu, Obfuscation, Peer};
use adit_wireguard::{Options, PrivateKey};
use ipnet::IpNet;

use super::{Import, keys, name_of};
use crate::mask::Hidden;
use crate::problem::Problems;
use crate::proxy::flaw::Flaw;
use crate::proxy::wireguard::{self, amnezia};
use crate::report::{Draft, Report, shown};
use crate::source::Source;
use crate::suggest;
use crate::yaml::At;
use lines::{Entry, Section};

/// Keys whose values are shown nowhere. Commands may hold anything.
const SECRET: [&str; 8] =
    ["privatekey", "presharedkey", "publickey", "headerprotectionkey", "preup", "postup", "predown", "postdown"];

/// Reads the file; `None` if something in it is wrong.
pub(super) fn import(source: &Source) -> (Option<Import>, Problems) {
    const LONGEST: usize = 1 << 20;
    let report = Report::default();
    if source.text.len() > LONGEST {
        report.add(Draft::error(At::NOWHERE, "the file is larger than 1 MiB"));
        return (None, report.into_problems(source, &Hidden::Known(&[])));
    }
    let sections = lines::sections(&source.text, &report);
    let read = read(&sections, &report).filter(|_| !report.has_errors());
    let import = read.map(|(options, dns)| Import {
        name: name_of(&source.name),
        kind: "wireguard",
        keys: keys::wireguard(&options, &dns),
        only: only(&options.tunnel),
    });
    // With the comment behind it, which may be what the value was before.
    let to_line_end = |at: At| {
        let rest = source.text.get(at.range().start..).unwrap_or("");
        At::new(at.range().start, at.range().start + rest.find('\n').unwrap_or(rest.len()))
    };
    let entries = sections.iter().flat_map(|section| &section.entries);
    let secrets: Vec<At> = entries.filter(|entry| is_secret(entry)).map(|entry| to_line_end(entry.at)).collect();
    (import, report.into_problems(source, &Hidden::Known(&secrets)))
}

/// Where a tunnel leads, if not everywhere.
pub(super) fn only(tunnel: &Options) -> Vec<IpNet> {
    let nets: Vec<IpNet> = tunnel.peers.iter().flat_map(|peer| peer.allowed_ips.iter().copied()).collect();
    if wireguard::is_everything(&nets, tunnel.addresses) { Vec::new() } else { IpNet::aggregate(&nets) }
}

fn is_secret(entry: &Entry<'_>) -> bool {
    let key = entry.key.to_ascii_lowercase();
    SECRET.iter().any(|secret| key == *secret) || suggest::closest(&key, SECRET).is_some()
}

fn read(sections: &[Section<'_>], report: &Report) -> Option<(WireGuard, Vec<String>)> {
    let mut interface = Interface::default();
    let mut there = false;
    let mut peers = Vec::new();
    for section in sections {
        match section.name.to_ascii_lowercase().as_str() {
            "interface" => {
                there = true;
                interface.read(section, report);
            }
            "peer" => peers.push(section),
            _ => {
                let text = format!("unknown section [{}]", shown(section.name));
                report.add(Draft::error(section.at, text).meant(section.name, ["Interface", "Peer"]));
            }
        }
    }
    if !there {
        report.error(At::NOWHERE, "there is no [Interface] section: this is no wg-quick file");
        return None;
    }
    let (peers, endpoints) = peer::peers(&peers, interface.reserved, report);
    interface.finish(peers, endpoints, sections, report)
}

/// `[Interface]` so far.
#[derive(Default)]
struct Interface<'s> {
    private_key: Option<PrivateKey>,
    /// A key that is there and wrong is not missing as well.
    has_private_key: bool,
    addresses: Vec<(IpAddr, At)>,
    has_addresses: bool,
    dns: Vec<(IpAddr, At)>,
    mtu: Option<(u32, At)>,
    reserved: [u8; 3],
    amnezia: Vec<(&'static str, &'s str, At)>,
}

/// The keys of the section, as people write them.
const KEYS: [&str; 16] = [
    "PrivateKey",
    "Address",
    "DNS",
    "MTU",
    "ListenPort",
    "FwMark",
    "Table",
    "PreUp",
    "PostUp",
    "PreDown",
    "PostDown",
    "SaveConfig",
    "Reserved",
    "Jc",
    "Jmin",
    "Jmax",
];

impl<'s> Interface<'s> {
    fn read(&mut self, section: &Section<'s>, report: &Report) {
        for entry in section.entries.iter().filter(|entry| !entry.value.is_empty()) {
            self.entry(entry, report);
        }
    }

    fn entry(&mut self, entry: &Entry<'s>, report: &Report) {
        let Entry { value, at, .. } = *entry;
        match entry.key.to_ascii_lowercase().as_str() {
            "privatekey" => {
                twice(entry, self.has_private_key, report);
                self.has_private_key = true;
                self.private_key = sound(at, wireguard::key("private-key", value, "`PrivateKey`"), report);
            }
            "address" => {
                self.has_addresses = true;
                let texts = parts(entry);
                let read =
                    texts.filter_map(|(text, at)| Some((sound(at, wireguard::address("ip", text), report)?, at)));
                self.addresses.extend(read);
            }
            "dns" => self.dns.extend(dns(entry, report)),
            "mtu" => match value.parse() {
                Ok(bytes) => self.mtu = Some((bytes, at)),
                Err(_) => report.error(at, format!("`MTU` must be a number of bytes, found '{}'", shown(value))),
            },
            "reserved" => self.reserved = reserved(entry, report).unwrap_or_default(),
            "listenport" => not_kept(entry, "the tunnel is the side that calls; it takes any free port", report),
            "fwmark" => {
                let draft = Draft::warning(entry.key_at, "`FwMark` is not kept");
                report.add(draft.hint("`routing-mark` of the proxy does the same, and needs CAP_NET_ADMIN"));
            }
            "table" => not_kept(entry, "the host's routes stay as they are", report),
            "saveconfig" => not_kept(entry, "nothing writes to the configuration", report),
            "preup" | "postup" | "predown" | "postdown" => not_kept(entry, "no commands are run", report),
            key => self.amnezia(key, entry, report),
        }
    }

    /// A key of AmneziaWG's, or one that nobody knows.
    fn amnezia(&mut self, key: &str, entry: &Entry<'s>, report: &Report) {
        if let Some(key) = amnezia::KEYS.into_iter().find(|known| *known == key) {
            self.amnezia.push((key, entry.value, entry.at));
        } else if amnezia::UNSUPPORTED.iter().any(|known| known.replace('-', "") == key) {
            if !matches!(entry.value, "0" | "off") {
                let text = format!("`{}` belongs to an AmneziaWG that is not supported", shown(entry.key));
                report.add(Draft::error(entry.key_at, text).hint("1.0, 1.5 without J1 to J3, and 2.0 are"));
            }
        } else {
            unknown(entry, "[Interface]", &KEYS, report);
        }
    }

    /// Puts everything together. The second value is the DNS servers.
    fn finish(
        self,
        peers: Vec<Peer>,
        endpoints: Vec<Target>,
        sections: &[Section<'_>],
        report: &Report,
    ) -> Option<(WireGuard, Vec<String>)> {
        let interface = sections.iter().find(|section| section.name.eq_ignore_ascii_case("interface"));
        let at = interface.map_or(At::NOWHERE, |section| section.at);
        if !self.has_private_key {
            report.error(at, "`PrivateKey` is missing");
        }
        let addresses = self.inside(at, report);
        let mtu = self.mtu(addresses, report);
        let obfuscation = self.obfuscation(report);
        let addresses = addresses?;
        if report.has_errors() {
            return None; // what is left of the peers says nothing about whom they reach
        }
        let dns = reachable(&self.dns, addresses, &peers, report);
        let tunnel = Options { private_key: self.private_key?, addresses, peers, mtu: mtu?, obfuscation };
        Some((WireGuard { tunnel, endpoints, refresh: None, remote_dns: None }, dns))
    }

    fn inside(&self, at: At, report: &Report) -> Option<Addresses> {
        if self.addresses.is_empty() && self.has_addresses {
            return None; // they are there, and wrong
        }
        let first = |v6: bool| self.addresses.iter().find(|(ip, _)| ip.is_ipv6() == v6);
        let (v4, v6) = (first(false), first(true));
        for (ip, at) in &self.addresses {
            if [v4, v6].into_iter().flatten().all(|(kept, _)| kept != ip) {
                let text = format!("`{ip}` is not kept: a tunnel has one address of each family");
                report.warning(*at, text);
            }
        }
        let ip = |found: Option<&(IpAddr, At)>| found.map(|(ip, _)| *ip);
        sound(at, wireguard::addresses(ip(v4), ip(v6)).map_err(|flaw| flaw.hint("add `Address`")), report)
    }

    fn mtu(&self, addresses: Option<Addresses>, report: &Report) -> Option<Mtu> {
        match self.mtu {
            None => Some(Mtu::DEFAULT),
            Some((bytes, at)) => sound(at, wireguard::mtu(bytes, addresses?), report),
        }
    }

    fn obfuscation(&self, report: &Report) -> Option<Obfuscation> {
        let written: Vec<(&'static str, &str)> = self.amnezia.iter().map(|(key, value, _)| (*key, *value)).collect();
        let mut flaws = Vec::new();
        let obfuscation = amnezia::obfuscation(&written, &mut flaws);
        for flaw in flaws {
            let place = self.amnezia.iter().find(|(key, ..)| *key == flaw.key).map(|(_, _, at)| *at);
            let _ = sound::<()>(place.unwrap_or(At::NOWHERE), Err(flaw), report);
        }
        obfuscation
    }
}

/// The addresses of `DNS`; the domains in it mean nothing here.
fn dns(entry: &Entry<'_>, report: &Report) -> Vec<(IpAddr, At)> {
    let mut servers = Vec::new();
    for (text, at) in parts(entry) {
        match text.parse() {
            Ok(server) => servers.push((server, at)),
            Err(_) => report.warning(at, format!("the search domain '{}' is not kept", shown(text))),
        }
    }
    servers
}

/// The DNS servers that can be asked through the tunnel.
fn reachable(servers: &[(IpAddr, At)], addresses: Addresses, peers: &[Peer], report: &Report) -> Vec<String> {
    let speaks = |server: &IpAddr| if server.is_ipv4() { addresses.v4().is_some() } else { addresses.v6().is_some() };
    let allowed = |server: &IpAddr| peers.iter().flat_map(|peer| &peer.allowed_ips).any(|net| net.contains(server));
    let mut kept = Vec::new();
    for (server, at) in servers {
        if speaks(server) && allowed(server) {
            kept.push(server.to_string());
        } else {
            let why = if speaks(server) { "no peer's AllowedIPs hold it" } else { "there is no Address of its family" };
            report.warning(*at, format!("the DNS server {server} is not kept: {why}"));
        }
    }
    kept
}

/// The comma-separated parts of a value and where each stands.
fn parts<'s>(entry: &Entry<'s>) -> impl Iterator<Item = (&'s str, At)> {
    let mut start = entry.at.range().start;
    entry.value.split(',').filter_map(move |part| {
        let from = start + (part.len() - part.trim_start().len());
        start += part.len() + 1;
        let part = part.trim();
        (!part.is_empty()).then(|| (part, At::new(from, from + part.len())))
    })
}

fn reserved(entry: &Entry<'_>, report: &Report) -> Option<[u8; 3]> {
    let bytes = sound(entry.at, wireguard::reserved(entry.value), report)?;
    sound(entry.at, wireguard::three(&bytes, None), report)
}

/// The value, or a report of what is wrong with it.
fn sound<T>(at: At, value: Result<T, Flaw>, report: &Report) -> Option<T> {
    value
        .map_err(|Flaw { message, hint, .. }| {
            let draft = Draft::error(at, message);
            report.add(match hint {
                Some(hint) => draft.hint(hint),
                None => draft,
            });
        })
        .ok()
}

fn not_kept(entry: &Entry<'_>, why: &str, report: &Report) {
    report.warning(entry.key_at, format!("`{}` is not kept: {why}", shown(entry.key)));
}

fn twice(entry: &Entry<'_>, before: bool, report: &Report) {
    if before {
        report.warning(entry.key_at, format!("`{}` is there twice; the last one counts", shown(entry.key)));
    }
}

fn unknown(entry: &Entry<'_>, section: &str, known: &[&'static str], report: &Report) {
    let text = format!("unknown key `{}` in {section}; it is not kept", shown(entry.key));
    report.add(Draft::warning(entry.key_at, text).meant(entry.key, known.iter().copied()));
}
