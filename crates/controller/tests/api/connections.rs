//! What is open, and ending it.

use adit_engine::{Decision, Outcome};
use adit_net::{Accepted, DialError, DnsMode, Reply};
use adit_testkit::origin::TcpOrigin;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::theatre::{ODD, Scene, session};

#[tokio::test]
async fn nothing_is_an_empty_list() {
    let scene = Scene::open();
    let snapshot = scene.json("/connections").await;
    assert_eq!(snapshot["connections"], json!([]));
    assert_eq!((&snapshot["uploadTotal"], &snapshot["downloadTotal"]), (&json!(0), &json!(0)));
    assert!(snapshot["memory"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_connection_has_every_field() {
    let scene = Scene::open();
    let engine = adit_controller::Daemon::engine(&*scene.daemon);
    let mut wish = session("www.example.com:443");
    wish.dns = DnsMode::FakeIp("198.18.0.4".parse().unwrap());
    wish.dscp = 7;
    let row = engine.table().enter(wish);
    let rule = engine.world().rules.iter().next().cloned();
    let process = adit_router::Process { path: "/usr/bin/curl".into(), uid: 1000 };
    row.decided(Decision { rule, chain: vec![ODD.into(), "Auto".into(), "Proxy".into()], process: Some(process) });
    row.counters().add_up(3);
    row.counters().add_down(4);
    let snapshot = scene.json("/connections").await;
    assert_eq!((&snapshot["uploadTotal"], &snapshot["downloadTotal"]), (&json!(3), &json!(4)));
    let mut one = snapshot["connections"][0].clone();
    assert_eq!(one["id"].as_str().unwrap().len(), 36);
    assert!(one["start"].as_str().unwrap().ends_with('Z'));
    (one["id"], one["start"]) = (Value::Null, Value::Null);
    let expected = json!({
        "id": null, "start": null, "upload": 3, "download": 4,
        "chains": [ODD, "Auto", "Proxy"], "providerChains": ["sub", "", ""],
        "rule": "DomainSuffix", "rulePayload": "example.com",
        "metadata": {
            "network": "tcp", "type": "Socks5", "sourceIP": "192.168.1.10", "sourcePort": "51234",
            "destinationIP": "", "destinationPort": "443", "host": "www.example.com", "sniffHost": "",
            "inboundIP": "127.0.0.1", "inboundPort": "7890", "inboundName": "DEFAULT-MIXED", "inboundUser": "alice",
            "dnsMode": "fake-ip", "process": "curl", "processPath": "/usr/bin/curl", "uid": 1000, "dscp": 7,
            "specialProxy": "", "specialRules": "", "remoteDestination": "", "rematchName": "",
            "sourceGeoIP": null, "destinationGeoIP": null, "sourceIPASN": "", "destinationIPASN": "",
        },
    });
    assert_eq!(one, expected);
    // What ended is still part of the totals.
    drop(row);
    let after = scene.json("/connections").await;
    assert_eq!((&after["uploadTotal"], &after["connections"]), (&json!(3), &json!([])));
}

struct Silent;

impl Reply for Silent {
    fn accepted(&self) -> std::borrow::Cow<'static, [u8]> {
        (&[][..]).into()
    }

    fn refused(&self, _: &DialError) -> std::borrow::Cow<'static, [u8]> {
        (&[][..]).into()
    }
}

/// A real connection through the engine to an origin that echoes; both its ends see that it was closed.
#[tokio::test]
async fn closing_closes() {
    let (scene, echo) = (Scene::open(), TcpOrigin::echo());
    for path in ["/connections/{id}", "/connections/"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (inside, _) = listener.accept().await.unwrap();
        let wish = session(&echo.addr().to_string());
        let accepted = Accepted { session: wish, stream: Box::new(inside), reply: &Silent };
        let daemon = scene.daemon.clone();
        let serving = adit_net::Task::spawn("served", async move {
            matches!(adit_controller::Daemon::engine(&*daemon).serve(accepted).await, Outcome::Killed)
        });
        client.write_all(b"hello").await.unwrap();
        client.read_exact(&mut [0; 5]).await.unwrap();
        let open = scene.json("/connections").await["connections"][0].clone();
        assert_eq!(open["chains"], json!(["one", "Proxy"]));
        assert_eq!((&open["rule"], &open["upload"]), (&json!("IPCIDR"), &json!(5)));
        let other = scene.ask("DELETE", "/connections/0f0e0d0c-0000-4000-8000-000000000001", &[], "").await;
        assert_eq!(other.status, 204, "even if unknown");
        let path = path.replace("{id}", open["id"].as_str().unwrap());
        assert_eq!(scene.ask("DELETE", &path, &[], "").await.status, 204);
        assert!(serving.join().await.unwrap(), "the relay ended because it was told to");
        assert!(matches!(client.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        assert_eq!(scene.json("/connections").await["connections"], json!([]));
    }
}
