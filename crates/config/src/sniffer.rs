//! `sniffer:`. Spec: mihomo-surface §8.1.

use std::ops::RangeInclusive;

use adit_router::{BadRanges, IntRanges};
use adit_sniffer::{AddressSet, NameSet, Options, Protocol, Sniff};

use crate::context::Context;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};
use crate::sets::Sets;

/// Reads the section; `None` if it is absent or switched off, and then nothing else in it is judged.
pub(crate) fn read<'d>(section: Option<Value<'d>>, sets: &Sets, cx: &Context<'d>) -> Option<Options> {
    let mut fields = section?.fields()?;
    if !switch(&mut fields, "enable", false) {
        return None;
    }
    let mut options = Options {
        enable: true,
        force_dns_mapping: switch(&mut fields, "force-dns-mapping", true),
        parse_pure_ip: switch(&mut fields, "parse-pure-ip", true),
        override_destination: switch(&mut fields, "override-destination", true),
        force_domain: names(&mut fields, "force-domain", sets, cx),
        skip_domain: names(&mut fields, "skip-domain", sets, cx),
        skip_src_address: addresses(&mut fields, "skip-src-address", sets, cx),
        skip_dst_address: addresses(&mut fields, "skip-dst-address", sets, cx),
        tls: None,
        http: None,
        quic: None,
    };
    protocols(&mut fields, &mut options, cx);
    fields.finish("`sniffer`", &[]);
    Some(options)
}

fn switch(fields: &mut Fields<'_>, key: &'static str, default: bool) -> bool {
    fields.take(key).and_then(Value::boolean).unwrap_or(default)
}

/// The names of a list. One that is wrong is reported, and there is no plan.
fn names(fields: &mut Fields<'_>, key: &'static str, sets: &Sets, cx: &Context<'_>) -> NameSet {
    let listed = fields.take(key).map(Value::texts).filter(|list| !list.is_empty());
    let listed = listed.and_then(|list| sets.names(list, &format!("error in {key}, error:"), cx));
    listed.map_or_else(NameSet::default, |contains| NameSet::new(move |name| contains(name.as_str())))
}

/// The addresses of a list, likewise.
fn addresses(fields: &mut Fields<'_>, key: &'static str, sets: &Sets, cx: &Context<'_>) -> AddressSet {
    let listed = fields.take(key).map(Value::texts).filter(|list| !list.is_empty());
    let listed = listed.and_then(|list| sets.addresses(list, &format!("error in {key}, error:"), cx));
    listed.map_or_else(AddressSet::default, |contains| AddressSet::new(move |ip| contains(ip)))
}

/// What is looked for: `sniff`, or what it replaced.
fn protocols(fields: &mut Fields<'_>, options: &mut Options, cx: &Context<'_>) {
    let sniff = fields.take("sniff").and_then(Value::fields);
    let entries: Vec<_> = sniff.iter().flat_map(Fields::named).collect();
    let old = fields.key_at("sniffing").or_else(|| fields.key_at("port-whitelist"));
    let (sniffing, whitelist) = (fields.take("sniffing"), fields.take("port-whitelist"));
    if let Some(at) = old {
        let text = if entries.is_empty() {
            "`sniffing` and `port-whitelist` are the old way to write `sniff`"
        } else {
            "`sniffing` and `port-whitelist` have no effect beside `sniff`"
        };
        cx.report.warning(at, text);
    }
    if entries.is_empty() {
        let ports = whitelist.map(|list| ports(list, cx)).unwrap_or_default();
        for name in sniffing.map(Value::texts).unwrap_or_default() {
            look_for(name, Written { ports: ports.clone(), override_destination: None }, options, cx);
        }
    }
    for (name, value) in entries {
        look_for(name, written(value, cx), options, cx);
    }
    if options.tls.is_none() && options.http.is_none() && options.quic.is_none() {
        let draft = Draft::warning(fields.first_key(), "the sniffer is enabled and has nothing to look for");
        cx.report.add(
            draft.hint("name protocols: `sniff: {TLS: {ports: [443]}, HTTP: {ports: [80]}, QUIC: {ports: [443]}}`"),
        );
    }
}

/// An entry of `sniff` as written.
struct Written {
    /// Empty is the protocol's own.
    ports: Vec<RangeInclusive<u16>>,
    override_destination: Option<bool>,
}

fn written(value: Value<'_>, cx: &Context<'_>) -> Written {
    let nothing = Written { ports: Vec::new(), override_destination: None };
    if value.is_null() {
        return nothing;
    }
    let Some(mut fields) = value.fields() else { return nothing };
    let written = Written {
        ports: fields.take("ports").map(|list| ports(list, cx)).unwrap_or_default(),
        override_destination: fields.take("override-destination").and_then(Value::boolean),
    };
    fields.finish("an entry of `sniff`", &[]);
    written
}

const PROTOCOLS: [(&str, Protocol); 3] = [("TLS", Protocol::Tls), ("HTTP", Protocol::Http), ("QUIC", Protocol::Quic)];

fn look_for(name: Text<'_>, written: Written, options: &mut Options, cx: &Context<'_>) {
    let Some((_, protocol)) = PROTOCOLS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.text)) else {
        let draft = Draft::error(name.at, format!("not find the sniffer[{}]", shown(name.text)));
        cx.report
            .add(draft.meant(name.text, PROTOCOLS.iter().map(|(known, _)| *known)).hint("it is TLS, HTTP or QUIC"));
        return;
    };
    let (place, default) = match protocol {
        Protocol::Tls => (&mut options.tls, Sniff::tls()),
        Protocol::Http => (&mut options.http, Sniff::http()),
        Protocol::Quic => (&mut options.quic, Sniff::quic()),
    };
    if place.is_some() {
        cx.report.error(name.at, format!("the sniffer looks for {protocol} already"));
    }
    let ports = if written.ports.is_empty() { default.ports } else { written.ports };
    *place = Some(Sniff { ports, override_destination: written.override_destination });
}

/// A list of ports and ranges, at most as many as Mihomo takes.
fn ports(list: Value<'_>, cx: &Context<'_>) -> Vec<RangeInclusive<u16>> {
    let mut ports = Vec::new();
    for text in list.texts() {
        let ranges = match text.text.trim() {
            "*" => Err(BadRanges::Invalid("*".to_owned())),
            item => IntRanges::parse(item, u16::MAX.into()),
        };
        let ranges = ranges.and_then(|ranges| {
            ports.extend(
                ranges
                    .iter()
                    .filter_map(|range| Some(u16::try_from(*range.start()).ok()?..=u16::try_from(*range.end()).ok()?)),
            );
            if ports.len() > MOST_RANGES { Err(BadRanges::TooMany) } else { Ok(()) }
        });
        if let Err(why) = ranges {
            cx.report.error(text.at, why.to_string());
            break;
        }
    }
    ports
}

/// §3.3
const MOST_RANGES: usize = 28;
