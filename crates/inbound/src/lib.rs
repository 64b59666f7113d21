//! Inbounds: clients that know they talk to a proxy, and say so in HTTP or SOCKS, and clients that do not, whose traffic
//! the kernel hands us (REDIRECT, TPROXY).
//!
//! What it is: one [`Inbound`] or [`TransparentInbound`] per listener. It decides whom it serves ([`Access`], [`Users`]), understands what the
//! client wants, and hands it to a [`Handler`](adit_net::Handler) together with the words in which this client wants to
//! hear yes or no.
//!
//! What it is not: it knows no rule and no way out. It never answers "connected" by itself; whoever handles the
//! connection does that once it is true.
//!
//! What clients say is read without I/O, by plain functions: [`socks5::wire`], [`socks4::request`],
//! [`http::request::read`], [`http::response::read`] and [`http::chunked::Decoder`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use adit_inbound::{Access, Inbound, Kind, Options, Users};
//! use adit_net::{Accepted, Handler, KeepAlive, Packet, Shutdown};
//!
//! /// Serves nobody.
//! struct Nobody;
//!
//! impl Handler for Nobody {
//!     async fn tcp(&self, _: Accepted) {}
//!     fn udp(&self, _: Packet) {}
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let inbound = Inbound::bind(Options {
//!     name: "DEFAULT-MIXED".into(),
//!     kind: Kind::Mixed,
//!     listen: "127.0.0.1:0".parse()?,
//!     users: Users::none(),
//!     access: Access::everyone(),
//!     udp: true,
//!     keep_alive: KeepAlive::default(),
//! })?;
//! println!("listening at {}", inbound.local_addr());
//! let shutdown = Shutdown::new();
//! # shutdown.start();
//! inbound.run(Arc::new(Nobody), shutdown).await;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod access;
mod budgets;
mod client;
mod door;
pub mod http;
mod listen;
mod options;
mod redirect;
mod serve;
pub mod socks4;
pub mod socks5;
mod tproxy;
mod transparent;
mod udp;
mod users;

#[cfg(test)]
mod tests;

pub use access::Access;
pub use listen::{BindError, Inbound};
pub use options::{Kind, Options};
pub use transparent::{Interception, PULSE, TransparentInbound, TransparentOptions};
pub use users::Users;
