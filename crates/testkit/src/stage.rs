//! The servers of a scene: one Xray with every kind of VLESS door, its targets behind it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::certificate::{Authority, TARGET};
use crate::origin::{TlsOptions, TlsOrigin};
use crate::peers::{Era, xray};
use crate::{Process, free_port, mldsa};

/// The user of every server. Test keys, as the spec page prints them.
pub const UUID: &str = "b831381d-6324-4d53-ad4f-8cda48b30811";
/// The REALITY server's private key.
pub const PRIVATE_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8";
/// The public key to it.
pub const PUBLIC_KEY: &str = "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYlQ";
/// The REALITY server's short id.
pub const SHORT_ID: &str = "0123456789abcdef";
/// A name that the servers resolve to loopback, and nobody else does.
pub const FAR_NAME: &str = "origin.test";

/// A name that the REALITY doors accept beside [`TARGET`], as long as the one that browsers are captured with.
pub const BROWSER_NAME: &str = "www.example.com";

/// Which VLESS inbound of a [`Stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// REALITY, flow `xtls-rprx-vision`.
    Vision,
    /// REALITY, no flow.
    Plain,
    /// REALITY with Vision and ML-DSA-65.
    MlDsa,
    /// REALITY with Vision and `maxTimeDiff` of one minute.
    Clock,
    /// TLS with a certificate of this process's authority, no flow.
    Tls,
    /// TLS with Vision.
    TlsVision,
    /// No encryption.
    Bare,
}

impl Door {
    const ALL: [Self; 7] =
        [Self::Vision, Self::Plain, Self::MlDsa, Self::Clock, Self::Tls, Self::TlsVision, Self::Bare];

    fn vision(self) -> bool {
        matches!(self, Self::Vision | Self::MlDsa | Self::Clock | Self::TlsVision)
    }
}

/// What a client must know to use a [`Door`].
#[derive(Clone, Debug)]
pub struct Route {
    /// The server, or a middleman in front of it.
    pub server: SocketAddr,
    /// The user.
    pub uuid: String,
    /// Whether the flow is `xtls-rprx-vision`.
    pub vision: bool,
    /// What protects it.
    pub security: Security,
}

/// What protects a [`Route`].
#[derive(Clone, Debug)]
pub enum Security {
    /// Nothing.
    None,
    /// TLS, certificate for [`TARGET`].
    Tls,
    /// REALITY.
    Reality(Reality),
}

/// A client's REALITY settings.
#[derive(Clone, Debug)]
pub struct Reality {
    /// base64url without padding.
    pub public_key: String,
    /// Hex.
    pub short_id: String,
    /// What the hello names.
    pub server_name: String,
    /// base64url without padding, for servers that sign with ML-DSA-65 too.
    pub mldsa65_verify: Option<String>,
    /// Fingerprint name.
    pub fingerprint: String,
}

impl Route {
    /// The same route with another address, that of a middleman.
    #[must_use]
    pub fn through(mut self, server: SocketAddr) -> Self {
        self.server = server;
        self
    }

    /// The same route with changed REALITY settings.
    ///
    /// # Panics
    /// When it is not REALITY.
    #[must_use]
    pub fn reality(mut self, change: impl FnOnce(&mut Reality)) -> Self {
        let Security::Reality(reality) = &mut self.security else {
            panic!("this route is not REALITY");
        };
        change(reality);
        self
    }
}

/// One Xray server with all doors, and the TLS targets that its REALITY doors show to strangers.
#[derive(Debug)]
pub struct Stage {
    process: Process,
    doors: Vec<(Door, u16)>,
    target: TlsOrigin,
    /// The ML-DSA door's target: its certificate must be large.
    _large_target: TlsOrigin,
    config: Value,
    era: Era,
    listen: Ipv4Addr,
}

/// Where a [`Stage`] is, and what its server knows.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Where its doors are.
    pub listen: Ipv4Addr,
    /// Names and their addresses, in the server's own words: `domain:x.test` means also what ends in `.x.test`.
    pub names: &'a [(&'a str, &'a [IpAddr])],
}

impl Site<'_> {
    const LOOPBACK: Self =
        Self { listen: Ipv4Addr::LOCALHOST, names: &[(FAR_NAME, &[IpAddr::V4(Ipv4Addr::LOCALHOST)])] };
}

impl Stage {
    /// The one that all tests of this process share. A fresh server makes its first clients wait some 5 s while it studies its
    /// target (spec §0.1, trap 8), so tests start no server of their own without need.
    pub fn shared(era: Era) -> &'static Self {
        static OLD: OnceLock<Stage> = OnceLock::new();
        static NEW: OnceLock<Stage> = OnceLock::new();
        match era {
            Era::Xray26_7 => OLD.get_or_init(|| Self::start(era, &Door::ALL)),
            Era::Xray26_10 => NEW.get_or_init(|| Self::start(era, &Door::ALL)),
        }
    }

    /// A server of one's own, with these doors.
    #[must_use]
    pub fn start(era: Era, doors: &[Door]) -> Self {
        Self::start_at(era, doors, Site::LOOPBACK)
    }

    /// The same at another site, in the network namespace of the caller.
    #[must_use]
    pub fn start_at(era: Era, doors: &[Door], site: Site<'_>) -> Self {
        let target = TlsOrigin::start(TlsOptions { h2: true, ..TlsOptions::default() });
        let large_target = TlsOrigin::start(TlsOptions { h2: true, large_certificate: true, ..TlsOptions::default() });
        let doors: Vec<(Door, u16)> = doors.iter().map(|&door| (door, free_port())).collect();
        let inbounds: Vec<Value> = doors
            .iter()
            .map(|&(door, port)| {
                let target = if door == Door::MlDsa { &large_target } else { &target };
                inbound(door, (site.listen, port).into(), target.addr())
            })
            .collect();
        let config = json!({
            "log": { "loglevel": "info" },
            "dns": { "hosts": site.names.iter().map(|(name, ips)| ((*name).to_owned(), json!(ips))).collect::<Map<_, _>>() },
            "inbounds": inbounds,
            "outbounds": [{
                "protocol": "freedom",
                // Newer generations refuse private destinations without such a rule.
                "settings": { "domainStrategy": "UseIP", "finalRules": [{ "action": "allow" }] },
            }],
        });
        let process = xray(era, &config, &ports(&doors));
        Self { process, doors, target, _large_target: large_target, config, era, listen: site.listen }
    }

    /// Kills the server and starts it again on the same ports.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = xray(self.era, &self.config, &ports(&self.doors));
    }

    /// The server's process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The same, to kill it.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The site that strangers are shown.
    #[must_use]
    pub fn target(&self) -> &TlsOrigin {
        &self.target
    }

    /// How to reach `door`.
    ///
    /// # Panics
    /// When this stage does not have it.
    #[must_use]
    pub fn route(&self, door: Door) -> Route {
        let port = self.doors.iter().find(|(name, _)| *name == door).map(|&(_, port)| port);
        let security = match door {
            Door::Bare => Security::None,
            Door::Tls | Door::TlsVision => Security::Tls,
            Door::Vision | Door::Plain | Door::Clock | Door::MlDsa => Security::Reality(Reality {
                public_key: PUBLIC_KEY.to_owned(),
                short_id: SHORT_ID.to_owned(),
                server_name: TARGET.to_owned(),
                mldsa65_verify: (door == Door::MlDsa).then(|| mldsa::key_pair([7; 32]).1),
                fingerprint: "chrome".to_owned(),
            }),
        };
        Route {
            server: (self.listen, port.expect("a door of this stage")).into(),
            uuid: UUID.to_owned(),
            vision: door.vision(),
            security,
        }
    }
}

fn ports(doors: &[(Door, u16)]) -> Vec<u16> {
    doors.iter().map(|&(_, port)| port).collect()
}

/// Lines of a PEM text, as Xray wants them in JSON.
pub(crate) fn pem_lines(pem: &str) -> Vec<&str> {
    pem.lines().collect()
}

fn inbound(door: Door, at: SocketAddr, target: SocketAddr) -> Value {
    let leaf = Authority::shared().small();
    let flow = if door.vision() { "xtls-rprx-vision" } else { "" };
    let mut stream = match door {
        Door::Bare => json!({ "security": "none" }),
        Door::Tls | Door::TlsVision => json!({
            "security": "tls",
            "tlsSettings": { "certificates": [{
                "certificate": pem_lines(leaf.pem()),
                "key": pem_lines(leaf.key_pem()),
            }] },
        }),
        Door::Vision | Door::Plain | Door::Clock | Door::MlDsa => {
            let mut settings = json!({
                "show": false,
                "target": target.to_string(),
                "serverNames": [TARGET, BROWSER_NAME],
                "privateKey": PRIVATE_KEY,
                "shortIds": [SHORT_ID],
            });
            if door == Door::Clock {
                settings["maxTimeDiff"] = json!(60_000);
            }
            if door == Door::MlDsa {
                settings["mldsa65Seed"] = json!(mldsa::key_pair([7; 32]).0);
            }
            json!({ "security": "reality", "realitySettings": settings })
        }
    };
    stream["network"] = json!("raw");
    json!({
        "listen": at.ip().to_string(),
        "port": at.port(),
        "protocol": "vless",
        "settings": { "clients": [{ "id": UUID, "flow": flow }], "decryption": "none" },
        "streamSettings": stream,
    })
}
