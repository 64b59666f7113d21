//! Transparent listeners between two network namespaces, with rules written by hand: what the kernel hands over, and what
//! the client gets back.
//!
//! ```text
//!  client namespace          gateway namespace: the listener
//!  10.78.0.2  fd78::2  ───── 10.78.0.1  fd78::1      everything else is behind it, and does not exist
//! ```

#![expect(clippy::unwrap_used, reason = "this is all test")]

mod net;
mod tcp;
mod udp;
