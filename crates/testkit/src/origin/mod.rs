//! Servers for the far end of a scene. Each listens on the same port of 127.0.0.1 and `[::1]`, serves every connection in a
//! thread of its own, and stops accepting when dropped.
//!
//! Started on the server side of a [`crate::lab::Lab`], each listens on [`ORIGIN_V4`] and [`ORIGIN_V6`] instead, where
//! the other side reaches it.

mod bulk;
mod dns;
mod http;
mod quic;
mod tcp;
mod tls;
mod udp;
mod websocket;

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

use crate::lab::{ORIGIN_V4, ORIGIN_V6};

pub use bulk::BulkOrigin;
pub use dns::{DnsOrigin, Query};
pub use http::HttpOrigin;
pub use quic::{QuicOrigin, quic_echo};
pub use tcp::TcpOrigin;
pub use tls::{TlsOptions, TlsOrigin};
pub use udp::UdpOrigin;

/// Where an origin listens that this thread starts: no interface has these addresses but that of a lab's server side.
fn home() -> (Ipv4Addr, Ipv6Addr) {
    if UdpSocket::bind((ORIGIN_V4, 0)).is_ok() {
        (ORIGIN_V4, ORIGIN_V6)
    } else {
        (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
    }
}
