//! Finds the name a client wants in the first bytes it sends.
//!
//! What it is: the server name of a TLS ClientHello ([`tls`]), the host of an HTTP/1 request ([`http`]) and the server
//! name inside QUIC's Initial packets ([`quic`]), each from bytes to a [`Verdict`]; and the decision who is looked at and
//! which names are taken ([`Plan`], made of [`Options`]).
//!
//! What it is not: it reads no socket and keeps no clock. It changes no byte: whatever the verdict, the traffic is
//! relayed as it came. It resolves nothing and knows no rule sets; lists of names and addresses are questions that its
//! user answers ([`NameSet`], [`AddressSet`]).
//!
//! # How to look at a TCP connection
//! 1. Ask [`Plan::wants`]. `None`: dial at once.
//! 2. Peek (`MSG_PEEK`) into a buffer of [`LIMIT`] bytes, so that the bytes stay in the socket and the relay may still
//!    splice them, and hand [`StreamSniffer::look`] everything from the first byte on. Repeat while it needs more, but only
//!    when there is more: bytes that were peeked at leave the socket readable. With edge-triggered readiness a peek that
//!    shows nothing new counts as `WouldBlock`, and the next segment wakes the task.
//! 3. Stop 300 ms after the first wait began, however the bytes trickle. A peek does not show the end of a stream behind
//!    bytes; the deadline covers that too. A server that speaks first makes its client silent: its banner comes after
//!    that wait, and [`Plan::failed`] sees to it that the destination is soon not looked at any more. A client that says
//!    nothing is dialed for like any other.
//! 4. A name goes through [`Plan::accept`]; no name, for whatever reason, goes to [`Plan::failed`].
//!
//! For UDP, the first datagrams of a flow are held back (a few, and for the same 300 ms) and fed to a [`QuicSniffer`];
//! there is no failure to report.
//!
//! ```
//! use std::time::Instant;
//!
//! use adit_net::{Entry, Network, Protocol, Session, Target};
//! use adit_sniffer::{Look, Options, Plan, Sniff};
//!
//! let plan = Plan::new(Options { http: Some(Sniff::http()), ..Options::default() });
//! # let local = ([192, 0, 2, 1], 7893).into();
//! # let entry = Entry { inbound: "redir".into(), protocol: Protocol::Redir, local, user: None };
//! # let client = std::net::SocketAddr::from(([192, 0, 2, 7], 50000)).into();
//! let target = Target::new(std::net::IpAddr::from([203, 0, 113, 5]), 80);
//! let mut session = Session::new(Network::Tcp, entry, client, target);
//!
//! let wanted = plan.wants(&session, None, Instant::now()).expect("a bare address, on a port of HTTP");
//! let sniffer = wanted.stream();
//! assert_eq!(sniffer.look(b"GET / HTTP/1.1\r\nHost: exam"), Look::NeedMore);
//! let Look::Found(found) = sniffer.look(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n") else { panic!() };
//! if let Some(taken) = plan.accept(&session.target, found) {
//!     assert!(taken.override_destination);
//!     session.sniffed = Some(taken.name);
//! }
//! assert_eq!(session.sniffed.unwrap().as_str(), "example.com");
//! ```

#![forbid(unsafe_code)]

mod failures;
mod hello;
pub mod http;
mod name;
mod options;
mod plan;
pub mod quic;
mod reader;
mod stream;
pub mod tls;

use adit_net::Domain;

pub use options::{AddressSet, NameSet, Options, Protocol, Sniff};
pub use plan::{Plan, Taken, Wanted};
pub use quic::QuicSniffer;
pub use stream::{Found, Look, StreamSniffer};

/// How far any sniffer looks, in bytes: of a stream from its first byte on, of a QUIC flow into its CRYPTO data.
///
/// A sniffer that has seen as much never says [`Verdict::NeedMore`], and none makes an allocation beyond this.
pub const LIMIT: usize = 16 * 1024;

/// What a sniffer makes of what it has seen so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The protocol is the sniffer's, and the client names one plausible host.
    Name(Domain),
    /// Another protocol, damaged, without a name or with several: more bytes will not help.
    NotThis,
    /// Everything so far is as it should be, but the message is not whole. What it names is not told before it is.
    NeedMore,
}
