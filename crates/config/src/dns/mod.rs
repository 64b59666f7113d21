//! `dns:`. Spec: mihomo-surface §7.
//!
//! Where Mihomo asks public servers that nobody wrote, nobody is asked here: `nameserver` has no default, and
//! `default-nameserver` is whoever of the written servers has an address, or else the system's.

mod fake;
mod fallback;
mod policy;
mod section;
mod servers;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use adit_dns::{FakeFilter, FakeRanges, Habits, Upstreams};

use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};
pub(crate) use section::Section;

/// The `dns` section, switched on.
#[derive(Clone)]
pub struct DnsPlan {
    /// Where clients are answered, over UDP and TCP. None: nowhere; names are looked up all the same.
    pub listen: Option<SocketAddr>,
    /// Who is asked.
    pub upstreams: Upstreams,
    /// What clients are told.
    pub mode: DnsMode,
    /// Whether clients get IPv6 addresses.
    pub ipv6: bool,
    /// Whether clients are answered from `hosts`.
    pub uses_hosts: bool,
    /// Whether clients are answered from `/etc/hosts`.
    pub uses_system_hosts: bool,
}

/// `enhanced-mode`, with what belongs to it.
#[derive(Clone)]
pub enum DnsMode {
    /// Addresses, and nothing is remembered.
    Normal,
    /// Addresses; which name they were given out for is remembered.
    RedirHost,
    /// Addresses that stand for names.
    FakeIp {
        /// Where they are taken from.
        ranges: FakeRanges,
        /// Which names get real ones.
        filter: FakeFilter,
        /// How long clients may keep them, in seconds.
        ttl: u32,
        /// Where they are remembered from one start to the next; none forgets them.
        store: Option<PathBuf>,
    },
}

impl std::fmt::Debug for DnsPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsPlan").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Mihomo's keys that do nothing here, and why.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("prefer-h3", "adit asks by HTTP/2"),
    ("listen-routing-mark", "answers to clients leave by the way the question came"),
];

/// Reads the section. Everything in it is checked, whether it is switched on or not; `None` if it is off, or wrong.
pub(crate) fn read<'d>(value: Option<Value<'d>>, section: &Section<'_, 'd>) -> Option<DnsPlan> {
    let mut fields = value?.fields()?;
    let enabled = fields.take("enable").and_then(Value::boolean).unwrap_or(false);
    let listen = fields.take("listen").and_then(Value::text).and_then(|text| listen(text, section));
    let ipv6 = fields.take("ipv6").and_then(Value::boolean).unwrap_or(false) && section.cx.ipv6;
    let uses_hosts = fields.take("use-hosts").and_then(Value::boolean).unwrap_or(true);
    let uses_system_hosts = fields.take("use-system-hosts").and_then(Value::boolean).unwrap_or(true);
    let habits = habits(&mut fields, ipv6, section);
    let upstreams = servers::upstreams(&mut fields, enabled, habits, section);
    let mode = fake::mode(&mut fields, section);
    for (key, why) in WITHOUT_EFFECT {
        let at = fields.key_at(key);
        if let (Some(value), Some(at)) = (fields.take(key), at)
            && !value.is_off()
        {
            section.cx.report.warning(at, format!("`{key}` in `dns` has no effect: {why}"));
        }
    }
    let at = fields.at();
    fields.finish("`dns`", &[]);
    servers::check(&upstreams, at, section);
    let plan = DnsPlan {
        listen,
        upstreams,
        mode: mode?,
        ipv6,
        uses_hosts,
        uses_system_hosts: uses_system_hosts && !is_set("DISABLE_SYSTEM_HOSTS"),
    };
    enabled.then_some(plan)
}

/// Whether an environment variable says yes.
fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| matches!(value.as_str(), "true" | "1"))
}

/// `host:port`; nothing, or port 0, is nowhere. Without a host it is every address of both families.
fn listen(written: Text<'_>, section: &Section<'_, '_>) -> Option<SocketAddr> {
    if written.text.is_empty() {
        return None;
    }
    let everywhere = || {
        let port = written.text.strip_prefix(':').or_else(|| written.text.strip_prefix("*:"))?;
        Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port.parse().ok()?))
    };
    let address = written.text.parse().ok().or_else(everywhere);
    if address.is_none() {
        let text = format!("`listen` in `dns` must be an address and a port, found '{}'", shown(written.text));
        section
            .cx
            .report
            .add(Draft::error(written.at, text).hint("write it like 127.0.0.1:1053, or :1053 for everyone"));
    }
    address.filter(|address| address.port() != 0)
}

/// How all resolvers ask and remember.
fn habits(fields: &mut Fields<'_>, ipv6: bool, section: &Section<'_, '_>) -> Habits {
    let default = Habits::default();
    let milliseconds = fields.take("ipv6-timeout").and_then(|value| value.number::<u32>("a number of milliseconds"));
    let size = fields.take("cache-max-size").and_then(|value| value.number::<u32>("a number of answers"));
    let algorithm = fields.take("cache-algorithm").and_then(Value::text);
    if let Some(other) = algorithm.filter(|text| !matches!(text.text, "" | "lru" | "arc")) {
        let text = format!("`cache-algorithm` is `lru` or `arc`, found '{}'; lru is used", shown(other.text));
        section.cx.report.warning(other.at, text);
    }
    Habits {
        ipv6,
        ipv6_wait: milliseconds.map_or(default.ipv6_wait, |wait| Duration::from_millis(wait.into())),
        cache_size: match size.and_then(|size| usize::try_from(size).ok()) {
            None | Some(0) => default.cache_size,
            Some(size) => size.max(2),
        },
        // §7.3: `lru` serves what is stale, `arc` does not.
        serves_stale: algorithm.is_none_or(|text| text.text != "arc"),
    }
}
