//! The databases behind `GEOSITE`, `GEOIP` and `IP-ASN`, from files in the home folder. Spec: mihomo-surface §1.3, §4.7.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_router::{AsnDatabase, Countries, Geo, GeoError, GeoIpDat, GeoSite, Mmdb};

use crate::context::Context;
use crate::home::reason;
use crate::report::{Draft, shown};
use crate::yaml::At;

/// Which databases the rules mention. One that nobody mentions is not opened: they are large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    sites: bool,
    countries: bool,
    asn: bool,
}

impl Needed {
    pub(super) fn of<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let mut needed = Self::default();
        for text in texts {
            needed.sites |= mentions(text, b"GEOSITE");
            // `GEOIP,LAN` needs none, but a longer text may have others beside it.
            needed.countries |= mentions(text, b"GEOIP") && !is_lan_only(text);
            needed.asn |= mentions(text, b"IP-ASN");
        }
        needed
    }
}

fn mentions(text: &str, word: &[u8]) -> bool {
    text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

fn is_lan_only(rule: &str) -> bool {
    let mut pieces = rule.split(',').map(str::trim);
    let kind = pieces.next().unwrap_or_default();
    let is_geoip = kind.eq_ignore_ascii_case("GEOIP") || kind.eq_ignore_ascii_case("SRC-GEOIP");
    is_geoip && pieces.next().is_some_and(|code| code.eq_ignore_ascii_case("LAN"))
}

/// Opens what is needed and there. A file that is damaged is reported at `at` and counts as missing: rules that need it
/// do not match, and the router says so once (F-D10).
pub(super) fn open(needed: Needed, prefers_dat: bool, at: At, cx: &Context<'_>) -> Geo {
    let files = Files { at, cx };
    let mut geo = Geo::default();
    if needed.sites {
        geo.site = files.open(&["GeoSite.dat"], GeoSite::parse);
    }
    if needed.countries {
        geo.countries = if prefers_dat {
            files.open(&["GeoIP.dat"], |bytes| GeoIpDat::parse(&bytes)).map(Countries::Dat)
        } else {
            files.open(&["Country.mmdb", "geoip.db", "geoip.metadb"], Mmdb::from_bytes).map(Countries::Mmdb)
        };
    }
    if needed.asn {
        geo.asn = files.open(&["ASN.mmdb", "GeoLite2-ASN.mmdb"], AsnDatabase::from_bytes);
    }
    geo
}

struct Files<'c, 'd> {
    at: At,
    cx: &'c Context<'d>,
}

impl Files<'_, '_> {
    /// The first of `names` that exists and is what it should be.
    fn open<T>(&self, names: &[&str], parse: impl Fn(Vec<u8>) -> Result<T, GeoError>) -> Option<Arc<T>> {
        names.iter().find_map(|name| {
            let path = find(self.cx.home.dir(), name)?;
            let parsed = fs::read(&path).map_err(|error| reason(&error));
            match parsed.and_then(|bytes| parse(bytes).map_err(|error| error.to_string())) {
                Ok(database) => Some(Arc::new(database)),
                Err(why) => {
                    let text = format!("cannot use {}: {why}", shown(&path.to_string_lossy()));
                    self.cx.report.once(text.clone(), Draft::warning(self.at, text));
                    None
                }
            }
        })
    }
}

/// A file of the folder by its name in any case.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|file| file.eq_ignore_ascii_case(name)))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_needed_only_by_those_who_name_them() {
        let needed = |text: &str| Needed::of(std::iter::once(text));
        assert_eq!(needed("GEOIP,LAN,DIRECT,no-resolve"), Needed::default());
        assert_eq!(needed("DOMAIN-SUFFIX,example.com,DIRECT"), Needed::default());
        assert!(needed("geoip,cn,DIRECT").countries && needed("SRC-GEOIP,cn,DIRECT").countries);
        assert!(needed("AND,((GEOIP,LAN),(GEOIP,CN)),DIRECT").countries);
        assert!(needed("NOT,((GeoSite,cn)),DIRECT").sites);
        assert!(needed("SRC-IP-ASN,1,DIRECT").asn);
    }
}
