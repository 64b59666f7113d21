//! SOCKS5 UDP.

use std::io;

use tokio::net::UdpSocket;

use super::*;

/// Asks for an association and returns its control connection and the relay's address.
async fn associate(scene: &Scene) -> (TcpStream, SocketAddr) {
    let mut control = scene.connect().await;
    control.write_all(b"\x05\x01\0\x05\x03\0\x01\0\0\0\0\0\0").await.unwrap();
    hear(&mut control, b"\x05\0\x05\0\0\x01\x7f\0\0\x01").await;
    let mut port = [0; 2];
    control.read_exact(&mut port).await.unwrap();
    let relay = SocketAddr::from(([127, 0, 0, 1], u16::from_be_bytes(port)));
    assert_eq!(relay, scene.addr, "the port is the listener's");
    (control, relay)
}

async fn echoes(socket: &UdpSocket, relay: SocketAddr, datagram: &[u8]) -> bool {
    socket.send_to(datagram, relay).await.unwrap();
    let mut buffer = vec![0; 65_535];
    match timeout(Duration::from_millis(500), socket.recv_from(&mut buffer)).await {
        Ok(received) => {
            let (length, from) = received.unwrap();
            assert_eq!((&buffer[..length], from), (datagram, relay));
            true
        }
        Err(_) => false,
    }
}

const TO_NAME: &[u8] = b"\0\0\0\x03\x09a.example\0\x35";

/// F-A17
#[tokio::test]
async fn datagrams_of_every_size_pass_both_ways_and_damaged_ones_do_not() {
    let scene = Scene::start(options(Kind::Mixed), Manner::Echo);
    let (control, relay) = associate(&scene).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for damaged in [
        &b""[..],
        b"\0",
        b"\0\0\0",
        b"\0\0\0\x01\x01\x02\x03\x04\0",
        b"\0\0\x01\x01\x01\x02\x03\x04\0\x35x",
        b"\0\0\0\x03\0\0\x35x",
        b"\0\0\0\x09\x01\x02\x03\x04\0\x35x",
        b"\0\0\0\x03\x03a b\0\x35x",
    ] {
        socket.send_to(damaged, relay).await.unwrap();
    }
    assert!(echoes(&socket, relay, &[TO_NAME, b"hello"].concat()).await);
    assert!(echoes(&socket, relay, TO_NAME).await, "an empty payload");
    assert!(echoes(&socket, relay, b"\0\0\0\x01\x01\x02\x03\x04\0\x35x").await);
    assert!(echoes(&socket, relay, b"\0\0\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x35x").await);
    let largest = [TO_NAME, &vec![7; 65_507 - TO_NAME.len()]].concat();
    assert!(echoes(&socket, relay, &largest).await);
    let packets = std::mem::take(&mut *scene.recorder.packets.lock().unwrap());
    let targets: Vec<String> = packets.iter().map(|packet| packet.target.to_string()).collect();
    assert_eq!(targets, ["a.example:53", "a.example:53", "1.2.3.4:53", "[2001:db8::1]:53", "a.example:53"]);
    assert!(packets[1].payload.is_empty());
    let same_way = Arc::as_ptr(&packets[0].back).cast::<()>() == Arc::as_ptr(&packets[4].back).cast::<()>();
    assert!(same_way, "a packet costs no new way back");
    // What does not fit behind its header is lost; the association is not.
    packets[0].back.send(&packets[0].target, &[0; 65_507]).unwrap();
    assert!(echoes(&socket, relay, &[TO_NAME, b"again"].concat()).await);
    drop(control);
    scene.end().await;
}

/// F-A18
#[tokio::test]
async fn only_the_address_that_asked_may_send() {
    let scene = Scene::start(options(Kind::Socks), Manner::Echo);
    let before = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    assert!(!echoes(&before, scene.addr, TO_NAME).await, "nobody has an association");
    let (control, relay) = associate(&scene).await;
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    assert!(!echoes(&stranger, relay, TO_NAME).await);
    assert!(echoes(&before, relay, TO_NAME).await);
    drop(control);
    scene.end().await;
}

/// F-A19
#[tokio::test]
async fn an_association_ends_with_its_connection_and_not_before() {
    let scene = Scene::start(options(Kind::Socks), Manner::Echo);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut first, relay) = associate(&scene).await;
    let (second, _) = associate(&scene).await;
    // What a client says on its control connection means nothing.
    first.write_all(&[7; 5000]).await.unwrap();
    assert!(echoes(&socket, relay, TO_NAME).await);
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(echoes(&socket, relay, TO_NAME).await, "the second one lives");
    let mut second = second;
    adit_net::Stream::abort(&mut second);
    drop(second);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!echoes(&socket, relay, TO_NAME).await);
    let back = {
        let packets = scene.recorder.packets.lock().unwrap();
        (packets[0].back.clone(), packets[0].target.clone())
    };
    assert_eq!(back.0.send(&back.1, b"late").unwrap_err().kind(), io::ErrorKind::NotConnected);
    // The same socket with a new association: the way back that a flow still holds is good again.
    let (third, _) = associate(&scene).await;
    assert!(echoes(&socket, relay, TO_NAME).await);
    back.0.send(&back.1, b"").unwrap();
    drop(third);
    scene.end().await;
}

#[tokio::test]
async fn without_udp_the_command_is_not_supported() {
    let mut without = options(Kind::Mixed);
    without.udp = false;
    let scene = Scene::start(without, Manner::Echo);
    let heard = scene.ask(b"\x05\x01\0\x05\x03\0\x01\0\0\0\0\0\0").await;
    assert_eq!(heard, b"\x05\0\x05\x07\0\x01\0\0\0\0\0\0");
    scene.end().await;
}

#[tokio::test]
async fn datagrams_of_the_mixed_port_are_named_after_the_socks_port() {
    let mut mixed = options(Kind::Mixed);
    mixed.name = "DEFAULT-MIXED".into();
    let scene = Scene::start(mixed, Manner::Echo);
    let (control, relay) = associate(&scene).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    assert!(echoes(&socket, relay, TO_NAME).await);
    assert_eq!(scene.recorder.packets.lock().unwrap()[0].entry.inbound.as_str(), "DEFAULT-SOCKS");
    drop(control);
    scene.end().await;
}
