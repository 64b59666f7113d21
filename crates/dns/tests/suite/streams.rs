//! TCP: pipelining, reuse, connections that end or die.

use std::sync::Arc;
use std::time::Duration;

use adit_dns::Options;
use adit_net::Resolve as _;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep};

use crate::script::address;
use crate::world::{Act, World, say};

const SERVER: &str = "10.0.0.1:53";

#[tokio::test(start_paused = true)]
async fn questions_share_a_connection_and_answers_come_in_any_order() {
    let world = World::default();
    world.tcp(SERVER, |query, before| {
        vec![Act::Say(Duration::from_millis(500 - 50 * before as u64), address(query, before as u8))]
    });
    let resolver = Arc::new(world.resolver(&["tcp://10.0.0.1"], Options::default()));
    let start = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for i in 0..10 {
        let resolver = Arc::clone(&resolver);
        asking.spawn(async move { resolver.resolve(&format!("n{i}.example").parse().unwrap()).await });
    }
    let found = asking.join_all().await;
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    assert!(start.elapsed() < Duration::from_millis(600));
    assert_eq!(world.seen(|seen| seen.connects.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_between_questions_is_opened_again() {
    let world = World::default();
    world.tcp(SERVER, |query, before| match before % 2 {
        0 => say(address(query, 1)),
        // Just as the next question arrives, which is asked again on a new connection.
        _ => vec![Act::Close],
    });
    let resolver = world.resolver(&["tcp://10.0.0.1"], Options::default());
    for i in 0..4 {
        resolver.resolve(&format!("n{i}.example").parse().unwrap()).await.unwrap();
    }
    assert_eq!(world.seen(|seen| seen.connects.len()), 4);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_needs_ends() {
    let world = World::default();
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    world.accept(SERVER, move |mut stream| {
        let ended = ended.clone();
        Box::pin(async move {
            // Reads the question, answers with nothing it was asked, sees the end.
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            ended.send(all.len()).unwrap();
        })
    });
    let start = Instant::now();
    let resolver = world.resolver(&["tcp://10.0.0.1"], Options::default());
    resolver.resolve(&"www.example".parse().unwrap()).await.unwrap_err();
    has_ended.recv().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_the_next_question_opens_one() {
    let world = World::default();
    world.tcp(SERVER, |query, _| say(address(query, 1)));
    let resolver = world.resolver(&["tcp://10.0.0.1"], Options::default());
    for (i, pause) in [5, 9, 12, 0].into_iter().enumerate() {
        resolver.resolve(&format!("n{i}.example").parse().unwrap()).await.unwrap();
        sleep(Duration::from_secs(pause)).await;
    }
    assert_eq!(world.seen(|seen| seen.connects.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_replaced_within_the_budget() {
    let world = World::default();
    // The second question on the first connection is never answered, as by a forgetful NAT.
    world.tcp(SERVER, |query, before| if before == 1 { vec![] } else { say(address(query, 1)) });
    let resolver = world.resolver(&["tcp://10.0.0.1"], Options::default());
    resolver.resolve(&"a.example".parse().unwrap()).await.unwrap();
    resolver.resolve(&"b.example".parse().unwrap()).await.unwrap();
    assert_eq!((world.seen(|seen| seen.connects.len()), world.asked(SERVER)), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_is_waited_for() {
    let world = World::default();
    world.tcp(SERVER, |query, before| {
        let slow = if before == 0 { 4500 } else { 2500 };
        vec![Act::Say(Duration::from_millis(slow), address(query, 1))]
    });
    let resolver = world.resolver(&["tcp://10.0.0.1"], Options::default());
    resolver.resolve(&"a.example".parse().unwrap()).await.unwrap();
    // On a connection that has worked this slowness looks like death, and is found out on the next.
    resolver.resolve(&"b.example".parse().unwrap()).await.unwrap();
    assert_eq!(world.seen(|seen| seen.connects.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn nonsense_ends_the_connection_and_the_question() {
    for nonsense in [vec![0, 0], vec![0, 11, 1, 2, 3], vec![0, 12], vec![0xff; 3]] {
        let world = World::default();
        let sent = nonsense.clone();
        world.tcp(SERVER, move |_, _| vec![Act::Raw(sent.clone()), Act::Close]);
        let resolver = world.resolver(&["tcp://10.0.0.1"], Options::default());
        let start = Instant::now();
        let error = resolver.resolve(&"a.example".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("closed the connection"), "{nonsense:?}: {error}");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_says_so() {
    let world = World::default();
    let resolver = world.resolver(&["tcp://10.0.0.1"], Options::default());
    let error = resolver.resolve(&"a.example".parse().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("tcp://10.0.0.1:53: connection refused"), "{error}");
}
