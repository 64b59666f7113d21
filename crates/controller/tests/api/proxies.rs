//! Proxies, groups, choices, delays.

use adit_testkit::origin::HttpOrigin;
use serde_json::{Value, json};

use crate::theatre::{ODD, ODD_ENCODED, Scene};

#[tokio::test]
async fn proxies_and_groups_have_every_field() {
    let scene = Scene::open();
    let proxies = scene.json("/proxies").await["proxies"].clone();
    let mut odd = proxies[ODD].clone();
    assert_eq!(odd["id"].as_str().unwrap().len(), 36);
    odd["id"] = Value::Null;
    let expected = json!({
        "name": ODD, "type": "Direct", "alive": true, "history": [], "extra": {}, "udp": true, "xudp": false,
        "uot": false, "tfo": false, "mptcp": false, "smux": false, "interface": "", "routing-mark": 0,
        "provider-name": "sub", "dialer-proxy": "", "id": null,
    });
    assert_eq!(odd, expected);
    let auto = &proxies["Auto"];
    assert_eq!(
        (&auto["type"], &auto["all"], &auto["now"]),
        (&json!("URLTest"), &json!(["one", ODD, "refuses"]), &json!("one"))
    );
    assert_eq!(
        (&auto["fixed"], &auto["expectedStatus"], &auto["hidden"], &auto["icon"]),
        (&json!(""), &json!("*"), &json!(false), &json!(""))
    );
    assert!(auto.get("id").is_none() && auto["testUrl"].as_str().unwrap().starts_with("https://"));
    let proxy = &proxies["Proxy"];
    assert_eq!((&proxy["type"], &proxy["testUrl"]), (&json!("Selector"), &json!("")));
    assert!(proxy.get("fixed").is_none() && proxy.get("expectedStatus").is_none());
    assert_eq!(proxies["Spread"]["type"], "LoadBalance");
    assert!(proxies["Spread"].get("now").is_none());
    let all: Vec<&str> = proxies["GLOBAL"]["all"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(all, ["DIRECT", "REJECT", "one", "refuses", ODD, "Proxy", "Auto", "Dead", "Spread"]);
    for built_in in ["DIRECT", "REJECT", "REJECT-DROP", "COMPATIBLE", "PASS", "PASS-RULE"] {
        assert!(proxies[built_in]["history"].is_array(), "{built_in}");
    }
    let groups = scene.json("/group").await;
    assert_eq!(groups["proxies"].as_array().unwrap().len(), 5);
    assert_eq!(scene.json("/group/Auto").await, *auto);
    assert_eq!(scene.get("/group/one").await.status, 404);
}

/// F-D13
#[tokio::test]
async fn f_d13_names_round_trip() {
    let scene = Scene::open();
    assert_eq!(scene.json(&format!("/proxies/{ODD_ENCODED}")).await["name"], ODD);
    assert!(scene.get("/proxies").await.body.contains("\\u003cb\\u003e"), "HTML is escaped");
    let body = json!({ "name": ODD }).to_string();
    assert_eq!(scene.ask("PUT", "/proxies/Proxy", &[], &body).await.status, 204);
    assert_eq!(scene.json("/proxies/Proxy").await["now"], ODD);
    assert_eq!(*scene.daemon.calls.lock(), ["chosen"]);
}

#[tokio::test]
async fn choices_that_cannot_be_made() {
    let scene = Scene::open();
    for (path, body, status, message) in [
        ("/proxies/Proxy", r#"{"name":"nobody"}"#, 400, "Selector update error: proxy not exist"),
        ("/proxies/one", r#"{"name":"one"}"#, 400, "Must be a Selector"),
        ("/proxies/Spread", r#"{"name":"one"}"#, 400, "Must be a Selector"),
        ("/proxies/nobody", r#"{"name":"one"}"#, 404, "Resource not found"),
        ("/proxies/Proxy", r#"{"nom":"one"}"#, 400, "Body invalid"),
    ] {
        let answer = scene.ask("PUT", path, &[], body).await;
        assert_eq!((answer.status, &*answer.message()), (status, message), "{path} {body}");
    }
    for (path, status) in [("/proxies/Proxy", 400), ("/proxies/one", 400), ("/proxies/nobody", 404)] {
        assert_eq!(scene.ask("DELETE", path, &[], "").await.status, status, "{path}");
    }
    assert!(scene.daemon.calls.lock().is_empty());
}

#[tokio::test]
async fn a_group_that_chooses_is_pinned_and_let_go() {
    let scene = Scene::open();
    assert_eq!(scene.ask("PUT", "/proxies/Auto", &[], r#"{"name":"refuses"}"#).await.status, 204);
    let pinned = scene.json("/proxies/Auto").await;
    assert_eq!((&pinned["now"], &pinned["fixed"]), (&json!("refuses"), &json!("refuses")));
    assert_eq!(scene.ask("DELETE", "/proxies/Auto", &[], "").await.status, 204);
    let free = scene.json("/proxies/Auto").await;
    assert_eq!((&free["now"], &free["fixed"]), (&json!("one"), &json!("")));
}

#[tokio::test]
async fn delays_are_measured_and_noted() {
    let (scene, origin) = (Scene::open(), HttpOrigin::start());
    let url = format!("http%3A%2F%2F{}%2F", origin.addr());
    let delay = scene.json(&format!("/proxies/{ODD_ENCODED}/delay?timeout=5000&url={url}")).await;
    assert!(delay["delay"].as_u64().unwrap() >= 1);
    let node = scene.json(&format!("/proxies/{ODD_ENCODED}")).await;
    assert_eq!(node["history"][0]["delay"], delay["delay"]);
    assert_eq!(node["extra"][format!("http://{}/", origin.addr())]["alive"], true);
    // A wrong status is still a delay.
    let wrong = scene.json(&format!("/proxies/one/delay?timeout=5000&expected=204&url={url}")).await;
    assert!(wrong["delay"].as_u64().unwrap() >= 1);
    let of_member = format!("/providers/proxies/sub/{ODD_ENCODED}/healthcheck?timeout=5000&url={url}");
    assert!(scene.json(&of_member).await["delay"].as_u64().unwrap() >= 1);
    let group = scene.json(&format!("/group/Proxy/delay?timeout=5000&url={url}")).await;
    assert!(group.as_object().unwrap().len() >= 2 && group[ODD].is_u64());
}

#[tokio::test]
async fn delays_that_there_are_not() {
    let scene = Scene::open();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    for (path, status, message) in [
        (format!("/proxies/one/delay?timeout=50&url={url}"), 504, "Timeout"),
        (format!("/proxies/one/delay?timeout=-1&url={url}"), 504, "Timeout"),
        (format!("/proxies/refuses/delay?timeout=500&url={url}"), 503, "An error occurred in the delay test"),
        ("/proxies/one/delay?timeout=500&url=nonsense".into(), 503, "An error occurred in the delay test"),
        (format!("/proxies/one/delay?timeout=40000&url={url}"), 400, "Body invalid"),
        (format!("/proxies/one/delay?url={url}"), 400, "Body invalid"),
        (format!("/proxies/nobody/delay?timeout=500&url={url}"), 404, "Resource not found"),
        (format!("/group/one/delay?timeout=500&url={url}"), 404, "Resource not found"),
        (format!("/group/Dead/delay?timeout=40000&url={url}"), 504, "get delay: all proxies timeout"),
    ] {
        let answer = scene.get(&path).await;
        assert_eq!((answer.status, &*answer.message()), (status, message), "{path}");
    }
}
