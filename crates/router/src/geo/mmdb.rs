//! The MaxMind container: countries and autonomous systems by address.
//!
//! Source: spec page 4.7; maxmind.github.io/MaxMind-DB.

use std::fmt;
use std::net::IpAddr;

use maxminddb::{PathElement, Reader};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::GeoError;

/// A country database.
pub struct Mmdb {
    reader: Reader<Vec<u8>>,
    layout: Layout,
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    /// `sing-geoip`: the record is the code.
    Code,
    /// `Meta-geoip0`: the record is a code or a list of codes, such as `cn` and the name of a service.
    Codes,
    /// Anything else: `country.iso_code`.
    Country,
}

impl Mmdb {
    /// Takes the whole file.
    ///
    /// # Errors
    /// [`GeoError::Damaged`] if this is no such container. Damage further inside shows only in look-ups, which then
    /// find nothing.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GeoError> {
        let reader = Reader::from_source(bytes).map_err(|_| GeoError::Damaged("MaxMind"))?;
        let layout = match reader.metadata().database_type.as_str() {
            "sing-geoip" => Layout::Code,
            "Meta-geoip0" => Layout::Codes,
            _ => Layout::Country,
        };
        Ok(Self { reader, layout })
    }

    /// The codes of `ip` in lower case, mostly one.
    #[must_use]
    pub fn countries(&self, ip: IpAddr) -> Vec<String> {
        let mut codes = Vec::new();
        self.visit(ip, |code| {
            codes.push(code.to_lowercase());
            false
        });
        codes
    }

    /// Whether `code` is one of the codes of `ip`, whatever its case.
    #[must_use]
    pub fn is_in(&self, ip: IpAddr, code: &str) -> bool {
        self.visit(ip, |found| found.eq_ignore_ascii_case(code))
    }

    fn visit(&self, ip: IpAddr, mut is_it: impl FnMut(&str) -> bool) -> bool {
        let Ok(record) = self.reader.lookup(ip.to_canonical()) else {
            return false;
        };
        match self.layout {
            Layout::Code => record.decode::<&str>().ok().flatten().is_some_and(is_it),
            Layout::Codes => match record.decode::<Codes<'_>>().ok().flatten() {
                Some(Codes::One(code)) => is_it(code),
                Some(Codes::Many(codes)) => codes.into_iter().any(is_it),
                None => false,
            },
            Layout::Country => {
                let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
                record.decode_path::<&str>(&path).ok().flatten().is_some_and(is_it)
            }
        }
    }
}

impl fmt::Debug for Mmdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mmdb").field("layout", &self.layout).finish_non_exhaustive()
    }
}

enum Codes<'a> {
    One(&'a str),
    Many(Vec<&'a str>),
}

impl<'de> Deserialize<'de> for Codes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Codes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a code or a list of codes")
            }

            fn visit_borrowed_str<E>(self, code: &'de str) -> Result<Self::Value, E> {
                Ok(Codes::One(code))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut codes = Vec::new();
                while let Some(code) = list.next_element()? {
                    codes.push(code);
                }
                Ok(Codes::Many(codes))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

/// A database of autonomous systems.
pub struct AsnDatabase {
    reader: Reader<Vec<u8>>,
    layout: AsnLayout,
}

#[derive(Clone, Copy, Debug)]
enum AsnLayout {
    /// `autonomous_system_number`, `autonomous_system_organization`
    GeoLite2,
    /// `asn` = `AS13335`, `name`
    Ipinfo,
}

/// The autonomous system of an address. `Display` gives `13335 Cloudflare`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsnRecord {
    /// Its number.
    pub number: u32,
    /// Who runs it; may be empty.
    pub organisation: String,
}

impl fmt::Display for AsnRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.organisation)
    }
}

impl AsnDatabase {
    /// Takes the whole file.
    ///
    /// # Errors
    /// [`GeoError::Damaged`] as for [`Mmdb::from_bytes`], [`GeoError::UnsupportedType`] for records of another kind.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GeoError> {
        let reader = Reader::from_source(bytes).map_err(|_| GeoError::Damaged("MaxMind"))?;
        let layout = match reader.metadata().database_type.as_str() {
            "GeoLite2-ASN" | "DBIP-ASN-Lite (compat=GeoLite2-ASN)" => AsnLayout::GeoLite2,
            "ipinfo generic_asn_free.mmdb" => AsnLayout::Ipinfo,
            other => return Err(GeoError::UnsupportedType(other.to_owned())),
        };
        Ok(Self { reader, layout })
    }

    /// The number of the system that `ip` belongs to.
    #[must_use]
    pub fn number(&self, ip: IpAddr) -> Option<u32> {
        let record = self.reader.lookup(ip.to_canonical()).ok()?;
        match self.layout {
            AsnLayout::GeoLite2 => record.decode_path(&[PathElement::Key("autonomous_system_number")]).ok().flatten(),
            AsnLayout::Ipinfo => {
                let text: &str = record.decode_path(&[PathElement::Key("asn")]).ok().flatten()?;
                text.strip_prefix("AS").unwrap_or(text).parse().ok()
            }
        }
    }

    /// Number and name of the system that `ip` belongs to.
    #[must_use]
    pub fn lookup(&self, ip: IpAddr) -> Option<AsnRecord> {
        let number = self.number(ip)?;
        let name = match self.layout {
            AsnLayout::GeoLite2 => "autonomous_system_organization",
            AsnLayout::Ipinfo => "name",
        };
        let record = self.reader.lookup(ip.to_canonical()).ok()?;
        let organisation = record.decode_path(&[PathElement::Key(name)]).ok().flatten();
        Some(AsnRecord { number, organisation: organisation.unwrap_or_default() })
    }
}

impl fmt::Debug for AsnDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsnDatabase").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Writes small databases for tests.
#[cfg(test)]
pub(crate) mod sample {
    use std::net::Ipv4Addr;

    pub(crate) fn string(text: &str) -> Vec<u8> {
        assert!(text.len() < 285);
        let mut out = match u8::try_from(text.len()) {
            Ok(len) if len < 29 => vec![2 << 5 | len],
            _ => vec![2 << 5 | 29, (text.len() - 29) as u8],
        };
        out.extend(text.bytes());
        out
    }

    pub(crate) fn uint32(value: u32) -> Vec<u8> {
        [&[6 << 5 | 4][..], &value.to_be_bytes()].concat()
    }

    fn uint16(value: u16) -> Vec<u8> {
        [&[5 << 5 | 2][..], &value.to_be_bytes()].concat()
    }

    fn uint64(value: u64) -> Vec<u8> {
        [&[8, 9 - 7][..], &value.to_be_bytes()].concat()
    }

    pub(crate) fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut out = vec![7 << 5 | pairs.len() as u8];
        for (key, value) in pairs {
            out.extend(string(key));
            out.extend(value);
        }
        out
    }

    pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
        [vec![items.len() as u8, 11 - 7], items.concat()].concat()
    }

    /// An IPv4 database in which each address has the given record.
    pub(crate) fn database(kind: &str, records: &[(Ipv4Addr, Vec<u8>)]) -> Vec<u8> {
        const NONE: usize = usize::MAX;
        let mut nodes = vec![[NONE; 2]];
        let mut data = Vec::<u8>::new();
        let mut leaves = Vec::new();
        for (ip, record) in records {
            let mut node = 0;
            for bit in (0..32).rev() {
                let side = (ip.to_bits() >> bit & 1) as usize;
                if bit == 0 {
                    leaves.push((node, side, data.len()));
                } else {
                    if nodes[node][side] == NONE {
                        nodes[node][side] = nodes.len();
                        nodes.push([NONE; 2]);
                    }
                    node = nodes[node][side];
                }
            }
            data.extend(record);
        }
        let count = nodes.len();
        for (node, side, at) in leaves {
            nodes[node][side] = count + 16 + at;
        }
        let mut out = Vec::new();
        for value in nodes.into_iter().flatten() {
            let value = if value == NONE { count } else { value };
            out.extend(&(value as u32).to_be_bytes()[1..]);
        }
        out.extend([0; 16]);
        out.extend(data);
        out.extend(b"\xab\xcd\xefMaxMind.com");
        out.extend(map(&[
            ("binary_format_major_version", uint16(2)),
            ("binary_format_minor_version", uint16(0)),
            ("build_epoch", uint64(1)),
            ("database_type", string(kind)),
            ("description", map(&[])),
            ("ip_version", uint16(4)),
            ("languages", array(&[])),
            ("node_count", uint32(count as u32)),
            ("record_size", uint16(24)),
        ]));
        out
    }

    /// A country database of the type `Meta-geoip0`: 1.1.1.1 is `au` and `cloudflare`, 2.2.2.2 is `fr`.
    pub(crate) fn countries() -> Vec<u8> {
        database(
            "Meta-geoip0",
            &[([1, 1, 1, 1].into(), array(&[string("au"), string("cloudflare")])), ([2, 2, 2, 2].into(), string("fr"))],
        )
    }

    /// A system database of the type `GeoLite2-ASN`: 1.1.1.1 is 13335 Cloudflare.
    pub(crate) fn systems() -> Vec<u8> {
        let record = map(&[
            ("autonomous_system_number", uint32(13335)),
            ("autonomous_system_organization", string("Cloudflare")),
        ]);
        database("GeoLite2-ASN", &[([1, 1, 1, 1].into(), record)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_three_country_layouts() {
        let meta = Mmdb::from_bytes(sample::countries()).unwrap();
        assert_eq!(meta.countries(ip("1.1.1.1")), ["au", "cloudflare"]);
        assert!(meta.is_in(ip("1.1.1.1"), "Cloudflare") && meta.is_in(ip("2.2.2.2"), "FR"));
        assert!(meta.is_in(ip("::ffff:2.2.2.2"), "fr"));
        assert!(!meta.is_in(ip("3.3.3.3"), "fr") && !meta.is_in(ip("2001:db8::1"), "fr"));

        let sing = sample::database("sing-geoip", &[([1, 1, 1, 1].into(), sample::string("au"))]);
        assert!(Mmdb::from_bytes(sing).unwrap().is_in(ip("1.1.1.1"), "au"));

        let record = sample::map(&[("country", sample::map(&[("iso_code", sample::string("AU"))]))]);
        let maxmind = sample::database("GeoLite2-Country", &[([1, 1, 1, 1].into(), record)]);
        assert_eq!(Mmdb::from_bytes(maxmind).unwrap().countries(ip("1.1.1.1")), ["au"]);
    }

    #[test]
    fn both_system_layouts() {
        let geolite = AsnDatabase::from_bytes(sample::systems()).unwrap();
        assert_eq!(geolite.lookup(ip("1.1.1.1")).unwrap().to_string(), "13335 Cloudflare");
        assert_eq!(geolite.lookup(ip("1.1.1.2")), None);

        let record = sample::map(&[("asn", sample::string("AS13335")), ("name", sample::string("Cloudflare"))]);
        let ipinfo = sample::database("ipinfo generic_asn_free.mmdb", &[([1, 1, 1, 1].into(), record)]);
        assert_eq!(AsnDatabase::from_bytes(ipinfo).unwrap().lookup(ip("1.1.1.1")), geolite.lookup(ip("1.1.1.1")));

        let other = AsnDatabase::from_bytes(sample::database("City", &[])).unwrap_err();
        assert_eq!(other.to_string(), "the database type `City` is not supported");
    }

    /// F-D10: wrong files and files cut at every byte.
    #[test]
    fn cut_files_answer_nothing_or_are_refused() {
        let whole = sample::countries();
        for cut in 0..whole.len() {
            if let Ok(db) = Mmdb::from_bytes(whole[..cut].to_vec()) {
                let _ = db.is_in(ip("1.1.1.1"), "au");
            }
        }
        for wrong in [&b""[..], b"<html>", &[0; 5000], b"\xab\xcd\xefMaxMind.com"] {
            assert!(Mmdb::from_bytes(wrong.to_vec()).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// F-D10: random damage, random addresses.
        #[test]
        fn flipped_bytes_never_panic(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            address in any::<u32>(),
        ) {
            for file in [sample::countries(), sample::systems()] {
                let mut bytes = file;
                for (at, value) in &flips {
                    let at = at.index(bytes.len());
                    bytes[at] = *value;
                }
                for address in [IpAddr::from(address.to_be_bytes()), ip("1.1.1.1"), ip("2001:db8::1")] {
                    if let Ok(db) = Mmdb::from_bytes(bytes.clone()) {
                        let _ = db.countries(address);
                    }
                    if let Ok(db) = AsnDatabase::from_bytes(bytes.clone()) {
                        let _ = db.lookup(address);
                    }
                }
            }
        }
    }
}
