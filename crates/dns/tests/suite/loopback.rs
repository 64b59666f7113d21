//! Real sockets: what the made-up network cannot show.

use std::sync::Arc;

use adit_dns::hickory_proto::op::{Message, ResponseCode};
use adit_dns::{Nameserver, Options, Servers};
use adit_net::{Resolve as _, Task};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use crate::script::{huge, reply};
use crate::world::Loopback;

/// Both sockets on one port: UDP says that the answer does not fit, and a stranger says something else before.
#[tokio::test]
async fn udp_says_truncated_and_tcp_has_the_answer() {
    let (listener, socket) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            break (listener, socket);
        }
    };
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let _udp = Task::spawn("udp", async move {
        let mut buffer = [0; 512];
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        let spoofed = crate::script::address(&query, 66).to_vec().unwrap();
        stranger.send_to(&spoofed, client).await.unwrap();
        let mut cut = reply(&query, ResponseCode::NoError);
        cut.metadata.truncation = true;
        socket.send_to(&cut.to_vec().unwrap(), client).await.unwrap();
    });
    let _tcp = Task::spawn("tcp", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while let Ok(length) = stream.read_u16().await {
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.unwrap();
            let answer = huge(&Message::from_vec(&query).unwrap(), 9).to_vec().unwrap();
            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    let servers = Servers::new(vec![Nameserver::parse(&at.to_string()).unwrap()], Options::default()).unwrap();
    let found = servers.resolver(Arc::new(Loopback)).resolve(&"www.example".parse().unwrap()).await.unwrap();
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.9"]);
}
