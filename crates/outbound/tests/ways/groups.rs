//! Groups that choose by themselves, delay tests, and books that replace each other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_net::{Resolve, Secret, Task};
use adit_outbound::options::{Check, Group, GroupKind, Outbound, TestUrl};
use adit_outbound::{Book, ProviderCheck, Test, TestError, keep_testing};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::scene::{
    Names, book, connect, echo, expect_echo, outbound, refusal, select, serve, serve_at, soon, target, via,
};
use crate::socks5::{self, Script};

fn group(name: &str, kind: GroupKind, members: &[&str], check: &Check) -> Group {
    Group { kind, check: check.clone(), ..select(name, members) }
}

/// What is made of `text`.
fn written(mut outbound: Outbound, text: &str) -> Outbound {
    outbound.common.written = Some(Secret::new(text));
    outbound
}

fn url(at: SocketAddr) -> TestUrl {
    TestUrl::parse(&format!("http://{at}/check?x=1")).unwrap()
}

/// Answers each request on a connection with the next of these statuses, the last one for ever; counts requests.
async fn web(statuses: &'static [u16], asked: &Arc<AtomicUsize>) -> (SocketAddr, Task<()>) {
    let asked = Arc::clone(asked);
    serve(move |mut stream| {
        let asked = Arc::clone(&asked);
        async move {
            let mut served = 0;
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                assert!(head.starts_with(b"HEAD /check?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", head.escape_ascii());
                asked.fetch_add(1, Ordering::Relaxed);
                let status = statuses.get(served).or_else(|| statuses.last()).unwrap();
                served += 1;
                stream.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 9\r\n\r\n").as_bytes()).await?;
            }
        }
    })
    .await
}

fn test(url: &TestUrl) -> Test<'_> {
    Test { url, expected: &[204..=204], timeout: Duration::from_secs(2), unified: false }
}

/// A SOCKS5 server.
async fn proxy() -> (SocketAddr, Task<()>) {
    serve(|client| socks5::socks5(client, Script::default())).await
}

/// A port where nobody listens, until somebody does.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_delay_test_asks_through_the_proxy_and_is_remembered() {
    let asked = Arc::default();
    let (at, _web) = web(&[204, 404], &asked).await;
    let book = book(Vec::new(), Vec::new(), Names::default());
    let url = url(at);
    assert!((1..1000).contains(&book.test("DIRECT", test(&url)).await.unwrap()));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let health = book.report("DIRECT").unwrap().health;
    assert_eq!((health.history.len(), &*health.by_url[0].url, health.by_url[0].alive), (1, url.as_str(), true));

    // The second request on the connection counts, here with another status.
    let unified = Test { unified: true, ..test(&url) };
    assert!(book.test("DIRECT", unified).await.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    let health = book.report("DIRECT").unwrap().health;
    assert!(health.alive && !health.by_url[0].alive, "it works, but not for this URL");
    assert_eq!(health.by_url[0].history[1].delay, 0);
}

#[tokio::test]
async fn a_delay_test_ends_in_time_and_says_what_went_wrong() {
    let (silent, _server) = serve(async |_stream| std::future::pending().await).await;
    let book = book(Vec::new(), Vec::new(), Names::default());
    let url_of_silent = url(silent);
    let short = Test { timeout: Duration::from_millis(50), ..test(&url_of_silent) };
    assert!(matches!(soon(book.test("DIRECT", short)).await, Err(TestError::Timeout)));
    assert!(!book.report("DIRECT").unwrap().health.alive);
    assert!(matches!(book.test("nobody", short).await, Err(TestError::NotFound)));
    assert!(matches!(book.test("REJECT", test(&url(nobody().await))).await, Err(TestError::Failed(_))));
}

#[tokio::test]
async fn a_group_test_leaves_out_who_failed_and_takes_pins_away() {
    let asked = Arc::default();
    let (at, _web) = web(&[204], &asked).await;
    let check = Check { url: url(at), ..Check::default() };
    let group = group("Auto", GroupKind::UrlTest { tolerance: 0 }, &["REJECT", "DIRECT"], &check);
    let book = book(Vec::new(), vec![group], Names::default());
    book.select("Auto", "REJECT").unwrap();
    assert_eq!(book.report("Auto").unwrap().group.unwrap().fixed, Some("REJECT".into()));
    // A url-test group uses its own URL.
    let other = TestUrl::parse("http://127.0.0.1:1/").unwrap();
    let delays = book.test_group("Auto", test(&other)).await.unwrap();
    assert_eq!(delays.len(), 1);
    assert_eq!(delays[0].0, "DIRECT".into());
    let report = book.report("Auto").unwrap().group.unwrap();
    assert_eq!((report.fixed, report.now), (None, Some("DIRECT".into())));
}

fn testing(book: &Arc<Book>, providers: Vec<ProviderCheck>) -> Task<()> {
    let book = Arc::clone(book);
    Task::spawn("tests", async move { keep_testing(book, || providers.clone(), || false).await })
}

/// Waits until `name` was tested.
async fn tested(book: &Book, name: &str) {
    let tested = async {
        while book.report(name).unwrap().health.history.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(tested).await;
}

/// Nothing looked at what a reload or a provider had brought before the next test of something else, up to an hour later.
#[tokio::test]
async fn what_another_book_brings_is_tested_at_once() {
    let asked = Arc::default();
    let (at, _web) = web(&[204], &asked).await;
    let (live, _live) = proxy().await;
    let check = Check { url: url(at), interval: Some(Duration::from_secs(600)), ..Check::default() };
    let names: Arc<dyn Resolve> = Arc::new(Names::default());
    let own = || written(socks5::upstream("own", live, None), "own");
    let before = book(vec![own()], vec![group("G", GroupKind::Fallback, &["own"], &check)], Names::default());
    let _testing = testing(&before, Vec::new());
    tested(&before, "own").await;
    // The same group with another member, and another group.
    let groups =
        vec![group("G", GroupKind::Fallback, &["own", "p"], &check), group("H", GroupKind::Fallback, &["q"], &check)];
    let proxies = vec![own(), socks5::upstream("p", live, None), socks5::upstream("q", live, None)];
    let after = before.renew(proxies, groups).unwrap();
    after.install(Arc::clone(&names), names);
    tested(&after, "p").await;
    tested(&after, "q").await;
    assert_eq!(asked.load(Ordering::Relaxed), 3, "the first was tested already");
}

/// "When a chosen member dies mid-day, new connections move within one failed dial."
#[tokio::test]
async fn connections_move_after_one_failed_dial_and_come_back() {
    let (echo, _echo) = echo().await;
    let (live, _live) = proxy().await;
    let dead = nobody().await;
    let to = target(echo);
    for kind in [GroupKind::Fallback, GroupKind::UrlTest { tolerance: 0 }] {
        let asked = Arc::default();
        let (at, _web) = web(&[204], &asked).await;
        let check = Check { url: url(at), ..Check::default() };
        let proxies = vec![socks5::upstream("one", dead, None), socks5::upstream("two", live, None)];
        let book = book(proxies, vec![group("G", kind, &["one", "two"], &check)], Names::default());
        assert!(refusal(&book, "G", &to).await.1.contains("proxy [one]"));
        expect_echo(&mut connect(&book, "G", &to).await.unwrap(), b"by two").await;
        assert_eq!(book.find("G").unwrap().chain[0], "two".into());

        // It comes back by itself, once a test finds it.
        let _testing = testing(&book, Vec::new());
        let listener = TcpListener::bind(dead).await.unwrap();
        let _revived = serve_at(listener, |client| socks5::socks5(client, Script::default()));
        soon(async {
            while book.find("G").unwrap().chain[0] != "one".into() && !book.report("one").unwrap().health.alive {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_proxy_in_several_groups_is_tested_once() {
    let asked = Arc::default();
    let (at, _web) = web(&[204], &asked).await;
    let check = Check { url: url(at), interval: Some(Duration::from_secs(600)), ..Check::default() };
    let groups = ["A", "B", "C"].map(|name| group(name, GroupKind::Fallback, &["DIRECT"], &check));
    let book = book(Vec::new(), groups.into(), Names::default());
    let _testing = testing(&book, Vec::new());
    tested(&book, "DIRECT").await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// A test would tell a nameserver and a stranger's web server that we are here.
#[tokio::test]
async fn nobody_is_tested_for_a_group_that_somebody_chooses_in() {
    let asked = Arc::default();
    let (at, _web) = web(&[204], &asked).await;
    let check = Check { url: url(at), ..Check::default() };
    let selector = Group { check, ..select("S", &["dead", "DIRECT"]) };
    let book = book(vec![socks5::upstream("dead", nobody().await, None)], vec![selector], Names::default());
    let _testing = testing(&book, Vec::new());
    refusal(&book, "S", &target("127.0.0.1:1")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(book.report("dead").unwrap().health.history.is_empty());
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

/// `health-check` of a provider: its members are tested whether or not they are in a group.
#[tokio::test]
async fn members_of_a_provider_are_tested_for_it() {
    let asked = Arc::default();
    let (at, _web) = web(&[204], &asked).await;
    let (live, _live) = proxy().await;
    let mut node = socks5::upstream("node", live, None);
    node.common.provider = Some("sub".into());
    let book = book(vec![node, socks5::upstream("own", live, None)], Vec::new(), Names::default());
    let check = Check { url: url(at), interval: Some(Duration::from_secs(600)), ..Check::default() };
    let _testing = testing(&book, vec![ProviderCheck { name: "sub".into(), check }]);
    tested(&book, "node").await;
    assert!(book.report("own").unwrap().health.history.is_empty());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_renewed_book_keeps_what_is_the_same() {
    let asked = Arc::default();
    let (at, _web) = web(&[204], &asked).await;
    let (live, _live) = proxy().await;
    let made_of = |text: &str| written(socks5::upstream("p", live, None), text);
    let selector = || select("S", &["REJECT", "p"]);
    let before = book(vec![made_of("v1")], vec![selector()], Names::default());
    before.test("p", test(&url(at))).await.unwrap();
    before.select("S", "p").unwrap();

    let same = before.renew(vec![made_of("v1")], vec![selector()]).unwrap();
    assert_eq!(same.report("p").unwrap().health.history.len(), 1);
    assert_eq!(same.report("S").unwrap().group.unwrap().now, Some("p".into()));
    let other = before.renew(vec![made_of("v2")], vec![selector()]).unwrap();
    assert!(other.report("p").unwrap().health.history.is_empty(), "another proxy");
    assert_eq!(other.report("S").unwrap().group.unwrap().now, Some("p".into()));
    // A selector that became something else begins anew.
    let check = Check::default();
    let kind =
        before.renew(vec![made_of("v1")], vec![group("S", GroupKind::Fallback, &["REJECT", "p"], &check)]).unwrap();
    assert_eq!(kind.report("S").unwrap().group.unwrap().fixed, None);
}

#[tokio::test]
async fn a_proxy_that_was_kept_follows_the_book_that_is_installed() {
    let (echo, _echo) = echo().await;
    let (live, _live) = proxy().await;
    let to = target(echo);
    let chained = || written(via(socks5::upstream("p", live, None), "hop"), "p");
    let names: Arc<dyn Resolve> = Arc::new(Names::default());
    let reject = outbound("hop", adit_outbound::options::Kind::Reject);
    let before = book(vec![chained(), reject], Vec::new(), Names::default());
    assert!(connect(&before, "p", &to).await.is_err());
    let direct = outbound("hop", adit_outbound::options::Kind::Direct);
    let after = before.renew(vec![chained(), direct], Vec::new()).unwrap();
    assert!(connect(&after, "p", &to).await.is_err(), "nothing changes before it is installed");
    after.install(Arc::clone(&names), names);
    expect_echo(&mut connect(&after, "p", &to).await.unwrap(), b"by way of the new hop").await;
    assert!(connect(&before, "p", &to).await.is_ok(), "connections that still hold the old book follow, too");
}

#[test]
fn urls_of_delay_tests() {
    for (text, good) in [
        ("http://a.test/", true),
        ("https://a.test:8443/x?y#z", true),
        ("https://[2001:db8::1]/", true),
        ("ftp://a.test/", false),
        ("a.test", false),
        ("http://", false),
        ("http://a.test:0/", false),
    ] {
        assert_eq!(TestUrl::parse(text).is_ok(), good, "{text}");
    }
}
