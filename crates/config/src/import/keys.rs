//! The YAML keys that stand for options.

use adit_net::Target;
use adit_outbound::options::{Credentials, Http, Socks5, Tls, Verify, WireGuard};
use adit_wireguard::options::{Keepalive, Mtu, Peer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::write::{Keys, Written};
use crate::proxy::wireguard::{amnezia, is_everything};
use crate::proxy::{tls, vless};

/// A tunnel. Of several intervals of keep-alive the shortest is written: YAML has one for all peers.
pub(super) fn wireguard(options: &WireGuard, dns: &[String]) -> Keys {
    let WireGuard { tunnel, endpoints, refresh, .. } = options;
    let mut keys = Vec::new();
    let peers: Vec<(&Peer, &Target)> = tunnel.peers.iter().zip(endpoints).collect();
    let only = match &*peers {
        [(peer, endpoint)] if is_everything(&peer.allowed_ips, tunnel.addresses) => Some((*peer, *endpoint)),
        _ => None,
    };
    if let Some((_, endpoint)) = only {
        keys.extend(server(endpoint));
    }
    keys.extend(tunnel.addresses.v4().map(|v4| ("ip", Written::text(v4.to_string()))));
    keys.extend(tunnel.addresses.v6().map(|v6| ("ipv6", Written::text(v6.to_string()))));
    keys.push(("private-key", Written::text(STANDARD.encode(tunnel.private_key.reveal()))));
    match only {
        Some((peer, _)) => keys.extend(identity(peer)),
        None => {
            let peers = peers.into_iter().map(|(peer, endpoint)| several(peer, endpoint)).collect();
            keys.push(("peers", Written::Maps(peers)));
        }
    }
    if tunnel.mtu != Mtu::DEFAULT {
        keys.push(("mtu", Written::bare(tunnel.mtu.bytes())));
    }
    let seconds = tunnel.peers.iter().filter_map(|peer| match peer.keepalive {
        Keepalive::Off => None,
        Keepalive::Every(seconds) => Some(seconds),
    });
    keys.extend(seconds.min().map(|seconds| ("persistent-keepalive", Written::bare(seconds))));
    keys.extend(refresh.map(|refresh| ("refresh-server-ip-interval", Written::bare(refresh.as_secs()))));
    if let Some(obfuscation) = &tunnel.obfuscation {
        let written = amnezia::written(obfuscation).into_iter();
        let options = written.map(|(key, value)| match value.parse::<u32>() {
            Ok(number) => (key, Written::bare(number)),
            Err(_) => (key, Written::Text(value)),
        });
        keys.push(("amnezia-wg-option", Written::Map(options.collect())));
    }
    keys.push(("udp", Written::bare(true)));
    if !dns.is_empty() {
        keys.push(("remote-dns-resolve", Written::bare(true)));
        keys.push(("dns", Written::Texts(dns.to_vec())));
    }
    keys
}

fn several(peer: &Peer, endpoint: &Target) -> Keys {
    let nets = peer.allowed_ips.iter().map(ToString::to_string).collect();
    let mut keys = Vec::from(server(endpoint));
    keys.extend(identity(peer));
    keys.push(("allowed-ips", Written::Texts(nets)));
    keys
}

fn identity(peer: &Peer) -> Keys {
    let mut keys = vec![("public-key", Written::text(peer.public_key.to_string()))];
    let shared = peer.preshared_key.as_ref();
    keys.extend(shared.map(|shared| ("pre-shared-key", Written::text(STANDARD.encode(shared.reveal())))));
    if peer.reserved != [0; 3] {
        keys.push(("reserved", Written::Bytes(peer.reserved.to_vec())));
    }
    keys
}

/// A VLESS server; `written` is right, see [`vless::options`].
pub(super) fn vless(written: &vless::Written) -> Keys {
    let mut keys = Vec::from(server(&written.server));
    keys.push(("uuid", Written::text(&*written.uuid)));
    let optional = |key, value: &str| (!value.is_empty()).then(|| (key, Written::text(value)));
    keys.extend(optional("flow", &written.flow));
    keys.extend(optional("packet-encoding", &written.packet_encoding));
    keys.push(("udp", Written::bare(true)));
    if let Some(tls) = &written.tls {
        keys.extend(written_tls("servername", tls));
    }
    keys.extend(written.client_fingerprint.as_deref().and_then(|name| optional("client-fingerprint", name)));
    if let Some(reality) = &written.reality {
        let mut opts = vec![("public-key", Written::text(&*reality.public_key))];
        opts.extend(optional("short-id", &reality.short_id));
        let hybrid = reality.support_x25519mlkem768;
        opts.extend(hybrid.map(|hybrid| ("support-x25519mlkem768", Written::bare(hybrid))));
        opts.extend(reality.mldsa65_verify.as_deref().and_then(|key| optional("mldsa65-verify", key)));
        keys.push(("reality-opts", Written::Map(opts)));
    }
    keys
}

fn written_tls(name_key: &'static str, written: &tls::Written) -> Keys {
    let mut keys = vec![("tls", Written::bare(true))];
    keys.extend(written.server_name.as_ref().map(|name| (name_key, Written::text(&**name))));
    if !written.alpn.is_empty() {
        keys.push(("alpn", Written::Texts(written.alpn.clone())));
    }
    if written.skip_verify {
        keys.push(("skip-cert-verify", Written::bare(true)));
    }
    keys.extend(written.fingerprint.as_ref().map(|pin| ("fingerprint", Written::text(&**pin))));
    keys
}

pub(super) fn socks5(options: &Socks5) -> Keys {
    let mut keys = Vec::from(server(&options.server));
    keys.extend(options.credentials.iter().flat_map(credentials));
    keys.push(("udp", Written::bare(true)));
    keys
}

pub(super) fn http(options: &Http) -> Keys {
    let mut keys = Vec::from(server(&options.server));
    keys.extend(options.credentials.iter().flat_map(credentials));
    if let Some(Tls { server_name, verify, .. }) = &options.tls {
        keys.push(("tls", Written::bare(true)));
        if *server_name != options.server.host.to_string() {
            keys.push(("sni", Written::text(&**server_name)));
        }
        if matches!(verify, Verify::Off) {
            keys.push(("skip-cert-verify", Written::bare(true)));
        }
    }
    keys
}

fn credentials(credentials: &Credentials) -> Keys {
    let user = ("username", Written::text(&*credentials.user));
    vec![user, ("password", Written::text(credentials.password.reveal()))]
}

fn server(target: &Target) -> [(&'static str, Written); 2] {
    [("server", Written::text(target.host.to_string())), ("port", Written::bare(target.port))]
}
