//! The server's sockets, on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_dns::hickory_proto::op::{Message, ResponseCode};
use adit_dns::hickory_proto::rr::RecordType;
use adit_dns::{DnsServer, Mode, Service};
use adit_net::{Shutdown, Task};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::clients::{fake, options, question};
use crate::script::{address, huge};
use crate::world::{Act, World, say};

const ONE: &str = "10.0.0.1:53";

struct Running {
    at: SocketAddr,
    _task: Task<()>,
}

fn running(at: &str, world: &World, mode: Mode) -> Running {
    let server = DnsServer::bind(at.parse().unwrap()).unwrap();
    let at = server.local_addr();
    let service = Service::new(options(world, mode));
    let run = server.run(move || service.clone(), Shutdown::new());
    Running { at, _task: Task::spawn("dns server", async move { run.await.unwrap() }) }
}

fn framed(message: &Message) -> Vec<u8> {
    let bytes = message.to_vec().unwrap();
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
}

async fn read(stream: &mut TcpStream) -> Message {
    let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

#[tokio::test]
async fn many_datagrams_from_many_clients() {
    let world = World::default();
    world.udp(ONE, |query, _| say(address(query, 1)));
    for at in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let Ok(_) = std::net::UdpSocket::bind(at) else { continue };
        let server = running(at, &world, fake(true, &["real.example"]));
        let to = if at.starts_with("[::]") { SocketAddr::from(([127, 0, 0, 3], server.at.port())) } else { server.at };
        let any = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        for _ in 0..4 {
            let client = UdpSocket::bind(any).await.unwrap();
            // The answer comes from the address that was asked, also where there are several.
            client.connect(to).await.unwrap();
            for n in 0..100_u16 {
                let name = if n % 10 == 0 { "real.example".to_owned() } else { format!("n{n}.example") };
                let mut message = question(&name, RecordType::A);
                message.metadata.id = n;
                client.send(&message.to_vec().unwrap()).await.unwrap();
            }
            let mut seen = [false; 100];
            let mut buffer = [0; 1500];
            for _ in 0..100 {
                let length = timeout(Duration::from_secs(5), client.recv(&mut buffer)).await.unwrap().unwrap();
                let answer = Message::from_vec(&buffer[..length]).unwrap();
                assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 1));
                seen[usize::from(answer.metadata.id)] = true;
            }
            assert!(seen.iter().all(|seen| *seen));
        }
    }
}

/// F-E3: pipelined, byte by byte, slow ones overtaken, and the end of the client's stream.
#[tokio::test]
async fn a_stream_carries_many_questions() {
    let world = World::default();
    world.udp(ONE, |query, _| match query.queries[0].name().to_string().as_str() {
        "slow.example." => vec![Act::Say(Duration::from_millis(300), address(query, 2))],
        "huge.example." => say({
            let mut cut = address(query, 0);
            cut.answers.clear();
            cut.metadata.truncation = true;
            cut
        }),
        _ => say(address(query, 1)),
    });
    world.tcp(ONE, |query, _| say(huge(query, 3)));
    let server = running("127.0.0.1:0", &world, Mode::RedirHost);
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    let slow = framed(&question("slow.example", RecordType::A));
    let quick = framed(&question("quick.example", RecordType::A));
    stream.write_all(&[&slow[..], &quick, &quick[..5]].concat()).await.unwrap();
    assert_eq!(read(&mut stream).await.queries[0].name().to_string(), "quick.example.");
    for byte in &quick[5..] {
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert_eq!(read(&mut stream).await.queries[0].name().to_string(), "quick.example.");
    stream.write_all(&framed(&question("huge.example", RecordType::TXT))).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut sizes = [read(&mut stream).await.answers.len(), read(&mut stream).await.answers.len()];
    sizes.sort_unstable();
    assert!(sizes[0] == 1 && sizes[1] > 100, "{sizes:?}");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

/// F-E3: a length of zero or that lies, and a client that stops.
#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls_ends_in_ten_seconds() {
    let world = World::default();
    let server = running("127.0.0.1:0", &world, fake(false, &[]));
    let whole = framed(&question("www.example", RecordType::A));
    for bytes in [&[][..], &[0], &[0, 0], &[0xff, 0xff, 1, 2, 3], &whole[..whole.len() - 1], &[0, 1, 7]] {
        let mut stream = TcpStream::connect(server.at).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(11), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && rest.is_empty(), "{bytes:?}");
    }
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    stream.write_all(&whole).await.unwrap();
    assert_eq!(read(&mut stream).await.answers.len(), 1);
}

#[tokio::test]
async fn both_sockets_have_one_port_and_go_together() {
    let world = World::default();
    let server = running("127.0.0.1:0", &world, fake(false, &[]));
    assert!(std::net::UdpSocket::bind(server.at).is_err() && std::net::TcpListener::bind(server.at).is_err());
    assert!(DnsServer::bind(server.at).is_err());
    let shutdown = Shutdown::new();
    let service = Service::new(options(&world, Mode::Normal));
    let one = DnsServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = one.local_addr();
    shutdown.start();
    one.run(move || service.clone(), shutdown).await.unwrap();
    drop(std::net::UdpSocket::bind(at).unwrap());
    drop(Arc::new(std::net::TcpListener::bind(at).unwrap()));
}
