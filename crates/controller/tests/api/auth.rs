//! Who may use it: secrets, origins, names, sockets.

use adit_controller::{Cors, Options, TlsListener};
use adit_net::Secret;
use tokio::net::{TcpStream, UnixStream};

use crate::theatre::{Scene, ask};

fn locked() -> Scene {
    Scene::start(Options { secret: Some(Secret::new("hunter2")), ..Options::default() })
}

#[tokio::test]
async fn every_endpoint_wants_the_secret_and_pages_do_not() {
    let scene = locked();
    for path in ["/version", "/", "/proxies/", "/metrics", "/scrape", "/configs?token=hunter2", "/nowhere", "//proxies"]
    {
        let answer = scene.get(path).await;
        assert_eq!((answer.status, &*answer.message()), (401, "Unauthorized"), "{path}");
    }
    for path in ["/version", "/metrics", "/rules?token=wrong"] {
        assert_eq!(scene.ask("GET", path, &["Authorization: Bearer hunter2"], "").await.status, 200, "{path}");
    }
    assert_eq!(scene.get("/ui").await.status, 307);
    assert_ne!(scene.get("/ui/").await.status, 401);
}

#[tokio::test]
async fn too_many_wrong_secrets_are_told_to_wait_and_the_right_one_is_not() {
    let scene = locked();
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(scene.ask("GET", "/version", &["Authorization: Bearer guess"], "").await.status);
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    assert_eq!(scene.ask("GET", "/version", &["Authorization: Bearer hunter2"], "").await.status, 200);
}

#[tokio::test]
async fn without_a_secret_any_credentials_pass() {
    let scene = Scene::open();
    for header in ["Authorization: Bearer ", "Authorization: Bearer x", "Authorization: Basic eDp4"] {
        assert_eq!(scene.ask("GET", "/version", &[header], "").await.status, 200, "{header}");
    }
}

/// F-C6
#[tokio::test]
async fn f_c6_preflights_and_origins() {
    let cors = Cors { origins: vec!["https://board.example".into()], private_network: true };
    let secret = Some(Secret::new("hunter2"));
    let scene = Scene::start(Options { cors, secret, ..Options::default() });
    let method = "Access-Control-Request-Method: PUT";
    let private = "Access-Control-Request-Private-Network: true";
    let good = scene.ask("OPTIONS", "/proxies/x", &["Origin: https://board.example", method, private], "").await;
    assert_eq!((good.status, &*good.body), (200, ""));
    assert_eq!(good.header("access-control-allow-origin"), Some("https://board.example"));
    assert_eq!(good.header("access-control-allow-methods"), Some("GET, POST, PUT, PATCH, DELETE"));
    assert_eq!(good.header("access-control-allow-headers"), Some("Content-Type, Authorization"));
    assert_eq!(good.header("access-control-max-age"), Some("300"));
    assert_eq!(good.header("access-control-allow-private-network"), Some("true"));
    assert!(good.header("vary").unwrap().starts_with("Origin, Access-Control-Request-Method"));
    for origin in ["https://board.example.evil", "http://board.example", "null"] {
        let bad = scene.ask("OPTIONS", "/proxies/x", &[&format!("Origin: {origin}"), method, private], "").await;
        assert!(!bad.head.to_lowercase().contains("access-control-allow"), "{origin}: {}", bad.head);
    }
    // Also a refusal can be read by a page that is allowed: its login form depends on it.
    let refused = scene.ask("GET", "/version", &["Origin: https://board.example"], "").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some("https://board.example")));
    assert_eq!(refused.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn everybody_is_one_star_and_the_private_network_stays_closed() {
    let scene = Scene::start(Options {
        cors: Cors { origins: vec!["*".into()], private_network: false },
        ..Options::default()
    });
    let private = "Access-Control-Request-Private-Network: true";
    let headers = ["Origin: https://any.example", "Access-Control-Request-Method: GET", private];
    let answer = scene.ask("OPTIONS", "/version", &headers, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-private-network"), None);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_refused_unless_there_is_a_secret() {
    let (open, locked) = (Scene::open(), locked());
    for (host, status) in
        [("evil.example", 403), ("evil.example:9090", 403), ("nas:9090", 200), ("192.168.1.2:9090", 200)]
    {
        assert_eq!(open.ask("GET", "/version", &[&format!("Host: {host}")], "").await.status, status, "{host}");
    }
    let headers = ["Host: proxy.example", "Authorization: Bearer hunter2"];
    assert_eq!(locked.ask("GET", "/version", &headers, "").await.status, 200, "behind a reverse proxy");
    let post = open.ask("POST", "/restart", &["Origin: https://evil.example"], "").await;
    assert_eq!(post.status, 403);
    assert!(open.daemon.calls.lock().is_empty());
}

#[tokio::test]
async fn the_unix_socket_needs_no_secret_and_leaves_with_its_owner() {
    let folder = adit_testkit::Scratch::new("controller");
    let path = folder.path().join("adit.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let options = Options { unix: Some(path.clone()), secret: Some(Secret::new("x")), ..Options::default() };
    let scene = Scene::start(options);
    let stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(ask(stream, "adit", "GET", "/version", &[], "").await.status, 200);
    scene.shutdown.start();
    scene.task.join().await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn tls_with_a_certificate_from_pem() {
    let certificates = adit_testkit::certificate::Authority::shared();
    let leaf = certificates.small();
    let at = "127.0.0.1:0".parse().unwrap();
    assert!(TlsListener::from_pem(at, "nothing", &Secret::new("nothing")).is_err());
    let tls = TlsListener::from_pem(at, leaf.pem(), &Secret::new(leaf.key_pem())).unwrap();
    let scene = Scene::start(Options { tls: Some(tls), ..Options::default() });
    let config = rustls::ClientConfig::builder().with_root_certificates(certificates.roots()).with_no_client_auth();
    let stream = TcpStream::connect(scene.tls_at.unwrap()).await.unwrap();
    let name = adit_testkit::certificate::TARGET.try_into().unwrap();
    let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(ask(stream, "localhost", "GET", "/version", &[], "").await.status, 200);
}
