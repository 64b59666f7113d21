//! VLESS options from what was written in YAML or in a share link.
//!
//! Spec: vless-reality §9.

use adit_net::Target;
use adit_outbound::vless::{Flow, Options, PacketEncoding, Security, UserId};
use adit_reality::{BadOption, Fingerprint, Hybrid};

use super::flaw::Flaw;
use super::tls;

/// A VLESS server as written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) server: Target,
    pub(crate) uuid: String,
    pub(crate) flow: String,
    /// Whether plain `xtls-rprx-vision` lets QUIC pass: yes in Mihomo's YAML, no in share links, which are Xray's.
    pub(crate) vision_passes_quic: bool,
    pub(crate) encryption: String,
    pub(crate) network: String,
    pub(crate) packet_encoding: String,
    /// Mihomo's older spelling of `packet-encoding: packetaddr`.
    pub(crate) packet_addr: bool,
    pub(crate) tls: Option<tls::Written>,
    pub(crate) client_fingerprint: Option<String>,
    pub(crate) reality: Option<Reality>,
}

/// `reality-opts` as written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reality {
    pub(crate) public_key: String,
    pub(crate) short_id: String,
    pub(crate) support_x25519mlkem768: Option<bool>,
    pub(crate) mldsa65_verify: Option<String>,
    pub(crate) client_version: Option<String>,
}

/// The options, if nothing is [wrong](super::flaw::Gravity) with them or beyond us.
pub(crate) fn options(written: Written, flaws: &mut Vec<Flaw>) -> Option<Options> {
    let id = UserId::parse(&written.uuid);
    if id.is_none() {
        flaws.push(
            Flaw::wrong("uuid", "`uuid` is not a UUID").hint("it looks like 01234567-89ab-cdef-0123-456789abcdef"),
        );
    }
    transport(&written, flaws);
    let flow = flow(&written, flaws);
    let packet_encoding = packet_encoding(&written);
    let security = security(written.tls, written.reality, written.client_fingerprint, &written.server, flaws);
    Some(Options { server: written.server, id: id?, security: security?, flow, packet_encoding })
}

fn transport(written: &Written, flaws: &mut Vec<Flaw>) {
    match written.network.as_str() {
        "" | "tcp" | "raw" => {}
        known @ ("ws" | "http" | "h2" | "grpc" | "xhttp" | "splithttp" | "httpupgrade" | "kcp" | "quic") => {
            flaws
                .push(Flaw::unsupported("network", format!("`network: {known}` is not supported")).hint("only tcp is"));
        }
        other => {
            let message = format!("unknown network '{}'", crate::report::shown(other));
            flaws.push(Flaw::wrong("network", message).hint("it is tcp, or left out"));
        }
    }
    match written.encryption.as_str() {
        "" | "none" => {}
        text if text.starts_with("mlkem768x25519plus") => {
            flaws.push(Flaw::unsupported("encryption", "VLESS encryption is not supported").hint("only `none` is"));
        }
        _ => flaws.push(Flaw::wrong("encryption", "unknown VLESS encryption").hint("it is none, or left out")),
    }
}

fn flow(written: &Written, flaws: &mut Vec<Flaw>) -> Flow {
    const VISION: &str = "xtls-rprx-vision";
    let Some(rest) = written.flow.strip_prefix(VISION) else {
        if !written.flow.is_empty() {
            // Mihomo's words; shorter values it would send to the server, which refuses them.
            let text = format!("unsupported xtls flow type: {}", crate::report::shown(&written.flow));
            flaws.push(Flaw::wrong("flow", text).hint("it is xtls-rprx-vision, or left out"));
        }
        return Flow::Plain;
    };
    if written.tls.is_none() && written.reality.is_none() {
        flaws.push(
            Flaw::unsupported("flow", "`xtls-rprx-vision` works only inside TLS or REALITY")
                .hint("add `tls: true`, and `reality-opts` if the server has REALITY"),
        );
    }
    Flow::Vision { udp443: written.vision_passes_quic || rest == "-udp443" }
}

fn packet_encoding(written: &Written) -> PacketEncoding {
    match written.packet_encoding.as_str() {
        "packetaddr" | "packet" => PacketEncoding::PacketAddr,
        "" if written.packet_addr => PacketEncoding::PacketAddr,
        _ => PacketEncoding::Xudp, // Mihomo takes any other word for xudp, too
    }
}

fn security(
    tls: Option<tls::Written>,
    reality: Option<Reality>,
    client_fingerprint: Option<String>,
    server: &Target,
    flaws: &mut Vec<Flaw>,
) -> Option<Security> {
    let host = server.host.to_string();
    match (tls, reality) {
        (tls, Some(written)) => {
            let server_name = tls.and_then(|tls| tls.server_name).filter(|name| !name.is_empty());
            let server_name = server_name.unwrap_or(host);
            let options = self::reality(&written, &server_name, client_fingerprint.as_deref(), flaws)?;
            Some(Security::Reality(Box::new(options)))
        }
        (Some(written), None) => {
            if client_fingerprint.is_some_and(|name| !name.is_empty() && name != "none") {
                let text = "`client-fingerprint` has an effect with REALITY only; this proxy uses ordinary TLS";
                flaws.push(Flaw::doubtful("client-fingerprint", text));
            }
            Some(Security::Tls(tls::options(written, &host, flaws)))
        }
        (None, None) => Some(Security::None),
    }
}

fn reality(
    written: &Reality,
    server_name: &str,
    fingerprint: Option<&str>,
    flaws: &mut Vec<Flaw>,
) -> Option<adit_reality::Options> {
    let server_name = checked(server_name.parse(), flaws);
    let public_key = checked(written.public_key.parse(), flaws);
    let short_id = checked(written.short_id.parse(), flaws);
    let fingerprint = match fingerprint.filter(|name| !name.is_empty()) {
        None => Some(Fingerprint::Chrome),
        Some(name) => checked(name.parse(), flaws),
    };
    let mldsa65_verify = match written.mldsa65_verify.as_deref().filter(|key| !key.is_empty()) {
        None => Some(None),
        Some(key) => checked(key.parse(), flaws).map(Some),
    };
    let client_version = match written.client_version.as_deref() {
        None => Some(adit_reality::ClientVersion::default()),
        Some(version) => checked(version.parse(), flaws),
    };
    let mut options = adit_reality::Options::new(server_name?, public_key?, short_id?);
    options.fingerprint = fingerprint?;
    options.mldsa65_verify = mldsa65_verify?;
    options.client_version = client_version?;
    options.hybrid = match written.support_x25519mlkem768 {
        Some(false) => Hybrid::Strip,
        Some(true) | None => Hybrid::AsFingerprint,
    };
    if !options.has_hybrid_share() {
        let (key, why) = match options.hybrid {
            Hybrid::Strip => ("support-x25519mlkem768", "`support-x25519mlkem768: false`".to_owned()),
            _ => ("client-fingerprint", format!("`client-fingerprint: {}`", options.fingerprint)),
        };
        let text = format!("with {why} the hello has no X25519MLKEM768 key share; Xray 26.9.8 and later refuse it");
        let hint =
            if key == "client-fingerprint" { "use chrome" } else { "leave the key out unless the server is old" };
        flaws.push(Flaw::doubtful(key, text).hint(hint));
    }
    Some(options)
}

/// What REALITY itself says about a value. It never repeats the value.
fn checked<T>(value: Result<T, BadOption>, flaws: &mut Vec<Flaw>) -> Option<T> {
    value.map_err(|bad| flaws.push(Flaw::wrong(bad.option(), format!("`{}`: {}", bad.option(), bad.reason())))).ok()
}
