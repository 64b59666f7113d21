//! What is not there, and clients that behave badly.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::theatre::Scene;

#[tokio::test]
async fn unknown_routes_and_wrong_methods() {
    let scene = Scene::open();
    for path in ["/nowhere", "/debug/pprof/", "/debug/gc", "//proxies", "/proxies/a/b/c", "/./version"] {
        let answer = scene.get(path).await;
        assert_eq!((answer.status, answer.body.trim_end()), (404, "404 page not found"), "{path}");
    }
    for (method, path) in [("POST", "/version"), ("DELETE", "/rules"), ("GET", "/restart"), ("GET", "/rules/disable")] {
        let answer = scene.ask(method, path, &[], "").await;
        assert_eq!((answer.status, &*answer.body), (405, ""), "{method} {path}");
    }
}

/// F-C10: connections that were opened and never used do not keep others out.
#[tokio::test]
async fn f_c10_five_hundred_stalled_clients_keep_nobody_out() {
    let scene = Scene::open();
    let mut stalled = Vec::new();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(scene.at).await.unwrap();
        let _ = stream.write_all(b"GET /version HTT").await;
        stalled.push(stream);
    }
    let answer = timeout(Duration::from_secs(1), scene.get("/version")).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn heads_and_bodies_are_bounded() {
    let scene = Scene::open();
    let long = format!("X-Long: {}", "x".repeat(32 * 1024));
    assert_eq!(scene.ask("GET", "/version", &[&long], "").await.status, 431);
    let body = "x".repeat(9 * 1024 * 1024);
    assert_eq!(scene.ask("PATCH", "/configs", &[], &body[..1024]).await.status, 400);
}
