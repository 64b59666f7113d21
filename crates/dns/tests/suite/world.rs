//! A made-up network: a way out whose servers are scripts, without a socket, so that made-up time runs it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_dns::hickory_proto::op::Message;
use adit_dns::{Nameserver, Options, Resolver, Servers};
use adit_net::{
    BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer, Network, RecvDatagram, SendDatagram, Stream, Target, Task,
};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// What a server does about one question.
#[derive(Clone)]
pub(crate) enum Act {
    /// Answers after a while.
    Say(Duration, Message),
    /// Sends bytes at once.
    Raw(Vec<u8>),
    /// Sends bytes at once, as if from elsewhere (datagrams only).
    Forge(Target, Vec<u8>),
    /// Closes the connection (streams only).
    Close,
}

/// At once.
pub(crate) fn say(message: Message) -> Vec<Act> {
    vec![Act::Say(Duration::ZERO, message)]
}

/// A server: from a question and how many came before it, to what is done.
pub(crate) type Script = Arc<dyn Fn(&Message, usize) -> Vec<Act> + Send + Sync>;
/// What happens to the far end of a stream.
pub(crate) type Accept = Arc<dyn Fn(DuplexStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// Everything that happened.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connects: Vec<Target>,
    pub(crate) sockets: Vec<Target>,
    pub(crate) questions: Vec<(Target, Message)>,
}

#[derive(Default)]
struct Inner {
    datagrams: Mutex<HashMap<Target, Script>>,
    streams: Mutex<HashMap<Target, Accept>>,
    seen: Mutex<Seen>,
    tasks: Mutex<Vec<Task<()>>>,
}

#[derive(Clone, Default)]
pub(crate) struct World(Arc<Inner>);

impl World {
    /// A UDP server.
    pub(crate) fn udp(&self, at: &str, script: impl Fn(&Message, usize) -> Vec<Act> + Send + Sync + 'static) -> &Self {
        self.0.datagrams.lock().insert(at.parse().unwrap(), Arc::new(script));
        self
    }

    /// A TCP server that speaks DNS.
    pub(crate) fn tcp(&self, at: &str, script: impl Fn(&Message, usize) -> Vec<Act> + Send + Sync + 'static) -> &Self {
        let (world, target, script): (_, Target, Script) = (self.clone(), at.parse().unwrap(), Arc::new(script));
        let asked = Arc::new(Mutex::new(0));
        self.accept(at, move |stream| {
            Box::pin(serve(world.clone(), target.clone(), stream, Arc::clone(&script), Arc::clone(&asked)))
        })
    }

    /// A TCP server that does whatever it wants.
    pub(crate) fn accept(
        &self,
        at: &str,
        accept: impl Fn(DuplexStream) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> &Self {
        self.0.streams.lock().insert(at.parse().unwrap(), Arc::new(accept));
        self
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.0.seen.lock())
    }

    /// How many questions the server at `at` got.
    pub(crate) fn asked(&self, at: &str) -> usize {
        let at: Target = at.parse().unwrap();
        self.seen(|seen| seen.questions.iter().filter(|(target, _)| *target == at).count())
    }

    pub(crate) fn resolver(&self, list: &[&str], options: Options) -> Resolver {
        let list = list.iter().map(|text| Nameserver::parse(text).unwrap()).collect();
        Servers::new(list, options).unwrap().resolver(Arc::new(self.clone()))
    }

    pub(crate) fn note(&self, target: &Target, query: &Message) {
        self.0.seen.lock().questions.push((target.clone(), query.clone()));
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.lock().push(Task::spawn("server", future));
    }
}

/// Speaks DNS over a stream until it ends or the script closes it.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    world: World,
    target: Target,
    stream: S,
    script: Script,
    asked: Arc<Mutex<usize>>,
) {
    let (mut read, mut write) = tokio::io::split(stream);
    let (answers, mut to_send) = mpsc::unbounded_channel::<Option<Vec<u8>>>();
    let _writer = Task::spawn("writer", async move {
        while let Some(Some(bytes)) = to_send.recv().await {
            let _ = write.write_all(&bytes).await;
            let _ = write.flush().await;
        }
        let _ = write.shutdown().await;
    });
    let mut late = Vec::new();
    while let Ok(length) = read.read_u16().await {
        let mut query = vec![0; length.into()];
        read.read_exact(&mut query).await.unwrap();
        let query = Message::from_vec(&query).unwrap();
        world.note(&target, &query);
        let before = {
            let mut asked = asked.lock();
            *asked += 1;
            *asked - 1
        };
        for act in script(&query, before) {
            match act {
                Act::Say(after, message) => {
                    let answers = answers.clone();
                    late.push(Task::spawn("answer", async move {
                        sleep(after).await;
                        let message = message.to_vec().unwrap();
                        let mut frame = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
                        frame.extend(message);
                        let _ = answers.send(Some(frame));
                    }));
                }
                Act::Raw(bytes) => drop(answers.send(Some(bytes))),
                Act::Close => drop(answers.send(None)),
                Act::Forge(..) => panic!("a stream has one other end"),
            }
        }
    }
}

impl Dialer for World {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move {
            assert!(dial.target.socket_addr().is_some(), "a tunnel cannot dial the name {}", dial.target);
            self.0.seen.lock().connects.push(dial.target.clone());
            let accept = self.0.streams.lock().get(dial.target).cloned();
            let accept = accept.ok_or_else(|| DialError::Refused(dial.target.to_string()))?;
            let (near, far) = tokio::io::duplex(16 * 1024);
            self.spawn(accept(far));
            Ok(Box::new(Wire(near)) as BoxStream)
        })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(async move {
            assert!(dial.target.socket_addr().is_some(), "a tunnel cannot dial the name {}", dial.target);
            if self.0.datagrams.lock().is_empty() {
                return Err(DialError::Unsupported(Network::Udp));
            }
            self.0.seen.lock().sockets.push(dial.target.clone());
            let (to_near, near) = mpsc::unbounded_channel();
            let send = Near { world: self.clone(), to_near };
            Ok(Datagrams { recv: Box::new(Far(near)), send: Box::new(send) })
        })
    }
}

struct Far(mpsc::UnboundedReceiver<(Target, Vec<u8>)>);

impl RecvDatagram for Far {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Target>> {
        self.0.poll_recv(cx).map(|received| {
            let (from, payload) = received.ok_or(io::ErrorKind::BrokenPipe)?;
            buf.put_slice(&payload[..payload.len().min(buf.remaining())]);
            Ok(from)
        })
    }
}

struct Near {
    world: World,
    to_near: mpsc::UnboundedSender<(Target, Vec<u8>)>,
}

impl SendDatagram for Near {
    fn poll_send(&mut self, _: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>> {
        let Some(script) = self.world.0.datagrams.lock().get(to).cloned() else { return Poll::Ready(Ok(())) };
        let query = Message::from_vec(payload).unwrap();
        let before = self.world.asked(&to.to_string());
        self.world.note(to, &query);
        for act in script(&query, before) {
            let (to_near, to) = (self.to_near.clone(), to.clone());
            match act {
                Act::Say(after, message) => self.world.spawn(async move {
                    sleep(after).await;
                    let _ = to_near.send((to, message.to_vec().unwrap()));
                }),
                Act::Raw(bytes) => drop(to_near.send((to, bytes))),
                Act::Forge(from, bytes) => drop(to_near.send((from, bytes))),
                Act::Close => panic!("a datagram is no connection"),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The near end of a stream.
struct Wire(DuplexStream);

impl Stream for Wire {}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Real sockets on loopback.
#[derive(Debug)]
pub(crate) struct Loopback;

impl Dialer for Loopback {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move {
            let address = dial.target.socket_addr().unwrap();
            match tokio::net::TcpStream::connect(address).await {
                Ok(stream) => Ok(Box::new(stream) as BoxStream),
                Err(error) => Err(DialError::from_connect(error, dial.target)),
            }
        })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(async move {
            let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await;
            let socket = Arc::new(socket.map_err(|error| DialError::from_connect(error, dial.target))?);
            Ok(Datagrams { recv: Box::new(Udp(Arc::clone(&socket))), send: Box::new(Udp(socket)) })
        })
    }
}

struct Udp(Arc<tokio::net::UdpSocket>);

impl RecvDatagram for Udp {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Target>> {
        self.0.poll_recv_from(cx, buf).map_ok(Target::from)
    }
}

impl SendDatagram for Udp {
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>> {
        let to: SocketAddr = to.socket_addr().unwrap();
        self.0.poll_send_to(cx, payload, to).map_ok(drop)
    }
}
