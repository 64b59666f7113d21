//! A request head, from bytes to a decision, RFC 9112 §2–§3 and §6.
//!
//! Nothing of the head is forwarded as it came: what the origin gets is written anew from what was understood, with one
//! framing that we computed. What can be understood in two ways is refused.

use std::fmt;

use adit_net::Target;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use httparse::Header;

use super::fields::{BadField, Connection, Declared, put, single};
use super::uri;

/// A head longer than this, in all, is refused.
pub const MAX_HEAD: usize = 64 * 1024;

/// A head with more lines than this is refused.
pub const MAX_LINES: usize = 200;

/// A request target longer than this is refused.
pub const MAX_TARGET: usize = 16 * 1024;

/// The longest method name.
const MAX_METHOD: usize = 32;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub wish: Wish,
    /// Of the client.
    pub version: Version,
    /// From Proxy-Authorization, if there is one.
    pub credentials: Option<Credentials>,
}

/// The two kinds of request a proxy serves.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// CONNECT: a stream to this target.
    Tunnel(Target),
    /// Anything else, with an absolute-form target.
    Forward(Forward),
}

/// A request to be sent on.
#[derive(Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where it goes.
    pub origin: Target,
    /// The head that the origin gets, complete.
    pub head: Vec<u8>,
    /// What follows the head.
    pub body: Body,
    /// The method is HEAD: the answer has no body whatever it says.
    pub is_head: bool,
    /// Repeating the request does no harm (RFC 9110 §9.2.2).
    pub is_idempotent: bool,
    /// It asks to leave HTTP after a 101.
    pub upgrade: bool,
    /// The client may send another request on this connection afterwards.
    pub persistent: bool,
}

/// What follows a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// The client's HTTP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunks, no interim responses; the connection ends with the response unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// `name:password`, as Basic authentication carries them (RFC 7617). Empty if they could not be read.
#[derive(PartialEq, Eq)]
pub struct Credentials(Vec<u8>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Credentials {
    /// Name and password.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u8]) {
        let colon = self.0.iter().position(|byte| *byte == b':').unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at_checked(colon).unwrap_or_default();
        (name, rest.get(1..).unwrap_or_default())
    }

    fn read(field: &[u8]) -> Self {
        let Some((scheme, token)) = field.split_at_checked("basic ".len()) else {
            return Self(Vec::new());
        };
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return Self(Vec::new());
        }
        const BASE64: GeneralPurpose = GeneralPurpose::new(
            &STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        Self(BASE64.decode(token.trim_ascii()).unwrap_or_default())
    }
}

/// Why a head is refused. The text goes to the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// These bytes do not even begin like HTTP/1: closed without an answer.
    NotHttp,
    /// 400.
    Request(&'static str),
    /// 414.
    TargetTooLong,
    /// 431.
    TooLarge,
    /// 501.
    NotImplemented(&'static str),
}

impl Bad {
    /// The status code of the answer, if there is one.
    #[must_use]
    pub fn status(self) -> Option<u16> {
        match self {
            Self::NotHttp => None,
            Self::Request(_) => Some(400),
            Self::TargetTooLong => Some(414),
            Self::TooLarge => Some(431),
            Self::NotImplemented(_) => Some(501),
        }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "this is not HTTP/1",
            Self::Request(why) | Self::NotImplemented(why) => why,
            Self::TargetTooLong => "the request target is too long",
            Self::TooLarge => "the request head is too large",
        })
    }
}

impl From<BadField> for Bad {
    fn from(why: BadField) -> Self {
        match why {
            BadField::Length => Self::Request("a content length that is not one number"),
            BadField::Coding => Self::NotImplemented("a transfer coding other than chunked"),
            BadField::Connection => Self::TooLarge,
        }
    }
}

/// Reads a request head from all bytes that have arrived so far, empty lines before it skipped: `Ok(None)` while they are
/// the beginning of one, the request with the length of its head once it is whole.
///
/// # Errors
/// As soon as no further byte can mend it.
pub fn read(input: &[u8]) -> Result<Option<(Request, usize)>, Bad> {
    Reader::default().read(input)
}

/// Reads one head that arrives bit by bit, and looks at each byte once.
#[derive(Debug, Default)]
pub struct Reader {
    /// Bytes looked at.
    seen: usize,
    /// Where the current line begins.
    line: usize,
    /// Lines before the current one.
    lines: usize,
}

impl Reader {
    /// As [`read`], for the same input grown by some bytes.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(&mut self, input: &[u8]) -> Result<Option<(Request, usize)>, Bad> {
        match self.find_end(input)? {
            Some(end) => {
                let head = input.get(..end).unwrap_or_default();
                Ok(Some((understand(head)?, end)))
            }
            None => Ok(None),
        }
    }

    fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, Bad> {
        while let Some(&byte) = input.get(self.seen) {
            let before = self.seen.checked_sub(1).and_then(|at| input.get(at));
            self.seen += 1;
            if (byte == b'\n') != (before == Some(&b'\r')) {
                // RFC 9112 §2.2: a bare CR is invalid; a bare LF some servers accept, which is where readers disagree.
                return Err(self.bad_line("a CR or LF that is not part of a line end"));
            }
            if byte != b'\n' {
                self.check(input, byte)?;
                continue;
            }
            let line = input.get(self.line..self.seen).unwrap_or_default();
            let is_empty = line == b"\r\n";
            if self.lines == 0 && !is_empty {
                check_request_line(line)?;
            }
            if is_empty && self.lines > 0 {
                return Ok(Some(self.seen));
            }
            self.lines += usize::from(!is_empty);
            self.line = self.seen;
        }
        Ok(None)
    }

    /// Checks what can be said before a line is whole.
    fn check(&self, input: &[u8], byte: u8) -> Result<(), Bad> {
        let column = self.seen.saturating_sub(self.line);
        if self.seen > MAX_HEAD || self.lines > MAX_LINES + 1 {
            return Err(Bad::TooLarge);
        }
        if byte == 0 {
            return Err(self.bad_line("a NUL"));
        }
        if self.lines > 0 {
            if column == 1 && matches!(byte, b' ' | b'\t') {
                return Err(Bad::Request("a folded header line"));
            }
            return Ok(());
        }
        if column == 1 && !byte.is_ascii_alphabetic() && byte != b'\r' {
            return Err(Bad::NotHttp);
        }
        if column > MAX_TARGET + MAX_METHOD + " HTTP/1.1".len() {
            return Err(Bad::TargetTooLong);
        }
        if column == MAX_METHOD + 1 {
            let start = input.get(self.line..self.seen).unwrap_or_default();
            if !start.contains(&b' ') {
                return Err(Bad::Request("an endless method"));
            }
        }
        Ok(())
    }

    fn bad_line(&self, why: &'static str) -> Bad {
        if self.seen <= 1 { Bad::NotHttp } else { Bad::Request(why) }
    }
}

/// `method SP target SP version CR LF`, exactly.
fn check_request_line(line: &[u8]) -> Result<(), Bad> {
    let mut parts = line.split(|byte| *byte == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(b"PRI"), Some(b"*"), Some(b"HTTP/2.0\r\n"), None) => Err(Bad::NotHttp),
        (Some(_), Some(target), Some(b"HTTP/1.0\r\n" | b"HTTP/1.1\r\n"), None) => {
            if target.len() > MAX_TARGET {
                return Err(Bad::TargetTooLong);
            }
            Ok(())
        }
        _ => Err(Bad::Request("not an HTTP/1 request line")),
    }
}

/// Decides what a whole head asks for.
fn understand(head: &[u8]) -> Result<Request, Bad> {
    let mut room = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut parsed = httparse::Request::new(&mut room);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Bad::Request("a head that ends early")),
        Err(httparse::Error::TooManyHeaders) => return Err(Bad::TooLarge),
        Err(_) => return Err(Bad::Request("a malformed head")),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Bad::Request("a malformed head"));
    };
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let headers: &[Header<'_>] = parsed.headers;
    // RFC 9112 §3.2. A request without Host is served: the target says it all, and old clients leave it out.
    single(headers, "host").map_err(|_| Bad::Request("two Host fields"))?;
    let credentials = single(headers, "proxy-authorization")
        .map_err(|_| Bad::Request("two Proxy-Authorization fields"))?
        .map(Credentials::read);
    let declared = Declared::by(headers)?;
    let body = body(&declared, version)?;
    let wish = if method == "CONNECT" {
        if !matches!(body, Body::None | Body::Length(0)) {
            return Err(Bad::Request("CONNECT with a body"));
        }
        Wish::Tunnel(uri::authority(target).ok_or(Bad::Request("CONNECT to something else than host:port"))?)
    } else {
        Wish::Forward(forward(method, target, version, headers, body)?)
    };
    Ok(Request { wish, version, credentials })
}

/// RFC 9112 §6.3, without the leniency that it allows.
fn body(declared: &Declared, version: Version) -> Result<Body, Bad> {
    match declared {
        Declared { chunked: true, .. } if version == Version::Http10 => {
            Err(Bad::Request("a transfer coding in HTTP/1.0"))
        }
        Declared { chunked: true, length: Some(_), .. } => Err(Bad::Request("a content length and a transfer coding")),
        Declared { repeated: true, .. } => Err(Bad::Request("two content lengths")),
        Declared { chunked: true, .. } => Ok(Body::Chunked),
        Declared { length, .. } => Ok(length.map_or(Body::None, Body::Length)),
    }
}

fn forward(method: &str, target: &str, version: Version, headers: &[Header<'_>], body: Body) -> Result<Forward, Bad> {
    let uri = uri::absolute(target).ok_or(Bad::Request("a target that is not http://host/path"))?;
    let connection = Connection::of(headers)?;
    let protocol = single(headers, "upgrade").map_err(|_| Bad::Request("two Upgrade fields"))?;
    let upgrade = protocol.filter(|protocol| connection.upgrade && can_upgrade(protocol, body, version));
    // What follows an upgrade that did not happen cannot be told from a request.
    let persistent = protocol.is_none()
        && match version {
            Version::Http11 => !connection.close,
            Version::Http10 => connection.keep_alive && !connection.close,
        };

    let mut head = Vec::with_capacity(1024);
    head.extend_from_slice(method.as_bytes());
    head.push(b' ');
    head.extend_from_slice(if method == "OPTIONS" && uri.path.is_empty() {
        b"*" // RFC 9112 §3.2.4
    } else if uri.path.starts_with('/') {
        b""
    } else {
        b"/"
    });
    head.extend_from_slice(uri.path.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    head.extend_from_slice(uri.host.as_bytes());
    if uri.target.port != 80 {
        head.extend_from_slice(format!(":{}", uri.target.port).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    for header in headers {
        let ours = ["host", "content-length"].iter().any(|name| header.name.eq_ignore_ascii_case(name));
        // RFC 9110 §10.1.1: in HTTP/1.0 the expectation means nothing.
        let expects = version == Version::Http10 && header.name.eq_ignore_ascii_case("expect");
        if !ours && !expects && connection.is_end_to_end(header.name) {
            put(&mut head, header.name, header.value);
        }
    }
    match body {
        Body::None => {}
        Body::Length(length) => put(&mut head, "Content-Length", length.to_string().as_bytes()),
        Body::Chunked => put(&mut head, "Transfer-Encoding", b"chunked"),
    }
    if let Some(protocol) = upgrade {
        put(&mut head, "Connection", b"Upgrade");
        put(&mut head, "Upgrade", protocol);
    }
    head.extend_from_slice(b"\r\n");

    Ok(Forward {
        origin: uri.target,
        head,
        body,
        is_head: method == "HEAD",
        is_idempotent: matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"),
        upgrade: upgrade.is_some(),
        persistent,
    })
}

/// An upgrade is an offer that a server may ignore (RFC 9110 §7.8), so one that we cannot carry is simply not passed
/// on: with a body, from HTTP/1.0, or to cleartext HTTP/2, whose settings field is for one hop.
fn can_upgrade(protocol: &[u8], body: Body, version: Version) -> bool {
    let cleartext_http2 =
        protocol.split(|byte| *byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"));
    version == Version::Http11 && matches!(body, Body::None | Body::Length(0)) && !cleartext_http2
}
