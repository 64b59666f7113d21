//! How relays end: half-closes, resets, silence.

use std::io::ErrorKind;
use std::time::Duration;

use adit_net::{BoxStream, Broken, End, Side, Stream as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

use crate::lab::{Lab, payload, raw, read_out};
use crate::streams::Opaque;

const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);

fn opaque(socket: TcpStream) -> BoxStream {
    Box::new(Opaque(socket))
}

fn reset(mut socket: TcpStream) {
    socket.abort();
}

/// F-B1
#[tokio::test]
async fn the_client_half_closes_and_the_server_answers_afterwards() {
    for make in [raw, opaque] {
        let mut lab = Lab::new(make, make).await;
        lab.client.write_all(b"request").await.unwrap();
        lab.client.shutdown().await.unwrap();
        assert_eq!(read_out(&mut lab.server).await, (b"request".to_vec(), None));
        let answer = payload(3, 700_000);
        let (sent, got) = tokio::join!(
            async {
                lab.server.write_all(&answer).await.unwrap();
                lab.server.shutdown().await.unwrap();
            },
            read_out(&mut lab.client)
        );
        assert!(got == (answer, None));
        assert!(matches!(lab.relay.join().await, Some(End::Done(Side::Client))));
        assert_eq!((lab.counters.up(), lab.counters.down()), (7, 700_000), "{sent:?}");
    }
}

/// F-B1
#[tokio::test]
async fn the_server_half_closes_and_the_client_goes_on() {
    let mut lab = Lab::raw().await;
    lab.server.write_all(b"banner").await.unwrap();
    lab.server.shutdown().await.unwrap();
    assert_eq!(read_out(&mut lab.client).await, (b"banner".to_vec(), None));
    lab.client.write_all(b"still here").await.unwrap();
    lab.client.shutdown().await.unwrap();
    assert_eq!(read_out(&mut lab.server).await, (b"still here".to_vec(), None));
    assert!(matches!(lab.relay.join().await, Some(End::Done(Side::Upstream))));
}

/// F-B2
#[tokio::test(start_paused = true)]
async fn an_hour_of_silence_after_a_half_close_changes_nothing() {
    let mut lab = Lab::raw().await;
    lab.client.shutdown().await.unwrap();
    assert_eq!(read_out(&mut lab.server).await, (Vec::new(), None));
    sleep(Duration::from_secs(60 * 60)).await;
    lab.server.write_all(b"late").await.unwrap();
    lab.server.shutdown().await.unwrap();
    assert_eq!(read_out(&mut lab.client).await, (b"late".to_vec(), None));
    assert!(matches!(lab.relay.join().await, Some(End::Done(Side::Client))));
}

/// F-B3: nobody reads from a side that has ended, so its failure has to be looked for.
#[tokio::test(start_paused = true)]
async fn a_half_closed_client_that_vanishes_is_noticed() {
    let mut lab = Lab::raw().await;
    lab.client.shutdown().await.unwrap();
    assert_eq!(read_out(&mut lab.server).await, (Vec::new(), None));
    let since = Instant::now();
    reset(lab.client);
    let Some(End::Broken(Broken { side: Side::Client, .. })) = lab.relay.join().await else {
        panic!("not noticed");
    };
    assert!(since.elapsed() <= Duration::from_secs(16), "{:?}", since.elapsed());
    // It has seen the client's FIN already, so only a write can tell it.
    assert_eq!(lab.server.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

/// F-B4
#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    for make in [raw, opaque] {
        let mut lab = Lab::new(make, make).await;
        lab.client.write_all(b"x").await.unwrap();
        lab.server.read_exact(&mut [0]).await.unwrap();
        reset(lab.server);
        assert_eq!(read_out(&mut lab.client).await.1, Some(ErrorKind::ConnectionReset));
        let Some(End::Broken(Broken { side: Side::Upstream, error })) = lab.relay.join().await else {
            panic!("not broken");
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);

        let mut lab = Lab::new(make, make).await;
        lab.client.write_all(b"x").await.unwrap();
        lab.server.read_exact(&mut [0]).await.unwrap();
        reset(lab.client);
        assert_eq!(read_out(&mut lab.server).await.1, Some(ErrorKind::ConnectionReset));
        let ended = lab.relay.join().await;
        assert!(matches!(ended, Some(End::Broken(Broken { side: Side::Client, .. }))), "{ended:?}");
    }
}

/// F-B4: the client's window is too small for what came before the reset, so the relay has to wait for it.
#[tokio::test]
async fn what_arrived_before_a_reset_is_delivered_before_it() {
    for (make, length) in [(raw as fn(_) -> _, 150_000), (opaque, 150_000), (raw, 20_000)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let connected = socket.connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connected, listener.accept());
        let (mut client, inner) = (client.unwrap(), accepted.unwrap().0);
        socket2::SockRef::from(&inner).set_send_buffer_size(200 * 1024).unwrap();
        let mut lab = Lab::new(move |_| make(inner), make).await;
        let body = payload(4, length);
        lab.server.write_all(&body).await.unwrap();
        while lab.counters.down() < length as u64 {
            sleep(Duration::from_millis(1)).await;
        }
        reset(lab.server);
        sleep(Duration::from_millis(50)).await;
        let mut got = Vec::new();
        let mut buffer = vec![0; 3000];
        let error = loop {
            match client.read(&mut buffer).await {
                Ok(0) => panic!("a cut transfer looks complete after {} bytes", got.len()),
                Ok(n) => got.extend_from_slice(&buffer[..n]),
                Err(error) => break error,
            }
        };
        assert_eq!((got.len(), error.kind()), (length, ErrorKind::ConnectionReset));
        assert!(got == body);
    }
}

/// F-B4: the failure shows first when writing to the server, and that takes its error away from the reader.
#[tokio::test]
async fn a_failed_write_does_not_cut_off_what_the_server_had_sent() {
    for make in [raw, opaque] {
        let mut lab = Lab::new(make, make).await;
        lab.client.write_all(b"x").await.unwrap();
        lab.server.read_exact(&mut [0]).await.unwrap();
        // The relay does not run until this task waits.
        let server = lab.server.into_std().unwrap();
        let body = payload(5, 60_000);
        std::io::Write::write_all(&mut &server, &body).unwrap();
        socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        assert_eq!(lab.client.try_write(b"more").unwrap(), 4);
        let (got, error) = read_out(&mut lab.client).await;
        assert!(got == body, "{} bytes", got.len());
        assert_eq!(error, Some(ErrorKind::ConnectionReset));
        let ended = lab.relay.join().await;
        assert!(matches!(ended, Some(End::Broken(Broken { side: Side::Upstream, .. }))), "{ended:?}");
    }
}

#[tokio::test]
async fn dropping_a_relay_resets_both_sides() {
    let mut lab = Lab::raw().await;
    lab.client.write_all(b"x").await.unwrap();
    lab.server.read_exact(&mut [0]).await.unwrap();
    drop(lab.relay);
    assert_eq!(read_out(&mut lab.client).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(read_out(&mut lab.server).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test(start_paused = true)]
async fn two_hours_without_a_byte_end_it() {
    let mut lab = Lab::raw().await;
    sleep(TWO_HOURS - Duration::from_secs(1)).await;
    lab.client.write_all(b"x").await.unwrap();
    lab.server.read_exact(&mut [0]).await.unwrap();
    let since = Instant::now();
    assert!(matches!(lab.relay.join().await, Some(End::Idle)));
    let silent = since.elapsed();
    assert!(silent >= TWO_HOURS - Duration::from_secs(1) && silent <= TWO_HOURS + Duration::from_secs(1), "{silent:?}");
    assert_eq!(read_out(&mut lab.client).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_relay_is_idle_after_two_hours_too() {
    let mut lab = Lab::raw().await;
    lab.client.shutdown().await.unwrap();
    assert_eq!(read_out(&mut lab.server).await, (Vec::new(), None));
    let since = Instant::now();
    assert!(matches!(lab.relay.join().await, Some(End::Idle)));
    assert!(since.elapsed() >= TWO_HOURS - Duration::from_secs(1));
}
