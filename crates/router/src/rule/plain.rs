//! Rules that need nothing but their payload: names, ports, inbounds.
//!
//! Source: spec page 3.2 and 3.3.

use adit_net::{Network, Protocol};

use super::RuleKind;
use super::compile::{Fault, condition};
use super::condition::{Condition, Test};
use super::error::RuleErrorKind;
use super::glob::Glob;
use super::line::Piece;
use crate::IntRanges;
use crate::domain::lower;

/// The kinds that need nothing but their payload.
pub(super) fn plain(kind: RuleKind, payload: Piece<'_>) -> Result<Condition, Fault> {
    let text = payload.text;
    let test = match kind {
        RuleKind::Domain => return Ok(condition(kind, &lower(text), Test::Domain)),
        RuleKind::DomainSuffix => return Ok(condition(kind, &lower(text), Test::Suffix)),
        RuleKind::DomainKeyword => return Ok(condition(kind, &lower(text), Test::Keyword)),
        RuleKind::DomainWildcard => {
            let glob = Glob::new(text);
            return Ok(condition(kind, &lower(text), Test::Wildcard(glob)));
        }
        RuleKind::Network => {
            let (shown, network) = match text.to_ascii_lowercase().as_str() {
                "tcp" => ("tcp", Network::Tcp),
                "udp" => ("udp", Network::Udp),
                _ => return Err(Fault::at(payload, RuleErrorKind::Network)),
            };
            return Ok(condition(kind, shown, Test::Network(network)));
        }
        RuleKind::InType => return in_type(payload),
        RuleKind::DstPort => Test::DstPort(ranges(payload, u16::MAX.into())?),
        RuleKind::SrcPort => Test::SrcPort(ranges(payload, u16::MAX.into())?),
        RuleKind::InPort => Test::InPort(ranges(payload, u16::MAX.into())?),
        RuleKind::Dscp => {
            let values = IntRanges::parse(text, u32::MAX).map_err(|error| Fault::at(payload, error.into()))?;
            if values.iter().any(|range| *range.end() > 63) {
                return Err(Fault::at(payload, RuleErrorKind::Dscp));
            }
            Test::Dscp(values)
        }
        RuleKind::InName => Test::InName(names(payload)?),
        _ => Test::InUser(names(payload)?),
    };
    Ok(condition(kind, text, test))
}

/// Ranges of a rule for which "everything" makes no sense.
pub(super) fn ranges(payload: Piece<'_>, max: u32) -> Result<IntRanges, Fault> {
    let ranges = IntRanges::parse(payload.text, max).map_err(|error| Fault::at(payload, error.into()))?;
    if ranges.is_everything() {
        return Err(Fault::at(payload, RuleErrorKind::Payload));
    }
    Ok(ranges)
}

fn names(payload: Piece<'_>) -> Result<Box<[Box<str>]>, Fault> {
    let names: Vec<Box<str>> =
        payload.text.split('/').map(str::trim).filter(|name| !name.is_empty()).map(Into::into).collect();
    if names.is_empty() {
        return Err(Fault::at(payload, RuleErrorKind::Payload));
    }
    Ok(names.into())
}

/// Inbound protocols of Mihomo that this program does not have; rules may name them, nothing matches.
const OTHER_PROTOCOLS: [&str; 14] = [
    "SHADOWSOCKS",
    "SNELL",
    "VMESS",
    "VLESS",
    "TROJAN",
    "TUIC",
    "HYSTERIA2",
    "HYSTERIA2-REALM",
    "ANYTLS",
    "MIERU",
    "SUDOKU",
    "TRUSTTUNNEL",
    "SHADOWQUIC",
    "SSH",
];

fn in_type(payload: Piece<'_>) -> Result<Condition, Fault> {
    let shown = payload.text.to_ascii_uppercase();
    let mut protocols = Vec::new();
    for item in shown.split('/').map(str::trim) {
        match item {
            "" => return Err(Fault::at(payload, RuleErrorKind::EmptyInType)),
            "HTTP" => protocols.push(Protocol::Http),
            "HTTPS" => protocols.push(Protocol::Https),
            "SOCKS" => protocols.extend([Protocol::Socks4, Protocol::Socks5]),
            "SOCKS4" => protocols.push(Protocol::Socks4),
            "SOCKS5" => protocols.push(Protocol::Socks5),
            "REDIR" => protocols.push(Protocol::Redir),
            "TPROXY" => protocols.push(Protocol::Tproxy),
            "TUN" => protocols.push(Protocol::Tun),
            "TUNNEL" => protocols.push(Protocol::Tunnel),
            "INNER" => protocols.push(Protocol::Inner),
            other if OTHER_PROTOCOLS.contains(&other) => {}
            other => return Err(Fault::at(payload, RuleErrorKind::UnknownInType(other.to_owned()))),
        }
    }
    Ok(condition(RuleKind::InType, &shown, Test::InType(protocols.into())))
}
