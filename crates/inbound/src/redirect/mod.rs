//! Linux REDIRECT: the destination was rewritten to ours, and connection tracking knows the original one.

use std::io;
use std::net::SocketAddr;

use adit_net::original_destination;
use tokio::net::TcpStream;

/// Where the client wanted to go. For a client that connected to our port itself that is our port.
pub(crate) fn destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    original_destination(stream)
}
