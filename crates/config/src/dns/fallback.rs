//! `fallback` and when it counts. Spec: mihomo-surface §7.4.

use std::net::IpAddr;
use std::sync::Arc;

use adit_dns::{AddressMatch, Fallback, NameMatch};
use adit_router::Membership;

use super::Section;
use crate::read::{Fields, Text, Value};
use crate::report::Draft;
use crate::sets::network;
use crate::yaml::At;

/// Reads `fallback`, `fallback-filter` and `fallback-lazy-query`; `None` without a fallback.
pub(super) fn read<'d>(fields: &mut Fields<'d>, section: &Section<'_, 'd>) -> Option<Fallback> {
    let at = fields.place("fallback");
    let list = fields.take("fallback").map(Value::texts).unwrap_or_default();
    let is_lazy = fields.take("fallback-lazy-query").and_then(Value::boolean).unwrap_or(false);
    let filter = Filter::read(fields.take("fallback-filter"), section);
    if list.is_empty() {
        return None;
    }
    let doubtful = filter.doubtful(at.unwrap_or(At::NOWHERE), section)?;
    Some(Fallback { servers: section.servers(&list), only: filter.only, doubtful, is_lazy })
}

/// `fallback-filter`.
struct Filter<'d> {
    /// Names that only the fallback is asked for.
    only: Option<NameMatch>,
    /// The country whose addresses are believed.
    country: Option<Text<'d>>,
    /// Addresses that are not believed.
    networks: Vec<Text<'d>>,
}

/// `geoip-code`, unless written.
const CODE: &str = "CN";

impl<'d> Filter<'d> {
    fn read(value: Option<Value<'d>>, section: &Section<'_, 'd>) -> Self {
        let mut filter = Self { only: None, country: Some(Text { text: CODE, at: At::NOWHERE }), networks: Vec::new() };
        let Some(mut fields) = value.and_then(Value::fields) else { return filter };
        let by_country = fields.take("geoip").and_then(Value::boolean).unwrap_or(true);
        let code = fields.take("geoip-code").and_then(Value::text).filter(|code| !code.text.is_empty());
        filter.country = code.or(filter.country).filter(|_| by_country);
        filter.networks = networks(fields.take("ipcidr"), section);
        let domains = fields.take("domain").map(Value::texts).unwrap_or_default();
        let at = fields.key_at("geosite");
        let sites: Vec<(String, At)> = fields
            .take("geosite")
            .map(Value::texts)
            .unwrap_or_default()
            .into_iter()
            .map(|text| (format!("geosite:{}", text.text), text.at))
            .collect();
        if let (Some(at), false) = (at, sites.is_empty()) {
            let text = "replace fallback-filter.geosite with nameserver-policy, it will be removed in the future";
            section.cx.report.warning(at, text);
        }
        let sites = sites.iter().map(|(text, at)| Text { text, at: *at });
        if !domains.is_empty() || sites.len() != 0 {
            filter.only = section.sets.names(domains.into_iter().chain(sites), "dns.fallback-filter: ", section.cx);
        }
        fields.finish("`fallback-filter`", &[]);
        filter
    }

    /// The addresses that make the fallback's answer count. `fallback` is where it stands.
    fn doubtful(&self, fallback: At, section: &Section<'_, '_>) -> Option<AddressMatch> {
        let networks = section.sets.addresses(self.networks.iter().copied(), "", section.cx)?;
        let Some(code) = self.country else { return Some(networks) };
        let at = if code.at == At::NOWHERE { fallback } else { code.at };
        let set = |rule: &str| -> Option<Membership> {
            section.sets.rule(rule, at, section.cx).map_err(|draft| section.cx.report.add(draft)).ok()
        };
        // Without the database nobody is known to be in the country: the fallback is believed.
        let (country, lan) = (set(&format!("GEOIP,{}", code.text))?, set("GEOIP,LAN")?);
        let abroad = move |ip: IpAddr| !lan.has_address(ip) && !country.has_address(ip);
        Some(Arc::new(move |ip: IpAddr| networks(ip) || abroad(ip)))
    }
}

/// Prefixes only, as Mihomo has it.
fn networks<'d>(list: Option<Value<'d>>, section: &Section<'_, 'd>) -> Vec<Text<'d>> {
    let texts = list.map(Value::texts).unwrap_or_default();
    let is_network = |(index, text): (usize, &Text<'d>)| {
        let good = network(text.text).is_some();
        if !good {
            let message = format!("DNS FallbackIP[{index}] format error: this is no prefix");
            section.cx.report.add(Draft::error(text.at, message).hint("write a prefix like 240.0.0.0/4"));
        }
        good.then_some(*text)
    };
    texts.iter().enumerate().filter_map(is_network).collect()
}
