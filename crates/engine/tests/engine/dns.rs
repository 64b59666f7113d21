//! DNS questions that come as traffic.

use std::sync::Arc;

use adit_engine::{Engine, Outcome};
use adit_net::{Handler as _, Network, Packet, Protocol};
use adit_outbound::options::{Common, Kind, Outbound};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::scene::{Recorder, Scene, captured, client, entry, fake_dns, session};

/// A for `www.test`.
const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x04test\x00\x00\x01\x00\x01";
/// TXT for `www.real.test`: nobody has it, and somebody has to be asked.
const ELSEWHERE: &[u8] = b"\x56\x78\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x04real\x04test\x00\x00\x10\x00\x01";

fn send(engine: &Engine, protocol: Protocol, target: &str, question: &'static [u8], back: &Arc<Recorder>) {
    let session = session(Network::Udp, target);
    let mut entry = entry();
    entry.protocol = protocol;
    engine.udp(Packet {
        entry: Arc::new(entry),
        client: session.client,
        target: session.target,
        dscp: 0,
        payload: question.into(),
        back: Arc::clone(back) as _,
    });
}

#[tokio::test]
async fn a_captured_datagram_is_answered_from_where_it_was_sent_to() {
    let engine = Scene::with_rules(&["MATCH,REJECT"]).dns(&fake_dns().0).engine();
    let (heard, mut answers) = mpsc::unbounded_channel();
    let back = Arc::new(Recorder(heard));
    send(&engine, Protocol::Tproxy, "192.0.2.53:53", QUESTION, &back);
    let (from, answer) = answers.recv().await.unwrap();
    assert_eq!(from.to_string(), "192.0.2.53:53");
    assert!(answer.starts_with(b"\x12\x34") && answer.ends_with(&[198, 18, 0, 4]), "{answer:?}");

    send(&engine, Protocol::Tproxy, "192.0.2.53:53", ELSEWHERE, &back);
    let (from, answer) = answers.recv().await.unwrap();
    assert_eq!(from.to_string(), "192.0.2.53:53");
    assert_eq!((answer[0], answer[3] & 0xf), (0x56, 5), "refused, as who was asked says");
}

#[tokio::test]
async fn a_captured_stream_is_answered() {
    let engine = Scene::with_rules(&["MATCH,REJECT"]).dns(&fake_dns().0).engine();
    let (mut ours, accepted) = captured("192.0.2.53:53").await;
    let (end, ()) = tokio::join!(engine.serve(accepted), async {
        ours.write_u16(QUESTION.len().try_into().unwrap()).await.unwrap();
        ours.write_all(QUESTION).await.unwrap();
        let mut answer = vec![0; ours.read_u16().await.unwrap().into()];
        ours.read_exact(&mut answer).await.unwrap();
        assert!(answer.ends_with(&[198, 18, 0, 4]), "{answer:?}");
        drop(ours);
    });
    assert!(matches!(end, Outcome::Answered(Ok(()))), "{end:?}");
    assert!(engine.table().is_empty());
}

#[tokio::test]
async fn only_transparent_listeners_capture_and_only_port_53() {
    let engine = Scene::with_rules(&["MATCH,REJECT"]).dns(&fake_dns().0).engine();
    for target in ["192.0.2.53:53", "192.0.2.53:54"] {
        let (mut ours, accepted) = client(target).await;
        let mut answer = String::new();
        let (_, _) = tokio::join!(engine.serve(accepted), ours.read_to_string(&mut answer));
        assert!(answer.starts_with("no: "), "{answer}");
    }
    let (_ours, accepted) = captured("192.0.2.53:54").await;
    assert!(matches!(engine.serve(accepted).await, Outcome::NotReached(_)));
}

#[tokio::test]
async fn a_rule_can_send_questions_to_our_own_dns() {
    let mut scene = Scene::with_rules(&["DST-PORT,5353,dns-out"]).dns(&fake_dns().0);
    scene.outbounds.push(Outbound { name: "dns-out".into(), kind: Kind::Dns, common: Common::default() });
    let engine = scene.engine();
    let (mut ours, accepted) = client("192.0.2.53:5353").await;
    let (_, ()) = tokio::join!(engine.serve(accepted), async {
        ours.read_exact(&mut [0; 3]).await.unwrap();
        ours.write_u16(QUESTION.len().try_into().unwrap()).await.unwrap();
        ours.write_all(QUESTION).await.unwrap();
        let mut answer = vec![0; ours.read_u16().await.unwrap().into()];
        ours.read_exact(&mut answer).await.unwrap();
        assert!(answer.ends_with(&[198, 18, 0, 4]), "{answer:?}");
        drop(ours);
    });
}
