//! Looking at a byte stream with every sniffer that is wanted.

use adit_net::Domain;

use crate::options::Protocol;
use crate::{Verdict, http, tls};

/// A name, and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What the client speaks.
    pub protocol: Protocol,
    /// Whom it names.
    pub name: Domain,
}

/// What the sniffers of a stream make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// One of them has found a name.
    Found(Found),
    /// None of them has, and none will.
    Nothing,
    /// One of them needs to see more.
    NeedMore,
}

/// The sniffers that are wanted for one TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct StreamSniffer {
    tls: bool,
    http: bool,
}

impl StreamSniffer {
    /// Looks for the protocols that are `true`.
    #[must_use]
    pub fn new(tls: bool, http: bool) -> Self {
        Self { tls, http }
    }

    /// Looks at everything the client has sent, from its first byte on. See [`LIMIT`](crate::LIMIT) for how much is of
    /// interest. What is said once, other than [`Look::NeedMore`], is not taken back when more is seen.
    pub fn look(self, seen: &[u8]) -> Look {
        let mut open = false;
        for (wanted, protocol, sniff) in
            [(self.tls, Protocol::Tls, tls::sniff as fn(&[u8]) -> Verdict), (self.http, Protocol::Http, http::sniff)]
        {
            if !wanted {
                continue;
            }
            match sniff(seen) {
                Verdict::Name(name) => return Look::Found(Found { protocol, name }),
                Verdict::NotThis => {}
                Verdict::NeedMore => open = true,
            }
        }
        if open { Look::NeedMore } else { Look::Nothing }
    }
}
