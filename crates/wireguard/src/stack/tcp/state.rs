//! States, settings and what goes wrong.

use thiserror::Error;

use super::congestion::Algorithm;

/// Where a connection is (RFC 9293 §3.3.2). LISTEN is missing: connections are only opened actively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Our SYN is not answered.
    SynSent,
    /// SYNs crossed.
    SynReceived,
    /// Both may send.
    Established,
    /// We are done; our FIN is not acknowledged.
    FinWait1,
    /// We are done, and the other end knows.
    FinWait2,
    /// The other end is done.
    CloseWait,
    /// Both are done at the same time; our FIN is not acknowledged.
    Closing,
    /// Both are done, the other end first; our FIN is not acknowledged.
    LastAck,
    /// Both are done and know; late segments may come.
    TimeWait,
    /// Nothing is left.
    Closed,
}

/// Why a connection ended otherwise than by two FINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The other end answered our SYN with a RST, or a router that there is no such port.
    #[error("connection refused")]
    Refused,
    /// The other end sent a RST.
    #[error("connection reset")]
    Reset,
    /// The other end did not answer for [`Settings::patience`], or no keep-alive probe.
    #[error("connection timed out")]
    TimedOut,
    /// A router knows no way, before there was a connection.
    #[error("destination unreachable")]
    Unreachable,
    /// [`Tcp::abort`](super::Tcp::abort).
    #[error("connection aborted")]
    Aborted,
}

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The largest IP packet that the path's first hop carries, in bytes; at least 576.
    pub mtu: u16,
    /// Received bytes that may wait to be read, at most; 4 KiB to 1 GiB. What is promised to the other end grows up to
    /// it while the reader keeps up.
    pub receive_limit: u32,
    /// Written bytes that may wait to be acknowledged, at most.
    pub send_limit: u32,
    /// How fast to send.
    pub algorithm: Algorithm,
    /// Whether to find out about a peer that went away silently.
    pub keep_alive: Option<KeepAlive>,
    /// How long to wait for an answer before giving up, in seconds (RFC 9293 §3.8.3, R2: at least 100).
    pub patience: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mtu: 1408,
            receive_limit: 4 << 20,
            send_limit: 4 << 20,
            algorithm: Algorithm::default(),
            keep_alive: None,
            patience: 180,
        }
    }
}

/// Keep-alive probes (RFC 9293 §3.8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first, in seconds.
    pub idle: u16,
    /// Between probes, in seconds.
    pub interval: u16,
    /// Unanswered ones before giving up.
    pub count: u8,
}

/// What an ICMP message says about a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// No route, no host, or it is filtered.
    Destination,
    /// The host has no such port, or does not speak TCP.
    Port,
}
