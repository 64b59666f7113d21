//! The proxy in the middle of a scene: adit, or a peer that shows how others behave.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::certificate::{Authority, TARGET};
use crate::lab::{ORIGIN_V4, WireGuardRoute};
use crate::peers::{self, Era};
use crate::stage::{FAR_NAME, Route, Security, pem_lines};
use crate::{Process, free_port};

/// Which program is the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Ours.
    Adit,
    /// Xray as a client.
    Xray(Era),
    /// Mihomo's core.
    Mihomo,
    /// sing-box.
    SingBox,
}

/// Where its traffic goes.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// Straight to the target.
    Direct,
    /// Through a VLESS server.
    Vless(&'a Route),
    /// Through a WireGuard peer. Start the proxy on the client side of the peer's [`crate::lab::Lab`]:
    /// `lab.client().run(|| subject.start(way))`; its port is on that side's loopback interface, and so must its clients be.
    /// adit and Mihomo know [`FAR_NAME`] there as [`ORIGIN_V4`]; give Xray addresses. sing-box cannot: the module that its
    /// WireGuard is made of is not to be had.
    WireGuard(&'a WireGuardRoute),
}

/// A running proxy with one port for SOCKS and HTTP.
#[derive(Debug)]
pub struct Proxy {
    /// Its process.
    pub process: Process,
    /// Its port.
    pub addr: SocketAddr,
}

impl Subject {
    /// The subject that the environment names in `ADIT_SUBJECT` (`adit`, `xray`, `mihomo`, `sing-box`); adit by default.
    ///
    /// # Panics
    /// On another name.
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var("ADIT_SUBJECT").as_deref() {
            Err(_) | Ok("adit") => Self::Adit,
            Ok("xray") => Self::Xray(Era::Xray26_10),
            Ok("mihomo") => Self::Mihomo,
            Ok("sing-box") => Self::SingBox,
            Ok(other) => panic!("no such subject: {other}"),
        }
    }

    /// Starts it.
    #[must_use]
    pub fn start(self, way: Way<'_>) -> Proxy {
        self.start_with(way, "", |command| command)
    }

    /// Starts it with more lines of YAML (adit and Mihomo only) and a changed command (adit only).
    #[must_use]
    pub fn start_with(self, way: Way<'_>, extra: &str, change: impl FnOnce(Command) -> Command) -> Proxy {
        let port = free_port();
        let process = match self {
            Self::Adit => peers::adit_with(&yaml(self, port, way, extra), &[port], change),
            Self::Mihomo => peers::mihomo(&yaml(self, port, way, extra), &[port]),
            Self::Xray(era) => peers::xray(era, &xray_json(port, way), &[port]),
            Self::SingBox => peers::sing_box(&sing_box_json(port, way), &[port]),
        };
        Proxy { process, addr: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// The program's file.
    #[must_use]
    pub fn binary(self) -> PathBuf {
        use crate::cache::{adit_binary, cached};
        match self {
            Self::Adit => adit_binary(),
            Self::Mihomo => cached("mihomo/mihomo"),
            Self::SingBox => cached("sing-box/sing-box"),
            Self::Xray(Era::Xray26_7) => cached("xray-26.7"),
            Self::Xray(Era::Xray26_10) => cached("xray-26.10"),
        }
    }
}

/// One configuration for adit and Mihomo: the same keys mean the same to both.
fn yaml(subject: Subject, port: u16, way: Way<'_>, extra: &str) -> String {
    let text = format!("mixed-port: {port}\nlog-level: warning\n{extra}\n");
    match way {
        Way::Direct => {
            format!("{text}hosts:\n  {FAR_NAME}: 127.0.0.1\n  localhost: 127.0.0.1\nrules:\n  - MATCH,DIRECT\n")
        }
        Way::Vless(route) => {
            format!("{text}proxies:\n{}rules:\n  - MATCH,node\n", yaml_vless(subject, "node", route))
        }
        Way::WireGuard(route) => {
            let node = yaml_wireguard("node", route);
            format!("{text}hosts:\n  {FAR_NAME}: {ORIGIN_V4}\nproxies:\n{node}rules:\n  - MATCH,node\n")
        }
    }
}

/// `way` as an entry of adit's `proxies:`, indented by two; without one for [`Way::Direct`].
#[must_use]
pub fn yaml_proxy(name: &str, way: Way<'_>) -> String {
    match way {
        Way::Direct => String::new(),
        Way::Vless(route) => yaml_vless(Subject::Adit, name, route),
        Way::WireGuard(route) => yaml_wireguard(name, route),
    }
}

fn yaml_vless(subject: Subject, name: &str, route: &Route) -> String {
    let mut text = format!(
        "  - name: {name}\n    type: vless\n    server: {}\n    port: {}\n    uuid: {}\n    network: tcp\n    udp: true\n",
        route.server.ip(),
        route.server.port(),
        route.uuid,
    );
    if route.vision {
        text += "    flow: xtls-rprx-vision\n";
    }
    match &route.security {
        Security::None => {}
        Security::Tls => text += &format!("    tls: true\n    servername: {TARGET}\n    skip-cert-verify: true\n"),
        Security::Reality(reality) => {
            text += &format!(
                "    tls: true\n    servername: {}\n    client-fingerprint: {}\n    reality-opts:\n      public-key: {}\n      short-id: \
                 \"{}\"\n",
                reality.server_name, reality.fingerprint, reality.public_key, reality.short_id
            );
            if subject == Subject::Mihomo {
                text += "      support-x25519mlkem768: true\n";
            }
            if let Some(key) = &reality.mldsa65_verify {
                text += &format!("      mldsa65-verify: {key}\n");
            }
        }
    }
    text
}

fn yaml_wireguard(name: &str, route: &WireGuardRoute) -> String {
    let mut text = format!(
        "  - name: {name}\n    type: wireguard\n    server: {}\n    port: {}\n    private-key: {}\n    public-key: {}\n    \
         allowed-ips: ['0.0.0.0/0', '::/0']\n    mtu: {}\n    persistent-keepalive: {}\n    udp: true\n",
        route.endpoint.ip(),
        route.endpoint.port(),
        route.private_key.base64(),
        route.public_key.base64(),
        route.mtu,
        route.keepalive,
    );
    if let Some(v4) = route.v4 {
        text += &format!("    ip: {v4}\n");
    }
    if let Some(v6) = route.v6 {
        text += &format!("    ipv6: {v6}\n");
    }
    if let Some(key) = &route.pre_shared_key {
        text += &format!("    pre-shared-key: {}\n", key.base64());
    }
    for key in &route.more {
        text += &format!("    {key}\n");
    }
    text
}

fn xray_json(port: u16, way: Way<'_>) -> Value {
    let outbound = match way {
        Way::Direct => json!({
            "protocol": "freedom",
            "settings": { "finalRules": [{ "action": "allow" }] },
        }),
        Way::Vless(route) => json!({
            "protocol": "vless",
            "settings": {
                "address": route.server.ip().to_string(),
                "port": route.server.port(),
                "id": route.uuid,
                "encryption": "none",
                "flow": if route.vision { "xtls-rprx-vision" } else { "" },
            },
            "streamSettings": xray_stream(route),
        }),
        Way::WireGuard(route) => xray_wireguard(route),
    };
    json!({
        "log": { "loglevel": "warning", "access": "none" },
        "inbounds": [{
            "listen": "127.0.0.1",
            "port": port,
            "protocol": "mixed",
            "settings": { "udp": true, "ip": "127.0.0.1" },
        }],
        "outbounds": [outbound],
    })
}

fn xray_wireguard(route: &WireGuardRoute) -> Value {
    let addresses = route.v4.map(|v4| v4.to_string()).into_iter().chain(route.v6.map(|v6| v6.to_string()));
    let mut peer = json!({
        "publicKey": route.public_key.base64(),
        "endpoint": route.endpoint.to_string(),
        "keepAlive": route.keepalive,
        "allowedIPs": ["0.0.0.0/0", "::/0"],
    });
    if let Some(key) = &route.pre_shared_key {
        peer["preSharedKey"] = json!(key.base64());
    }
    json!({
        "protocol": "wireguard",
        "settings": {
            "secretKey": route.private_key.base64(),
            "address": addresses.collect::<Vec<_>>(),
            "peers": [peer],
            "mtu": route.mtu,
            // Its other stack is a TUN interface of the kernel.
            "noKernelTun": true,
            "domainStrategy": "ForceIP",
        },
    })
}

fn xray_stream(route: &Route) -> Value {
    match &route.security {
        Security::None => json!({ "network": "raw", "security": "none" }),
        Security::Tls => {
            let root = std::fs::read_to_string(Authority::shared().root_file()).expect("our own root");
            json!({
                "network": "raw",
                "security": "tls",
                "tlsSettings": {
                    "serverName": TARGET,
                    "certificates": [{ "usage": "verify", "certificate": pem_lines(&root) }],
                },
            })
        }
        Security::Reality(reality) => json!({
            "network": "raw",
            "security": "reality",
            "realitySettings": {
                "fingerprint": reality.fingerprint,
                "serverName": reality.server_name,
                "publicKey": reality.public_key,
                "shortId": reality.short_id,
                "mldsa65Verify": reality.mldsa65_verify.as_deref().unwrap_or(""),
            },
        }),
    }
}

fn sing_box_json(port: u16, way: Way<'_>) -> Value {
    let outbound = match way {
        Way::WireGuard(_) => panic!("sing-box is built without WireGuard"),
        Way::Direct => json!({ "type": "direct", "tag": "out" }),
        Way::Vless(route) => {
            let mut outbound = json!({
                "type": "vless",
                "tag": "out",
                "server": route.server.ip().to_string(),
                "server_port": route.server.port(),
                "uuid": route.uuid,
                "flow": if route.vision { "xtls-rprx-vision" } else { "" },
                "packet_encoding": "xudp",
            });
            match &route.security {
                Security::None => {}
                Security::Tls => outbound["tls"] = json!({ "enabled": true, "server_name": TARGET, "insecure": true }),
                Security::Reality(reality) => {
                    outbound["tls"] = json!({
                        "enabled": true,
                        "server_name": reality.server_name,
                        "utls": { "enabled": true, "fingerprint": reality.fingerprint },
                        "reality": {
                            "enabled": true,
                            "public_key": reality.public_key,
                            "short_id": reality.short_id,
                        },
                    });
                }
            }
            outbound
        }
    };
    json!({
        "log": { "level": "warn" },
        "inbounds": [{ "type": "mixed", "listen": "127.0.0.1", "listen_port": port }],
        "outbounds": [outbound],
    })
}
