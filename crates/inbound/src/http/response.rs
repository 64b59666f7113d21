//! A response head, from bytes to what the client gets, RFC 9112 §4 and §6.

use thiserror::Error;

use super::fields::{BadField, Connection, Declared, put};
use super::request::{MAX_HEAD, MAX_LINES, Version};

/// A response head of an origin.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// 100 to 999.
    pub status: u16,
    /// What follows the head.
    pub framing: Framing,
    /// The origin keeps the connection open afterwards, and we trust its framing.
    pub persistent: bool,
    reason: String,
    /// End-to-end fields but Content-Length.
    fields: Vec<u8>,
    /// Content-Length, also of an answer that has no body because it is an answer to HEAD.
    length: Option<u64>,
    /// Of a 101.
    upgrade: Option<Vec<u8>>,
}

/// What follows a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the origin closes.
    UntilClose,
}

/// Bytes that are no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadResponse {
    /// Not HTTP/1, or a malformed field.
    #[error("a malformed response head")]
    Malformed,
    /// Larger than the budget of a head.
    #[error("a response head that is too large")]
    TooLarge,
    /// Where it ends cannot be told.
    #[error("a response without clear end")]
    Framing,
}

impl From<BadField> for BadResponse {
    fn from(_: BadField) -> Self {
        Self::Framing
    }
}

/// Reads a response head from all bytes that have arrived so far: `Ok(None)` while they are the beginning of one, the
/// response with the length of its head once it is whole. `to_head`: it answers a HEAD request.
///
/// # Errors
/// See [`BadResponse`].
pub fn read(input: &[u8], to_head: bool) -> Result<Option<(Response, usize)>, BadResponse> {
    // Nothing behind the first empty line is looked at: what a head is must not depend on what has arrived with it.
    let Some(head) = find_end(input, 0).and_then(|end| input.get(..end)) else {
        return if input.len() >= MAX_HEAD { Err(BadResponse::TooLarge) } else { Ok(None) };
    };
    let mut room = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut parsed = httparse::Response::new(&mut room);
    // RFC 9112 §5.1: a proxy removes such spaces from a response.
    let mut lenient = httparse::ParserConfig::default();
    lenient.allow_spaces_after_header_name_in_responses(true);
    let length = match lenient.parse_response(&mut parsed, head) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Err(httparse::Error::TooManyHeaders) | Ok(httparse::Status::Complete(_)) => return Err(BadResponse::TooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(BadResponse::Malformed),
    };
    Ok(Some((understand(&parsed, to_head)?, length)))
}

/// Where the first empty line ends, looking from `from` on. Line ends may lack their CR: some origins' do.
pub(crate) fn find_end(input: &[u8], from: usize) -> Option<usize> {
    // The line end before may lie before `from`.
    let start = from.saturating_sub(2);
    let tail = input.get(start..)?;
    let at = |index: usize| tail.get(index).copied();
    (0..tail.len())
        .find(|&index| {
            at(index) == Some(b'\n')
                && (at(index + 1) == Some(b'\n') || (at(index + 1) == Some(b'\r') && at(index + 2) == Some(b'\n')))
        })
        .map(|index| start + index + if at(index + 1) == Some(b'\n') { 2 } else { 3 })
}

fn understand(parsed: &httparse::Response<'_, '_>, to_head: bool) -> Result<Response, BadResponse> {
    let (Some(version), Some(status)) = (parsed.version, parsed.code) else {
        return Err(BadResponse::Malformed);
    };
    if status < 100 {
        return Err(BadResponse::Malformed);
    }
    let connection = Connection::of(parsed.headers)?;
    let declared = Declared::by(parsed.headers)?;
    let framing = framing(status, &declared, to_head);
    let dubious = declared.repeated || (declared.chunked && declared.length.is_some());
    let open = if version == 0 { connection.keep_alive } else { true };
    let mut fields = Vec::new();
    let mut upgrade = None;
    for header in parsed.headers.iter() {
        if header.name.eq_ignore_ascii_case("upgrade") {
            upgrade = Some(header.value.to_vec());
        }
        if connection.is_end_to_end(header.name) && !header.name.eq_ignore_ascii_case("content-length") {
            put(&mut fields, header.name, header.value);
        }
    }
    Ok(Response {
        status,
        framing,
        persistent: open && !connection.close && !dubious && framing != Framing::UntilClose,
        reason: parsed.reason.unwrap_or_default().to_owned(),
        fields,
        length: declared.length.filter(|_| !declared.chunked),
        upgrade,
    })
}

/// RFC 9112 §6.3.
fn framing(status: u16, declared: &Declared, to_head: bool) -> Framing {
    match (status, declared) {
        (100..=199 | 204 | 304, _) => Framing::None,
        _ if to_head => Framing::None,
        (_, Declared { chunked: true, .. }) => Framing::Chunked,
        (_, Declared { length: Some(length), .. }) => Framing::Length(*length),
        _ => Framing::UntilClose,
    }
}

impl Response {
    /// 100 to 199: another response follows.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }

    /// How the body reaches a client of this version: HTTP/1.0 knows no chunks.
    #[must_use]
    pub fn framing_for(&self, version: Version) -> Framing {
        match (self.framing, version) {
            (Framing::Chunked, Version::Http10) => Framing::UntilClose,
            (framing, _) => framing,
        }
    }

    /// The head for a client of this version, complete. `close`: its connection ends with this response.
    #[must_use]
    pub fn head_for(&self, version: Version, close: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).into_bytes();
        head.extend_from_slice(&self.fields);
        let may_have_length = !matches!(self.status, 100..=199 | 204);
        match (self.framing_for(version), self.length) {
            (Framing::Chunked, _) => put(&mut head, "Transfer-Encoding", b"chunked"),
            (Framing::None | Framing::Length(_), Some(length)) if may_have_length => {
                put(&mut head, "Content-Length", length.to_string().as_bytes());
            }
            _ => {}
        }
        self.put_connection(&mut head, version, close);
        head.extend_from_slice(b"\r\n");
        head
    }

    fn put_connection(&self, head: &mut Vec<u8>, version: Version, close: bool) {
        match (self.status, &self.upgrade) {
            (101, Some(protocol)) => {
                put(head, "Connection", b"Upgrade");
                put(head, "Upgrade", protocol);
            }
            _ if self.is_interim() => {}
            _ if close => put(head, "Connection", b"close"),
            _ if version == Version::Http10 => {
                put(head, "Connection", b"keep-alive");
                put(head, "Proxy-Connection", b"keep-alive");
            }
            _ => {}
        }
    }
}
