//! The client against scripted servers: in a made-up network with made-up time, and on loopback.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod bytes;
mod datagrams;
mod https;
mod loopback;
mod resolver;
mod script;
mod servers;
mod streams;
mod tls;
mod world;
