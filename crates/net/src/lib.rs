//! The vocabulary every other crate speaks.
//!
//! What it is: addresses ([`Domain`], [`Host`], [`Target`]), what a client asked for ([`Session`]), byte streams that
//! can tell whether they are bare sockets ([`Stream`]), ways out ([`Dialer`]), what inbounds feed ([`Handler`]), the
//! relay between two streams ([`relay()`]), and the makers of sockets ([`SocketOptions`], [`Listener`],
//! [`Transparent`]).
//!
//! What it is not: it knows no protocol, no rule and no configuration.
//!
//! ```
//! use adit_net::Target;
//!
//! let target: Target = "API.Example.com.:443".parse()?;
//! assert_eq!(target.to_string(), "api.example.com:443");
//! # Ok::<(), adit_net::BadAddress>(())
//! ```

#![forbid(unsafe_code)]

mod addr;
mod batch;
mod descriptors;
mod dialer;
mod farewell;
mod handler;
mod listener;
mod nearby;
mod peek;
mod relay;
mod resolve;
mod secret;
mod session;
mod socket;
mod stream;
mod task;
mod transparent;

pub use addr::{BadAddress, ClientAddr, Domain, Host, Target, unmapped};
pub use batch::{BATCH, Batch, Trains, receive_batch};
pub use descriptors::{is_scarce, raise_descriptor_limit};
pub use dialer::{BoxFuture, Datagrams, Dial, DialError, Dialer, RecvDatagram, SendDatagram};
pub use farewell::{farewell, linger};
pub use handler::{Accepted, Handler, Packet, Reply, ReturnPath};
pub use listener::{Listener, is_own_listener};
pub use nearby::{OnLink, is_private};
pub use peek::{PEEK_LIMIT, peek};
pub use relay::{Broken, Counters, End, Limits, Side, relay};
pub use resolve::{HostsEntry, HostsTable, Resolve, ResolveError, SystemResolver, Through, WithHosts, WithoutIpv6};
pub use secret::Secret;
pub use session::{DnsMode, Entry, Network, Protocol, Session, SessionId, Tag};
pub use socket::{KeepAlive, SocketOptions, listen, listen_udp, to_family_of};
pub use stream::{BoxStream, Prefixed, Stream};
pub use task::{Shutdown, Task};
pub use transparent::{Transparent, original_destination};
