//! `GeoIP.dat`: named lists of prefixes.
//!
//! ```text
//! file = repeated 1: list
//! list = 1: code, repeated 2: { 1: address (4 or 16 bytes), 2: length }, 3: reversed
//! ```
//! Source: spec page 4.7.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::GeoError;
use super::wire::{Damaged, Fields, Value, text};
use crate::IpSet;
use crate::domain::lower;
use crate::ip_set::IpSetBuilder;

/// A country database in its list form. All lists are compiled when it is read.
#[derive(Clone)]
pub struct GeoIpDat {
    lists: HashMap<String, Country>,
}

/// The addresses of one list.
#[derive(Clone, Debug)]
pub(crate) struct Country {
    set: Arc<IpSet>,
    reversed: bool,
}

impl Country {
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.set.contains(ip) != self.reversed
    }
}

impl GeoIpDat {
    /// Reads a database.
    ///
    /// # Errors
    /// [`GeoError::Damaged`].
    pub fn parse(bytes: &[u8]) -> Result<Self, GeoError> {
        read(bytes).map_err(|Damaged| GeoError::Damaged("GeoIP"))
    }

    /// Whether `ip` belongs to the list `code`, whatever its case. `None` if there is no such list.
    #[must_use]
    pub fn contains(&self, code: &str, ip: IpAddr) -> Option<bool> {
        self.country(code).map(|country| country.contains(ip))
    }

    pub(crate) fn country(&self, code: &str) -> Option<&Country> {
        self.lists.get(&*lower(code))
    }
}

impl std::fmt::Debug for GeoIpDat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeoIpDat").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

fn read(bytes: &[u8]) -> Result<GeoIpDat, Damaged> {
    let mut lists: HashMap<String, (IpSetBuilder, bool)> = HashMap::new();
    for field in Fields::new(bytes) {
        let (1, Value::Bytes(list)) = field? else { continue };
        let mut code = "";
        let mut reversed = false;
        let mut nets = Vec::new();
        for field in Fields::new(list) {
            match field? {
                (1, Value::Bytes(bytes)) => code = text(bytes)?,
                (2, Value::Bytes(bytes)) => nets.push(prefix(bytes)?),
                (3, Value::Varint(value)) => reversed = value != 0,
                _ => {}
            }
        }
        let (builder, is_reversed) = lists.entry(code.to_lowercase()).or_default();
        *is_reversed |= reversed;
        nets.into_iter().for_each(|net| builder.add(net));
    }
    if lists.is_empty() {
        return Err(Damaged);
    }
    let compiled = |(code, (builder, reversed)): (String, (IpSetBuilder, bool))| {
        let set = Arc::new(builder.build());
        (code, Country { set, reversed })
    };
    Ok(GeoIpDat { lists: lists.into_iter().map(compiled).collect() })
}

fn prefix(message: &[u8]) -> Result<IpNet, Damaged> {
    let mut address: Option<IpAddr> = None;
    let mut length = 0;
    for field in Fields::new(message) {
        match field? {
            (1, Value::Bytes(bytes)) => {
                let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
                address = Some(v4.or(v6).map_err(|_| Damaged)?);
            }
            (2, Value::Varint(value)) => length = u8::try_from(value).map_err(|_| Damaged)?,
            _ => {}
        }
    }
    IpNet::new(address.ok_or(Damaged)?, length).map_err(|_| Damaged)
}

/// A database for tests: `cn` = 1.0.0.0/8 and 2001:db8::/32, `not-ten` = everything but 10/8.
#[cfg(test)]
pub(crate) fn sample() -> Vec<u8> {
    use super::wire::write::{bytes, number};
    let net = |address: &[u8], length| {
        let mut message = bytes(1, address);
        message.extend(number(2, length));
        bytes(2, &message)
    };
    let mut cn = bytes(1, b"CN");
    cn.extend(net(&[1, 0, 0, 0], 8));
    cn.extend(net(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 32));
    let mut not_ten = bytes(1, b"NOT-TEN");
    not_ten.extend(net(&[10, 0, 0, 0], 8));
    not_ten.extend(number(3, 1));
    [bytes(1, &cn), bytes(1, &not_ten)].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_and_reversed_lists() {
        let dat = GeoIpDat::parse(&sample()).unwrap();
        let has = |code: &str, ip: &str| dat.contains(code, ip.parse().unwrap());
        assert_eq!(has("cn", "1.2.3.4"), Some(true));
        assert_eq!(has("Cn", "2001:db8::1"), Some(true));
        assert_eq!(has("CN", "2.0.0.0"), Some(false));
        assert_eq!(has("not-ten", "10.0.0.1"), Some(false));
        assert_eq!(has("not-ten", "11.0.0.1"), Some(true));
        assert_eq!(has("xx", "1.2.3.4"), None);
    }

    /// F-D10
    #[test]
    fn cut_files_are_refused_or_shorter() {
        let whole = sample();
        for cut in 0..whole.len() {
            if let Ok(dat) = GeoIpDat::parse(&whole[..cut]) {
                assert_eq!(dat.lists.len(), 1, "cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn flipped_bytes_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
            let mut bytes = sample();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(dat) = GeoIpDat::parse(&bytes) {
                let _ = dat.contains("cn", "1.2.3.4".parse().unwrap());
            }
        }
    }
}
