//! DNS over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use adit_dns::hickory_proto::op::Message;
use adit_net::{BoxFuture, Resolve as _};
use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio_rustls::TlsAcceptor;

use crate::script::{address, huge};
use crate::tls::Identity;
use crate::world::World;

const SERVER: &str = "10.0.0.1:443";
const URL: &str = "https://10.0.0.1/dns-query";

/// What a server does about a request.
enum Deed {
    /// Status, content type and body.
    Answer(StatusCode, &'static str, Vec<u8>),
    /// Ends the connection.
    Close,
    /// Does nothing on this connection any more.
    Freeze,
}

/// From a request, its question, and how many came before.
type Script = Arc<dyn Fn(&Request<()>, &Message, usize) -> Deed + Send + Sync>;

async fn serve(world: World, acceptor: TlsAcceptor, stream: DuplexStream, answer: Script, asked: Arc<Mutex<usize>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (request, mut body) = {
            let (head, body) = request.into_parts();
            (Request::from_parts(head, ()), body)
        };
        let mut whole = BytesMut::new();
        // The connection must be driven for its streams to go on; this much fits into what has already arrived.
        while let Some(piece) = tokio::select! { piece = body.data() => piece, _ = connection.accept() => None } {
            whole.extend_from_slice(&piece.unwrap());
        }
        let question = Message::from_vec(&whole).unwrap();
        world.note(&SERVER.parse().unwrap(), &question);
        let before = {
            let mut asked = asked.lock();
            *asked += 1;
            *asked - 1
        };
        let (status, kind, body) = match answer(&request, &question, before) {
            Deed::Answer(status, kind, body) => (status, kind, body),
            Deed::Close => return,
            Deed::Freeze => std::future::pending().await,
        };
        let head = Response::builder().status(status).header("content-type", kind).body(()).unwrap();
        let mut send = respond.send_response(head, false).unwrap();
        send.send_data(Bytes::from(body), true).unwrap();
    }
}

fn world(identity: &Identity, answer: impl Fn(&Request<()>, &Message, usize) -> Deed + Send + Sync + 'static) -> World {
    let world = World::default();
    let (accepting, acceptor, answer): (_, _, Script) = (world.clone(), identity.acceptor.clone(), Arc::new(answer));
    let asked = Arc::new(Mutex::new(0));
    world.accept(SERVER, move |stream| -> BoxFuture<'static, ()> {
        Box::pin(serve(accepting.clone(), acceptor.clone(), stream, Arc::clone(&answer), Arc::clone(&asked)))
    });
    world
}

fn ok(message: Message) -> Deed {
    Deed::Answer(StatusCode::OK, "application/dns-message", message.to_vec().unwrap())
}

fn identity() -> Identity {
    Identity::new(&["10.0.0.1"], &[b"h2"])
}

#[tokio::test(start_paused = true)]
async fn questions_are_posted_on_one_connection() {
    let identity = identity();
    let world = world(&identity, |request, query, _| {
        assert_eq!((request.method().as_str(), query.metadata.id), ("POST", 0));
        assert_eq!(request.uri().to_string(), "https://10.0.0.1/a/b?c=d");
        assert_eq!(request.headers()["content-type"], "application/dns-message");
        assert_eq!(request.headers()["accept"], "application/dns-message");
        assert_eq!(request.headers()["authorization"], "Basic bWU6c2VjcmV0");
        ok(address(query, 1))
    });
    let resolver = world.resolver(&["https://me:secret@10.0.0.1/a/b?c=d"], identity.options());
    for i in 0..5 {
        resolver.resolve(&format!("n{i}.example").parse().unwrap()).await.unwrap();
    }
    assert_eq!((world.asked(SERVER), world.seen(|seen| seen.connects.len())), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn the_largest_answer_fits_and_a_larger_one_is_refused() {
    let identity = identity();
    let large = world(&identity, |_, query, _| ok(huge(query, 9)));
    let resolver = large.resolver(&[URL], identity.options());
    assert_eq!(resolver.resolve(&"a.example".parse().unwrap()).await.unwrap().len(), 1);

    let larger = world(&identity, |_, _, _| Deed::Answer(StatusCode::OK, "application/dns-message", vec![0; 70_000]));
    let resolver = larger.resolver(&[URL], identity.options());
    let error = resolver.resolve(&"a.example".parse().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("larger than"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_http_error_is_no_answer() {
    let identity = identity();
    for (status, kind, body, said) in [
        (StatusCode::SERVICE_UNAVAILABLE, "text/plain", b"busy".to_vec(), "503"),
        (StatusCode::OK, "text/html", b"<html>".to_vec(), "not a DNS message"),
        (StatusCode::OK, "application/dns-message", b"<html>".to_vec(), "malformed"),
        (StatusCode::FOUND, "application/dns-message", vec![], "302"),
    ] {
        let world = world(&identity, move |_, _, _| Deed::Answer(status, kind, body.clone()));
        let resolver = world.resolver(&[URL], identity.options());
        let error = resolver.resolve(&"a.example".parse().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert_eq!(world.asked(SERVER), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_between_questions_is_opened_again() {
    let identity = identity();
    let world = world(&identity, |_, query, before| if before % 2 == 1 { Deed::Close } else { ok(address(query, 1)) });
    let resolver = world.resolver(&[URL], identity.options());
    for i in 0..3 {
        resolver.resolve(&format!("n{i}.example").parse().unwrap()).await.unwrap();
    }
    assert_eq!((world.asked(SERVER), world.seen(|seen| seen.connects.len())), (5, 3));
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_replaced_within_the_budget() {
    let identity = identity();
    let world = world(&identity, |_, query, before| if before == 1 { Deed::Freeze } else { ok(address(query, 1)) });
    let resolver = world.resolver(&[URL], identity.options());
    resolver.resolve(&"a.example".parse().unwrap()).await.unwrap();
    resolver.resolve(&"b.example".parse().unwrap()).await.unwrap();
    assert_eq!((world.asked(SERVER), world.seen(|seen| seen.connects.len())), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let identity = identity();
    let world = world(&identity, |_, query, _| ok(address(query, 1)));
    let resolver = world.resolver(&[URL], identity.options());
    for (i, pause) in [20, 60, 0].into_iter().enumerate() {
        resolver.resolve(&format!("n{i}.example").parse().unwrap()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
    assert_eq!(world.seen(|seen| seen.connects.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_http2_says_so() {
    let identity = Identity::new(&["10.0.0.1"], &[]);
    let world = world(&identity, |_, query, _| ok(address(query, 1)));
    let resolver = world.resolver(&[URL], identity.options());
    let error = resolver.resolve(&"a.example".parse().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("does not speak HTTP/2"), "{error}");
}
