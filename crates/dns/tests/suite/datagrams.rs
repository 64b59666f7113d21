//! UDP: loss, forgery, truncation.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_dns::Options;
use adit_dns::hickory_proto::op::ResponseCode;
use adit_dns::hickory_proto::rr::RecordType;
use adit_net::{Resolve as _, ResolveError};
use tokio::time::{Instant, sleep};

use crate::script::{address, huge, reply};
use crate::world::{Act, World, say};

const SERVER: &str = "10.0.0.1:53";

async fn resolve(world: &World, list: &[&str]) -> Result<Vec<String>, ResolveError> {
    let found = world.resolver(list, Options::default()).resolve(&"www.example".parse().unwrap()).await?;
    Ok(found.iter().map(ToString::to_string).collect())
}

#[tokio::test(start_paused = true)]
async fn lost_questions_are_sent_again_after_one_and_two_seconds() {
    for lost in 0..3_u32 {
        let (world, start) = (World::default(), Instant::now());
        world.udp(SERVER, move |query, before| if before < lost as usize { vec![] } else { say(address(query, 1)) });
        assert_eq!(resolve(&world, &["10.0.0.1"]).await.unwrap(), ["192.0.2.1"]);
        let waited = start.elapsed().as_millis();
        let expected = [0, 1000, 3000][lost as usize];
        assert!((expected..expected + 50).contains(&waited), "{lost} lost: {waited} ms");
        assert_eq!(world.seen(|seen| seen.sockets.len()), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_five_seconds_and_three_packets() {
    let (world, start) = (World::default(), Instant::now());
    world.udp(SERVER, |_, _| vec![]);
    let error = resolve(&world, &["10.0.0.1"]).await.unwrap_err();
    assert!(error.to_string().contains("no answer within 5 seconds"), "{error}");
    assert!((5000..5100).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(world.asked(SERVER), 3);
}

#[tokio::test(start_paused = true)]
async fn every_question_has_its_own_socket_and_id() {
    let world = World::default();
    world.udp(SERVER, |query, _| say(reply(query, ResponseCode::NoError)));
    let resolver = world.resolver(&["10.0.0.1"], Options::default());
    for i in 0..32 {
        resolver.resolve(&format!("n{i}.example").parse().unwrap()).await.unwrap_err();
    }
    let mut ids: Vec<_> = world.seen(|seen| seen.questions.iter().map(|(_, query)| query.metadata.id).collect());
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() >= 30, "{ids:?}");
    assert_eq!(world.seen(|seen| seen.sockets.len()), 32);
}

#[tokio::test(start_paused = true)]
async fn forged_answers_are_passed_over() {
    let world = World::default();
    world.udp(SERVER, |query, _| {
        let forged = address(query, 66);
        let mut other_id = forged.clone();
        other_id.metadata.id = query.metadata.id.wrapping_add(1);
        let mut other_id_and_cut = other_id.clone();
        other_id_and_cut.metadata.truncation = true;
        let mut other_name = forged.clone();
        other_name.queries[0].set_name(crate::script::name("other.example"));
        let mut other_kind = forged.clone();
        other_kind.queries[0].set_query_type(RecordType::AAAA);
        let mut no_question = forged.clone();
        no_question.queries.clear();
        let forged = forged.to_vec().unwrap();
        vec![
            Act::Forge("10.0.0.2:53".parse().unwrap(), forged.clone()),
            Act::Forge("10.0.0.1:54".parse().unwrap(), forged.clone()),
            Act::Raw(other_id.to_vec().unwrap()),
            Act::Raw(other_id_and_cut.to_vec().unwrap()),
            Act::Raw(other_name.to_vec().unwrap()),
            Act::Raw(other_kind.to_vec().unwrap()),
            Act::Raw(no_question.to_vec().unwrap()),
            Act::Raw(query.to_vec().unwrap()),
            Act::Raw(forged[..20].to_vec()),
            Act::Raw(vec![]),
            Act::Say(Duration::from_millis(10), address(query, 1)),
        ]
    });
    assert_eq!(resolve(&world, &["10.0.0.1"]).await.unwrap(), ["192.0.2.1"]);
    assert_eq!(world.asked(SERVER), 1);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_is_fetched_by_tcp_up_to_64_kib() {
    let world = World::default();
    world.udp(SERVER, |query, _| {
        let mut cut = reply(query, ResponseCode::NoError);
        cut.metadata.truncation = true;
        // Cut anywhere: the header says all that matters.
        let mut bytes = cut.to_vec().unwrap();
        bytes.truncate(16);
        vec![Act::Raw(bytes)]
    });
    world.tcp(SERVER, |query, _| say(huge(query, 7)));
    assert_eq!(resolve(&world, &["10.0.0.1"]).await.unwrap(), ["192.0.2.7"]);
    assert_eq!(world.seen(|seen| seen.connects.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_way_out_without_udp_is_asked_for_tcp() {
    let world = World::default();
    world.tcp(SERVER, |query, _| say(address(query, 8)));
    assert_eq!(resolve(&world, &["10.0.0.1"]).await.unwrap(), ["192.0.2.8"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_edns_is_asked_without() {
    let world = World::default();
    world.udp(SERVER, |query, _| match &query.edns {
        Some(edns) => {
            assert_eq!(edns.max_payload(), 1232);
            let mut refusal = reply(query, ResponseCode::FormErr);
            refusal.queries.clear();
            say(refusal)
        }
        None => say(address(query, 3)),
    });
    assert_eq!(resolve(&world, &["10.0.0.1"]).await.unwrap(), ["192.0.2.3"]);
    assert_eq!(world.asked(SERVER), 2);
}

#[tokio::test(start_paused = true)]
async fn the_server_is_told_the_subnet() {
    let world = World::default();
    world.udp(SERVER, |query, _| {
        let sent = format!("{:?}", query.edns.as_ref().unwrap().options());
        assert!(sent.contains("198.51.100.0") && sent.contains("24"), "{sent}");
        say(address(query, 4))
    });
    assert_eq!(resolve(&world, &["10.0.0.1#ecs=198.51.100.77/24"]).await.unwrap(), ["192.0.2.4"]);
}

/// F-E6: a flood of names at a dead server opens a bounded number of sockets, and the server is found when it is back.
#[tokio::test(start_paused = true)]
async fn a_flood_shares_sockets() {
    let world = World::default();
    world.udp(SERVER, |_, _| vec![]);
    let resolver = Arc::new(world.resolver(&["10.0.0.1"], Options::default()));
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..400 {
        let resolver = Arc::clone(&resolver);
        flood.spawn(async move { resolver.resolve(&format!("n{n}.example").parse().unwrap()).await });
    }
    sleep(Duration::from_millis(10)).await;
    assert_eq!((world.asked(SERVER), world.seen(|seen| seen.sockets.len())), (400, 64));
    // Back again: questions on shared sockets get their own answers.
    world.udp(SERVER, |query, _| {
        let label = query.queries[0].name().iter().next().unwrap().to_vec();
        let n: u32 = str::from_utf8(&label[1..]).unwrap().parse().unwrap();
        say(address(query, u8::try_from(n % 250).unwrap()))
    });
    for n in 0..250_u8 {
        let found = resolver.resolve(&format!("n{n}.example").parse().unwrap()).await.unwrap();
        assert_eq!(found, [IpAddr::from([192, 0, 2, n])]);
    }
    assert!(flood.join_all().await.iter().all(Result::is_ok));
    assert!(world.seen(|seen| seen.sockets.len()) <= 64 + 1);
}
