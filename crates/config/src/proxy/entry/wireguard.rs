//! `type: wireguard`.

use std::sync::Arc;
use std::time::Duration;

use adit_dns::Nameserver;
use adit_net::{Target, Through};
use adit_outbound::options::{Kind, WireGuard};
use adit_wireguard::options::{Addresses, Keepalive, Mtu, Obfuscation, Peer};
use adit_wireguard::{Options, PresharedKey, PrivateKey, PublicKey};
use ipnet::IpNet;

use super::keys::Keys;
use super::{Places, Reader};
use crate::proxy::flaw::Flaw;
use crate::proxy::wireguard::{self, amnezia, dns};
use crate::read::{Fields, Text, Value};
use crate::report::shown;
use crate::yaml::At;

/// The keys of the only peer when there are no `peers`, which is the short form.
const SHORT_FORM: [&str; 5] = ["server", "port", "public-key", "pre-shared-key", "allowed-ips"];

impl<'d> Reader<'d, '_> {
    pub(super) fn wireguard(&mut self) -> Option<Kind> {
        let private_key = self.required_text("private-key").and_then(|text| {
            self.keys.sound(text.at, wireguard::key::<PrivateKey>("private-key", text.text, "decode private key"))
        });
        let addresses = self.addresses();
        let keepalive = self.keys.number("persistent-keepalive", "a number of seconds from 0 to 65535");
        let peers = self.peers(addresses, wireguard::keepalive(keepalive.unwrap_or(0)));
        let mtu = self.mtu(addresses);
        let refresh = self.keys.number::<u32>("refresh-server-ip-interval", "a number of seconds from 0 to 4294967295");
        let obfuscation = self.obfuscation();
        let remote_dns = self.remote_dns(addresses);
        self.without_effect();
        let (peers, endpoints): (Vec<Peer>, Vec<Target>) = peers?.into_iter().unzip();
        if obfuscation.is_some() && peers.iter().any(|peer| peer.reserved != [0; 3]) {
            let text = "`reserved` has no effect with `amnezia-wg-option`: its bytes belong to `h1` to `h4`";
            self.doubt("reserved", text);
        }
        if self.keys.broken {
            return None;
        }
        let tunnel = Options { private_key: private_key?, addresses: addresses?, peers, mtu: mtu?, obfuscation };
        let refresh = refresh.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()));
        Some(Kind::WireGuard(Box::new(WireGuard { tunnel, endpoints, refresh, remote_dns })))
    }

    /// Our addresses inside.
    fn addresses(&mut self) -> Option<Addresses> {
        let [ip, ipv6] = ["ip", "ipv6"].map(|key| {
            let text = self.keys.fields.take(key)?.text().filter(|text| !text.text.is_empty())?;
            self.keys.sound(text.at, wireguard::address(key, text.text))
        });
        if self.keys.broken && ip.or(ipv6).is_none() {
            return None; // one of them is there, and wrong
        }
        let place = self.keys.fields.place("ipv6").unwrap_or_else(|| self.keys.fields.first_key());
        self.keys.sound(place, wireguard::addresses(ip, ipv6))
    }

    fn mtu(&mut self, addresses: Option<Addresses>) -> Option<Mtu> {
        let bytes = self.keys.number("mtu", "a number of bytes").unwrap_or(0);
        let place = self.keys.fields.place("mtu").unwrap_or_else(|| self.keys.fields.first_key());
        self.keys.sound(place, wireguard::mtu(bytes, addresses?))
    }

    /// The peers and where each is.
    fn peers(&mut self, addresses: Option<Addresses>, keepalive: Keepalive) -> Option<Vec<(Peer, Target)>> {
        let list = self.keys.fields.take("peers").and_then(Value::list).unwrap_or_default();
        if list.is_empty() {
            return self.only_peer(addresses, keepalive).map(|peer| vec![peer]);
        }
        self.short_form_has_no_effect();
        let default_reserved = reserved(&mut self.keys, None).flatten().unwrap_or_default();
        let mut peers = Vec::with_capacity(list.len());
        for (number, item) in list.into_iter().enumerate() {
            let Some(fields) = item.fields() else {
                self.keys.broken = true;
                continue;
            };
            let mut keys = Keys::new(self.keys.index, fields.loosely_spelt(), self.keys.cx);
            let peer = peer(&mut keys, Some(number), default_reserved, keepalive);
            self.keys.broken |= keys.broken || peer.is_none();
            finish_peer(keys, number);
            peers.extend(peer);
        }
        Some(peers)
    }

    /// The short form: the peer's keys are the proxy's, and it gets everything.
    fn only_peer(&mut self, addresses: Option<Addresses>, keepalive: Keepalive) -> Option<(Peer, Target)> {
        let (mut peer, endpoint) = peer(&mut self.keys, None, [0; 3], keepalive)?;
        let addresses = addresses?;
        let narrower = !peer.allowed_ips.is_empty() && !wireguard::is_everything(&peer.allowed_ips, addresses);
        if narrower {
            let text = "`allowed-ips` has no effect without `peers`: the only peer gets everything";
            self.doubt("allowed-ips", text);
        }
        peer.allowed_ips = wireguard::everything(addresses);
        Some((peer, endpoint))
    }

    fn short_form_has_no_effect(&mut self) {
        let there: Vec<&str> = SHORT_FORM
            .into_iter()
            .filter(|key| self.keys.fields.take(key).is_some_and(|value| !value.is_empty()))
            .collect();
        if let Some(first) = there.first().copied() {
            let text = format!("`{}` beside `peers` has no effect", there.join("`, `"));
            self.doubt(first, &text);
        }
    }

    /// `dns`, when `remote-dns-resolve` sends its questions through the tunnel.
    fn remote_dns(&mut self, addresses: Option<Addresses>) -> Option<Arc<dyn Through>> {
        let wanted = self.keys.flag("remote-dns-resolve");
        let value = self.keys.fields.take("dns").filter(|value| !value.is_off());
        let (texts, at) = match (wanted, value) {
            (true, Some(value)) => (texts(value), value.at()),
            (true, None) => {
                self.doubt("remote-dns-resolve", "`remote-dns-resolve` has no effect without `dns`");
                return None;
            }
            (false, Some(_)) => {
                self.doubt("dns", "`dns` has no effect without `remote-dns-resolve: true`");
                return None;
            }
            (false, None) => return None,
        };
        let servers: Option<Vec<Nameserver>> = texts.into_iter().map(|text| self.nameserver(text)).collect();
        let ipv6 = self.keys.cx.ipv6;
        self.keys.sound(at, dns::servers(servers?, addresses?, ipv6))
    }

    fn nameserver(&mut self, text: Text<'d>) -> Option<Nameserver> {
        let nameserver = dns::nameserver(text.text).map_err(|(wrong, flaw)| {
            // In quotes, what is wrong stands elsewhere than its number says.
            let start = text.at.range().start;
            let is_plain = text.at.range().len() == text.text.len();
            let at = if is_plain { At::new(start + wrong.start, start + wrong.end) } else { text.at };
            self.keys.sound::<()>(at, Err(flaw));
        });
        let nameserver = nameserver.ok()?;
        if nameserver.via.is_some() {
            let text = "a way out behind `#` has no effect in the `dns` of a tunnel: its servers are asked inside";
            self.doubt("dns", text);
        }
        Some(nameserver)
    }

    /// `amnezia-wg-option`.
    fn obfuscation(&mut self) -> Option<Obfuscation> {
        let mut fields = self.keys.fields.take("amnezia-wg-option")?.fields()?.loosely_spelt();
        let mut places = Places::new();
        let mut written = Vec::new();
        for key in amnezia::KEYS {
            let Some(text) = fields.take(key).and_then(Value::text) else { continue };
            places.insert(key, text.at);
            written.push((key, text.text));
        }
        self.beyond_amnezia_2(&mut fields);
        let place = fields.first_key();
        fields.finish("amnezia-wg-option", &[]);
        let mut flaws = Vec::new();
        let obfuscation = amnezia::obfuscation(&written, &mut flaws);
        for flaw in flaws {
            let at = places.get(flaw.key).copied().unwrap_or(place);
            self.keys.sound::<()>(at, Err(flaw));
        }
        obfuscation
    }

    /// What a server with these would expect of us we cannot do, so nothing is sent to it.
    fn beyond_amnezia_2(&mut self, fields: &mut Fields<'d>) {
        let version = fields.take("version").and_then(Value::text);
        if let Some(version) =
            version.filter(|version| !matches!(version.text, "" | "0" | "1" | "1.0" | "1.5" | "2" | "2.0"))
        {
            let text = format!("AmneziaWG version {} is not supported", shown(version.text));
            let flaw = Flaw::unsupported("version", text).hint("1.0, 1.5 and 2.0 are");
            self.keys.sound::<()>(version.at, Err(flaw));
        }
        for key in amnezia::UNSUPPORTED {
            let Some(value) = fields.take(key).filter(|value| !value.is_off()) else { continue };
            let flaw = Flaw::unsupported(key, format!("`{key}` of `amnezia-wg-option` is not supported"));
            self.keys.sound::<()>(value.at(), Err(flaw));
        }
    }

    /// Keys that need not do anything here, said where that may surprise.
    fn without_effect(&mut self) {
        let workers = self.keys.number::<u32>("workers", "a number from 0 to 4294967295");
        if workers.is_some_and(|workers| workers > 1) {
            self.doubt("workers", "`workers` has no effect: one task drives a tunnel");
        }
        let stack = self.keys.fields.take("ip-stack").and_then(Value::fields).map(Fields::loosely_spelt);
        if let Some(mut stack) = stack {
            let mut other = |key, default| {
                stack.take(key).and_then(Value::text).is_some_and(|text| !text.text.is_empty() && text.text != default)
            };
            if other("mode", "auto") | other("congestion-controller", "cubic") {
                self.doubt("ip-stack", "`ip-stack` has no effect: there is one stack to choose from");
            }
            stack.finish("ip-stack", &[]);
        }
    }

    fn doubt(&self, key: &'static str, text: &str) {
        let place = self.keys.fields.key_at(key).unwrap_or_else(|| self.keys.fields.first_key());
        self.keys.tell(Flaw::doubtful(key, text), place);
    }
}

/// One peer; `number` is its place in `peers:`. Without `allowed-ips` it has none, which only the short form may.
fn peer(
    keys: &mut Keys<'_, '_>,
    number: Option<usize>,
    default_reserved: [u8; 3],
    keepalive: Keepalive,
) -> Option<(Peer, Target)> {
    let endpoint = keys.server();
    let of = number.map_or_else(String::new, |number| format!(" for peer {number}"));
    let public_key = keys.required_text("public-key").and_then(|text| {
        let what = number.map_or_else(|| "decode peer public key".to_owned(), |_| format!("decode public key{of}"));
        keys.sound(text.at, wireguard::key::<PublicKey>("public-key", text.text, &what))
    });
    let preshared = keys.fields.take("pre-shared-key").and_then(Value::text).filter(|text| !text.text.is_empty());
    let preshared_key = preshared.and_then(|text| {
        let what = format!("decode pre shared key{of}");
        keys.sound(text.at, wireguard::key::<PresharedKey>("pre-shared-key", text.text, &what))
    });
    let reserved = reserved(keys, number).map(|written| written.unwrap_or(default_reserved));
    let allowed_ips = allowed_ips(keys);
    if let (Some(number), [], false) = (number, &*allowed_ips, keys.broken) {
        let text = format!("missing allowed_ips for peer {number}");
        let flaw = Flaw::wrong("allowed-ips", text).hint("such as allowed-ips: ['0.0.0.0/0', '::/0']");
        keys.sound::<()>(keys.fields.first_key(), Err(flaw));
    }
    if keys.broken {
        return None;
    }
    let peer = Peer { public_key: public_key?, preshared_key, allowed_ips, reserved: reserved?, keepalive };
    Some((peer, endpoint?))
}

fn finish_peer(keys: Keys<'_, '_>, number: usize) {
    let Keys { index, cx, fields, mut missing, .. } = keys;
    if !missing.is_empty() {
        missing.sort_unstable();
        let text = format!("proxy {index}: 'peers[{number}]' has unset fields: {}", missing.join(", "));
        cx.report.error(fields.first_key(), text);
    }
    fields.finish("a peer of a WireGuard proxy", &[]);
}

/// `reserved`, a list of numbers or a text. The inner `None` is that it is not there or empty.
fn reserved(keys: &mut Keys<'_, '_>, number: Option<usize>) -> Option<Option<[u8; 3]>> {
    let Some(value) = keys.fields.take("reserved").filter(|value| !value.is_empty()) else { return Some(None) };
    let bytes = if value.is_scalar() {
        keys.sound(value.at(), wireguard::reserved(value.text()?.text))
    } else {
        let items = value.list()?.into_iter();
        items.map(|item| item.number("three numbers from 0 to 255")).collect::<Option<Vec<u8>>>()
    };
    keys.broken |= bytes.is_none();
    let bytes = bytes?;
    let three = keys.sound(value.at(), wireguard::three(&bytes, number))?;
    Some((!bytes.is_empty()).then_some(three))
}

/// `allowed-ips`: a list, or one text with commas.
fn allowed_ips(keys: &mut Keys<'_, '_>) -> Vec<IpNet> {
    let Some(value) = keys.fields.take("allowed-ips") else { return Vec::new() };
    let texts = texts(value);
    let mut nets = Vec::with_capacity(texts.len());
    for text in texts {
        for part in text.text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            nets.extend(keys.sound(text.at, wireguard::allowed_ip(part)));
        }
    }
    nets
}

/// A list of texts, or, as Mihomo takes it, one text alone.
fn texts(value: Value<'_>) -> Vec<Text<'_>> {
    if value.is_scalar() { value.text().into_iter().collect() } else { value.texts() }
}
