//! Servers for the far end of a scene. Each listens on the same port of 127.0.0.1 and `[::1]`, serves every connection in a
//! thread of its own, and stops accepting when dropped.
//!
//! Started on the server side of a [`crate::lab::Lab`], each listens on [`ORIGIN_V4`] and [`ORIGIN_V6`] instead, where
//! the other side reaches it, and at the exit of a [`crate::lab::gateway::GatewayLab`] on the exit's addresses.

mod bulk;
mod dns;
mod http;
mod quic;
mod tcp;
mod tls;
mod udp;
mod websocket;

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

use crate::lab::gateway::{EXIT_V4, EXIT_V6};
use crate::lab::{ORIGIN_V4, ORIGIN_V6};

pub use bulk::BulkOrigin;
pub use dns::{DnsOrigin, Query};
pub use http::HttpOrigin;
pub use quic::{QuicOrigin, quic_echo};
pub use tcp::TcpOrigin;
pub use tls::{TlsOptions, TlsOrigin};
pub use udp::UdpOrigin;

/// Where an origin listens that this thread starts: nobody has these addresses but the far sides of labs.
fn home() -> (Ipv4Addr, Ipv6Addr) {
    [(ORIGIN_V4, ORIGIN_V6), (EXIT_V4, EXIT_V6)]
        .into_iter()
        .find(|(v4, _)| UdpSocket::bind((*v4, 0)).is_ok())
        .unwrap_or((Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST))
}
