//! The rules and the listeners together, on a gateway between a client and the world.
//!
//! ```text
//!  client                         gateway                            world
//!  10.78.0.2  fd78::2 ── lan ── 10.78.0.1  fd78::1
//!                               192.0.2.2  2001:db8:2::2 ── wan ── 192.0.2.1  2001:db8:2::1
//!                                                                  and, behind it, 198.51.100.1, 2001:db8:51::1
//! ```
//!
//! Nothing here is private to the rules but `lan`. The world answers with a word of its own, the proxy says where its
//! client wanted to go: a test sees which way was taken.

#![expect(clippy::unwrap_used, reason = "this is all test")]

mod capture;
mod crash;
mod guard;
mod hosts;
mod net;
