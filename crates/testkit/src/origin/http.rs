//! An HTTP/1.1 server that keeps what it was sent and answers in every way that bodies can be framed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::TcpOrigin;
use super::tcp::send_content;
use super::websocket;
use crate::data;

/// An HTTP/1.1 origin. Its routes:
///
/// | path | answer |
/// |---|---|
/// | `/bytes/N` | N bytes of content, `Content-Length` |
/// | `/chunked/N` | N bytes of content in chunks, with a trailer |
/// | `/eof/N` | N bytes of content, framed by the end of the connection |
/// | `/short/N` | promises N bytes, sends half, closes |
/// | `/head` | the request's head as it arrived, byte for byte |
/// | `/sink` | `N SHA256` of the request's body |
/// | `/status/N` | status N without a body |
/// | `/upgrade` | `101`, then an echo |
/// | `/websocket` | a WebSocket that echoes |
/// | anything else | `hello` |
#[derive(Debug)]
pub struct HttpOrigin {
    tcp: TcpOrigin,
    recorder: Arc<Recorder>,
}

/// What an origin was sent.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Vec<Vec<u8>>>);

impl Recorder {
    pub(crate) fn heads(&self) -> Vec<Vec<u8>> {
        self.0.lock().expect("a record").clone()
    }
}

impl HttpOrigin {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let recorder = Arc::new(Recorder::default());
        let record = Arc::clone(&recorder);
        let tcp = TcpOrigin::start(move |mut stream| serve(&mut stream, &record));
        Self { tcp, recorder }
    }

    /// The IPv4 address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.tcp.addr()
    }

    /// The IPv6 address.
    #[must_use]
    pub fn addr_v6(&self) -> SocketAddr {
        self.tcp.addr_v6()
    }

    /// The port, of both families.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.tcp.port()
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.tcp.accepted()
    }

    /// The request heads so far, byte for byte.
    #[must_use]
    pub fn heads(&self) -> Vec<Vec<u8>> {
        self.recorder.heads()
    }

    /// The last request head, as text.
    ///
    /// # Panics
    /// When there was none.
    #[must_use]
    pub fn last_head(&self) -> String {
        let heads = self.recorder.heads();
        String::from_utf8_lossy(heads.last().expect("no request has arrived")).into_owned()
    }
}

struct Request {
    head: Vec<u8>,
    path: String,
    method: String,
    body: Vec<u8>,
    close: bool,
}

/// Serves requests until the client or a route ends the connection.
pub(crate) fn serve(stream: &mut (impl Read + Write), recorder: &Recorder) {
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    while let Some(request) = read_request(&mut stream, recorder) {
        let out = stream.get_mut();
        if answer(out, &request).is_none() {
            return;
        }
        if request.path == "/upgrade" {
            let mut buffer = [0; 16 * 1024];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                if stream.get_mut().write_all(&buffer[..n]).and_then(|()| stream.get_mut().flush()).is_err() {
                    return;
                }
            }
            return;
        }
        if request.path == "/websocket" {
            let _ = websocket::echo(&mut stream);
            return;
        }
        if request.close {
            return;
        }
    }
}

fn read_request<S: Read>(stream: &mut BufReader<S>, recorder: &Recorder) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    recorder.0.lock().expect("a record").push(head.clone());
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut words = text.split_ascii_whitespace();
    let method = words.next()?.to_owned();
    let path = words.next()?.to_owned();
    let header = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    let mut body = Vec::new();
    if header("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..]).ok()?;
            line.clear();
            stream.read_line(&mut line).ok()?;
            if size == 0 {
                // Trailers, if any, up to the empty line.
                while !line.trim().is_empty() {
                    line.clear();
                    stream.read_line(&mut line).ok()?;
                }
                break;
            }
        }
    } else if let Some(length) = header("content-length") {
        body.resize(length.parse().ok()?, 0);
        stream.read_exact(&mut body).ok()?;
    }
    let close = header("connection").is_some_and(|value| value.contains("close"));
    Some(Request { head, path, method, body, close })
}

/// Writes the answer; `None` when the connection is over.
fn answer(out: &mut impl Write, request: &Request) -> Option<()> {
    let (route, argument) = request.path.trim_start_matches('/').split_once('/').unwrap_or((&request.path, ""));
    let n: u64 = argument.parse().unwrap_or(0);
    let body: &[u8] = match (route, request.path.as_str()) {
        ("bytes", _) => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nX-Sha256-Of: content\r\n\r\n").ok()?;
            return if request.method == "HEAD" { out.flush().ok() } else { send_content(out, n).ok() };
        }
        ("chunked", _) => return chunked(out, n),
        ("eof", _) => {
            write!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").ok()?;
            let _ = send_content(out, n);
            return None;
        }
        ("short", _) => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n").ok()?;
            let _ = send_content(out, n / 2);
            return None;
        }
        ("status", _) => {
            write!(
                out,
                "HTTP/1.1 {n} Status\r\n{}\r\n",
                if matches!(n, 204 | 304) { "" } else { "Content-Length: 0\r\n" }
            )
            .ok()?;
            return out.flush().ok();
        }
        (_, "/upgrade") => {
            write!(out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").ok()?;
            return out.flush().ok();
        }
        (_, "/websocket") => {
            let head = String::from_utf8_lossy(&request.head).into_owned();
            let key = head.lines().find_map(|line| {
                line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
            });
            let accept = websocket::accept(key?.1);
            write!(out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").ok()?;
            return out.flush().ok();
        }
        (_, "/head") => &request.head,
        (_, "/sink") => &format!("{} {}", request.body.len(), sha256(&request.body)).into_bytes(),
        _ => b"hello",
    };
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    if request.method != "HEAD" {
        answer.extend_from_slice(body);
    }
    out.write_all(&answer).ok()?;
    out.flush().ok()
}

fn chunked(out: &mut impl Write, length: u64) -> Option<()> {
    write!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n").ok()?;
    let mut at = 0;
    while at < length {
        let chunk = data::content(at, (length - at).min(10_000) as usize);
        write!(out, "{:x}\r\n", chunk.len()).ok()?;
        out.write_all(chunk).ok()?;
        write!(out, "\r\n").ok()?;
        at += chunk.len() as u64;
    }
    write!(out, "0\r\nX-Trailer: yes\r\n\r\n").ok()?;
    out.flush().ok()
}

fn sha256(bytes: &[u8]) -> String {
    data::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}
