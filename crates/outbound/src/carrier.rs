//! How an outbound reaches its server: from this machine, or through another way out (`dialer-proxy`).

use std::net::IpAddr;
use std::sync::Arc;

use adit_net::{BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, Tag, Target};

use crate::book::Way;
use crate::direct::Direct;
use crate::lineage::Lineage;

/// How an outbound reaches its server.
pub(crate) enum Carrier {
    /// A socket of our own.
    Direct(Direct),
    /// The proxy or group that `dialer-proxy` names.
    Via(Via),
}

impl Carrier {
    /// Opens a stream to `server`: a bare socket in the first case, whatever the other way out returns in the second.
    ///
    /// # Cancel safety
    /// Dropping the future closes what it opened.
    pub(crate) async fn connect(&self, server: &Target) -> Result<BoxStream, DialError> {
        self.dialer().connect(dial(server)).await
    }

    /// Opens a packet socket for `server`.
    pub(crate) async fn datagrams(&self, server: &Target) -> Result<Datagrams, DialError> {
        self.dialer().datagrams(dial(server)).await
    }

    /// The server's address, if `stream` is our own socket to it.
    pub(crate) fn peer(&self, stream: &BoxStream) -> Option<IpAddr> {
        match self {
            Self::Direct(_) => Some(stream.raw_reader()?.peer_addr().ok()?.ip()),
            // The bare socket below such a stream, if any, leads to another server.
            Self::Via(_) => None,
        }
    }

    fn dialer(&self) -> &dyn Dialer {
        match self {
            Self::Direct(direct) => direct,
            Self::Via(via) => via,
        }
    }
}

/// A dial of our own.
fn dial(server: &Target) -> Dial<'_> {
    Dial { target: server, known: None, client: None }
}

/// A proxy or group, looked up whenever somebody dials, because a group's choice changes.
pub(crate) struct Via {
    /// Whose `dialer-proxy` this is.
    pub(crate) owner: Tag,
    /// What it names.
    pub(crate) name: Tag,
    /// Knows the book of the moment, which owns the outbound that owns this.
    pub(crate) lineage: Arc<Lineage>,
}

impl Via {
    fn way(&self) -> Result<Way, DialError> {
        let Some(book) = self.lineage.book() else {
            return Err(DialError::Denied(format!("the configuration of proxy [{}] was replaced", self.owner)));
        };
        book.hop(&self.owner, &self.name)
    }
}

impl Dialer for Via {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move { self.way()?.dialer.connect(dial).await })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(async move { self.way()?.dialer.datagrams(dial).await })
    }
}
