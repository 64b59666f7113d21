//! Servers for the far end of a scene. Each listens on the same port of 127.0.0.1 and `[::1]`, serves every connection in a
//! thread of its own, and stops accepting when dropped.

mod http;
mod tcp;
mod tls;
mod udp;
mod websocket;

pub use http::HttpOrigin;
pub use tcp::TcpOrigin;
pub use tls::{TlsOptions, TlsOrigin};
pub use udp::UdpOrigin;
