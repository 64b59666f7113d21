//! The `subscription-userinfo` header (mihomo-surface §6.4).

use serde::{Deserialize, Serialize};

/// What a seller of proxies says of a customer's plan, in bytes and Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Bytes sent.
    pub upload: u64,
    /// Bytes received.
    pub download: u64,
    /// Bytes that are paid for.
    pub total: u64,
    /// When the plan ends; 0 if nobody says.
    pub expire: u64,
}

impl Subscription {
    /// Reads the header's value: `upload=1; download=2; total=3; expire=4`, in any order and case. Fractions are cut, and
    /// what is no number counts as absent. `None` if none of the four is there.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut found = Self::default();
        let mut any = false;
        for part in value.split(';') {
            let Some((key, value)) = part.split_once('=') else { continue };
            let place = match key.trim().to_ascii_lowercase().as_str() {
                "upload" => &mut found.upload,
                "download" => &mut found.download,
                "total" => &mut found.total,
                "expire" => &mut found.expire,
                _ => continue,
            };
            let value = value.trim();
            let whole = value.split_once('.').map_or(value, |(whole, _)| whole);
            if let Ok(number) = whole.parse() {
                *place = number;
                any = true;
            }
        }
        any.then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_write_it_in_many_ways() {
        for (text, expected) in [
            ("upload=1; download=2; total=3; expire=4", Some((1, 2, 3, 4))),
            ("Expire = 4;TOTAL=3.9 ;upload=x", Some((0, 0, 3, 4))),
            ("total=18446744073709551616; download=7", Some((0, 7, 0, 0))),
            ("expire=", None),
            ("", None),
            ("nonsense", None),
        ] {
            let found =
                Subscription::parse(text).map(|found| (found.upload, found.download, found.total, found.expire));
            assert_eq!(found, expected, "{text}");
        }
    }
}
