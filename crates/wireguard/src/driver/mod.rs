//! The one part of a tunnel that does I/O: a task that owns its sockets and its clock, and the faces that speak to it.
//!
//! ```text
//!  Tunnel ── commands ──► Driver ──► Core { Device, Stack, Outbox }
//!  TunnelStream ── its flow's own lock, the stack's ready queue ──► ┘
//! ```
//!
//! A stream never waits for the driver's cryptography and the driver never waits for a stream: what a stream cannot take
//! waits in the stack, whose window tells the other end.

mod clock;
mod endpoints;
mod path;
mod report;
mod run;
mod socket;
mod sockets;
#[cfg(test)]
mod tests;
mod timer;
mod tunnel;
mod via;

pub use endpoints::Locate;
pub use report::PeerStatus;
pub use tunnel::{Outer, Tunnel, TunnelSocket, TunnelStream, Way};
