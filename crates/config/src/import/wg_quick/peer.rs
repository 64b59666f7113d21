//! `[Peer]`.

use adit_net::{Host, Target};
use adit_wireguard::options::{Keepalive, Peer};
use adit_wireguard::{PresharedKey, PublicKey};
use ipnet::IpNet;

use super::lines::{Entry, Section};
use super::{not_kept, parts, reserved, sound, twice, unknown};
use crate::proxy::wireguard;
use crate::report::{Draft, Report, shown};
use crate::yaml::At;

const KEYS: [&str; 6] = ["PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive", "Reserved"];

/// The peers that can be reached and where they are. `default` is the `Reserved` of `[Interface]`.
pub(super) fn peers(sections: &[&Section<'_>], default: [u8; 3], report: &Report) -> (Vec<Peer>, Vec<Target>) {
    let (mut peers, mut endpoints) = (Vec::new(), Vec::new());
    for section in sections {
        let mut draft = Unfinished::default();
        for entry in section.entries.iter().filter(|entry| !entry.value.is_empty()) {
            draft.entry(entry, report);
        }
        let Some((peer, endpoint)) = draft.finish(section.at, default, report) else { continue };
        peers.push(peer);
        endpoints.push(endpoint);
    }
    if peers.is_empty() && !report.has_errors() {
        let at = sections.first().map_or(At::NOWHERE, |section| section.at);
        report.error(at, "there is no [Peer] with an `Endpoint`: nobody to connect to");
    }
    one_keepalive(&mut peers, sections, report);
    (peers, endpoints)
}

/// YAML has one interval for all peers: the shortest.
fn one_keepalive(peers: &mut [Peer], sections: &[&Section<'_>], report: &Report) {
    let seconds = |peer: &Peer| match peer.keepalive {
        Keepalive::Off => None,
        Keepalive::Every(seconds) => Some(seconds),
    };
    let Some(shortest) = peers.iter().filter_map(seconds).min() else { return };
    if peers.iter().any(|peer| seconds(peer) != Some(shortest)) {
        let entries = sections.iter().flat_map(|section| &section.entries);
        let mut places = entries.filter(|entry| entry.key.eq_ignore_ascii_case("PersistentKeepalive"));
        let at = places.next().map_or(At::NOWHERE, |entry| entry.key_at);
        let text = format!("peers have different `PersistentKeepalive`s; all of them get {shortest} s");
        report.warning(at, text);
    }
    for peer in peers {
        peer.keepalive = Keepalive::Every(shortest);
    }
}

/// A peer so far. `Some(None)` is there and wrong, which is reported already.
#[derive(Default)]
struct Unfinished {
    public_key: Option<Option<PublicKey>>,
    preshared_key: Option<PresharedKey>,
    allowed_ips: Vec<IpNet>,
    endpoint: Option<Option<Target>>,
    keepalive: Keepalive,
    reserved: Option<[u8; 3]>,
}

impl Unfinished {
    fn entry(&mut self, entry: &Entry<'_>, report: &Report) {
        let Entry { value, at, .. } = *entry;
        match entry.key.to_ascii_lowercase().as_str() {
            "publickey" => {
                twice(entry, self.public_key.is_some(), report);
                self.public_key = Some(sound(at, wireguard::key("public-key", value, "`PublicKey`"), report));
            }
            "presharedkey" => {
                self.preshared_key = sound(at, wireguard::key("pre-shared-key", value, "`PresharedKey`"), report);
            }
            "allowedips" => {
                let nets = parts(entry).filter_map(|(text, at)| sound(at, wireguard::allowed_ip(text), report));
                self.allowed_ips.extend(nets);
            }
            "endpoint" => {
                twice(entry, self.endpoint.is_some(), report);
                self.endpoint = Some(endpoint(entry, report));
            }
            "persistentkeepalive" => match value {
                "off" => self.keepalive = Keepalive::Off,
                _ => match value.parse() {
                    Ok(seconds) => self.keepalive = wireguard::keepalive(seconds),
                    Err(_) => {
                        let text = "`PersistentKeepalive` must be off or a number of seconds from 0 to 65535";
                        report.error(at, format!("{text}, found '{}'", shown(value)));
                    }
                },
            },
            "reserved" => self.reserved = reserved(entry, report),
            "advancedsecurity" => not_kept(entry, "the keys of [Interface] say it already", report),
            _ => unknown(entry, "[Peer]", &KEYS, report),
        }
    }

    fn finish(self, at: At, default: [u8; 3], report: &Report) -> Option<(Peer, Target)> {
        if self.public_key.is_none() {
            report.error(at, "this [Peer] has no `PublicKey`");
        }
        let Some(endpoint) = self.endpoint else {
            let text = "this [Peer] is not kept: it has no `Endpoint`, and nobody connects to us";
            report.warning(at, text);
            return None;
        };
        if self.allowed_ips.is_empty() {
            let draft = Draft::error(at, "this [Peer] has no `AllowedIPs`: nothing would go to it");
            report.add(draft.hint("AllowedIPs = 0.0.0.0/0, ::/0 is everything"));
        }
        let peer = Peer {
            public_key: self.public_key??,
            preshared_key: self.preshared_key,
            allowed_ips: self.allowed_ips,
            reserved: self.reserved.unwrap_or(default),
            keepalive: self.keepalive,
        };
        Some((peer, endpoint?))
    }
}

/// `host:port`; as `wg` has it, the last colon is the port's, brackets or not.
fn endpoint(entry: &Entry<'_>, report: &Report) -> Option<Target> {
    let parsed = entry.value.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Target::new(host.parse::<Host>().ok()?, port))
    });
    if parsed.is_none() {
        let text = format!("`Endpoint` must be a host and a port, found '{}'", shown(entry.value));
        report.add(Draft::error(entry.at, text).hint("it looks like vpn.example.com:51820 or [2001:db8::1]:51820"));
    }
    parsed
}
