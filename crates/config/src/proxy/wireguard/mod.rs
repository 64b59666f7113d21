//! The parts of a WireGuard proxy, from text as YAML, share links and `wg-quick` files have it.
//!
//! Spec: mihomo-surface §5.5. A [`Flaw`] names the YAML key and never repeats what may be half of a key.

pub(crate) mod amnezia;
pub(crate) mod dns;

use std::net::IpAddr;
use std::num::NonZeroU16;

use adit_wireguard::options::{Addresses, Keepalive, Mtu};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::flaw::Flaw;
use crate::report::shown;

/// Keys are small secrets: whatever is wrong with one, `what` says in which step Mihomo would have noticed.
pub(crate) fn key<K>(key: &'static str, text: &str, what: &str) -> Result<K, Flaw>
where
    K: std::str::FromStr<Err = adit_wireguard::KeyError>,
{
    text.parse().map_err(|why| Flaw::wrong(key, format!("{what}: {why}")))
}

/// An address inside, with a mask or without; only the address matters.
pub(crate) fn address(key: &'static str, text: &str) -> Result<IpAddr, Flaw> {
    let text = text.trim();
    let address = match text.split_once('/') {
        None => text.parse().ok(),
        Some(_) => text.parse::<IpNet>().ok().map(|net| net.addr()),
    };
    address.ok_or_else(|| {
        let what = if key == "ipv6" { "ipv6 address parse error" } else { "ip address parse error" };
        let text = format!("{what}: '{}' is not an address", shown(text));
        Flaw::wrong(key, text).hint("it looks like 10.0.0.2 or fd00::2, a mask may follow")
    })
}

/// Puts our addresses together. Mihomo looks at what they are, not at the key they stand under.
pub(crate) fn addresses(ip: Option<IpAddr>, ipv6: Option<IpAddr>) -> Result<Addresses, Flaw> {
    match (ip, ipv6) {
        (Some(IpAddr::V4(v4)), Some(IpAddr::V6(v6))) | (Some(IpAddr::V6(v6)), Some(IpAddr::V4(v4))) => {
            Ok(Addresses::Both(v4, v6))
        }
        (Some(IpAddr::V4(v4)), None) | (None, Some(IpAddr::V4(v4))) => Ok(Addresses::V4(v4)),
        (Some(IpAddr::V6(v6)), None) | (None, Some(IpAddr::V6(v6))) => Ok(Addresses::V6(v6)),
        (Some(_), Some(_)) => {
            Err(Flaw::wrong("ipv6", "`ip` and `ipv6` are of one family; a tunnel has one address of each"))
        }
        (None, None) => Err(Flaw::wrong("ip", "missing local address").hint("add `ip`, `ipv6`, or both")),
    }
}

/// What the only peer of the short form gets: everything that our addresses can speak.
pub(crate) fn everything(addresses: Addresses) -> Vec<IpNet> {
    let v4 = addresses.v4().map(|_| IpNet::V4(Ipv4Net::default()));
    let v6 = addresses.v6().map(|_| IpNet::V6(Ipv6Net::default()));
    v4.into_iter().chain(v6).collect()
}

/// Whether `nets` hold every address that `addresses` can speak to.
pub(crate) fn is_everything(nets: &[IpNet], addresses: Addresses) -> bool {
    let merged = IpNet::aggregate(&nets.to_vec());
    everything(addresses).iter().all(|all| merged.contains(all))
}

/// An entry of `allowed-ips`: a prefix, or one address. Bits behind the mask are dropped, as WireGuard does.
pub(crate) fn allowed_ip(text: &str) -> Result<IpNet, Flaw> {
    let text = text.trim();
    let net = text.parse::<IpNet>().ok().map(|net| net.trunc());
    net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).ok_or_else(|| {
        let text = format!("'{}' is not a prefix", shown(text));
        Flaw::wrong("allowed-ips", text).hint("it looks like 10.0.0.0/8 or fd00::/8")
    })
}

/// `reserved` as one text: base64 (`U4An`), or numbers with commas, or, in NekoBox's links, hyphens between them.
/// Nothing is no bytes. The count is for [`three`] to judge.
pub(crate) fn reserved(text: &str) -> Result<Vec<u8>, Flaw> {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(separator) = [',', '-'].into_iter().find(|separator| text.contains(*separator)) {
        let numbers: Result<Vec<u8>, _> = text.split(separator).map(|number| number.trim().parse()).collect();
        if let Ok(numbers) = numbers {
            return Ok(numbers);
        }
    }
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [&alphabet::STANDARD, &alphabet::URL_SAFE]
        .into_iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(text).ok())
        .ok_or_else(|| {
            Flaw::wrong("reserved", "`reserved` is neither three numbers from 0 to 255 nor base64")
                .hint("write [209, 98, 59] or 0WI7")
        })
}

/// The three bytes, or the zeros of plain WireGuard. `peer` is the number of the peer in `peers:`, for Mihomo's words.
pub(crate) fn three(bytes: &[u8], peer: Option<usize>) -> Result<[u8; 3], Flaw> {
    match <[u8; 3]>::try_from(bytes) {
        Ok(three) => Ok(three),
        Err(_) if bytes.is_empty() => Ok([0; 3]),
        Err(_) => {
            let of = peer.map_or_else(String::new, |peer| format!(" for peer {peer}"));
            let text = format!("invalid reserved value{of}, required 3 bytes, got {}", bytes.len());
            Err(Flaw::wrong("reserved", text))
        }
    }
}

/// `mtu`; 0 is the default.
pub(crate) fn mtu(bytes: u32, addresses: Addresses) -> Result<Mtu, Flaw> {
    if bytes == 0 {
        return Ok(Mtu::DEFAULT);
    }
    u16::try_from(bytes).ok().and_then(|bytes| Mtu::new(bytes, addresses)).ok_or_else(|| {
        let max = Mtu::MAX;
        // RFC 8200 §5
        let (least, hint) = match addresses.v6() {
            Some(_) => (1280, "IPv6 needs 1280; without `ipv6`, 576 is enough"),
            None => (576, "1280 fits through nearly everything"),
        };
        Flaw::wrong("mtu", format!("`mtu` must be from {least} to {max} bytes here, found {bytes}")).hint(hint)
    })
}

/// `persistent-keepalive` in seconds; 0 is off.
pub(crate) fn keepalive(seconds: u16) -> Keepalive {
    NonZeroU16::new(seconds).map_or(Keepalive::Off, Keepalive::Every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_bytes_have_four_spellings() {
        for text in ["209,98,59", "[209, 98, 59]", "209-98-59", "0WI7"] {
            assert_eq!(reserved(text).unwrap(), [209, 98, 59], "{text}");
        }
        assert_eq!(reserved("U4An").unwrap(), [83, 128, 39]);
        assert_eq!(reserved(" ").unwrap(), [0; 0]);
        assert_eq!(reserved("-_-_").unwrap().len(), 3, "URL-safe base64");
        assert!(reserved("1,2,256").is_err());
        assert_eq!(three(&[], None).unwrap(), [0; 3]);
        let two = three(&[1, 2], Some(1)).unwrap_err();
        assert_eq!(two.message, "invalid reserved value for peer 1, required 3 bytes, got 2");
    }

    #[test]
    fn halves_of_everything_are_everything() {
        let nets = |texts: &[&str]| texts.iter().map(|text| allowed_ip(text).unwrap()).collect::<Vec<_>>();
        let v4 = Addresses::V4([10, 0, 0, 2].into());
        assert!(is_everything(&nets(&["0.0.0.0/1", "128.0.0.0/1"]), v4));
        assert!(is_everything(&nets(&["::/0", "0.0.0.0/0"]), v4));
        assert!(!is_everything(
            &nets(&["0.0.0.0/0"]),
            Addresses::Both([10, 0, 0, 2].into(), "fd00::2".parse().unwrap())
        ));
        assert!(!is_everything(&nets(&["10.0.0.1/8"]), v4));
        assert_eq!(nets(&["10.1.2.3/8", "10.0.0.1"]), nets(&["10.0.0.0/8", "10.0.0.1/32"]));
    }
}
