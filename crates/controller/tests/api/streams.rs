//! WebSockets and endless answers.

use std::time::Duration;

use adit_controller::Options;
use adit_net::Secret;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::theatre::{Scene, session};

async fn open(scene: &Scene, path: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(scene.at).await.unwrap();
    client_async(format!("ws://{}{path}", scene.at), stream).await.map(|(socket, _)| socket)
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Value {
    loop {
        match timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => {
                assert!(text.ends_with('\n'));
                return serde_json::from_str(&text).unwrap();
            }
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn traffic_and_memory_and_connections_are_sent() {
    let scene = Scene::open();
    let mut memory = open(&scene, "/memory").await.unwrap();
    assert_eq!(next(&mut memory).await, json!({ "inuse": 0, "oslimit": 0 }));
    assert!(next(&mut memory).await["inuse"].as_u64().unwrap() > 1_000_000);
    let mut traffic = open(&scene, "/traffic").await.unwrap();
    let row = adit_controller::Daemon::engine(&*scene.daemon).table().enter(session("a.test:1"));
    row.counters().add_down(7);
    let first = next(&mut traffic).await;
    assert_eq!((&first["up"], &first["upTotal"], &first["downTotal"]), (&json!(0), &json!(0), &json!(7)));
    assert_eq!(next(&mut traffic).await, json!({ "up": 0, "down": 0, "upTotal": 0, "downTotal": 7 }));
    let mut connections = open(&scene, "/connections?interval=100&token=").await.unwrap();
    for _ in 0..3 {
        assert_eq!(next(&mut connections).await["connections"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn pings_are_answered_and_a_close_is_honoured() {
    let scene = Scene::open();
    let mut socket = open(&scene, "/logs").await.unwrap();
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    let pong = timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, Message::Pong("are you there".into()));
    socket.close(None).await.unwrap();
    let closed = timeout(Duration::from_secs(5), socket.next()).await.unwrap();
    assert!(matches!(closed, Some(Ok(Message::Close(_))) | None), "{closed:?}");
}

#[tokio::test]
async fn the_token_counts_on_upgrades_only() {
    let scene = Scene::start(Options { secret: Some(Secret::new("a+b")), ..Options::default() });
    assert!(open(&scene, "/memory?token=a%2Bb").await.is_ok());
    for path in ["/memory", "/memory?token=", "/memory?token=wrong"] {
        let Err(Error::Http(answer)) = open(&scene, path).await else { panic!("{path} was let in") };
        assert_eq!(answer.status(), 401, "{path}");
    }
    assert_eq!(scene.get("/memory?token=a%2Bb").await.status, 401);
}

#[tokio::test]
async fn handshakes_that_are_none() {
    let scene = Scene::open();
    let upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    let with = |version: &'static str| [&upgrade[..], &[version]].concat();
    let old = scene.ask("GET", "/memory", &with("Sec-WebSocket-Version: 8"), "").await;
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
    let keyless = scene.ask("GET", "/memory", &["Upgrade: websocket", "Sec-WebSocket-Version: 13"], "").await;
    assert_eq!(keyless.status, 400);
    let level = scene.ask("GET", "/logs?level=loud", &with("Sec-WebSocket-Version: 13"), "").await;
    assert_eq!((level.status, &*level.message()), (400, "Body invalid"));
}

#[tokio::test]
async fn without_an_upgrade_lines_never_end() {
    let scene = Scene::open();
    let mut stream = TcpStream::connect(scene.at).await.unwrap();
    stream.write_all(b"GET /memory HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut json = Vec::new();
    while json.len() < 2 {
        let line = timeout(Duration::from_secs(5), lines.next_line()).await.unwrap().unwrap().unwrap();
        if line.starts_with('{') {
            json.push(serde_json::from_str::<Value>(&line).unwrap()["inuse"].as_u64().unwrap());
        }
    }
    assert!(json[0] == 0 && json[1] > 0);
}

#[tokio::test]
async fn the_log_is_heard_at_the_level_that_was_asked_for() {
    let scene = Scene::open();
    let feed = adit_controller::Daemon::logs(&*scene.daemon).clone();
    let subscriber = tracing_subscriber::registry().with(feed.clone().with_filter(feed));
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut plain = open(&scene, "/logs?level=debug").await.unwrap();
    let mut structured = open(&scene, "/logs?level=warning&format=structured").await.unwrap();
    tracing::debug!(target: "adit_test", "[TCP] a --> b");
    tracing::warn!(target: "adit_test", "<careful>");
    assert_eq!(next(&mut plain).await, json!({ "type": "debug", "payload": "[TCP] a --> b" }));
    let line = next(&mut structured).await;
    assert_eq!((&line["level"], &line["message"], &line["fields"]), (&json!("warn"), &json!("<careful>"), &json!([])));
    assert_eq!(line["time"].as_str().unwrap().len(), 8);
}

#[tokio::test]
async fn everything_ends_with_the_shutdown() {
    let scene = Scene::open();
    let mut socket = open(&scene, "/logs").await.unwrap();
    let mut lines = TcpStream::connect(scene.at).await.unwrap();
    lines.write_all(b"GET /logs HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    lines.read_exact(&mut [0; 12]).await.unwrap();
    scene.shutdown.start();
    timeout(Duration::from_secs(5), scene.task.join()).await.unwrap().unwrap();
    let end = timeout(Duration::from_secs(5), socket.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
    timeout(Duration::from_secs(5), lines.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}
