//! `override`: what a provider's nodes are told to be instead of what they say.

use adit_net::Tag;
use adit_outbound::options::{IpVersion, Kind, Outbound, Tls, Verify};
use adit_outbound::vless::Security;
use fancy_regex::{Captures, Regex};

use crate::context::Context;
use crate::filter;
use crate::inbound::check_mark;
use crate::proxy::ip_version;
use crate::read::{Text, Value};
use crate::report::Draft;

/// `override` as meant.
#[derive(Clone, Debug, Default)]
pub(super) struct Rewrite {
    udp: Option<bool>,
    dialer: Option<Tag>,
    skip_verify: Option<bool>,
    interface: Option<String>,
    mark: Option<u32>,
    ip_version: Option<IpVersion>,
    names: Vec<(Regex, String)>,
    prefix: String,
    suffix: String,
}

/// Keys that would change what we do not have.
const WITHOUT_EFFECT: [&str; 5] = ["tfo", "mptcp", "udp-over-tcp", "up", "down"];

impl Rewrite {
    pub(super) fn read(value: Value<'_>, cx: &Context<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let mut text = |key: &'static str| fields.take(key).and_then(Value::text).filter(|text| !text.text.is_empty());
        let (dialer, interface) = (text("dialer-proxy"), text("interface-name"));
        let (prefix, suffix) = (text("additional-prefix"), text("additional-suffix"));
        let version = text("ip-version").map(|text| ip_version(text.text));
        let mark_at = fields.place("routing-mark");
        let names = fields.take("proxy-name").and_then(Value::list).unwrap_or_default();
        let rewrite = Self {
            udp: fields.take("udp").and_then(Value::boolean),
            dialer: dialer.map(|dialer| Tag::new(dialer.text)),
            skip_verify: fields.take("skip-cert-verify").and_then(Value::boolean),
            interface: interface.map(|name| name.text.to_owned()),
            mark: fields.take("routing-mark").and_then(|value| value.number("a number from 0 to 4294967295")),
            ip_version: version,
            names: names.into_iter().filter_map(|item| replacement(item, cx)).collect(),
            prefix: prefix.map_or_else(String::new, |text| text.text.to_owned()),
            suffix: suffix.map_or_else(String::new, |text| text.text.to_owned()),
        };
        if let (Some(mark), Some(at)) = (rewrite.mark, mark_at) {
            check_mark(at, mark, cx);
        }
        for key in WITHOUT_EFFECT {
            let at = fields.key_at(key);
            if let (Some(at), Some(_)) = (at, fields.take(key).filter(|value| !value.is_off())) {
                let text = format!("`{key}` in `override` has no effect");
                cx.report.once(format!("override {key}"), Draft::warning(at, text));
            }
        }
        fields.finish("`override`", &["name-cert-verify", "override-expr"]);
        Some(rewrite)
    }

    /// The name that a node gets instead of `name`.
    pub(super) fn name(&self, name: &str) -> String {
        let mut name = name.to_owned();
        for (pattern, target) in &self.names {
            // A match that takes too long replaces nothing.
            let replaced = pattern.try_replacen(&name, 0, |found: &Captures<'_, str>| expanded(target, found));
            name = replaced.map(|name| name.into_owned()).unwrap_or(name);
        }
        format!("{}{name}{}", self.prefix, self.suffix)
    }

    /// Changes everything but the name. `ipv6` is whether IPv6 may be used at all.
    pub(super) fn apply(&self, outbound: &mut Outbound, ipv6: bool) {
        let common = &mut outbound.common;
        common.udp = self.udp.unwrap_or(common.udp);
        common.dialer_proxy = self.dialer.clone().or_else(|| common.dialer_proxy.take());
        common.socket.interface = self.interface.clone().or_else(|| common.socket.interface.take());
        common.socket.mark = self.mark.unwrap_or(common.socket.mark);
        if ipv6 {
            common.ip_version = self.ip_version.unwrap_or(common.ip_version);
        }
        if let (Some(skip), Some(tls)) = (self.skip_verify, tls(&mut outbound.kind)) {
            match (&tls.verify, skip) {
                (Verify::Roots(_), true) => tls.verify = Verify::Off,
                (Verify::Off, false) => tls.verify = Verify::Roots(Vec::new()),
                _ => {} // a pinned certificate is checked all the same
            }
        }
    }
}

/// The ordinary TLS of an outbound.
fn tls(kind: &mut Kind) -> Option<&mut Tls> {
    match kind {
        Kind::Socks5(options) => options.tls.as_mut(),
        Kind::Http(options) => options.tls.as_mut(),
        Kind::Vless(options) => match &mut options.security {
            Security::Tls(tls) => Some(tls),
            _ => None,
        },
        _ => None,
    }
}

/// One item of `proxy-name`.
fn replacement(item: Value<'_>, cx: &Context<'_>) -> Option<(Regex, String)> {
    let mut fields = item.fields()?;
    let pattern = fields.take("pattern").and_then(Value::text);
    let target = fields.take("target").and_then(Value::string).unwrap_or_default();
    let at = fields.at();
    fields.finish("`proxy-name`", &[]);
    let Some(Text { text, at }) = pattern else {
        cx.report.error(at, "an entry of `proxy-name` needs a `pattern`");
        return None;
    };
    Some((filter::regex(Text { text, at }, cx.report)?, target))
}

/// `target` with `$1`, `${1}` and `${name}` replaced by what the groups matched, and `$$` by a dollar, as .NET does it:
/// `$1st` is group 1 and `st`. References to groups that there are not stay as they are.
fn expanded(target: &str, found: &Captures<'_, str>) -> String {
    let mut out = String::with_capacity(target.len());
    let mut rest = target;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (reference, after) = match behind.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(reference) => reference,
            None => behind.split_at_checked(digits).unwrap_or(("", behind)),
        };
        let group = match reference.parse() {
            Ok(number) if number < found.len() => Some(found.get(number)),
            Ok(_) => None,
            Err(_) => found.name(reference).map(Some),
        };
        rest = match group {
            Some(group) => {
                out.push_str(group.map_or("", |group| group.as_str()));
                after
            }
            None => {
                out.push('$');
                behind.strip_prefix('$').unwrap_or(behind)
            }
        };
    }
    out.push_str(rest);
    out
}
