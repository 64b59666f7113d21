//! The settings that `GET /configs` shows, as they were written. Spec: mihomo-surface §9.5.

use adit_net::Secret;

use crate::read::Value;
use crate::source::Overrides;

/// Settings as they were written, for `GET /configs`; what cannot be read as what it should be is as if absent. What the
/// settings mean is in [`General`](crate::General) and elsewhere in the plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `port`; 0 is off, as for all ports.
    pub port: u16,
    /// `socks-port`
    pub socks_port: u16,
    /// `redir-port`
    pub redir_port: u16,
    /// `tproxy-port`
    pub tproxy_port: u16,
    /// `mixed-port`
    pub mixed_port: u16,
    /// `allow-lan`
    pub allow_lan: bool,
    /// What is written about the classic listeners: said over another configuration, it keeps them as they are. Keys that
    /// are not written are null in it.
    pub listeners: Overrides,
    /// `bind-address`, `*` unless it is written.
    pub bind_address: String,
    /// The user names of `authentication`.
    pub users: Vec<String>,
    /// `skip-auth-prefixes`
    pub skip_auth_prefixes: Vec<String>,
    /// `lan-allowed-ips`; everybody unless it is written.
    pub lan_allowed_ips: Vec<String>,
    /// `lan-disallowed-ips`
    pub lan_disallowed_ips: Vec<String>,
    /// `inbound-tfo`
    pub inbound_tfo: bool,
    /// `inbound-mptcp`
    pub inbound_mptcp: bool,
    /// `geodata-mode`
    pub geodata_mode: bool,
    /// `geodata-loader`
    pub geodata_loader: String,
    /// `geosite-matcher`
    pub geosite_matcher: String,
    /// `geo-auto-update`
    pub geo_auto_update: bool,
    /// `geo-update-interval`, hours.
    pub geo_update_interval: u32,
    /// `geox-url`; secret, because URLs may have passwords in them.
    pub geox_url: GeoxUrl,
    /// `sniffer.enable`
    pub sniffing: bool,
    /// `global-ua`; empty is our own.
    pub global_ua: String,
    /// `etag-support`
    pub etag_support: bool,
    /// `keep-alive-idle`, seconds; 0 is the default.
    pub keep_alive_idle: u32,
    /// `keep-alive-interval`, seconds; 0 is the default.
    pub keep_alive_interval: u32,
    /// `disable-keep-alive`
    pub disable_keep_alive: bool,
}

/// `geox-url`. A URL that is not written is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoxUrl {
    /// `geoip`
    pub geoip: Secret,
    /// `mmdb`
    pub mmdb: Secret,
    /// `asn`
    pub asn: Secret,
    /// `geosite`
    pub geosite: Secret,
}

impl Default for GeoxUrl {
    fn default() -> Self {
        let nothing = || Secret::new("");
        Self { geoip: nothing(), mmdb: nothing(), asn: nothing(), geosite: nothing() }
    }
}

/// Whoever reads a setting for what it means reports what is wrong with it; here nothing is.
pub(crate) fn read(root: Value<'_>) -> Settings {
    let number = |key| root.peek(key).and_then(Value::peek_number).unwrap_or(0);
    let port = |key| root.peek(key).and_then(Value::peek_number).unwrap_or(0);
    let flag = |key| root.peek(key).and_then(Value::peek_boolean);
    let text = |key, default: &str| root.peek(key).and_then(Value::peek_text).unwrap_or(default).to_owned();
    let list = |key| root.peek(key).and_then(strings);
    let users = list("authentication").unwrap_or_default();
    let sniffer = root.peek("sniffer").and_then(|sniffer| sniffer.peek("enable"));
    let everybody = || vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
    Settings {
        port: port("port"),
        socks_port: port("socks-port"),
        redir_port: port("redir-port"),
        tproxy_port: port("tproxy-port"),
        mixed_port: port("mixed-port"),
        allow_lan: flag("allow-lan").unwrap_or(false),
        listeners: listeners(root),
        bind_address: text("bind-address", "*"),
        users: users.iter().filter_map(|entry| Some(entry.split_once(':')?.0.to_owned())).collect(),
        skip_auth_prefixes: list("skip-auth-prefixes").unwrap_or_default(),
        lan_allowed_ips: list("lan-allowed-ips").unwrap_or_else(everybody),
        lan_disallowed_ips: list("lan-disallowed-ips").unwrap_or_default(),
        inbound_tfo: flag("inbound-tfo").unwrap_or(false),
        inbound_mptcp: flag("inbound-mptcp").unwrap_or(false),
        geodata_mode: flag("geodata-mode").unwrap_or(false),
        geodata_loader: text("geodata-loader", "memconservative"),
        geosite_matcher: text("geosite-matcher", "succinct"),
        geo_auto_update: flag("geo-auto-update").unwrap_or(false),
        geo_update_interval: root.peek("geo-update-interval").and_then(Value::peek_number).unwrap_or(24),
        geox_url: geox_url(root),
        sniffing: sniffer.and_then(Value::peek_boolean).unwrap_or(false),
        global_ua: text("global-ua", ""),
        etag_support: flag("etag-support").unwrap_or(true),
        keep_alive_idle: number("keep-alive-idle"),
        keep_alive_interval: number("keep-alive-interval"),
        disable_keep_alive: flag("disable-keep-alive").unwrap_or(false),
    }
}

/// Keys of the classic listeners and of who may use them; credentials are not among them.
const LISTENERS: [&str; 10] = [
    "port",
    "socks-port",
    "redir-port",
    "tproxy-port",
    "mixed-port",
    "allow-lan",
    "bind-address",
    "skip-auth-prefixes",
    "lan-allowed-ips",
    "lan-disallowed-ips",
];

fn listeners(root: Value<'_>) -> Overrides {
    let mut overrides = Overrides::default();
    for key in LISTENERS {
        let written = root.peek(key);
        let list = written.and_then(strings).map(serde_json::Value::from);
        let text = || written.and_then(Value::peek_text).map(serde_json::Value::from);
        overrides.set(key, list.or_else(text).unwrap_or_default());
    }
    overrides
}

fn geox_url(root: Value<'_>) -> GeoxUrl {
    let urls = root.peek("geox-url");
    let url = |key| Secret::new(urls.and_then(|urls| urls.peek(key)).and_then(Value::peek_text).unwrap_or_default());
    GeoxUrl { geoip: url("geoip"), mmdb: url("mmdb"), asn: url("asn"), geosite: url("geosite") }
}

fn strings(list: Value<'_>) -> Option<Vec<String>> {
    Some(list.peek_list()?.into_iter().filter_map(Value::peek_text).map(str::to_owned).collect())
}
