//! The four messages, as bytes (whitepaper §5.4).

use super::wire::{Kind, Wire};

/// Bytes of an initiation.
pub(crate) const INITIATION_LEN: usize = 148;
/// Bytes of a response.
pub(crate) const RESPONSE_LEN: usize = 92;
/// Bytes of a cookie reply.
pub(crate) const COOKIE_LEN: usize = 64;
/// Bytes in front of the ciphertext of data.
pub(crate) const DATA_HEADER: usize = 16;
/// Bytes of an authentication tag.
pub(crate) const TAG_LEN: usize = 16;
/// What data costs beside the plaintext.
pub(crate) const DATA_OVERHEAD: usize = DATA_HEADER + TAG_LEN;

/// A message, taken apart and not yet believed.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// Somebody wants a session.
    Initiation(Initiation<'a>),
    /// Somebody agrees to one.
    Response(Response<'a>),
    /// Somebody is busy.
    Cookie(CookieReply<'a>),
    /// Data.
    Data(Data<'a>),
}

/// An initiation.
#[derive(Debug)]
pub(crate) struct Initiation<'a> {
    /// The whole message; MACs are over it.
    pub(crate) bytes: &'a [u8; INITIATION_LEN],
    /// The initiator's index.
    pub(crate) sender: u32,
}

impl Initiation<'_> {
    /// The part that Noise wrote.
    pub(crate) fn noise(&self) -> &[u8] {
        self.bytes.get(8..116).unwrap_or_default()
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    /// The whole message; MACs are over it.
    pub(crate) bytes: &'a [u8; RESPONSE_LEN],
    /// The responder's index.
    pub(crate) sender: u32,
    /// The initiator's index.
    pub(crate) receiver: u32,
}

impl Response<'_> {
    /// The part that Noise wrote.
    pub(crate) fn noise(&self) -> &[u8] {
        self.bytes.get(12..60).unwrap_or_default()
    }
}

/// A cookie reply.
#[derive(Debug)]
pub(crate) struct CookieReply<'a> {
    /// Whom it is for.
    pub(crate) receiver: u32,
    /// The nonce.
    pub(crate) nonce: &'a [u8; 24],
    /// The sealed cookie.
    pub(crate) sealed: &'a [u8; 32],
}

/// Data.
#[derive(Debug)]
pub(crate) struct Data<'a> {
    /// Whom it is for.
    pub(crate) receiver: u32,
    /// Its number.
    pub(crate) counter: u64,
    /// Ciphertext and tag.
    pub(crate) body: &'a mut [u8],
}

impl<'a> Message<'a> {
    /// Takes a datagram apart; `None` if it is none of ours. It checks shape only.
    ///
    /// The reserved bytes are cleared, as providers that use them expect (spec: mihomo-surface §5.5, `reserved`).
    pub(crate) fn parse(wire: &Wire, datagram: &'a mut [u8]) -> Option<Self> {
        let (kind, bytes) = wire.undress(datagram)?;
        match kind {
            Kind::Initiation => {
                let bytes: &[u8; INITIATION_LEN] = (&*bytes).try_into().ok()?;
                Some(Self::Initiation(Initiation { bytes, sender: word(bytes, 4)? }))
            }
            Kind::Response => {
                let bytes: &[u8; RESPONSE_LEN] = (&*bytes).try_into().ok()?;
                Some(Self::Response(Response { bytes, sender: word(bytes, 4)?, receiver: word(bytes, 8)? }))
            }
            Kind::Cookie => {
                let bytes: &[u8; COOKIE_LEN] = (&*bytes).try_into().ok()?;
                Some(Self::Cookie(CookieReply {
                    receiver: word(bytes, 4)?,
                    nonce: bytes.get(8..32)?.try_into().ok()?,
                    sealed: bytes.get(32..64)?.try_into().ok()?,
                }))
            }
            Kind::Data if bytes.len() >= DATA_OVERHEAD => {
                let (header, body) = bytes.split_at_mut_checked(DATA_HEADER)?;
                let counter = u64::from_le_bytes(header.get(8..16)?.try_into().ok()?);
                Some(Self::Data(Data { receiver: word(header, 4)?, counter, body }))
            }
            Kind::Data => None,
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
