//! The head of an HTTP proxy's answer (RFC 9112 §4, §5).
//!
//! Pure: a slice in, a value out.

use std::fmt;

use thiserror::Error;

/// Bytes that all heads of one answer may have together.
pub const LIMIT: usize = 16 * 1024;

/// Header lines of one head.
const LINES: usize = 128;

/// Characters of a server's reason that are repeated to the user.
const REASON: usize = 64;

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// 100 to 999.
    pub status: u16,
    /// What the server wrote behind it: printable ASCII, at most 64 characters.
    pub reason: String,
    /// Bytes of the head, with the empty line.
    pub length: usize,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

/// Bytes that are not the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the answer is not HTTP ({0})")]
pub struct BadHead(httparse::Error);

/// Reads a head; `None` if it is not whole yet.
///
/// Headers are checked and forgotten: RFC 9110 §9.3.6 gives none of them a meaning in an answer that makes a tunnel, and
/// an answer that does not ends the connection.
///
/// # Errors
/// [`BadHead`].
pub fn parse_head(input: &[u8]) -> Result<Option<Head>, BadHead> {
    let mut headers = [httparse::EMPTY_HEADER; LINES];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(BadHead(error)),
    };
    let printable = |c: &char| matches!(c, ' '..='~');
    Ok(response.code.map(|status| Head {
        status,
        reason: response.reason.unwrap_or_default().chars().filter(printable).take(REASON).collect(),
        length,
    }))
}
