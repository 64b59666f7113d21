//! From the address a client wrote to back to the name it meant. Spec: mihomo-surface §7.6.

use std::net::{IpAddr, SocketAddr};

use adit_dns::Original;
use adit_net::{DialError, DnsMode, Host, Session};

use crate::world::World;

impl World {
    /// Tells `session` what our own DNS answers say of the address it is for: a fake one becomes the name it stands for,
    /// of any other the name is noted.
    ///
    /// # Errors
    /// `Denied`, when the address is a fake one that stands for nothing: it must not be dialled.
    pub(crate) fn recall(&self, session: &mut Session) -> Result<(), DialError> {
        let (Some(dns), Host::Ip(ip)) = (&self.dns, &session.target.host) else { return Ok(()) };
        let ip = *ip;
        match dns.original(ip) {
            Original::Plain => {}
            Original::Mapped(name) => session.dns = DnsMode::RedirHost { name, ip },
            Original::Fake(name) => {
                session.target.host = Host::Domain(name);
                session.dns = DnsMode::FakeIp(ip);
            }
            Original::FakeMissing => {
                return Err(DialError::Denied(format!("fake DNS record {ip} missing: the client must ask again")));
            }
        }
        Ok(())
    }
}

/// The address that the client's socket believes it is connected to.
pub(crate) fn written(session: &Session) -> Option<SocketAddr> {
    let ip: IpAddr = match (&session.dns, &session.target.host) {
        (DnsMode::FakeIp(ip) | DnsMode::RedirHost { ip, .. }, _) | (DnsMode::Normal, Host::Ip(ip)) => *ip,
        (DnsMode::Normal, Host::Domain(_)) => return None,
    };
    Some(SocketAddr::new(ip, session.target.port))
}
