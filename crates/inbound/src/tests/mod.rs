//! Real clients' bytes over real loopback sockets, and a handler that records what it is asked for.

mod forward;
mod handshakes;
mod http_heads;
mod limits;
mod origin;
mod strictness;
mod udp;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_net::{
    Accepted, Counters, DialError, Handler, Limits, Packet, Protocol, Session, Shutdown, Target, Task, farewell, relay,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::budgets::Budgets;
use crate::{Access, Inbound, Kind, Options, Users};

/// Longer than anything that works takes, shorter than anything that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the handler does with a stream.
enum Manner {
    /// Says yes, then sends everything back.
    Echo,
    /// Says no.
    Refuse(fn() -> DialError),
    /// Says yes, then relays to the address listed for the target.
    Relay(HashMap<Target, SocketAddr>),
}

/// Records what it is asked for. Datagrams come back from where they were sent to.
struct Recorder {
    manner: Manner,
    sessions: Mutex<Vec<Session>>,
    packets: Mutex<Vec<Packet>>,
}

impl Handler for Recorder {
    async fn tcp(&self, client: Accepted) {
        let Accepted { session, mut stream, reply } = client;
        let target = session.target.clone();
        self.sessions.lock().unwrap().push(session);
        match &self.manner {
            Manner::Echo => {
                stream.write_all(&reply.accepted()).await.unwrap();
                let (mut from, mut to) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            }
            Manner::Refuse(why) => farewell(stream, &reply.refused(&why())).await,
            Manner::Relay(origins) => {
                let origin = TcpStream::connect(origins[&target]).await.unwrap();
                stream.write_all(&reply.accepted()).await.unwrap();
                relay(stream, Box::new(origin), &Counters::default(), Limits::default()).await;
            }
        }
    }

    fn udp(&self, packet: Packet) {
        let _ = packet.back.send(&packet.target, &packet.payload);
        self.packets.lock().unwrap().push(packet);
    }
}

/// A running listener.
struct Scene {
    addr: SocketAddr,
    recorder: Arc<Recorder>,
    shutdown: Shutdown,
    running: Task<()>,
}

fn options(kind: Kind) -> Options {
    Options {
        name: "here".into(),
        kind,
        listen: "127.0.0.1:0".parse().unwrap(),
        users: Users::none(),
        access: Access::everyone(),
        udp: kind != Kind::Http,
        keep_alive: adit_net::KeepAlive::default(),
    }
}

impl Scene {
    fn start(options: Options, manner: Manner) -> Self {
        Self::start_within(Budgets::default(), options, manner)
    }

    fn start_within(budgets: Budgets, options: Options, manner: Manner) -> Self {
        let inbound = Inbound::bind(options).unwrap();
        let addr = inbound.local_addr();
        let recorder = Arc::new(Recorder { manner, sessions: Mutex::default(), packets: Mutex::default() });
        let shutdown = Shutdown::new();
        let running = inbound.run_within(budgets, recorder.clone(), shutdown.clone());
        Self { addr, recorder, shutdown, running: Task::spawn("inbound", running) }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Everything that is answered to `bytes`, until we are left.
    async fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        // We may be left before all of it is taken.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }

    fn sessions(&self) -> Vec<(Protocol, String, Option<String>)> {
        let sessions = self.recorder.sessions.lock().unwrap();
        sessions
            .iter()
            .map(|session| {
                let user = session.entry.user.as_deref().map(str::to_owned);
                (session.entry.protocol, session.target.to_string(), user)
            })
            .collect()
    }

    /// Stops, and checks that no connection is left over.
    async fn end(self) {
        self.shutdown.start();
        timeout(PATIENCE, self.running.join()).await.expect("a connection did not end");
    }
}

/// Everything until the end, which may be a reset.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("the connection did not end");
    heard
}

async fn hear(stream: &mut TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    timeout(PATIENCE, stream.read_exact(&mut heard)).await.expect("no answer").expect("an answer that is too short");
    assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string());
}
