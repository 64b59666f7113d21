//! Who is looked at, and which names are taken.

use std::time::Instant;

use adit_net::{Domain, Network, Session, Target};
use parking_lot::Mutex;

use crate::failures::Failures;
use crate::options::{Options, Protocol, Sniff};
use crate::stream::{Found, StreamSniffer};

/// The decisions that [`Options`] amount to, and the memory of where looking was in vain.
///
/// Shared by all connections; no method waits.
#[derive(Debug)]
pub struct Plan {
    options: Options,
    failures: Mutex<Failures>,
}

/// What a session is looked at for: at least one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// A ClientHello in a stream.
    pub tls: bool,
    /// An HTTP request in a stream.
    pub http: bool,
    /// Initial packets in datagrams.
    pub quic: bool,
}

impl Wanted {
    /// The sniffers for a TCP session.
    #[must_use]
    pub fn stream(self) -> StreamSniffer {
        StreamSniffer::new(self.tls, self.http)
    }
}

/// A name that was found and that counts: the session's rules are to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whom the client names.
    pub name: Domain,
    /// Dial the name and forget the address. Otherwise the original destination is dialed.
    pub override_destination: bool,
}

impl Plan {
    /// A plan that remembers no failure.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, failures: Mutex::default() }
    }

    /// What to look for in `session`; none to dial at once.
    ///
    /// `mapped` is the name that our own DNS answers tell of the session's address (redir-host), if its target is one. A
    /// name that the client gave, or that a fake address stood for, is the session's target instead.
    #[must_use]
    pub fn wants(&self, session: &Session, mapped: Option<&Domain>, now: Instant) -> Option<Wanted> {
        if !self.options.enable || !self.is_open_to(session, mapped) {
            return None;
        }
        let wants = |protocol: Protocol| {
            let on_port = |sniff: &Sniff| sniff.ports.iter().any(|range| range.contains(&session.target.port));
            protocol.network() == session.network && self.options.sniff(protocol).is_some_and(on_port)
        };
        let wanted = Wanted { tls: wants(Protocol::Tls), http: wants(Protocol::Http), quic: wants(Protocol::Quic) };
        if !(wanted.tls || wanted.http || wanted.quic) {
            return None;
        }
        let hopeless = session.network == Network::Tcp
            && self.failures.lock().are_many(&session.target, now)
            && !self.forces(session, mapped);
        (!hopeless).then_some(wanted)
    }

    /// What becomes of a name found in a session to `target`, as that was when it was looked at; none if the name is one of
    /// `skip-domain`.
    ///
    /// Either way the session has not [failed](Self::failed); a name that is taken from a stream clears `target`'s failures.
    #[must_use]
    pub fn accept(&self, target: &Target, found: Found) -> Option<Taken> {
        let Found { protocol, name } = found;
        if self.options.skip_domain.contains(&name) {
            return None;
        }
        if protocol.network() == Network::Tcp {
            self.failures.lock().forget(target);
        }
        let own = self.options.sniff(protocol).and_then(|sniff| sniff.override_destination);
        Some(Taken { name, override_destination: own.unwrap_or(self.options.override_destination) })
    }

    /// A TCP session was looked at and no name was found: silence, another protocol, damage.
    ///
    /// After the sixth time at one target (address or name, with port) and until ten minutes have passed without another,
    /// [`wants`](Self::wants) says no for it, unless the session's name is one of `force-domain`. The 128 targets that
    /// failed last are remembered.
    pub fn failed(&self, session: &Session, now: Instant) {
        if session.network == Network::Tcp {
            self.failures.lock().add(&session.target, now);
        }
    }

    /// Whether to look at all. The order is that of the surface page, §8.2.
    fn is_open_to(&self, session: &Session, mapped: Option<&Domain>) -> bool {
        let options = &self.options;
        let address = session.target.host.ip();
        if address.is_some_and(|ip| options.skip_dst_address.contains(ip))
            || options.skip_src_address.contains(session.client.ip())
        {
            return false;
        }
        let nameless = address.is_some() && mapped.is_none();
        (nameless && options.parse_pure_ip)
            || (address.is_some() && mapped.is_some() && options.force_dns_mapping)
            || self.forces(session, mapped)
    }

    fn forces(&self, session: &Session, mapped: Option<&Domain>) -> bool {
        session.target.host.domain().or(mapped).is_some_and(|name| self.options.force_domain.contains(name))
    }
}
