//! `socks5`: an upstream SOCKS5 server (RFC 1928, RFC 1929), over TCP or TLS.

use std::io;
use std::net::IpAddr;

use adit_net::{BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, Host, Network, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::options;
use crate::server::Server;
use crate::tls::{TlsConnector, TlsOptionsError};

mod association;
pub mod wire;

use wire::{Bound, Command, Method, Progress, Reply};

/// A way out through a SOCKS5 server. Names are resolved there.
pub(crate) struct Socks5 {
    server: Server,
    tls: Option<TlsConnector>,
    credentials: Option<options::Credentials>,
}

impl Socks5 {
    pub(crate) fn new(server: Server, options: &options::Socks5) -> Result<Self, TlsOptionsError> {
        Ok(Self {
            server,
            tls: options.tls.as_ref().map(TlsConnector::new).transpose()?,
            credentials: options.credentials.clone(),
        })
    }

    /// From a connected carrier to the server's "succeeded". Nothing behind the reply is read.
    async fn ask(
        &self,
        carrier: BoxStream,
        command: Command,
        target: &Target,
    ) -> Result<(BoxStream, Bound), DialError> {
        let mut stream = match &self.tls {
            Some(tls) => Box::new(tls.connect(carrier).await?),
            None => carrier,
        };
        self.log_in(&mut stream).await?;
        let mut request = Vec::new();
        wire::put_request(command, target, &mut request);
        send(&mut stream, &request).await?;
        match reply(&mut stream).await? {
            Reply::Succeeded(bound) => Ok((stream, bound)),
            Reply::Failed(code) => Err(failure(code, command, target)),
        }
    }

    /// Offers exactly one method, as Mihomo does: the one that the configuration asks for.
    async fn log_in(&self, stream: &mut BoxStream) -> Result<(), DialError> {
        let method = match &self.credentials {
            Some(_) => Method::Password,
            None => Method::NoAuth,
        };
        send(stream, &wire::greeting(method)).await?;
        match (wire::parse_choice(receive(stream).await?, method), &self.credentials) {
            (Ok(true), _) => {}
            (Ok(false), Some(_)) => return Err(protocol("the server does not take a user name and password")),
            (Ok(false), None) => return Err(protocol("the server wants a user name and password")),
            (Err(malformed), _) => return Err(protocol(malformed)),
        }
        let Some(credentials) = &self.credentials else {
            return Ok(());
        };
        let mut login = Vec::new();
        wire::put_login(credentials, &mut login);
        send(stream, &login).await?;
        match wire::parse_login_status(receive(stream).await?).map_err(protocol)? {
            true => Ok(()),
            false => Err(protocol("the server refused the user name or password")),
        }
    }

    async fn associate(&self) -> Result<Datagrams, DialError> {
        let carrier = self.server.connect().await?;
        let server_ip = self.server.carrier().peer(&carrier);
        let anywhere = Target::new(IpAddr::from([0; 4]), 0);
        let asked = self.ask(carrier, Command::UdpAssociate, &anywhere);
        let (control, bound) = self.server.handshake(asked).await?;
        // "Unspecified" means "where you found me".
        let named = bound.host.filter(|host| host.ip().is_none_or(|ip| !ip.is_unspecified()));
        let host = named.or_else(|| server_ip.map(Host::from)).unwrap_or_else(|| self.server.at().host.clone());
        let relay = Target::new(host, bound.port);
        let outer = self.server.datagrams(&relay).await?;
        Ok(association::wrap(outer, control, relay))
    }
}

impl Dialer for Socks5 {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move {
            let carrier = self.server.connect().await?;
            let asked = self.ask(carrier, Command::Connect, dial.target);
            let (stream, _) = self.server.handshake(asked).await?;
            Ok(stream)
        })
    }

    fn datagrams<'a>(&'a self, _dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(self.associate())
    }
}

async fn send(stream: &mut BoxStream, message: &[u8]) -> Result<(), DialError> {
    stream.write_all(message).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}

async fn receive(stream: &mut BoxStream) -> Result<[u8; 2], DialError> {
    let mut message = [0; 2];
    stream.read_exact(&mut message).await.map_err(broken)?;
    Ok(message)
}

async fn reply(stream: &mut BoxStream) -> Result<Reply, DialError> {
    let mut input = Vec::new();
    loop {
        match wire::parse_reply(&input).map_err(protocol)? {
            Progress::Done(reply) => return Ok(reply),
            Progress::Needs(all) => {
                let missing = all.saturating_sub(input.len());
                let more = stream.take(missing as u64).read_buf(&mut input).await.map_err(broken)?;
                if more == 0 {
                    return Err(broken(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }
}

fn protocol(what: impl std::fmt::Display) -> DialError {
    DialError::Protocol(format!("SOCKS5: {what}"))
}

fn broken(error: io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => protocol("the server closed the connection during the handshake"),
        _ => DialError::Io { context: "SOCKS5 handshake".into(), source: error },
    }
}

/// RFC 1928 §6, the reply field.
fn failure(code: u8, command: Command, target: &Target) -> DialError {
    let says = |what: &str| format!("{target}, says the SOCKS5 server: {what}");
    match (code, command) {
        (2, _) => DialError::Denied(says("connection not allowed by ruleset")),
        (3, _) => DialError::Unreachable(says("network unreachable")),
        (4, _) => DialError::Unreachable(says("host unreachable")),
        (5, _) => DialError::Refused(says("connection refused")),
        (6, _) => DialError::TimedOut(says("TTL expired")),
        (7, Command::UdpAssociate) => DialError::Unsupported(Network::Udp),
        (1, _) => protocol(format_args!("general failure of the server, for {target}")),
        (7, _) => protocol("the server does not know CONNECT"),
        (8, _) => protocol(format_args!("the server does not know the address type of {target}")),
        (code, _) => protocol(format_args!("the server failed with the unknown code {code}, for {target}")),
    }
}
