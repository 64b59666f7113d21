//! What a VLESS outbound is built from.

use adit_net::Target;
use uuid::Uuid;

use crate::options::Tls;

/// A VLESS server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub server: Target,
    /// Who we are.
    pub id: UserId,
    /// What wraps the stream.
    pub security: Security,
    /// `xtls-rprx-vision`, or nothing.
    pub flow: Flow,
    /// How datagrams travel.
    pub packet_encoding: PacketEncoding,
}

/// The user's UUID: a credential, so it is not printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserId(Uuid);

impl UserId {
    /// Parses a UUID, with or without dashes; any other text of 1 to 30 bytes is mapped to one as Xray does
    /// (spec: vless-reality §1.1). `None` for other lengths.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.len() {
            1..=30 => Some(Self(Uuid::new_v5(&Uuid::nil(), text.as_bytes()))),
            32..=36 => Uuid::try_parse(text).ok().map(Self),
            _ => None,
        }
    }

    /// The 16 bytes as they go on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for UserId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What wraps the VLESS stream.
#[derive(Clone, Debug)]
pub enum Security {
    /// Nothing.
    None,
    /// Ordinary TLS.
    Tls(Tls),
    /// REALITY.
    Reality(Box<adit_reality::Options>),
}

/// The flow of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// None.
    Plain,
    /// `xtls-rprx-vision`; UDP to port 443 is refused unless `udp443`.
    Vision {
        /// `xtls-rprx-vision-udp443`, and Mihomo's behaviour: QUIC may pass.
        udp443: bool,
    },
}

/// How datagrams travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PacketEncoding {
    /// XUDP inside Mux: any destination, full cone.
    #[default]
    Xudp,
    /// Command 2 to `sp.packet-addr.v2fly.arpa`.
    PacketAddr,
}
