//! What can go wrong, who is at fault, and what to tell the peer.

use std::fmt;

use crate::options::BadOption;

/// Why a connection cannot go on. Each value says who is at fault ([`Error::fault`]) and which alert to send
/// ([`Error::alert`]); a handshake has already queued that alert in its output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option cannot be used.
    #[error(transparent)]
    Options(#[from] BadOption),
    /// A primitive of the cryptographic library refused to work.
    #[error("the cryptographic library failed while {0}")]
    Library(&'static str),
    /// The peer's first bytes are not a TLS record: plain HTTP, another protocol, noise.
    #[error("the peer does not speak TLS; check the server's address and port")]
    NotTls,
    /// The peer answered with TLS 1.2 or older, so the hello was not recognised and reached a site without TLS 1.3.
    #[error("the peer answered with TLS 1.2 or older: not a REALITY server, or authentication failed; {LIKELY_CAUSES}")]
    OldTls,
    /// The peer asked for another hello, which no REALITY server does: the hello reached the real site.
    #[error(
        "the peer asked for another hello (HelloRetryRequest): not a REALITY server, or authentication failed; {LIKELY_CAUSES}"
    )]
    HelloRetry,
    /// The peer refused the hello with an alert in the clear. REALITY servers never do; the real site may.
    #[error(
        "the peer refused the hello with alert {0}: not a REALITY server, or authentication failed; {LIKELY_CAUSES}"
    )]
    Refused(Alert),
    /// The peer ended the connection with an alert.
    #[error("the peer ended the connection with alert {0}")]
    PeerAlert(Alert),
    /// The certificate was right but the CertificateVerify signature is not: someone replays a REALITY certificate.
    #[error("the server does not hold the key of its REALITY certificate (bad CertificateVerify): interception")]
    BadCertificateVerify,
    /// The server's Finished does not fit the handshake: someone changed it on the way.
    #[error("the server's Finished does not fit the handshake: interception")]
    BadFinished,
    /// A record did not decrypt.
    #[error("a record from the peer did not decrypt")]
    BadRecord,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Misbehaved(Misbehaviour),
    /// This direction has used up its sequence numbers.
    #[error("too many records on one connection")]
    Exhausted,
}

impl Error {
    /// Who is at fault.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Options(_) => Fault::Options,
            Self::Library(_) | Self::Exhausted => Fault::Us,
            Self::NotTls | Self::OldTls | Self::HelloRetry | Self::Refused(_) => Fault::NotReality,
            Self::PeerAlert(_) | Self::BadCertificateVerify | Self::BadFinished | Self::BadRecord => Fault::Peer,
            Self::Misbehaved(_) => Fault::Peer,
        }
    }

    /// The alert to send before closing; `None` when the peer would not understand one or has already gone.
    #[must_use]
    pub const fn alert(&self) -> Option<Alert> {
        match self {
            Self::Options(_) | Self::NotTls | Self::Refused(_) | Self::PeerAlert(_) => None,
            Self::Library(_) | Self::Exhausted => Some(Alert::INTERNAL_ERROR),
            Self::OldTls => Some(Alert::PROTOCOL_VERSION),
            Self::HelloRetry => Some(Alert::HANDSHAKE_FAILURE),
            Self::BadCertificateVerify | Self::BadFinished => Some(Alert::DECRYPT_ERROR),
            Self::BadRecord => Some(Alert::BAD_RECORD_MAC),
            Self::Misbehaved(how) => Some(how.alert()),
        }
    }
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The options: the user can mend it.
    Options,
    /// The peer, or someone between us and it, broke the protocol.
    Peer,
    /// The peer is not a REALITY server for us: wrong address, or an option that the server does not accept.
    NotReality,
    /// Ourselves.
    Us,
}

/// How a peer broke the protocol. Each has one alert (RFC 8446 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// A record longer than the protocol allows (RFC 8446 §5.1, §5.2).
    RecordTooLong,
    /// A handshake message longer than anything a server has reason to send.
    MessageTooLong,
    /// Lengths inside a message do not fit.
    Malformed(&'static str),
    /// A message or record that may not come now.
    Unexpected(&'static str),
    /// A value that contradicts what we offered.
    Illegal(&'static str),
    /// An extension we did not offer.
    UnsolicitedExtension,
    /// Too many records without content in a row.
    Flood(&'static str),
}

impl Misbehaviour {
    /// The alert that names it.
    #[must_use]
    pub const fn alert(self) -> Alert {
        match self {
            Self::RecordTooLong => Alert::RECORD_OVERFLOW,
            Self::Malformed(_) => Alert::DECODE_ERROR,
            Self::Unexpected(_) | Self::Flood(_) => Alert::UNEXPECTED_MESSAGE,
            Self::Illegal(_) | Self::MessageTooLong => Alert::ILLEGAL_PARAMETER,
            Self::UnsolicitedExtension => Alert::UNSUPPORTED_EXTENSION,
        }
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecordTooLong => f.write_str("record too long"),
            Self::MessageTooLong => f.write_str("handshake message too long"),
            Self::Malformed(what) => write!(f, "malformed {what}"),
            Self::Unexpected(what) => write!(f, "unexpected {what}"),
            Self::Illegal(what) => write!(f, "illegal {what}"),
            Self::UnsolicitedExtension => f.write_str("an extension that was not offered"),
            Self::Flood(what) => write!(f, "too many {what}"),
        }
    }
}

impl From<Misbehaviour> for Error {
    fn from(how: Misbehaviour) -> Self {
        Self::Misbehaved(how)
    }
}

/// A TLS alert description (RFC 8446 §6).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Alert(pub u8);

impl Alert {
    /// The peer has nothing more to send.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A message that may not come now.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record did not decrypt.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record too long.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// No common parameters.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// A certificate that cannot be accepted.
    pub const BAD_CERTIFICATE: Self = Self(42);
    /// A value out of range or inconsistent.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// A message that cannot be parsed.
    pub const DECODE_ERROR: Self = Self(50);
    /// A signature or Finished that does not verify.
    pub const DECRYPT_ERROR: Self = Self(51);
    /// A protocol version that is not supported.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// A failure that has nothing to do with the peer.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// The user cancelled; a close_notify follows.
    pub const USER_CANCELED: Self = Self(90);
    /// An extension that was not offered.
    pub const UNSUPPORTED_EXTENSION: Self = Self(110);

    /// The content of the record that carries it: level and description (RFC 8446 §6; all but the two that end a
    /// connection in peace are fatal).
    pub(crate) const fn record_content(self) -> [u8; 2] {
        match self {
            Self::CLOSE_NOTIFY | Self::USER_CANCELED => [1, self.0],
            _ => [2, self.0],
        }
    }

    const fn name(self) -> &'static str {
        match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            22 => "record_overflow",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => "unknown",
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}

impl fmt::Debug for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What to look at when the real site answers. All failures of authentication look the same from outside.
pub(crate) const LIKELY_CAUSES: &str = "check public-key, short-id and servername against the server, this machine's \
clock (servers may set maxTimeDiff), client-version (servers may set minClientVer) and client-fingerprint (Xray 26.9.8 \
and later refuse those without an X25519MLKEM768 share: use chrome, firefox or safari)";
