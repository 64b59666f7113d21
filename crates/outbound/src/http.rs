//! `http`: an upstream HTTP proxy, asked with CONNECT (RFC 9110 §9.3.6), over TCP or TLS.

use std::io;

use adit_net::{BoxFuture, BoxStream, Dial, DialError, Dialer, Prefixed, Secret, Stream, Target};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::options;
use crate::server::Server;
use crate::tls::{TlsConnector, TlsOptionsError};

pub mod wire;

use wire::{Head, LIMIT, parse_head};

/// A way out through an HTTP proxy. Names are resolved there; datagrams cannot go.
pub(crate) struct Http {
    server: Server,
    tls: Option<TlsConnector>,
    headers: Headers,
}

impl Http {
    pub(crate) fn new(server: Server, options: &options::Http) -> Result<Self, TlsOptionsError> {
        Ok(Self {
            server,
            tls: options.tls.as_ref().map(TlsConnector::new).transpose()?,
            headers: Headers::new(options),
        })
    }

    async fn tunnel(&self, carrier: BoxStream, target: &Target) -> Result<BoxStream, DialError> {
        let mut stream = match &self.tls {
            Some(tls) => Box::new(tls.connect(carrier).await?),
            None => carrier,
        };
        let request = self.headers.request(target);
        stream.write_all(request.reveal().as_bytes()).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let (head, behind) = answer(&mut stream).await?;
        accepted(&head, target)?;
        // What the target said already belongs to the tunnel.
        Ok(match behind.is_empty() {
            true => stream,
            false => Box::new(Prefixed::new(behind, stream)),
        })
    }
}

impl Dialer for Http {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move {
            let carrier = self.server.connect().await?;
            self.server.handshake(self.tunnel(carrier, dial.target)).await
        })
    }
}

/// What is the same in every request.
struct Headers {
    /// Whether the options have a `Host` of their own.
    own_host: bool,
    /// Header lines and the empty line. May hold the password.
    lines: Secret,
}

impl Headers {
    fn new(options: &options::Http) -> Self {
        let overridden = |name: &str| options.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let mut lines = String::new();
        let mut line = |name: &str, value: &str| {
            lines.extend([name, ": ", value, "\r\n"]);
        };
        for (name, value) in [("User-Agent", "Go-http-client/1.1"), ("Proxy-Connection", "Keep-Alive")] {
            if !overridden(name) {
                line(name, value);
            }
        }
        if let Some(options::Credentials { user, password }) = &options.credentials
            && !overridden("Proxy-Authorization")
        {
            let pair = Secret::new(format!("{user}:{}", password.reveal()));
            let encoded = Secret::new(BASE64_STANDARD.encode(pair.reveal()));
            let value = Secret::new(format!("Basic {}", encoded.reveal()));
            line("Proxy-Authorization", value.reveal());
        }
        for (name, value) in &options.headers {
            line(name, value.reveal());
        }
        lines.push_str("\r\n");
        Self { own_host: overridden("Host"), lines: Secret::new(lines) }
    }

    fn request(&self, target: &Target) -> Secret {
        let host = match self.own_host {
            true => String::new(),
            false => format!("Host: {target}\r\n"),
        };
        Secret::new(format!("CONNECT {target} HTTP/1.1\r\n{host}{}", self.lines.reveal()))
    }
}

/// The final answer, and what was read behind it.
pub(crate) async fn answer(stream: &mut (impl Stream + ?Sized)) -> Result<(Head, Vec<u8>), DialError> {
    let mut input = Vec::new();
    let mut interim = 0;
    loop {
        let room = LIMIT.saturating_sub(input.len() + interim);
        let more = stream.take(room as u64).read_buf(&mut input).await.map_err(broken)?;
        match (more, room) {
            (_, 0) => return Err(protocol(format_args!("the answer has more than {LIMIT} bytes of headers"))),
            (0, _) => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
            _ => {}
        }
        while let Some(head) = parse_head(&input).map_err(protocol)? {
            let behind = input.split_off(head.length.min(input.len()));
            // RFC 9110 §15.2: any number of interim answers may come first. 101 is not one of them.
            if !matches!(head.status, 100 | 102..=199) {
                return Ok((head, behind));
            }
            interim += head.length;
            input = behind;
        }
    }
}

/// Only 200 makes a tunnel; the texts for 405 and 407 are those of Mihomo.
fn accepted(head: &Head, target: &Target) -> Result<(), DialError> {
    match head.status {
        200 => Ok(()),
        407 => Err(protocol("HTTP need auth: the proxy wants a user name and password, or others")),
        405 => Err(protocol("CONNECT method not allowed by proxy")),
        403 => Err(DialError::Denied(format!("{target}, says the HTTP proxy: {head}"))),
        504 => Err(DialError::TimedOut(format!("{target}, says the HTTP proxy: {head}"))),
        _ => Err(protocol(format_args!("the proxy answered {head} for {target}"))),
    }
}

fn protocol(what: impl std::fmt::Display) -> DialError {
    DialError::Protocol(format!("HTTP proxy: {what}"))
}

fn broken(error: io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => protocol("it closed the connection before it answered"),
        _ => DialError::Io { context: "HTTP proxy, CONNECT".into(), source: error },
    }
}
