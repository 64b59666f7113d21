//! What happens when descriptors run short. These tests count and limit the descriptors of the whole process, so they
//! have a process of their own and take turns in it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_net::{Counters, Limits, Listener, Task, raise_descriptor_limit, relay};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const MIB: usize = 1 << 20;
/// Pipes that rest in a thread's pool: at most four, two descriptors each.
const POOLED: usize = 8;

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test while no other one has as much as a runtime.
fn alone(test: impl Future<Output = ()>) {
    let _turn = turn();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Lets the process have `more` descriptors beyond those it has, until it is dropped.
struct Ration(Rlimit);

impl Ration {
    fn of(more: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        // The lowest free number is the one that the next descriptor gets.
        let next = File::open("/dev/null").unwrap().as_raw_fd();
        let current = Some(u64::try_from(next).unwrap() + more);
        setrlimit(Resource::Nofile, Rlimit { current, maximum: before.maximum }).unwrap();
        Self(before)
    }
}

impl Drop for Ration {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (outer, inner) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (outer.unwrap(), inner.unwrap().0)
}

async fn push(from: &mut TcpStream, to: &mut TcpStream, length: usize) {
    let body = vec![0x77; length];
    let mut got = vec![0; length];
    let (sent, received) = tokio::join!(from.write_all(&body), to.read_exact(&mut got));
    sent.unwrap();
    received.unwrap();
    assert!(got == body);
}

/// Budget "idle tunnel": two descriptors each, however busy they were before.
#[test]
fn quiet_connections_hold_no_pipes() {
    alone(async {
        let mut tunnels = Vec::new();
        let before = open_descriptors();
        for _ in 0..16 {
            let ((client, inner_client), (server, inner_upstream)) = (pair().await, pair().await);
            let task = Task::spawn("relay", async move {
                let counters = Counters::default();
                relay(Box::new(inner_client), Box::new(inner_upstream), &counters, Limits::default()).await;
            });
            tunnels.push((client, server, task));
        }
        for (client, server, _) in &mut tunnels {
            push(client, server, 2 * MIB).await;
            push(server, client, 2 * MIB).await;
        }
        let held = open_descriptors() - before;
        assert!(held <= 16 * 4 + POOLED, "{held}");
        drop(tunnels);
        sleep(Duration::from_millis(10)).await;
        let held = open_descriptors() - before;
        assert!(held <= POOLED, "{held} stay");
    });
}

#[test]
fn without_a_pipe_it_goes_on_copying() {
    alone(async {
        let ((mut client, inner_client), (mut server, inner_upstream)) = (pair().await, pair().await);
        let counters = std::sync::Arc::new(Counters::default());
        let count = counters.clone();
        // Empties nothing: this test's thread has no pipe in its pool yet.
        let ration = Ration::of(0);
        let task = Task::spawn("relay", async move {
            relay(Box::new(inner_client), Box::new(inner_upstream), &count, Limits::default()).await
        });
        push(&mut client, &mut server, 3 * MIB).await;
        assert_eq!((counters.up(), counters.spliced_up()), (3 * MIB as u64, 0));
        drop(ration);
        push(&mut client, &mut server, 16 * MIB).await;
        assert!(counters.spliced_up() > 8 * MIB as u64, "{}", counters.spliced_up());
        assert_eq!(counters.up(), 19 * MIB as u64);
        drop(task);
    });
}

/// F-B9: the last 32 descriptors are not spent on clients, the loop survives even when those are gone too, and service
/// is back within a second of relief.
#[test]
fn accepting_pauses_while_descriptors_are_short() {
    alone(async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(listener.local_addr()).await.unwrap());
        }
        let mut accepted = Vec::new();
        for more in [10, 0] {
            let ration = Ration::of(more);
            while let Ok((stream, _)) = timeout(Duration::from_millis(250), listener.accept()).await {
                accepted.push(stream);
            }
            // One look at the number of a descriptor takes a descriptor.
            assert_eq!(accepted.len(), 1, "with {more} left");
            drop(ration);
        }
        let since = Instant::now();
        let (stream, client) = listener.accept().await;
        assert!(since.elapsed() < Duration::from_secs(1));
        assert!(client.ip().is_loopback() && stream.nodelay().unwrap());
        assert!(socket2::SockRef::from(&stream).keepalive().unwrap());
    });
}

#[test]
fn the_limit_is_raised_to_the_hard_one() {
    let _turn = turn();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), maximum: before.maximum }).unwrap();
    assert_eq!(raise_descriptor_limit().unwrap(), before.maximum.unwrap_or(u64::MAX));
    assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    setrlimit(Resource::Nofile, before).unwrap();
}
