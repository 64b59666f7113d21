//! Who plays along: resolvers with fixed answers, echoes, and proxy servers that take nothing but what they expect.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_net::{
    BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, Domain, Resolve, ResolveError, Tag, Target, Task,
};
use adit_outbound::Book;
use adit_outbound::options::{Check, Common, Group, GroupKind, IpVersion, Kind, Outbound};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Nothing here takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this should not take long")
}

/// A resolver that knows a few names, and counts the questions.
#[derive(Default)]
pub(crate) struct Names {
    known: HashMap<Domain, Vec<IpAddr>>,
    pub(crate) questions: AtomicUsize,
    /// How long an answer takes.
    pub(crate) delay: Duration,
}

impl Names {
    pub(crate) fn new(known: &[(&str, &str)]) -> Self {
        let parse = |(name, ips): &(&str, &str)| {
            (name.parse().unwrap(), ips.split_whitespace().map(|ip| ip.parse().unwrap()).collect())
        };
        Self { known: known.iter().map(parse).collect(), ..Self::default() }
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            self.questions.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.delay).await;
            self.known.get(name).cloned().ok_or_else(|| ResolveError::NoAddress(name.clone()))
        })
    }
}

pub(crate) fn target(text: impl ToString) -> Target {
    text.to_string().parse().unwrap()
}

pub(crate) fn dial(target: &Target) -> Dial<'_> {
    Dial { target, known: None, client: None }
}

/// An outbound with UDP on.
pub(crate) fn outbound(name: &str, kind: Kind) -> Outbound {
    Outbound { name: Tag::new(name), kind, common: Common { udp: true, ..Common::default() } }
}

pub(crate) fn via(mut outbound: Outbound, name: &str) -> Outbound {
    outbound.common.dialer_proxy = Some(Tag::new(name));
    outbound
}

pub(crate) fn direct(name: &str, ip_version: IpVersion) -> Outbound {
    let mut outbound = outbound(name, Kind::Direct);
    outbound.common.ip_version = ip_version;
    outbound
}

pub(crate) fn select(name: &str, members: &[&str]) -> Group {
    Group {
        name: Tag::new(name),
        kind: GroupKind::Select { default: None },
        members: members.iter().map(|member| Tag::new(member)).collect(),
        check: Check::default(),
        disable_udp: false,
        hidden: false,
        icon: String::new(),
    }
}

/// A book whose resolvers know only what `names` says.
pub(crate) fn book(outbounds: Vec<Outbound>, groups: Vec<Group>, names: Names) -> Arc<Book> {
    let names = Arc::new(names);
    Book::build(outbounds, groups, Arc::clone(&names) as _, names).unwrap()
}

/// Connects through `name`, without waiting long.
pub(crate) async fn connect(book: &Book, name: &str, to: &Target) -> Result<BoxStream, DialError> {
    soon(book.find(name).unwrap().dialer.connect(dial(to))).await
}

/// The error text of a dial that must fail.
pub(crate) async fn refusal(book: &Book, name: &str, to: &Target) -> (DialError, String) {
    let error = connect(book, name, to).await.err().expect("this dial should fail");
    let text = error.to_string();
    (error, text)
}

/// Sends `text`, half-closes, and expects it back.
pub(crate) async fn expect_echo(stream: &mut BoxStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    soon(stream.read_to_end(&mut back)).await.unwrap();
    assert_eq!(back.escape_ascii().to_string(), text.escape_ascii().to_string());
}

/// A server that runs `scene` with each client, one after the other. It ends with the guard.
pub(crate) async fn serve<F>(scene: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> (SocketAddr, Task<()>)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    serve_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), scene)
}

/// As [`serve`], at a listener that is there already.
pub(crate) fn serve_at<F>(
    listener: TcpListener,
    scene: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> (SocketAddr, Task<()>)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let at = listener.local_addr().unwrap();
    let task = Task::spawn("server", async move {
        let mut clients = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let served = scene(stream);
            clients.push(Task::spawn("client", async move {
                // A client that goes away early is the scene's own business.
                let _ = served.await;
            }));
        }
    });
    (at, task)
}

/// Returns everything, and its client's half-close.
pub(crate) async fn echo() -> (SocketAddr, Task<()>) {
    serve(async |mut stream| {
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await?;
        to.shutdown().await
    })
    .await
}

/// Returns every datagram with the port it came from in front.
pub(crate) async fn udp_echo() -> (SocketAddr, Task<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let task = Task::spawn("udp echo", async move {
        let mut buf = vec![0; 65_536];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buf[2..]).await else { continue };
            buf[..2].copy_from_slice(&from.port().to_be_bytes());
            let _ = socket.send_to(&buf[..length + 2], from).await;
        }
    });
    (at, task)
}

/// One packet socket, asked as a flow would.
pub(crate) struct Flow(pub(crate) Datagrams);

impl Flow {
    pub(crate) async fn open(dialer: &Arc<dyn Dialer>, to: &Target) -> Result<Self, DialError> {
        soon(dialer.datagrams(dial(to))).await.map(Self)
    }

    pub(crate) async fn send(&mut self, payload: &[u8], to: &Target) -> io::Result<()> {
        soon(std::future::poll_fn(|cx| self.0.send.poll_send(cx, payload, to))).await
    }

    pub(crate) async fn recv(&mut self) -> io::Result<(Vec<u8>, Target)> {
        let mut bytes = vec![0; 65_536];
        let mut buf = ReadBuf::new(&mut bytes);
        let from = soon(std::future::poll_fn(|cx| self.0.recv.poll_recv(cx, &mut buf))).await?;
        Ok((buf.filled().to_vec(), from))
    }

    /// Sends to an echo and returns the port it saw.
    pub(crate) async fn echo(&mut self, payload: &[u8], to: &Target) -> (u16, Target) {
        self.send(payload, to).await.unwrap();
        let (bytes, from) = self.recv().await.unwrap();
        let (port, back) = bytes.split_first_chunk().unwrap();
        assert_eq!(back, payload);
        (u16::from_be_bytes(*port), from)
    }

    /// Whether nothing arrives for a moment.
    pub(crate) async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(80), self.recv()).await.is_err()
    }
}

/// What a proxy server was asked, in order.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

pub(crate) fn asked(log: &Asked) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// Connects to `to` (names are all this machine) and carries both directions, half-closes included.
pub(crate) async fn carry<S: AsyncRead + AsyncWrite + Unpin>(mut client: S, to: &Target) -> io::Result<()> {
    let mut upstream = TcpStream::connect(("127.0.0.1", to.port)).await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}
