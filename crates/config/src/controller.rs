//! `external-controller` and its kin: where the API is, and who may use it. Spec: mihomo-surface §1.2, §9.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use adit_net::Secret;

use crate::context::Context;
use crate::inbound::Listening;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};
use crate::yaml::At;

/// Where the API is, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerPlan {
    /// Where it is served over HTTP.
    pub listen: Option<SocketAddr>,
    /// Where it is served over HTTPS.
    pub tls: Option<ControllerTls>,
    /// The socket in the file system where it is served without asking for the secret.
    pub unix: Option<PathBuf>,
    /// What clients must know; `None` lets everybody in.
    pub secret: Option<Secret>,
    /// What pages of other origins may do.
    pub cors: Cors,
    /// The folder behind `/ui`: `external-ui`, and `external-ui-name` in it. It need not exist.
    pub ui: Option<PathBuf>,
}

/// `external-controller-tls` with `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerTls {
    /// Where it listens.
    pub listen: SocketAddr,
    /// PEM, leaf first.
    pub certificate: String,
    /// PEM.
    pub private_key: Secret,
}

/// `external-controller-cors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Origins that may read answers, `*` for all; a `*` inside one stands for anything.
    pub origins: Vec<String>,
    /// Whether pages of the internet may reach an API in a private network.
    pub private_network: bool,
}

/// Reads the keys. `None` if the API is served nowhere.
pub(crate) fn read(fields: &mut Fields<'_>, listening: &mut Listening, cx: &Context<'_>) -> Option<ControllerPlan> {
    let (listen_at, tls_at) = (fields.place("external-controller"), fields.place("external-controller-tls"));
    let listen = address(fields, "external-controller", cx);
    let tls_listen = address(fields, "external-controller-tls", cx);
    let tls = tls(fields, tls_listen.zip(tls_at), cx);
    let unix = text(fields, "external-controller-unix").map(|path| cx.home.dir().join(path.text));
    let secret = text(fields, "secret").map(|secret| Secret::new(secret.text));
    let cors = cors(fields);
    let ui = ui(fields, cx);
    for (key, listen, at) in
        [("external-controller", listen, listen_at), ("external-controller-tls", tls_listen, tls_at)]
    {
        listening.add(format!("`{key}`"), listen, at);
    }
    let open = listen.into_iter().chain(tls_listen).find(|listen| !listen.ip().is_loopback());
    if let (Some(open), None) = (open, &secret) {
        listening.notices.push(format!(
            "external-controller at {open} without `secret`: everybody who reaches it can see and change everything \
             (set `secret`, or listen on 127.0.0.1)"
        ));
    }
    let is_served = listen.is_some() || tls.is_some() || unix.is_some();
    is_served.then_some(ControllerPlan { listen, tls, unix, secret, cors, ui })
}

fn text<'d>(fields: &mut Fields<'d>, key: &'static str) -> Option<Text<'d>> {
    fields.take(key).and_then(Value::text).filter(|text| !text.text.is_empty())
}

/// `host:port`; without a host it is every address of both families. Port 0 is any free one.
fn address(fields: &mut Fields<'_>, key: &'static str, cx: &Context<'_>) -> Option<SocketAddr> {
    let written = text(fields, key)?;
    let by_name = || {
        let (host, port) = written.text.rsplit_once(':')?;
        let ip = match host {
            "" | "*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port.parse().ok()?))
    };
    let address = written.text.parse().ok().or_else(by_name);
    if address.is_none() {
        let text = format!("`{key}` must be an address and a port, found '{}'", shown(written.text));
        cx.report.add(Draft::error(written.at, text).hint("write it like 127.0.0.1:9090, or :9090 for everyone"));
    }
    address
}

/// `tls`, whose certificate the API needs if it is to be served over TLS.
fn tls(fields: &mut Fields<'_>, listen: Option<(SocketAddr, At)>, cx: &Context<'_>) -> Option<ControllerTls> {
    let mut certificate = None;
    let mut private_key = None;
    if let Some(mut tls) = fields.take("tls").and_then(Value::fields) {
        let mut pem = |key: &'static str| {
            let written = text(&mut tls, key)?;
            match written.text.contains("-----BEGIN ") {
                true => Some(written.text.to_owned()),
                false if listen.is_some() => cx.home.read(key, written, cx.report),
                false => None, // nobody needs the file
            }
        };
        certificate = pem("certificate");
        private_key = pem("private-key");
        tls.finish("`tls`", &["client-auth-type", "client-auth-cert", "ech-key", "custom-certifactes"]);
    }
    let (listen, at) = listen?;
    if let (Some(certificate), Some(private_key)) = (certificate, private_key) {
        return Some(ControllerTls { listen, certificate, private_key: Secret::new(private_key) });
    }
    let text = "`external-controller-tls` needs `certificate` and `private-key` in `tls`";
    cx.report.error(at, text);
    None
}

fn cors(fields: &mut Fields<'_>) -> Cors {
    let written = fields.take("external-controller-cors").and_then(Value::fields);
    let Some(mut written) = written else { return Cors { origins: vec!["*".to_owned()], private_network: true } };
    let origins = written.take("allow-origins").map_or_else(|| vec!["*".to_owned()], Value::strings);
    let private_network = written.take("allow-private-network").and_then(Value::boolean).unwrap_or(true);
    written.finish("`external-controller-cors`", &[]);
    Cors { origins, private_network }
}

/// The folder of the dashboard. Nobody downloads one, so one that is missing is worth a word.
fn ui(fields: &mut Fields<'_>, cx: &Context<'_>) -> Option<PathBuf> {
    let folder = text(fields, "external-ui");
    let name = text(fields, "external-ui-name");
    let url = text(fields, "external-ui-url");
    let at = folder.or(name)?.at;
    let mut path = match folder {
        Some(folder) => cx.home.resolve("external-ui", folder, cx.report)?,
        None => cx.home.dir().join("ui"),
    };
    if let Some(name) = name {
        if !is_local(name.text) {
            cx.report.error(name.at, format!("external UI name is not local: {}", shown(name.text)));
            return None;
        }
        path.push(name.text);
    }
    if !path.is_dir() {
        let shown = shown(&path.to_string_lossy());
        let draft = Draft::warning(at, format!("there is no dashboard in {shown}, and none is downloaded"));
        cx.report.add(match url {
            Some(_) => draft.hint("unpack what `external-ui-url` names there"),
            None => draft.hint("unpack one there; the built-in one needs none"),
        });
    }
    Some(path)
}

/// Whether a path stays inside the folder that it is joined to.
fn is_local(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
