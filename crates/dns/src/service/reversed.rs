//! Names that ask for the name of an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address whose name is asked for (RFC 1035 §3.5, RFC 3596 §2.5); `name` is in lower case.
pub(super) fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut labels = labels.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = labels.next()?.parse().ok()?;
        }
        return labels.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let labels = name.strip_suffix(".ip6.arpa")?;
    let mut number = 0_u128;
    let mut count = 0_u32;
    for label in labels.split('.') {
        let digit = u128::from_str_radix(label, 16).ok().filter(|_| label.len() == 1)?;
        number |= digit.checked_shl(count.checked_mul(4)?)?;
        count = count.checked_add(1)?;
    }
    (count == 32).then(|| Ipv6Addr::from(number).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_backwards() {
        for (name, ip) in [
            ("4.0.18.198.in-addr.arpa", Some("198.18.0.4")),
            ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", Some("2001:db8::1")),
            ("0.18.198.in-addr.arpa", None),
            ("5.4.0.18.198.in-addr.arpa", None),
            ("256.0.18.198.in-addr.arpa", None),
            ("0.0.8.b.d.0.1.0.0.2.ip6.arpa", None),
            ("10.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", None),
            ("0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", None),
            ("in-addr.arpa", None),
            ("www.example", None),
        ] {
            assert_eq!(reversed(name).map(|ip| ip.to_string()).as_deref(), ip, "{name}");
        }
    }
}
