//! UDP flows over loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_engine::Engine;
use adit_net::{Handler as _, HostsEntry, Packet, Target};
use adit_outbound::options::{Common, Kind, Outbound};
use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::scene::{Recorder, Scene, entry, fake_dns};

/// Sends back what it gets, `answers` times.
pub(crate) async fn echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        let mut buf = vec![0; 65_536];
        while let Ok((n, from)) = socket.recv_from(&mut buf).await {
            let _ = socket.send_to(&buf[..n], from).await;
        }
    });
    at
}

pub(crate) struct Client {
    pub(crate) engine: Arc<Engine>,
    back: Arc<Recorder>,
    answers: mpsc::UnboundedReceiver<(Target, Vec<u8>)>,
}

impl Client {
    pub(crate) fn of(scene: Scene) -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        Self { engine: scene.engine(), back: Arc::new(Recorder(sender)), answers }
    }

    pub(crate) fn send(&self, target: &Target, payload: &[u8]) {
        self.send_from(4, 0, target, payload);
    }

    /// From the client's socket at `port`, with the code point `dscp`.
    pub(crate) fn send_from(&self, port: u16, dscp: u8, target: &Target, payload: &[u8]) {
        self.engine.udp(Packet {
            entry: Arc::new(entry()),
            client: SocketAddr::from(([127, 0, 0, 1], port)).into(),
            target: target.clone(),
            dscp,
            payload: Bytes::copy_from_slice(payload),
            back: Arc::clone(&self.back) as _,
        });
    }

    pub(crate) async fn answer(&mut self) -> Option<(Target, Vec<u8>)> {
        timeout(Duration::from_secs(2), self.answers.recv()).await.ok().flatten()
    }
}

#[tokio::test]
async fn one_client_reaches_two_targets_through_one_leg() {
    let (a, b) = (Target::from(echo().await), Target::from(echo().await));
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]));
    for target in [&a, &b, &a] {
        client.send(target, b"hello");
        let (from, payload) = client.answer().await.unwrap();
        assert_eq!((&from, payload.as_slice()), (target, b"hello".as_slice()));
    }
    let open = client.engine.table().snapshot();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].counters.up(), open[0].counters.down()), (15, 15));
}

#[tokio::test]
async fn verdicts_are_per_target_and_rejected_datagrams_are_swallowed() {
    let (a, b) = (echo().await, echo().await);
    let rule: &'static str = format!("DST-PORT,{},REJECT", a.port()).leak();
    let mut client = Client::of(Scene::with_rules(&[rule, "MATCH,DIRECT"]));
    client.send(&a.into(), b"no");
    client.send(&b.into(), b"yes");
    assert_eq!(client.answer().await.unwrap().1, b"yes");
    client.send(&a.into(), b"no");
    assert!(timeout(Duration::from_millis(100), client.answers.recv()).await.is_err());
}

#[tokio::test]
async fn f_a17_empty_and_largest_datagrams_pass_both_ways() {
    let target = Target::from(echo().await);
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]));
    for size in [0, 1, 1400, 65_507] {
        client.send(&target, &vec![7; size]);
        assert_eq!(client.answer().await.unwrap().1.len(), size);
    }
}

#[tokio::test]
async fn names_are_carried_and_hosts_answer_for_them() {
    let at = echo().await;
    let fixed = HostsEntry::Addresses(vec![at.ip()]);
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]).host("echo.lan", fixed));
    client.send(&format!("echo.lan:{}", at.port()).parse().unwrap(), b"hello");
    // A client that gave a name learns who has answered.
    assert_eq!(client.answer().await.unwrap(), (at.into(), b"hello".to_vec()));
}

/// RFC 4787: one mapping for all that a client addresses as it is meant, and whoever knows it may answer.
#[tokio::test]
async fn anybody_may_answer_a_plain_address() {
    let (asked, other) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]));
    client.send(&asked.local_addr().unwrap().into(), b"hello");
    let (_, mapped) = asked.recv_from(&mut [0; 8]).await.unwrap();
    other.send_to(b"who is there", mapped).await.unwrap();
    assert_eq!(client.answer().await.unwrap(), (other.local_addr().unwrap().into(), b"who is there".to_vec()));
}

#[tokio::test]
async fn rules_see_the_code_point_of_the_first_datagram() {
    let (a, b) = (Target::from(echo().await), Target::from(echo().await));
    let mut client = Client::of(Scene::with_rules(&["DSCP,46,REJECT", "MATCH,DIRECT"]));
    client.send_from(4, 46, &a, b"no");
    client.send_from(4, 8, &b, b"yes");
    assert_eq!(client.answer().await.unwrap(), (b, b"yes".to_vec()));
    assert!(timeout(Duration::from_millis(100), client.answers.recv()).await.is_err());
}

/// F-B16: each datagram of one socket is judged by where it goes.
#[tokio::test]
async fn f_b16_a_rule_sends_some_datagrams_of_a_socket_to_our_own_dns() {
    const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x04test\x00\x00\x01\x00\x01";
    let mut scene = Scene::with_rules(&["DST-PORT,5353,dns-out", "MATCH,DIRECT"]).dns(&fake_dns().0);
    scene.outbounds.push(Outbound { name: "dns-out".into(), kind: Kind::Dns, common: Common::default() });
    let (server, other) = ("192.0.2.53:5353".parse().unwrap(), Target::from(echo().await));
    let mut client = Client::of(scene);
    for _ in 0..2 {
        client.send(&server, QUESTION);
        let (from, answer) = client.answer().await.unwrap();
        assert_eq!(from, server);
        assert!(answer.starts_with(b"\x12\x34") && answer.ends_with(&[198, 18, 0, 4]), "{answer:?}");
        client.send(&other, b"hello");
        assert_eq!(client.answer().await.unwrap(), (other.clone(), b"hello".to_vec()));
    }
    assert_eq!(client.engine.table().len(), 1, "an answer of our own takes no way out");
}

#[tokio::test]
async fn f_b15_a_leg_that_was_ended_is_opened_anew_by_the_next_datagram() {
    let target = Target::from(echo().await);
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]));
    client.send(&target, b"1");
    client.answer().await.unwrap();
    let first = client.engine.table().snapshot().remove(0);
    first.kill();
    while !client.engine.table().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.send(&target, b"2");
    assert_eq!(client.answer().await.unwrap().1, b"2");
    assert_ne!(client.engine.table().snapshot()[0].session.id, first.session.id);
}

#[tokio::test]
async fn a_flow_ends_when_its_client_cannot_be_reached_any_more() {
    let target = Target::from(echo().await);
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]));
    client.send(&target, b"1");
    client.answer().await.unwrap();
    client.answers.close();
    client.send(&target, b"2");
    timeout(Duration::from_secs(2), async {
        while !client.engine.table().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn f_b17_many_targets_of_one_client_share_one_socket() {
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]));
    let target = Target::from(echo().await);
    for port in 1..=2000 {
        client.send(&Target::new(target.host.clone(), port), b"x");
        if port % 32 == 0 {
            tokio::task::yield_now().await;
        }
    }
    client.send(&target, b"still here");
    let mut last = client.answer().await.unwrap();
    while last.1 != b"still here" {
        last = client.answer().await.unwrap();
    }
    assert_eq!(client.engine.table().len(), 1);
}
