//! The client against scripted servers: in a made-up network with made-up time, and on loopback.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod bytes;
mod clients;
mod datagrams;
mod https;
mod killed;
mod loopback;
mod plans;
mod quic;
mod resolver;
mod script;
mod servers;
mod sockets;
mod strangers;
mod streams;
mod tls;
mod world;
