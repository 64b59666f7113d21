//! The sockets that clients ask at.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_net::{Listener, Shutdown, listen_udp};
use tokio::net::UdpSocket;

use super::audience::Audience;
use super::{Service, tcp, udp};

/// How often two free ports of one number are looked for.
const TRIES: usize = 16;

/// `dns.listen`: UDP and TCP on one address and port.
///
/// Bind it, then run it; the service can be another one from question to question.
///
/// Sources on the internet get no answer and no connection: answered are private, loopback, link-local and carrier-NAT
/// addresses, those in a network of one of this host's interfaces, and whoever asks at a loopback address.
#[derive(Debug)]
pub struct DnsServer {
    tcp: Listener,
    udp: UdpSocket,
}

impl DnsServer {
    /// Binds both sockets at `at`, within a tokio runtime. Port 0: one that is free for both.
    ///
    /// # Errors
    /// The system's (address in use, not permitted, not ours).
    pub fn bind(at: SocketAddr) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let tcp = Listener::bind(at)?;
            match listen_udp(SocketAddr::new(at.ip(), tcp.local_addr().port())) {
                Ok(udp) => return Ok(Self { tcp, udp }),
                Err(error) if at.port() != 0 || tries == TRIES => return Err(error),
                Err(_) => tries += 1,
            }
        }
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.tcp.local_addr()
    }

    /// Answers until `shutdown` starts. Each question is answered by what `service` returns at that moment.
    ///
    /// # Errors
    /// The UDP socket could not be prepared.
    ///
    /// # Cancel safety
    /// Dropping the future closes the sockets and abandons open questions.
    pub async fn run(
        self,
        service: impl Fn() -> Service + Send + Sync + 'static,
        shutdown: Shutdown,
    ) -> io::Result<()> {
        let service: Arc<dyn Fn() -> Service + Send + Sync> = Arc::new(service);
        let audience = Arc::new(Audience::default());
        let datagrams = udp::Door::new(self.udp, Arc::clone(&audience), Arc::clone(&service))?;
        tokio::select! {
            () = datagrams.run() => {}
            () = tcp::run(self.tcp, &audience, service) => {}
            () = shutdown.started() => {}
        }
        Ok(())
    }
}
