//! The databases behind `GEOSITE`, `GEOIP` and `IP-ASN`, from files in the home folder. Spec: mihomo-surface §1.3, §4.7.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use adit_router::{AsnDatabase, Countries, Geo, GeoError, GeoIpDat, GeoSite, Mmdb};

use crate::home::reason;
use crate::read::Text;
use crate::report::{Report, shown};
use crate::yaml::At;

/// Which databases some rules mention, and where first. One that nobody mentions is not opened: they are large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    sites: Option<At>,
    countries: Option<At>,
    asn: Option<At>,
}

impl Needed {
    pub(super) fn of<'t>(texts: impl Iterator<Item = Text<'t>>) -> Self {
        let mut needed = Self::default();
        for Text { text, at } in texts {
            if mentions(text, b"GEOSITE") {
                needed.sites.get_or_insert(at);
            }
            // `GEOIP,LAN` needs none, but a longer text may have others beside it.
            if mentions(text, b"GEOIP") && !is_lan_only(text) {
                needed.countries.get_or_insert(at);
            }
            if mentions(text, b"IP-ASN") {
                needed.asn.get_or_insert(at);
            }
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

/// The databases, each opened when it is first needed.
#[derive(Debug)]
pub(super) struct Databases {
    dir: PathBuf,
    prefers_dat: bool,
    sites: OnceLock<Option<Arc<GeoSite>>>,
    countries: OnceLock<Option<Countries>>,
    asn: OnceLock<Option<Arc<AsnDatabase>>>,
}

impl Databases {
    /// In the folder `dir`; `prefers_dat`: countries are looked up in `GeoIP.dat`.
    pub(super) fn new(dir: &Path, prefers_dat: bool) -> Self {
        Self {
            dir: dir.to_path_buf(),
            prefers_dat,
            sites: OnceLock::new(),
            countries: OnceLock::new(),
            asn: OnceLock::new(),
        }
    }

    /// Opens what is needed and there, and returns all that is open. A file that is damaged is reported once and counts as
    /// missing: rules that need it do not match, and the router says so once (F-D10).
    pub(super) fn open(&self, needed: Needed, report: &Report) -> Geo {
        if let Some(at) = needed.sites {
            self.sites.get_or_init(|| first(&self.dir, &["GeoSite.dat"], at, GeoSite::parse, report));
        }
        if let Some(at) = needed.countries {
            self.countries.get_or_init(|| self.countries(at, report));
        }
        if let Some(at) = needed.asn {
            self.asn.get_or_init(|| {
                first(&self.dir, &["ASN.mmdb", "GeoLite2-ASN.mmdb"], at, AsnDatabase::from_bytes, report)
            });
        }
        Geo {
            site: self.sites.get().cloned().flatten(),
            countries: self.countries.get().cloned().flatten(),
            asn: self.asn.get().cloned().flatten(),
        }
    }

    fn countries(&self, at: At, report: &Report) -> Option<Countries> {
        if self.prefers_dat {
            first(&self.dir, &["GeoIP.dat"], at, |bytes| GeoIpDat::parse(&bytes), report).map(Countries::Dat)
        } else {
            first(&self.dir, &["Country.mmdb", "geoip.db", "geoip.metadb"], at, Mmdb::from_bytes, report)
                .map(Countries::Mmdb)
        }
    }
}

/// The first of the files `names` that exists and is what it should be.
fn first<T>(
    dir: &Path,
    names: &[&str],
    at: At,
    parse: impl Fn(Vec<u8>) -> Result<T, GeoError>,
    report: &Report,
) -> Option<Arc<T>> {
    names.iter().find_map(|name| {
        let path = find(dir, name)?;
        let bytes = fs::read(&path).map_err(|error| reason(&error));
        match bytes.and_then(|bytes| parse(bytes).map_err(|error| error.to_string())) {
            Ok(database) => Some(Arc::new(database)),
            Err(why) => {
                report.warning(at, format!("cannot use {}: {why}", shown(&path.to_string_lossy())));
                None
            }
        }
    })
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
        let needed = |text| Needed::of(std::iter::once(Text { text, at: At::new(7, 9) }));
        assert_eq!(needed("GEOIP,LAN,DIRECT,no-resolve"), Needed::default());
        assert_eq!(needed("DOMAIN-SUFFIX,example.com,DIRECT"), Needed::default());
        for text in ["geoip,cn,DIRECT", "SRC-GEOIP,cn,DIRECT", "AND,((GEOIP,LAN),(GEOIP,CN)),DIRECT"] {
            assert_eq!(needed(text), Needed { countries: Some(At::new(7, 9)), ..Needed::default() }, "{text}");
        }
        assert!(needed("NOT,((GeoSite,cn)),DIRECT").sites.is_some());
        assert!(needed("SRC-IP-ASN,1,DIRECT").asn.is_some());
    }
}
