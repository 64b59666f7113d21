//! DNS over QUIC, on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_dns::hickory_proto::op::Message;
use adit_dns::{Nameserver, Options, Servers};
use adit_net::{Domain, Resolve, Task, Through as _};
use parking_lot::Mutex;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, ServerConfig};
use tokio::time::timeout;

use crate::script::{address, huge};
use crate::tls::Identity;
use crate::world::Loopback;

/// What a server does about one question.
enum Deed {
    /// These bytes are the whole stream.
    Write(Vec<u8>),
    /// Ends the connection.
    Close,
    /// Nothing, for as long as the connection lives.
    Nothing,
}

/// From a question, which connection it came on, and how many came before on it.
type Script = Arc<dyn Fn(&Message, usize, usize) -> Deed + Send + Sync>;

struct Server {
    at: SocketAddr,
    connections: Arc<Mutex<usize>>,
    _task: Task<()>,
}

fn server(identity: &Identity, script: impl Fn(&Message, usize, usize) -> Deed + Send + Sync + 'static) -> Server {
    let tls = QuicServerConfig::try_from(Arc::clone(identity.acceptor.config())).unwrap();
    let endpoint = Endpoint::server(ServerConfig::with_crypto(Arc::new(tls)), ([127, 0, 0, 1], 0).into()).unwrap();
    let (at, script): (_, Script) = (endpoint.local_addr().unwrap(), Arc::new(script));
    let connections = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&connections);
    let task = Task::spawn("doq server", async move {
        let mut open = tokio::task::JoinSet::new();
        while let Some(incoming) = endpoint.accept().await {
            let Ok(connection) = incoming.await else { continue };
            let number = *counted.lock();
            *counted.lock() += 1;
            open.spawn(serve(connection, number, Arc::clone(&script)));
        }
    });
    Server { at, connections, _task: task }
}

async fn serve(connection: Connection, number: usize, script: Script) {
    let mut before = 0;
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        // RFC 9250 §4.2: one length, one question, and the end.
        let stream = receive.read_to_end(65_537).await.unwrap();
        let question = Message::from_vec(&stream[2..]).unwrap();
        assert_eq!(usize::from(u16::from_be_bytes([stream[0], stream[1]])), stream.len() - 2);
        assert_eq!(question.metadata.id, 0);
        match script(&question, number, before) {
            Deed::Write(bytes) => {
                send.write_all(&bytes).await.unwrap();
                send.finish().unwrap();
            }
            Deed::Close => return connection.close(0_u8.into(), b""),
            Deed::Nothing => std::future::pending().await,
        }
        before += 1;
    }
}

fn framed(message: &Message) -> Vec<u8> {
    let bytes = message.to_vec().unwrap();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
}

fn resolver(server: &Server, options: Options) -> Arc<dyn Resolve> {
    let nameserver = Nameserver::parse(&format!("quic://{}", server.at)).unwrap();
    Servers::new(vec![nameserver], options).unwrap().over(Arc::new(Loopback))
}

fn identity() -> Identity {
    Identity::new(&["127.0.0.1"], &[b"doq"])
}

fn options(identity: &Identity) -> Options {
    Options { ipv6: false, ..identity.options() }
}

fn name(n: usize) -> Domain {
    Domain::new(&format!("n{n}.example")).unwrap()
}

#[tokio::test]
async fn questions_share_a_connection_and_have_a_stream_each() {
    let identity = identity();
    let server = server(&identity, |question, _, before| {
        Deed::Write(framed(&if before % 2 == 0 { address(question, 7) } else { huge(question, 7) }))
    });
    let resolver = resolver(&server, options(&identity));
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..50 {
        let resolver = Arc::clone(&resolver);
        asking.spawn(async move { resolver.resolve(&name(n)).await.unwrap() });
    }
    while let Some(found) = asking.join_next().await {
        assert!(found.unwrap().iter().any(|ip| ip.to_string().ends_with(".7")));
    }
    assert_eq!(*server.connections.lock(), 1);
}

#[tokio::test]
async fn a_connection_that_ended_or_died_is_replaced_and_the_question_asked_again() {
    let identity = identity();
    let server = server(&identity, |question, connection, before| match (connection, before) {
        (_, 0) => Deed::Write(framed(&address(question, 7))),
        (0, _) => Deed::Close,
        (1, _) => Deed::Nothing,
        _ => Deed::Write(framed(&address(question, 8))),
    });
    let resolver = resolver(&server, options(&identity));
    for n in 0..4 {
        let found = timeout(Duration::from_secs(4), resolver.resolve(&name(n))).await.unwrap().unwrap();
        assert!(!found.is_empty());
    }
    assert_eq!(*server.connections.lock(), 3);
}

#[tokio::test]
async fn what_is_not_one_message_is_no_answer() {
    let identity = identity();
    let server = server(&identity, |question, _, before| {
        let mut bytes = framed(&address(question, 7));
        match before % 3 {
            0 => bytes.push(0),
            1 => drop(bytes.pop()),
            _ => bytes.clear(),
        }
        Deed::Write(bytes)
    });
    let resolver = resolver(&server, options(&identity));
    for n in 0..3 {
        let error = resolver.resolve(&name(n)).await.unwrap_err();
        assert!(error.to_string().contains("not one message"), "{error}");
    }
}

#[tokio::test]
async fn a_server_must_be_who_it_should_be_and_speak_dns() {
    for identity in [Identity::new(&["127.0.0.9"], &[b"doq"]), Identity::new(&["127.0.0.1"], &[b"h3"])] {
        let server = server(&identity, |_, _, _| panic!("a question to a stranger"));
        let error = resolver(&server, options(&identity)).resolve(&name(0)).await.unwrap_err();
        assert!(error.to_string().contains("QUIC"), "{error}");
    }
}
