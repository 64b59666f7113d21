//! `wireguard://` (`wg://`, `awg://`) links.
//!
//! There is no standard, there are two habits: v2rayN puts the private key before the `@` and the addresses, separated
//! by commas, into `address`; NekoBox and its kin put all keys into the query, spell them with `_`, and separate
//! addresses and reserved bytes by hyphens. The names are read without regard to case, `_` and `-`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use adit_net::Through;
use adit_outbound::options::WireGuard;
use adit_wireguard::Options;
use adit_wireguard::options::{Addresses, Peer};
use url::Url;

use super::{LinkError, accepted, decoded, server};
use crate::proxy::flaw::Flaw;
use crate::proxy::wireguard::{self, amnezia, dns};
use crate::report::shown;

/// NekoBox's older names of AmneziaWG's keys.
const LONG_NAMES: [(&str, &str); 9] = [
    ("jc", "junkpacketcount"),
    ("jmin", "junkpacketminsize"),
    ("jmax", "junkpacketmaxsize"),
    ("s1", "initpacketjunksize"),
    ("s2", "responsepacketjunksize"),
    ("h1", "initpacketmagicheader"),
    ("h2", "responsepacketmagicheader"),
    ("h3", "underloadpacketmagicheader"),
    ("h4", "transportpacketmagicheader"),
];

/// The link with the slashes of its private key encoded: some programs leave them as they are, and then the key's first
/// part would be the host.
pub(super) fn with_coded_key(link: &str) -> Cow<'_, str> {
    let coded = || {
        let (scheme, rest) = link.split_once("://")?;
        let ours = ["wireguard", "wg", "awg"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours));
        let authority = rest.split(['?', '#']).next()?;
        let (key, _) = authority.rsplit_once('@')?;
        (ours && key.contains('/')).then(|| {
            let behind = rest.get(key.len()..).unwrap_or("");
            format!("{scheme}://{}{behind}", key.replace('/', "%2F"))
        })
    };
    coded().map_or(Cow::Borrowed(link), Cow::Owned)
}

/// The tunnel and its DNS servers.
pub(super) fn read(url: &Url) -> Result<(WireGuard, Vec<String>), LinkError> {
    let endpoint = server(url, None)?;
    let params = Params::of(url);
    let private_key = match decoded(url.username()) {
        user if user.is_empty() => params.key(&["privatekey", "secretkey"]).ok_or(LinkError::Missing("private key"))?,
        user => user,
    };
    let private_key = sound(wireguard::key("private-key", &private_key, "`private-key`"))?;
    let addresses = addresses(&params)?;
    let peer = peer(&params, addresses)?;
    let mtu = sound(wireguard::mtu(params.number("mtu", &["mtu"])?.unwrap_or(0), addresses))?;
    let obfuscation = {
        let written: Vec<(&'static str, String)> = amnezia::KEYS
            .into_iter()
            .filter_map(|key| {
                let long = LONG_NAMES.iter().find(|(short, _)| *short == key).map(|(_, long)| *long);
                let names: Vec<&str> = std::iter::once(key).chain(long).collect();
                Some((key, params.get(&names)?.to_owned()))
            })
            .collect();
        let written: Vec<(&'static str, &str)> = written.iter().map(|(key, value)| (*key, &**value)).collect();
        let mut flaws = Vec::new();
        let obfuscation = amnezia::obfuscation(&written, &mut flaws);
        accepted(&flaws)?;
        obfuscation
    };
    let tunnel = Options { private_key, addresses, peers: vec![peer], mtu, obfuscation };
    let dns = params.get(&["dns"]).map(|dns| list(dns, &[','])).unwrap_or_default();
    let remote_dns = remote_dns(&dns, addresses)?;
    Ok((WireGuard { tunnel, endpoints: vec![endpoint], refresh: None, remote_dns }, dns))
}

fn peer(params: &Params, addresses: Addresses) -> Result<Peer, LinkError> {
    let public_key =
        params.key(&["publickey", "peerpublickey", "pbk"]).ok_or(LinkError::Missing("public key (publickey)"))?;
    let shared = params.key(&["presharedkey", "psk"]);
    let reserved = sound(wireguard::reserved(&params.key(&["reserved"]).unwrap_or_default()))?;
    let seconds =
        params.number("persistent-keepalive", &["persistentkeepalive", "keepalive", "persistentkeepaliveinterval"])?;
    let nets = params.get(&["allowedips"]).map(|nets| list(nets, &[',', ' '])).unwrap_or_default();
    let nets = nets.iter().map(|net| sound(wireguard::allowed_ip(net))).collect::<Result<Vec<_>, _>>()?;
    Ok(Peer {
        public_key: sound(wireguard::key("public-key", &public_key, "`public-key`"))?,
        preshared_key: shared
            .map(|shared| sound(wireguard::key("pre-shared-key", &shared, "`pre-shared-key`")))
            .transpose()?,
        allowed_ips: if nets.is_empty() { wireguard::everything(addresses) } else { nets },
        reserved: sound(wireguard::three(&reserved, None))?,
        keepalive: wireguard::keepalive(seconds.unwrap_or(0)),
    })
}

fn remote_dns(servers: &[String], addresses: Addresses) -> Result<Option<Arc<dyn Through>>, LinkError> {
    if servers.is_empty() {
        return Ok(None);
    }
    let list: Result<Vec<_>, _> = servers.iter().map(|text| dns::nameserver(text).map_err(|(_, flaw)| flaw)).collect();
    sound(list.and_then(|list| dns::servers(list, addresses, true))).map(Some)
}

/// The first address of each family.
fn addresses(params: &Params) -> Result<Addresses, LinkError> {
    let mut found = [None, None];
    for name in ["address", "localaddress", "ip", "ipv6"] {
        let texts = params.get(&[name]).map(|texts| list(texts, &[',', '-', ' '])).unwrap_or_default();
        for text in texts {
            let ip = sound(wireguard::address("ip", &text))?;
            let [v4, v6] = &mut found;
            (if ip.is_ipv4() { v4 } else { v6 }).get_or_insert(ip);
        }
    }
    let [v4, v6] = found;
    wireguard::addresses(v4, v6).map_err(|_| LinkError::Missing("address"))
}

/// The query. No name in it is there twice; of two that are spelt alike the first counts.
struct Params(HashMap<String, String>);

impl Params {
    fn of(url: &Url) -> Self {
        let mut params = HashMap::new();
        for (name, value) in url.query_pairs().filter(|(_, value)| !value.trim().is_empty()) {
            let name = name.to_ascii_lowercase().replace(['_', '-'], "");
            params.entry(name).or_insert_with(|| value.trim().to_owned());
        }
        Self(params)
    }

    fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.0.get(*name)).map(String::as_str)
    }

    /// A value in base64 whose plus signs were not encoded, so that they arrive as spaces.
    fn key(&self, names: &[&str]) -> Option<String> {
        self.get(names).map(|value| value.replace(' ', "+"))
    }

    fn number<T: std::str::FromStr>(&self, key: &str, names: &[&str]) -> Result<Option<T>, LinkError> {
        let Some(text) = self.get(names) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(LinkError::Wrong(format!("`{key}` is not a number in its range: '{}'", shown(text)))),
        }
    }
}

fn list(text: &str, separators: &[char]) -> Vec<String> {
    text.split(separators).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn sound<T>(value: Result<T, Flaw>) -> Result<T, LinkError> {
    value.map_err(|flaw| match accepted(&[flaw]) {
        Err(why) => why,
        Ok(()) => LinkError::NotALink("it is not complete"),
    })
}
