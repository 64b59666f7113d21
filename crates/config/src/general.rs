//! Keys that belong to no section. Spec: mihomo-surface §1.2.

use std::time::Duration;

use adit_net::{KeepAlive, SocketOptions};
use adit_router::Mode;

use crate::read::{Fields, Value};
use crate::report::{Draft, Report};

/// What is written to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Silent,
    /// What went wrong and must be looked at.
    Error,
    /// And what went wrong once.
    Warning,
    /// And what happens.
    #[default]
    Info,
    /// And how.
    Debug,
}

/// `find-process-mode`: whose process is looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FindProcess {
    /// Nobody's: process rules do not match.
    Off,
    /// Where a rule asks.
    #[default]
    Strict,
    /// Everybody's, to be shown.
    Always,
}

/// `empty-group`, which Mihomo does not have: what a group does that has no members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyGroup {
    /// It refuses connections.
    #[default]
    Reject,
    /// It sends them out directly, as Mihomo's do.
    Direct,
}

impl EmptyGroup {
    /// The member that such a group has instead.
    pub(crate) fn substitute(self) -> &'static str {
        match self {
            Self::Reject => "REJECT",
            Self::Direct => "COMPATIBLE",
        }
    }
}

/// `log-format`, which Mihomo does not have: how lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object per line.
    Json,
}

/// Settings that concern everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct General {
    /// Whose process is looked up.
    pub find_process: FindProcess,
    /// Whether fake addresses outlive a restart.
    pub store_fake_ip: bool,
    /// Whether choices in groups do.
    pub store_selected: bool,
    /// Whether a delay is that of the second request of a connection alone.
    pub unified_delay: bool,
    /// What a group does that has no members.
    pub empty_group: EmptyGroup,
    /// How lines of the log look.
    pub log_format: LogFormat,
    /// The `User-Agent` of downloads; `None` is our own.
    pub user_agent: Option<String>,
    /// Whether downloads ask for what has changed only.
    pub etags: bool,
    /// Whether names are resolved to IPv6 addresses at all.
    pub ipv6: bool,
    /// Whether all addresses of a name are tried at once.
    pub tcp_concurrent: bool,
    /// Keep-alive of every connection, clients' and outbounds'; both have it in their own options, too.
    pub keep_alive: KeepAlive,
    /// The interface that outbound sockets are bound to, unless a proxy names another.
    pub interface: Option<String>,
    /// The mark of outbound sockets, unless a proxy has another; 0 is none.
    pub routing_mark: u32,
}

impl General {
    /// The options of outbound sockets.
    pub(crate) fn socket(&self) -> SocketOptions {
        SocketOptions { mark: self.routing_mark, interface: self.interface.clone(), keep_alive: self.keep_alive }
    }
}

pub(crate) fn mode(fields: &mut Fields<'_>) -> Mode {
    let words = [("rule", Mode::Rule), ("global", Mode::Global), ("direct", Mode::Direct)];
    fields.take("mode").and_then(|value| value.word("invalid mode", &words)).unwrap_or_default()
}

pub(crate) fn log_level(fields: &mut Fields<'_>) -> LogLevel {
    let words = [
        ("silent", LogLevel::Silent),
        ("error", LogLevel::Error),
        ("warning", LogLevel::Warning),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    fields.take("log-level").and_then(|value| value.word("invalid log-level", &words)).unwrap_or_default()
}

pub(crate) fn general(fields: &mut Fields<'_>, report: &Report) -> General {
    let seconds = |value: Option<Value<'_>>| {
        let seconds = value.and_then(|value| value.number::<u16>("a number of seconds from 0 to 65535"));
        seconds.filter(|seconds| *seconds != 0).map(|seconds| Duration::from_secs(seconds.into()))
    };
    let default = KeepAlive::default();
    let mut keep_alive = KeepAlive {
        idle: seconds(fields.take("keep-alive-idle")).unwrap_or(default.idle),
        interval: seconds(fields.take("keep-alive-interval")).unwrap_or(default.interval),
    };
    if fields.take("disable-keep-alive").and_then(Value::boolean) == Some(true) {
        keep_alive.idle = Duration::ZERO;
    }
    let at = fields.key_at("tcp-concurrent");
    let tcp_concurrent = fields.take("tcp-concurrent").and_then(Value::boolean).unwrap_or(false);
    if let (true, Some(at)) = (tcp_concurrent, at) {
        let text = "`tcp-concurrent` is not supported yet: the addresses of a name are tried one after the other, each with \
                    a short head start";
        report.warning(at, text);
    }
    iptables(fields, report);
    databases(fields, report);
    let (store_selected, store_fake_ip) = profile(fields);
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let empty = [("reject", EmptyGroup::Reject), ("direct", EmptyGroup::Direct)];
    General {
        find_process: find_process(fields),
        store_fake_ip,
        store_selected,
        unified_delay: fields.take("unified-delay").and_then(Value::boolean).unwrap_or(false),
        empty_group: fields
            .take("empty-group")
            .and_then(|value| value.word("invalid empty-group", &empty))
            .unwrap_or_default(),
        log_format: fields
            .take("log-format")
            .and_then(|value| value.word("invalid log-format", &formats))
            .unwrap_or_default(),
        user_agent: user_agent(fields, report),
        etags: fields.take("etag-support").and_then(Value::boolean).unwrap_or(true),
        ipv6: fields.take("ipv6").and_then(Value::boolean).unwrap_or(true),
        tcp_concurrent,
        keep_alive,
        interface: fields.take("interface-name").and_then(Value::string).filter(|name| !name.is_empty()),
        routing_mark: fields
            .take("routing-mark")
            .and_then(|value| value.number("a number from 0 to 4294967295"))
            .unwrap_or(0),
    }
}

fn find_process(fields: &mut Fields<'_>) -> FindProcess {
    let words = [("strict", FindProcess::Strict), ("always", FindProcess::Always), ("off", FindProcess::Off)];
    let written = fields.take("find-process-mode");
    written.and_then(|value| value.word("invalid find process mode", &words)).unwrap_or_default()
}

/// `profile`: `store-selected` and `store-fake-ip`.
fn profile(fields: &mut Fields<'_>) -> (bool, bool) {
    let Some(mut profile) = fields.take("profile").and_then(Value::fields) else { return (true, false) };
    let store_selected = profile.take("store-selected").and_then(Value::boolean).unwrap_or(true);
    let store_fake_ip = profile.take("store-fake-ip").and_then(Value::boolean).unwrap_or(false);
    profile.finish("`profile`", &[]);
    (store_selected, store_fake_ip)
}

fn user_agent(fields: &mut Fields<'_>, report: &Report) -> Option<String> {
    let written = fields.take("global-ua").and_then(Value::text).filter(|text| !text.text.is_empty())?;
    // RFC 9110 §5.5
    if written.text.bytes().any(|b| b.is_ascii_control()) {
        report.error(written.at, "`global-ua` has characters that a header cannot have");
        return None;
    }
    Some(written.text.to_owned())
}

/// Geo databases are files that somebody puts into the home folder.
fn databases(fields: &mut Fields<'_>, report: &Report) {
    for key in ["geo-auto-update", "geo-update-interval", "geox-url"] {
        let at = fields.key_at(key);
        let value = fields.take(key);
        if let (Some(at), Some(value)) = (at, value)
            && !value.is_off()
            && key != "geo-update-interval"
        {
            let text = "geo databases are not downloaded: they are read from the home folder";
            report.once("geo databases", Draft::warning(at, text).hint("put GeoSite.dat and geoip.metadb there"));
        }
    }
}

/// `iptables`: Mihomo puts host rules up and down with itself. Here a command does, so that they outlive a restart.
fn iptables(fields: &mut Fields<'_>, report: &Report) {
    let at = fields.key_at("iptables");
    let Some(mut iptables) = fields.take("iptables").and_then(Value::fields) else { return };
    let enabled = iptables.take("enable").and_then(Value::boolean).unwrap_or(false);
    for key in ["inbound-interface", "bypass", "dns-redirect"] {
        let _ = iptables.take(key); // arguments of the command, in other words
    }
    iptables.finish("`iptables`", &[]);
    let Some(at) = at.filter(|_| enabled) else { return };
    let text = "`iptables` has no effect: host rules are not installed by a configuration";
    report.add(Draft::warning(at, text).hint("`adit redirect up` does, and `adit redirect show` prints them"));
}

/// Top-level keys of Mihomo that do nothing here and need not: loaders, and what Mihomo itself ignores.
pub(crate) const WITHOUT_EFFECT: &[&str] =
    &["clash-for-android", "geodata-loader", "geosite-matcher", "global-client-fingerprint"];

/// Top-level keys of Mihomo that are not supported yet.
pub(crate) const UNSUPPORTED: &[&str] = &[
    "ebpf",
    "experimental",
    "external-controller-pipe",
    "external-controller-routing-mark",
    "external-doh-server",
    "inbound-mptcp",
    "inbound-tfo",
    "ntp",
    "ss-config",
    "tuic-server",
    "tun",
    "tunnels",
    "vmess-config",
];
