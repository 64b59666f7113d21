//! What the API needs of the program that it is a part of.

use std::path::PathBuf;
use std::time::SystemTime;

use adit_engine::Engine;
use adit_net::{BoxFuture, Tag};
use adit_outbound::options::Check;
use adit_router::{Behavior, Format};
use serde::{Deserialize, Serialize};

use crate::logs::LogFeed;

/// The program behind the API: what only it can do, because it read the configuration and put everything together.
///
/// A trait, so that the API can be tried over real sockets with an engine and nothing else. Methods that wait return a
/// future that ends within a minute; dropping it abandons the answer, not what was begun.
pub trait Daemon: Send + Sync + 'static {
    /// Connections, rules, ways out, and DNS, as they are now.
    fn engine(&self) -> &Engine;

    /// `GET /version`, such as `v0.1.0`.
    fn version(&self) -> &str;

    /// `GET /configs`: a flat object, every key of mihomo-surface §9.5 present. No secrets.
    fn configs(&self) -> serde_json::Value;

    /// Whether delay tests count a second request only.
    fn unified_delay(&self) -> bool;

    /// Changes settings until the next reload.
    ///
    /// # Errors
    /// Says what cannot be done; then nothing was changed.
    fn patch(&self, patch: Patch) -> BoxFuture<'_, Result<(), String>>;

    /// Takes another configuration.
    ///
    /// # Errors
    /// Says what is wrong with it; then nothing was changed.
    fn reload(&self, reload: Reload) -> BoxFuture<'_, Result<(), String>>;

    /// What is wrong with a configuration. Nothing changes.
    fn check(&self, text: String) -> BoxFuture<'_, Verdict>;

    /// Starts anew, soon after this has returned.
    ///
    /// # Errors
    /// Says why it cannot.
    fn restart(&self) -> Result<(), String>;

    /// Somebody chose in a group, or let it choose by itself: [`adit_outbound::Book::choices`] are to be stored.
    fn chosen(&self);

    /// Proxy providers in the order of the configuration. Their members are those proxies of the book that name them.
    fn proxy_providers(&self) -> Vec<ProxyProvider>;

    /// Rule providers in the order of the configuration.
    fn rule_providers(&self) -> Vec<RuleProvider>;

    /// Fetches a provider's list now.
    ///
    /// # Errors
    /// Says why the list is still the old one.
    fn update<'a>(&'a self, which: ProviderKind, name: &'a str) -> BoxFuture<'a, Result<(), String>>;

    /// Asks the configured nameservers, without fake addresses and `hosts`.
    ///
    /// # Errors
    /// See [`DnsError`].
    fn ask<'a>(&'a self, question: &'a adit_dns::Question) -> BoxFuture<'a, Result<DnsMessage, DnsError>>;

    /// Forgets which names fake addresses stand for.
    ///
    /// # Errors
    /// Says why not.
    fn flush_fake_ip(&self) -> Result<(), String>;

    /// Forgets what nameservers said.
    fn flush_dns(&self);

    /// What dashboards keep here. May block on a disk.
    fn storage(&self) -> &dyn Storage;

    /// What is logged.
    fn logs(&self) -> &LogFeed;
}

/// An answer of a nameserver.
pub type DnsMessage = adit_dns::hickory_proto::op::Message;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// There is no DNS of ours.
    #[error("DNS section is disabled")]
    Off,
    /// No nameserver answered.
    #[error("{0}")]
    Failed(String),
}

/// Values by key, kept over restarts. Keys have at most 64 bytes and values at most 1 MiB; which values make room for
/// others is up to the implementation, once they exceed 1 MiB together.
pub trait Storage: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// The disk's.
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, String>;

    /// Sets the value of `key`, or takes it away.
    ///
    /// # Errors
    /// The disk's.
    fn save(&self, key: &str, value: Option<&[u8]>) -> Result<(), String>;
}

/// `mode`, as the API writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeName {
    /// Ask the rules.
    Rule,
    /// Everything goes to the group `GLOBAL`.
    Global,
    /// Everything goes to `DIRECT`.
    Direct,
}

impl ModeName {
    /// As the API and the configuration spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Global => "global",
            Self::Direct => "direct",
        }
    }
}

/// `log-level`; also what a client of `/logs` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Silent,
    /// What went wrong and must be looked at.
    Error,
    /// And what went wrong once.
    Warning,
    /// And what happens.
    Info,
    /// And how.
    Debug,
}

/// `find-process-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindProcessName {
    /// Nobody's.
    Off,
    /// Where a rule asks.
    Strict,
    /// Everybody's.
    Always,
}

impl FindProcessName {
    /// As the API and the configuration spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Strict => "strict",
            Self::Always => "always",
        }
    }
}

/// `PATCH /configs`: what is to change. Keys that are not listed are ignored.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Patch {
    /// The HTTP port; 0 closes it.
    pub port: Option<u16>,
    /// The SOCKS port.
    pub socks_port: Option<u16>,
    /// The REDIRECT port.
    pub redir_port: Option<u16>,
    /// The TPROXY port.
    pub tproxy_port: Option<u16>,
    /// The mixed port.
    pub mixed_port: Option<u16>,
    /// Whether others than this host may come in.
    pub allow_lan: Option<bool>,
    /// Where they may.
    pub bind_address: Option<String>,
    /// Sources that need no credentials.
    pub skip_auth_prefixes: Option<Vec<String>>,
    /// Sources that may come in.
    pub lan_allowed_ips: Option<Vec<String>>,
    /// Sources that may not.
    pub lan_disallowed_ips: Option<Vec<String>>,
    /// Whether rules are asked.
    pub mode: Option<ModeName>,
    /// What is written to the log.
    pub log_level: Option<LogLevel>,
    /// Whether names are resolved to IPv6 addresses.
    pub ipv6: Option<bool>,
    /// Whether connections are looked into.
    pub sniffing: Option<bool>,
    /// Whether all addresses of a name are tried at once.
    pub tcp_concurrent: Option<bool>,
    /// Whether a delay is that of the second request alone. Mihomo ignores it, and metacubexd has a switch for it.
    pub unified_delay: Option<bool>,
    /// Whose process is looked up.
    pub find_process_mode: Option<FindProcessName>,
    /// The interface of outbound sockets.
    pub interface_name: Option<String>,
    /// The TUN device, as it was written.
    pub tun: Option<serde_json::Value>,
}

/// `PUT /configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// The configuration.
    pub from: ReloadFrom,
    /// Whether the classic listeners change, too.
    pub force: bool,
}

/// `POST /configs/check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether it would run.
    pub ok: bool,
    /// What is wrong or doubtful, by line.
    pub problems: Vec<Flaw>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// `error` or `warning`.
    pub severity: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Where a configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadFrom {
    /// Where the present one came from.
    Current,
    /// In a file: an absolute path, of which nothing else was checked.
    File(PathBuf),
    /// Here.
    Text(String),
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// `proxy-providers`.
    Proxies,
    /// `rule-providers`.
    Rules,
}

/// How a provider comes by its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vehicle {
    /// It is downloaded.
    Http,
    /// It is a file.
    File,
    /// It is written in the configuration.
    Inline,
}

impl Vehicle {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::File => "File",
            Self::Inline => "Inline",
        }
    }
}

/// A proxy provider.
#[derive(Clone, Debug)]
pub struct ProxyProvider {
    /// Its name.
    pub name: Tag,
    /// How it comes by its list.
    pub vehicle: Vehicle,
    /// How its members are tested.
    pub check: Check,
    /// When its list came; none if it has none yet.
    pub updated: Option<SystemTime>,
    /// What the server told of the subscription.
    pub subscription: Option<Subscription>,
}

/// `subscription-userinfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Bytes sent.
    pub upload: u64,
    /// Bytes received.
    pub download: u64,
    /// Bytes that may be used.
    pub total: u64,
    /// When it ends, in seconds since 1970; 0 is never.
    pub expire: u64,
}

/// A rule provider.
#[derive(Clone, Debug)]
pub struct RuleProvider {
    /// Its name.
    pub name: Tag,
    /// How it comes by its list.
    pub vehicle: Vehicle,
    /// What its entries are.
    pub behavior: Behavior,
    /// How its list is written.
    pub format: Format,
    /// How many entries it has.
    pub rules: usize,
    /// When its list came; none if it has none yet.
    pub updated: Option<SystemTime>,
    /// Its entries, where they are written in the configuration.
    pub payload: Vec<String>,
}
