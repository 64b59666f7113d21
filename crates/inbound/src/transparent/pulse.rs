//! Telling the firewall that somebody listens.
//!
//! Host rules that capture traffic would cut a host off once the process behind them is gone. So they capture only while
//! they see a pulse: a datagram that carries our mark (or comes from our user), sent over the loopback interface to the
//! listener's port. A set with a timeout in the kernel is renewed by each, and everything else asks that set.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::SockRef;
use tokio::time::{MissedTickBehavior, interval};

use super::TransparentOptions;

/// How often a transparent listener says that it lives.
pub const PULSE: Duration = Duration::from_secs(1);

/// The sockets that say it, one for each family the listener serves.
#[derive(Debug)]
pub(super) struct Pulse(Vec<UdpSocket>);

impl Pulse {
    pub(super) fn new(options: &TransparentOptions, local: SocketAddr) -> Self {
        let v4: SocketAddr = (Ipv4Addr::LOCALHOST, local.port()).into();
        let v6: SocketAddr = (Ipv6Addr::LOCALHOST, local.port()).into();
        let both = local.is_ipv6() && local.ip().is_unspecified();
        let families = [(v4, both || local.is_ipv4()), (v6, local.is_ipv6())];
        Self(families.into_iter().filter(|(_, served)| *served).filter_map(|(to, _)| open(options, to).ok()).collect())
    }

    /// Never returns.
    pub(super) async fn run(self) {
        let mut ticks = interval(PULSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            for socket in &self.0 {
                // Nobody needs to listen there, so "refused" is as good as "sent".
                let _ = socket.send(&[0]);
            }
        }
    }
}

fn open(options: &TransparentOptions, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(to.ip(), 0))?;
    if options.mark != 0 {
        SockRef::from(&socket).set_mark(options.mark)?;
    }
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    Ok(socket)
}
