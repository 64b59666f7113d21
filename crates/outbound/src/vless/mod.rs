//! VLESS: a small header, then the stream, inside TLS, REALITY or nothing (spec: vless-reality §1, §5, §6).
//!
//! [`Vless`] reaches the server, proves it, and returns a stream at once: the protocol has no way to say whether the
//! target was reached. The request header travels with the client's first bytes. Names go to the server as names; they
//! are never looked up here.
//!
//! The parsers of what a server sends are public, because they are fuzzed: [`header::Answer`], [`vision::Unpad`],
//! [`vision::Observer`], [`xudp::decode`], [`packet_addr::decode`].

pub mod header;
pub mod packet_addr;
pub mod vision;
pub mod xudp;

mod back_off;
mod datagrams;
mod header_stream;
mod opening;
mod options;
mod reality;
mod record;
#[cfg(test)]
mod testing;
mod tls13;

use std::io;
use std::net::SocketAddr;

use adit_net::{BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, Domain, Target};

pub use options::{Flow, Options, PacketEncoding, Security, UserId};

use self::back_off::BackOff;
use self::datagrams::{Codec, Rules};
use self::header::{Command, NotVless};
use self::header_stream::HeaderStream;
use self::opening::Opening;
use self::reality::{Farewells, Proven, Unproven};
use self::vision::VisionStream;
use crate::server::Server;
use crate::tls::{TlsConnector, TlsOptionsError};

/// A way out through a VLESS server.
pub struct Vless {
    server: Server,
    id: UserId,
    wrap: Wrap,
    flow: Flow,
    packet_encoding: PacketEncoding,
    back_off: BackOff,
    farewells: Farewells,
}

/// What stands between the carrier and VLESS.
enum Wrap {
    None,
    Tls(TlsConnector),
    /// For Vision; with what packetaddr uses, which goes without.
    VisionTls(tls13::Connector, TlsConnector),
    Reality(Box<adit_reality::Options>),
}

impl Vless {
    /// Builds everything that connections share. `server` leads to [`Options::server`].
    ///
    /// # Errors
    /// Unusable TLS options.
    pub(crate) fn new(server: Server, options: Options) -> Result<Self, TlsOptionsError> {
        let wrap = match options.security {
            Security::None => Wrap::None,
            Security::Tls(tls) => {
                let tls = TlsConnector::new(&tls)?;
                match options.flow {
                    Flow::Plain => Wrap::Tls(tls),
                    Flow::Vision { .. } => Wrap::VisionTls(tls13::Connector::new(tls.config(), tls.server_name()), tls),
                }
            }
            Security::Reality(reality) => Wrap::Reality(reality),
        };
        Ok(Self {
            server,
            id: options.id,
            wrap,
            flow: options.flow,
            packet_encoding: options.packet_encoding,
            back_off: BackOff::default(),
            farewells: Farewells::default(),
        })
    }

    fn vision(&self) -> bool {
        matches!(self.flow, Flow::Vision { .. })
    }

    fn header(&self, vision: bool, command: Command<'_>) -> Vec<u8> {
        let mut header = Vec::with_capacity(64);
        header::request(&self.id, vision, command, &mut header);
        header
    }

    /// Reaches the server, proves it, and starts a VLESS stream on it.
    async fn open(&self, vision: bool, opening: Opening) -> Result<BoxStream, DialError> {
        self.back_off.check().map_err(|error| self.server.blame(error))?;
        let mut io = self.server.connect().await?;
        self.server
            .handshake(async move {
                let stream: BoxStream = match &self.wrap {
                    Wrap::None if vision => return Err(DialError::Denied(VISION_NEEDS_TLS.into())),
                    Wrap::None => Box::new(HeaderStream::new(io, opening)),
                    Wrap::VisionTls(tls13, tls) if vision => {
                        let secured = tls13.connect(&mut io).await.map_err(|error| tls.explain(error))?;
                        let tls13::Secured { opener, sealer, received } = secured;
                        Box::new(VisionStream::new(io, opener, sealer, received, self.id, opening))
                    }
                    Wrap::Tls(tls) | Wrap::VisionTls(_, tls) => {
                        Box::new(HeaderStream::new(tls.connect(io).await?, opening))
                    }
                    Wrap::Reality(options) => self.open_reality(io, options, vision, opening).await?,
                };
                Ok(stream)
            })
            .await
    }

    async fn open_reality(
        &self,
        io: BoxStream,
        options: &adit_reality::Options,
        vision: bool,
        opening: Opening,
    ) -> Result<BoxStream, DialError> {
        let Proven { io, opener, sealer, received } =
            reality::shake_hands(io, options, &self.farewells).await.map_err(|unproven| match unproven {
                Unproven::Failed(error) => error,
                Unproven::Stranger(why) => {
                    self.back_off.failed(&why);
                    DialError::Protocol(why)
                }
            })?;
        self.back_off.succeeded();
        Ok(if vision {
            Box::new(VisionStream::new(io, opener, sealer, received, self.id, opening))
        } else {
            Box::new(HeaderStream::new(VisionStream::sealed(io, opener, sealer, received), opening))
        })
    }

    /// Carries datagrams as XUDP inside Mux: Vision servers refuse them in any other form (spec §0.1, trap 9).
    async fn xudp(&self, dial: Dial<'_>) -> Result<Datagrams, DialError> {
        let port_443 = self.flow != Flow::Vision { udp443: false };
        if dial.target.port == 443 && !port_443 {
            return Err(DialError::Denied(format!(
                "UDP to {}: flow xtls-rprx-vision leaves port 443 to TCP; xtls-rprx-vision-udp443 carries it",
                dial.target
            )));
        }
        let header = self.header(self.vision(), Command::Mux);
        let stream = self.open(self.vision(), Opening::with_first_datagram(header)).await?;
        let frames = xudp::Encoder::new(datagrams::global_id(dial.client));
        Ok(datagrams::over(stream, Codec::Xudp(frames), Rules { first: dial.target.clone(), port_443 }))
    }

    /// Carries datagrams as packetaddr. Always without a flow: with one, servers refuse the command UDP.
    async fn packet_addr(&self, dial: Dial<'_>) -> Result<Datagrams, DialError> {
        let first = dial.known.or_else(|| dial.target.host.ip()).map(|ip| SocketAddr::new(ip, dial.target.port));
        if first.is_none() {
            return Err(DialError::Unresolved(format!("{} (packetaddr cannot carry names)", dial.target)));
        }
        let magic = Domain::new(packet_addr::MAGIC).map_err(|error| DialError::Protocol(error.to_string()))?;
        let header = self.header(false, Command::Udp(&Target::new(magic, 443)));
        let stream = self.open(false, Opening::with_first_datagram(header)).await?;
        Ok(datagrams::over(stream, Codec::PacketAddr { first }, Rules { first: dial.target.clone(), port_443: true }))
    }
}

impl Dialer for Vless {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move {
            let header = self.header(self.vision(), Command::Tcp(dial.target));
            self.open(self.vision(), Opening::new(header)).await
        })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(async move {
            match self.packet_encoding {
                PacketEncoding::Xudp => self.xudp(dial).await,
                PacketEncoding::PacketAddr => self.packet_addr(dial).await,
            }
        })
    }
}

fn not_vless(error: NotVless) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// VLESS has no error codes (spec §1.6).
fn closed_before_answer() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        "the VLESS server closed the connection before it answered: wrong uuid or flow, or the target is unreachable",
    )
}

const VISION_NEEDS_TLS: &str = "flow xtls-rprx-vision needs tls or reality";
