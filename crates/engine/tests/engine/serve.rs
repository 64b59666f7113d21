//! Connections: told the truth, relayed, ended by hand.

use std::time::Duration;

use adit_engine::Outcome;
use adit_net::{DialError, End};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::scene::{Scene, client};

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn the_client_hears_yes_once_the_outbound_is_connected() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let engine = Scene::with_rules(&["MATCH,Choice"]).engine();
    let (mut ours, accepted) = client(&origin.local_addr().unwrap().to_string()).await;
    let (end, ()) = tokio::join!(engine.serve(accepted), async {
        let (mut upstream, _) = origin.accept().await.unwrap();
        let mut yes = [0; 3];
        ours.read_exact(&mut yes).await.unwrap();
        assert_eq!(&yes, b"yes");

        let open = engine.table().snapshot();
        let decision = open[0].decision().unwrap();
        assert_eq!(decision.chain, ["DIRECT".into(), "NOUDP".into(), "Choice".into()]);
        assert_eq!(decision.rule.as_ref().unwrap().to_string(), "Match");

        ours.write_all(b"ping").await.unwrap();
        ours.shutdown().await.unwrap();
        let mut sent = Vec::new();
        upstream.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, b"ping");
        upstream.write_all(b"pong!").await.unwrap();
        drop(upstream);
        let mut got = Vec::new();
        ours.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"pong!");
        assert_eq!((open[0].counters.up(), open[0].counters.down()), (4, 5));
    });
    assert!(matches!(end, Outcome::Relayed(End::Done(_))), "{end:?}");
    assert!(engine.table().is_empty());
}

#[tokio::test]
async fn f_b6_a_failed_dial_is_told_at_once() {
    let engine = Scene::with_rules(&["MATCH,DIRECT"]).engine();
    let (mut ours, accepted) = client(&nobody().await).await;
    let mut answer = String::new();
    let (end, _) = tokio::join!(engine.serve(accepted), ours.read_to_string(&mut answer));
    assert!(answer.starts_with("no: connection refused by 127.0.0.1:"), "{answer}");
    assert!(matches!(end, Outcome::NotReached(DialError::Refused(_))), "{end:?}");
    assert!(engine.table().is_empty());
}

#[tokio::test]
async fn reject_says_no_and_dials_nobody() {
    let engine = Scene::with_rules(&["MATCH,REJECT"]).engine();
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut ours, accepted) = client(&origin.local_addr().unwrap().to_string()).await;
    let mut answer = String::new();
    let (end, _) = tokio::join!(engine.serve(accepted), ours.read_to_string(&mut answer));
    assert!(answer.starts_with("no: "), "{answer}");
    assert!(matches!(end, Outcome::NotReached(DialError::Denied(_))), "{end:?}");
    assert!(timeout(Duration::from_millis(50), origin.accept()).await.is_err());
}

#[tokio::test]
async fn reject_drop_lets_the_client_wait_until_it_leaves() {
    let engine = Scene::with_rules(&["MATCH,REJECT-DROP"]).engine();
    let (mut ours, accepted) = client("1.1.1.1:1").await;
    let (end, ()) = tokio::join!(engine.serve(accepted), async {
        let mut nothing = [0; 1];
        assert!(timeout(Duration::from_millis(100), ours.read(&mut nothing)).await.is_err());
        drop(ours);
    });
    assert!(matches!(end, Outcome::NotReached(DialError::Dropped)), "{end:?}");
}

#[tokio::test]
async fn a_connection_can_be_ended_by_hand() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let engine = Scene::with_rules(&["MATCH,DIRECT"]).engine();
    let (mut ours, accepted) = client(&origin.local_addr().unwrap().to_string()).await;
    let (end, ()) = tokio::join!(engine.serve(accepted), async {
        let (_upstream, _) = origin.accept().await.unwrap();
        ours.read_exact(&mut [0; 3]).await.unwrap();
        engine.table().snapshot()[0].kill();
        let _ = ours.read(&mut [0; 1]).await;
    });
    assert!(matches!(end, Outcome::Killed), "{end:?}");
}

/// Every open connection keeps one of these for its whole life.
#[tokio::test]
async fn the_future_of_a_connection_stays_small() {
    let engine = Scene::with_rules(&["MATCH,DIRECT"]).engine();
    let (_ours, accepted) = client("1.1.1.1:1").await;
    let size = size_of_val(&engine.serve(accepted));
    assert!(size <= 1536, "{size} bytes");
}
