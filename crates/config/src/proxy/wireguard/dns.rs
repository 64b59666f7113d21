//! `dns`: who is asked inside the tunnel.

use std::ops::Range;
use std::sync::Arc;

use adit_dns::{BadNameserver, Nameserver, Options, Servers};
use adit_net::Through;
use adit_wireguard::options::Addresses;

use crate::proxy::flaw::Flaw;

/// One nameserver. The bytes of `text` that are wrong come with the flaw.
pub(crate) fn nameserver(text: &str) -> Result<Nameserver, (Range<usize>, Flaw)> {
    Nameserver::parse(text).map_err(|BadNameserver { at, flaw }| (at, Flaw::wrong("dns", format!("`dns`: {flaw}"))))
}

/// All of them. IPv6 addresses are asked for if the tunnel has one itself and `ipv6`, the global switch, is on.
pub(crate) fn servers(list: Vec<Nameserver>, addresses: Addresses, ipv6: bool) -> Result<Arc<dyn Through>, Flaw> {
    let options = Options { ipv6: ipv6 && addresses.v6().is_some(), ..Options::default() };
    match Servers::new(list, options) {
        Ok(servers) => Ok(Arc::new(servers)),
        Err(why) => Err(Flaw::wrong("dns", format!("`dns`: {why}"))),
    }
}
