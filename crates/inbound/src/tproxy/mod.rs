//! Linux TPROXY: packets for other addresses are handed to our sockets as they are.

mod answers;
mod batch;
pub(crate) mod udp;

use std::io;
use std::net::SocketAddr;

use adit_net::unmapped;
use tokio::net::TcpStream;

/// Where the client wanted to go: the address that our end of the connection has.
pub(crate) fn destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    stream.local_addr().map(unmapped)
}
