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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_whole_from_every_cut() {
        let head = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\nContent-Length: 7\r\n\r\n";
        for behind in ["", "\0\x01SSH-2.0"] {
            let input = [&head[..], behind.as_bytes()].concat();
            for cut in 0..head.len() {
                assert_eq!(parse_head(&input[..cut]), Ok(None), "{cut}");
            }
            let read = parse_head(&input).unwrap().unwrap();
            assert_eq!((read.status, read.length), (200, head.len()));
            assert_eq!(read.to_string(), "200 Connection established");
        }
    }

    #[test]
    fn what_is_not_a_head_is_told_at_once() {
        for bad in [
            &b"SSH-2.0-OpenSSH\r\n"[..],
            b"\x05\x00",
            b"\x15\x03\x01\x00\x02\x02\x28",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"HTTP/1.1 200 O\0K\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nName: a\0b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nName: a\r\n folded\r\n\r\n",
        ] {
            assert!(parse_head(bad).is_err(), "{}", bad.escape_ascii());
        }
        let lines = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(LINES + 1));
        assert_eq!(parse_head(lines.as_bytes()), Err(BadHead(httparse::Error::TooManyHeaders)));
    }

    /// F-L1: what a server says is shortened and made printable before anybody sees it.
    #[test]
    fn reasons_are_short_and_printable() {
        let head = format!("HTTP/1.0 502 \t{}\r\n\r\n", "no\u{202e} way ".repeat(40));
        let reason = parse_head(head.as_bytes()).unwrap().unwrap().reason;
        assert!(reason.len() <= REASON && reason.bytes().all(|b| (b' '..=b'~').contains(&b)), "{reason:?}");
    }
}
