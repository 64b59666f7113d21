//! A checked list of nameservers, ready for any way out.

use std::fmt;
use std::sync::Arc;

use adit_net::{Dialer, Domain, Resolve, Through};
use rustls::pki_types::CertificateDer;
use thiserror::Error;

use crate::group::{Group, Member};
use crate::nameserver::{Nameserver, Transport};
use crate::plan::Plan;
use crate::resolver::{Habits, Resolver};
use crate::tls::{QuicTls, TlsClient, Trust};
use crate::upstream::{Out, Upstream, Wire};

/// What a list of servers is asked for, and what it may rely on.
#[derive(Clone, Default)]
pub struct Options {
    /// Whether names are also looked up for IPv6 addresses. `false`: no AAAA question is ever sent.
    pub ipv6: bool,
    /// Who knows the addresses of servers that are given by name. Without it, the list's own servers that are given by
    /// address, by the same way out.
    pub bootstrap: Option<Arc<dyn Resolve>>,
    /// Trust roots besides those that browsers have, for `tls://` and `https://`.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// Why a list of nameservers cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServersError {
    /// Nobody to ask.
    #[error("the list of nameservers is empty")]
    Empty,
    /// `system` is no server that could be asked by another way.
    #[error("`system` asks beside the way out that is wanted here: write the servers' addresses")]
    System,
    /// A way out that is not there.
    #[error("there is neither an outbound nor an interface `{0}` to ask a nameserver through")]
    NoWay(String),
    /// A server that knows names' addresses, given by name itself.
    #[error("default nameserver should be pure IP, and {0} is a name")]
    DefaultByName(Domain),
    /// A server given by name, and nobody who could know its address.
    #[error("the nameserver {0} is given by name: add one that is given by address, to look the name up with")]
    NoBootstrap(Domain),
    /// An extra root, or a name that no certificate can have.
    #[error("TLS of {server}: {cause}")]
    Tls {
        /// Which server.
        server: String,
        /// What the library says.
        cause: rustls::Error,
    },
    /// A trust root that is none.
    #[error("extra trust root: {0}")]
    Root(rustls::Error),
}

/// A checked list of nameservers, without duplicates. Give it a way out ([`Through::over`]) to ask them.
///
/// What the servers' texts say of ways out ([`Nameserver::via`]) is not used: the way out is given.
#[derive(Clone)]
pub struct Servers {
    list: Arc<[Prepared]>,
    options: Options,
}

/// A server and what its connections share.
pub(crate) struct Prepared {
    nameserver: Nameserver,
    wire: Wire,
}

impl Servers {
    /// Checks `list`, so that nothing but the network can fail later.
    ///
    /// # Errors
    /// See [`ServersError`].
    pub fn new(list: Vec<Nameserver>, options: Options) -> Result<Self, ServersError> {
        let mut distinct: Vec<Nameserver> = Vec::with_capacity(list.len());
        for nameserver in list {
            if !distinct.contains(&nameserver) {
                distinct.push(nameserver);
            }
        }
        if distinct.is_empty() {
            return Err(ServersError::Empty);
        }
        let by_name = distinct.iter().find_map(|one| one.server()?.host.domain());
        let any_by_address = distinct.iter().any(is_by_address);
        if let Some(name) = by_name.filter(|_| options.bootstrap.is_none() && !any_by_address) {
            return Err(ServersError::NoBootstrap(name.clone()));
        }
        let trust = Trust::new(&options.extra_roots).map_err(ServersError::Root)?;
        let list = distinct.into_iter().map(|one| Prepared::new(one, &trust)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { list: list.into(), options })
    }

    /// A resolver that asks these servers by `dialer`, and only so. [`Through::over`] with its type known.
    #[must_use]
    pub fn resolver(&self, dialer: Arc<dyn Dialer>) -> Resolver {
        let bootstrap = self.bootstrap(&dialer);
        let upstreams = self.list.iter().map(|one| one.upstream(Out::new(&dialer, bootstrap.as_ref())));
        self.over_all(upstreams)
    }

    /// Who knows the servers' own addresses, if any of them has to be looked up.
    fn bootstrap(&self, dialer: &Arc<dyn Dialer>) -> Option<Arc<dyn Resolve>> {
        if let Some(given) = &self.options.bootstrap {
            return Some(Arc::clone(given));
        }
        let is_by_name = |one: &Prepared| one.nameserver.server().is_some_and(|server| server.host.domain().is_some());
        if !self.list.iter().any(is_by_name) {
            return None;
        }
        let by_address = self.list.iter().filter(|one| is_by_address(&one.nameserver));
        Some(Arc::new(self.over_all(by_address.map(|one| one.upstream(Out::new(dialer, None))))))
    }

    fn over_all(&self, upstreams: impl Iterator<Item = Arc<Upstream>>) -> Resolver {
        let plan = Plan::from(Group(upstreams.map(Member::Server).collect()));
        Resolver::new(plan, Habits { ipv6: self.options.ipv6, ..Habits::default() })
    }
}

impl Through for Servers {
    fn over(&self, dialer: Arc<dyn Dialer>) -> Arc<dyn Resolve> {
        Arc::new(self.resolver(dialer))
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|one| format_args!("{}", one.nameserver).to_string())).finish()
    }
}

impl Prepared {
    pub(crate) fn new(nameserver: Nameserver, trust: &Trust) -> Result<Self, ServersError> {
        let tls = |host, certificate, alpn| {
            TlsClient::new(trust, host, certificate, alpn)
                .map_err(|cause| ServersError::Tls { server: nameserver.to_string(), cause })
        };
        let wire = match &nameserver.transport {
            Transport::System => return Err(ServersError::System),
            Transport::Rcode(code) => Wire::Fixed(*code),
            Transport::Udp(server) => Wire::Udp(server.clone()),
            Transport::Tcp(server) => Wire::Tcp(server.clone()),
            Transport::Tls { server, certificate, one_shot } => {
                Wire::Tls { server: server.clone(), tls: tls(&server.host, certificate, None)?, one_shot: *one_shot }
            }
            Transport::Quic { server, certificate } => {
                let tls = QuicTls::new(trust, &server.host, certificate)
                    .map_err(|cause| ServersError::Tls { server: nameserver.to_string(), cause })?;
                Wire::Quic { server: server.clone(), tls }
            }
            Transport::Https(https) => {
                Wire::Https { tls: tls(&https.server.host, &https.certificate, Some(b"h2"))?, https: https.clone() }
            }
        };
        Ok(Self { nameserver, wire })
    }

    pub(crate) fn upstream(&self, out: Out) -> Arc<Upstream> {
        Arc::new(Upstream::new(self.nameserver.to_string(), self.nameserver.changes.clone(), self.wire.clone(), out))
    }
}

/// Whether a server can be asked without knowing any name's address.
fn is_by_address(nameserver: &Nameserver) -> bool {
    nameserver.server().is_some_and(|server| server.host.ip().is_some())
}
