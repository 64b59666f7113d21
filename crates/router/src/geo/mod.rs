//! Databases that say where an address or a name belongs. Bytes in, answers out; who reads files is elsewhere.
//!
//! Every look-up in a damaged database answers "not known": a rule that asks does not match (F-D10).

pub(crate) mod dat;
pub(crate) mod mmdb;
pub(crate) mod site;
mod wire;

use std::sync::Arc;

use thiserror::Error;

pub(crate) use dat::Country;
pub use dat::GeoIpDat;
pub use mmdb::{AsnDatabase, AsnRecord, Mmdb};
pub use site::GeoSite;

/// The databases that rules may need, as far as they are there.
#[derive(Clone, Debug, Default)]
pub struct Geo {
    /// For `GEOSITE`.
    pub site: Option<Arc<GeoSite>>,
    /// For `GEOIP`.
    pub countries: Option<Countries>,
    /// For `IP-ASN`.
    pub asn: Option<Arc<AsnDatabase>>,
}

/// Either form of the country database.
#[derive(Clone, Debug)]
pub enum Countries {
    /// The MaxMind container: `geoip.metadb`, `Country.mmdb`.
    Mmdb(Arc<Mmdb>),
    /// `GeoIP.dat`, used with `geodata-mode: true`.
    Dat(Arc<GeoIpDat>),
}

/// Why a database is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeoError {
    /// A length points outside the file, or a field has the wrong type: truncated, or not such a file at all.
    #[error("the file is damaged or not a {0} database")]
    Damaged(&'static str),
    /// A MaxMind container whose records this program does not understand.
    #[error("the database type `{}` is not supported", crate::shown(.0))]
    UnsupportedType(String),
}
