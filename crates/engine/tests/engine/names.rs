//! Connections that come to an address and mean a name, or a program.

use std::io::ErrorKind;
use std::time::Duration;

use adit_engine::Outcome;
use adit_net::{DialError, DnsMode, Domain, End, HostsEntry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::scene::{Scene, captured, client, fake_dns};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: ruled.test\r\n\r\n";

fn here() -> HostsEntry {
    HostsEntry::Addresses(vec!["127.0.0.1".parse().unwrap()])
}

async fn origin() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// The client's connection failed, and not with an end that looks complete.
async fn assert_reset(client: &mut TcpStream) {
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_fake_address_is_dialled_by_the_name_it_stands_for() {
    let (origin, port) = origin().await;
    let (dns, addresses) = fake_dns();
    let fake = addresses.v4(&Domain::new("www.test").unwrap()).unwrap();
    let scene = Scene::with_rules(&["DOMAIN,www.test,DIRECT", "MATCH,REJECT"]).host("www.test", here()).dns(&dns);
    let engine = scene.engine();
    let (mut ours, accepted) = captured(&format!("{fake}:{port}")).await;
    let (end, ()) = tokio::join!(engine.serve(accepted), async {
        let (mut upstream, _) = origin.accept().await.unwrap();
        let open = engine.table().snapshot();
        assert_eq!(open[0].session.target.to_string(), format!("www.test:{port}"));
        assert_eq!(open[0].session.dns, DnsMode::FakeIp(fake.into()));
        upstream.write_all(b"hello").await.unwrap();
        drop(upstream);
        let mut got = String::new();
        ours.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "hello");
        drop(ours);
    });
    assert!(matches!(end, Outcome::Relayed(End::Done(_))), "{end:?}");
}

#[tokio::test]
async fn a_fake_address_that_stands_for_nothing_is_not_dialled() {
    let (dns, _) = fake_dns();
    let engine = Scene::with_rules(&["MATCH,DIRECT"]).dns(&dns).engine();
    let (mut ours, accepted) = captured("198.18.0.77:443").await;
    let (end, ()) = tokio::join!(engine.serve(accepted), assert_reset(&mut ours));
    assert!(matches!(&end, Outcome::NotReached(DialError::Denied(why)) if why.contains("198.18.0.77")), "{end:?}");
}

#[tokio::test]
async fn unless_the_client_itself_says_whom_it_means() {
    let (origin, port) = origin().await;
    let (dns, _) = fake_dns();
    let engine = Scene::with_rules(&["MATCH,DIRECT"]).host("ruled.test", here()).dns(&dns).sniffing(port).engine();
    let (mut ours, accepted) = captured(&format!("198.18.0.77:{port}")).await;
    ours.write_all(REQUEST).await.unwrap();
    let (_, ()) = tokio::join!(engine.serve(accepted), async {
        let (mut upstream, _) = origin.accept().await.unwrap();
        let mut got = [0; REQUEST.len()];
        upstream.read_exact(&mut got).await.unwrap();
        assert_eq!(got, REQUEST, "what was looked at arrives");
        drop(ours);
    });
}

#[tokio::test]
async fn a_bare_address_is_ruled_by_the_name_in_the_first_bytes_however_they_come() {
    for cut in 1..REQUEST.len() {
        let (_origin, port) = origin().await;
        let engine = Scene::with_rules(&["DOMAIN,ruled.test,REJECT", "MATCH,DIRECT"]).sniffing(port).engine();
        let (mut ours, accepted) = captured(&format!("127.0.0.1:{port}")).await;
        let (end, ()) = tokio::join!(engine.serve(accepted), async {
            ours.write_all(&REQUEST[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            ours.write_all(&REQUEST[cut..]).await.unwrap();
            assert_reset(&mut ours).await;
        });
        assert!(matches!(end, Outcome::NotReached(DialError::Denied(_))), "{cut}: {end:?}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_our_word_is_given_it_before_it_is_looked_at() {
    let (origin, port) = origin().await;
    let engine = Scene::with_rules(&["DOMAIN,ruled.test,DIRECT"]).host("ruled.test", here()).sniffing(port).engine();
    let (mut ours, accepted) = client(&format!("127.0.0.1:{port}")).await;
    let (_, ()) = tokio::join!(engine.serve(accepted), async {
        let mut yes = [0; 3];
        ours.read_exact(&mut yes).await.unwrap();
        assert_eq!(&yes, b"yes");
        ours.write_all(REQUEST).await.unwrap();
        let (mut upstream, _) = origin.accept().await.unwrap();
        assert_eq!(engine.table().snapshot()[0].session.sniffed.as_ref().unwrap().as_str(), "ruled.test");
        upstream.write_all(b"once").await.unwrap();
        drop(upstream);
        let mut got = String::new();
        ours.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "once", "the word is given once");
        drop(ours);
    });
}

#[tokio::test]
async fn a_server_that_speaks_first_waits_no_longer_than_300_ms() {
    let (origin, port) = origin().await;
    let engine = Scene::with_rules(&["MATCH,DIRECT"]).sniffing(port).engine();
    for attempt in 0..7 {
        let (mut ours, accepted) = captured(&format!("127.0.0.1:{port}")).await;
        let start = Instant::now();
        let (_, waited) = tokio::join!(engine.serve(accepted), async {
            let (mut upstream, _) = origin.accept().await.unwrap();
            upstream.write_all(b"220 hello").await.unwrap();
            drop(upstream);
            let mut got = String::new();
            ours.read_to_string(&mut got).await.unwrap();
            assert_eq!(got, "220 hello");
            drop(ours);
            start.elapsed()
        });
        let most = if attempt < 6 { 600 } else { 200 };
        assert!(waited < Duration::from_millis(most), "attempt {attempt} took {waited:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_without_a_word_is_not_waited_for() {
    let (origin, port) = origin().await;
    let engine = Scene::with_rules(&["MATCH,DIRECT"]).sniffing(port).engine();
    let (ours, accepted) = captured(&format!("127.0.0.1:{port}")).await;
    drop(ours);
    let accept = async { drop(origin.accept().await.unwrap()) };
    timeout(Duration::from_millis(250), async { tokio::join!(engine.serve(accepted), accept) }).await.unwrap();
}

#[tokio::test]
async fn a_rule_sees_the_program_behind_a_connection() {
    let path = std::env::current_exe().unwrap();
    let rule = format!("PROCESS-PATH,{},REJECT", path.display()).leak();
    let mut scene = Scene::with_rules(&[rule, "MATCH,DIRECT"]);
    scene.processes = true;
    let engine = scene.engine();
    let (origin, port) = origin().await;
    let (mut ours, mut accepted) = client(&format!("127.0.0.1:{port}")).await;
    // As an inbound sees it: who the client is, and where it connected to.
    accepted.session.client = ours.local_addr().unwrap().into();
    accepted.session.entry.local = ours.peer_addr().unwrap();
    let mut answer = String::new();
    let (end, _) = tokio::join!(engine.serve(accepted), ours.read_to_string(&mut answer));
    assert!(matches!(end, Outcome::NotReached(DialError::Denied(_))), "{end:?}");
    assert!(timeout(Duration::from_millis(20), origin.accept()).await.is_err());
}
