//! The ClientHello, as a handshake message: what TLS puts into records and QUIC into CRYPTO frames (RFC 8446 §4.1.2).
//!
//! ```text
//!  0      1          4         6           38                        extensions: type, length and body of each
//!  +------+----------+---------+-----------+------------+---------+-------------+---------------+
//!  | 0x01 | length   | version | random    | session id | suites  | compression | extensions    |
//!  +------+----------+---------+-----------+------------+---------+-------------+---------------+
//!                                           u8 length    u16 length u8 length     u16 length
//! ```

use adit_net::Domain;

use crate::name::plausible;
use crate::reader::Reader;
use crate::{LIMIT, Verdict};

/// Length of what stands in front of the body: type and length.
pub(crate) const HEADER: usize = 4;

/// How long the handshake message at the front of `bytes` is, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// As many bytes; at most [`LIMIT`].
    Known(usize),
    /// Less than a header is there, and nothing wrong with it.
    Open,
    /// Not a ClientHello, or one beyond the limit.
    Refused,
}

/// Reads the message's header. `bytes` may be of any length.
pub(crate) fn extent(bytes: &[u8]) -> Extent {
    let mut reader = Reader::new(bytes);
    match reader.u8() {
        Some(CLIENT_HELLO) => {}
        Some(_) => return Extent::Refused,
        None => return Extent::Open,
    }
    let Some(body) = reader.u24() else { return Extent::Open };
    match usize::try_from(body) {
        Ok(body) if body <= LIMIT - HEADER => Extent::Known(HEADER + body),
        _ => Extent::Refused,
    }
}

/// The verdict on the handshake data seen so far. What follows the ClientHello is not looked at.
pub(crate) fn sniff(handshake: &[u8]) -> Verdict {
    let end = match extent(handshake) {
        Extent::Known(end) => end,
        Extent::Open => return Verdict::NeedMore,
        Extent::Refused => return Verdict::NotThis,
    };
    match handshake.get(HEADER..end) {
        Some(body) => server_name(body).map_or(Verdict::NotThis, Verdict::Name),
        None => Verdict::NeedMore,
    }
}

/// The name in the body of a whole ClientHello; none if anything in it does not fit.
fn server_name(body: &[u8]) -> Option<Domain> {
    let mut hello = Reader::new(body);
    hello.take(2 + 32)?;
    let session_id = hello.u8_prefixed()?;
    let suites = hello.u16_prefixed()?;
    let compression = hello.u8_prefixed()?;
    if session_id.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compression.is_empty() {
        return None;
    }
    let mut extensions = Reader::new(hello.u16_prefixed()?);
    if !hello.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let body = extensions.u16_prefixed()?;
        // §4.2: no extension twice. Of two names, the server may see the other one.
        if kind == SERVER_NAME && found.replace(body).is_some() {
            return None;
        }
    }
    only_host_name(found?)
}

/// RFC 6066 §3: a list of names, at most one of each type; `host_name` is the only type there is.
fn only_host_name(extension: &[u8]) -> Option<Domain> {
    let mut extension = Reader::new(extension);
    let mut list = Reader::new(extension.u16_prefixed()?);
    let kind = list.u8()?;
    let name = list.u16_prefixed()?;
    let alone = extension.is_empty() && list.is_empty();
    // RFC 6066 §3: without a trailing dot.
    (alone && kind == HOST_NAME && !name.ends_with(b".")).then(|| plausible(name))?
}

const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
