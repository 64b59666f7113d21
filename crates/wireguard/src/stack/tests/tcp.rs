//! Connections (F-G13).

use std::io::ErrorKind;
use std::task::Poll;
use std::time::Duration;

use smoltcp::socket::tcp::State;
use smoltcp::wire::TcpPacket;
use tokio::io::ReadBuf;

use super::world::{App, Basket, FAR6, PORT, User, World, bytes, cx, far};
use crate::stack::{ConnectError, TcpFlow};

const LONG: Duration = Duration::from_secs(300);
const MIB: usize = 1 << 20;

fn echo(world: &mut World, flow: &TcpFlow, total: usize, limit: Duration) {
    let mut user = User::default();
    world.run(limit, |_| {
        user.write(flow, total);
        user.read(flow);
        user.end || user.error.is_some()
    });
    assert_eq!((user.read, user.error), (total, None));
}

#[test]
fn bytes_come_back_unchanged_in_both_families() {
    let mut world = World::new(1);
    for to in [far(PORT), (FAR6, PORT).into()] {
        world.listen(App::Echo, 256 << 10);
        let flow = world.connect_to(to).unwrap();
        echo(&mut world, &flow, 3 * MIB, LONG);
    }
    assert!(world.up.longest <= 1408, "{}", world.up.longest);
}

#[test]
fn a_fat_and_long_path_is_filled() {
    let mut world = World::new(2);
    (world.up.delay, world.down.delay) = (Duration::from_millis(100), Duration::from_millis(100));
    world.listen(App::Sink, 4 * MIB);
    let flow = world.connect();
    let start = world.now;
    let mut user = User::default();
    world.run(LONG, |world| {
        user.write(&flow, 24 * MIB);
        world.connections[0].received == 24 * MIB
    });
    // 24 MiB at 2.5 MB per round trip of 200 ms are 2 s, and the beginning is slow.
    assert!(world.now.since(start) < Duration::from_secs(6), "{:?}", world.now.since(start));
}

#[test]
fn each_direction_ends_on_its_own() {
    let mut world = World::new(3);
    world.listen(App::Source(MIB), 64 << 10);
    let flow = world.connect();
    // The far end finishes first, and still takes what we send.
    let mut user = User::default();
    world.run(LONG, |_| {
        user.read(&flow);
        user.end
    });
    assert_eq!(user.read, MIB);
    world.connections[0].app = App::Sink;
    world.run(LONG, |world| {
        user.write(&flow, MIB);
        world.connections[0].received == MIB
    });
    world.run(LONG, |world| {
        world.far_socket(0).state() == State::Closed || world.far_socket(0).state() == State::TimeWait
    });
    drop(flow);
    world.pass(Duration::from_secs(70));
    assert_eq!(world.stack.flows.len(), 0);
}

#[test]
fn both_may_end_at_the_same_time() {
    let mut world = World::new(4);
    world.listen(App::Source(0), 4096);
    let flow = world.stack.connect(far(PORT), world.now).unwrap();
    world.run(LONG, |_| flow.poll_connected(&mut cx()).is_ready());
    let mut user = User::default();
    user.write(&flow, 10);
    world.connections[0].app = App::Sink;
    world.run(LONG, |_| {
        user.read(&flow);
        user.end
    });
    world.run(LONG, |world| world.connections[0].received == 10);
    drop(flow);
    world.pass(Duration::from_secs(70));
    assert_eq!(world.stack.flows.len(), 0);
}

#[test]
fn nothing_is_lost_behind_a_late_reader() {
    let mut world = World::new(5);
    world.listen(App::Source(100_000), 256 << 10);
    let flow = world.connect();
    let _ = flow.poll_shutdown(&mut cx());
    // Longer than TIME-WAIT, so that the connection is gone when it is read.
    world.pass(Duration::from_secs(90));
    let mut user = User::default();
    user.read(&flow);
    assert_eq!((user.read, user.end, user.error), (100_000, true, None));
}

#[test]
fn a_window_may_be_closed_for_minutes() {
    let mut world = World::new(6);
    world.listen(App::Deaf, 8192);
    let flow = world.connect();
    let mut user = User::default();
    let end = world.now + Duration::from_secs(600);
    world.run(Duration::from_secs(700), |world| {
        user.write(&flow, MIB);
        world.now > end
    });
    assert_eq!(user.error, None);
    world.connections[0].app = App::Sink;
    world.run(LONG, |world| {
        user.write(&flow, MIB);
        world.connections[0].received == MIB
    });
}

#[test]
fn a_tiny_window_is_enough() {
    let mut world = World::new(17);
    world.listen(App::Echo, 100);
    let flow = world.connect();
    echo(&mut world, &flow, 10_000, Duration::from_secs(3600));
}

#[test]
fn a_port_may_be_used_again_while_its_last_user_remembers() {
    let mut world = World::new(18);
    world.listen(App::Echo, 4096);
    let old = world.connect();
    old.abort();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.stack.flows.len(), 0);
    world.listen(App::Echo, 4096);
    let new = world.connect();
    let flow = world.stack.flows.values().next().unwrap().clone();
    world.stack.flows.insert(old.0.key, flow);
    drop(old);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.stack.flows.len(), 2);
    drop(new);
}

#[test]
fn our_window_closes_and_opens_again() {
    let mut world = World::new(7);
    world.listen(App::Source(9 * MIB), MIB);
    let flow = world.connect();
    world.pass(Duration::from_secs(120));
    let mut user = User::default();
    world.run(LONG, |_| {
        user.read(&flow);
        user.end
    });
    assert_eq!(user.read, 9 * MIB);
}

#[test]
fn streams_survive_loss_repetition_and_reordering() {
    for seed in 100..108 {
        let mut world = World::new(seed);
        for link in [&mut world.up, &mut world.down] {
            (link.lost, link.repeated, link.jitter) = (20, 20, Duration::from_millis(seed % 20));
        }
        world.listen(App::Source(512 << 10), 256 << 10);
        let flow = world.connect();
        let mut user = User::default();
        world.run(Duration::from_secs(3600), |_| {
            user.read(&flow);
            user.end
        });
        world.connections[0].app = App::Sink;
        world.run(Duration::from_secs(3600), |world| {
            user.write(&flow, 512 << 10);
            world.connections[0].received == 512 << 10
        });
        assert_eq!((user.read, user.error), (512 << 10, None));
    }
}

#[test]
fn a_stream_survives_an_outage_of_a_minute() {
    let mut world = World::new(8);
    world.listen(App::Echo, 64 << 10);
    let flow = world.connect();
    let mut user = User::default();
    for total in [MIB, 2 * MIB] {
        while user.read < total {
            if user.written < total
                && let Poll::Ready(Ok(n)) =
                    flow.poll_write(&mut cx(), &bytes(user.written, (total - user.written).min(4096)))
            {
                user.written += n;
            }
            user.read(&flow);
            assert_eq!(user.error, None);
            world.step();
        }
        (world.up.up, world.down.up) = (false, false);
        let _ = flow.poll_write(&mut cx(), &bytes(user.written, 1)).map(|n| user.written += n.unwrap());
        world.pass(Duration::from_secs(60));
        (world.up.up, world.down.up) = (true, true);
    }
}

#[test]
fn an_abandoned_connection_waits_in_peace() {
    let mut world = World::new(8);
    world.listen(App::Echo, 64 << 10);
    drop(world.connect());
    world.pass(Duration::from_secs(1));
    let before = world.stack.visits;
    world.pass(Duration::from_secs(20));
    assert!(world.stack.visits - before < 20, "{} visits", world.stack.visits - before);
}

#[test]
fn f_g9_a_stream_goes_on_as_soon_as_its_tunnel_does() {
    let mut world = World::new(8);
    world.listen(App::Echo, 64 << 10);
    let flow = world.connect();
    let mut user = User::default();
    (world.up.up, world.down.up) = (false, false);
    assert!(flow.poll_write(&mut cx(), &bytes(0, 1)).is_ready());
    // By now its timer waits for half a minute.
    world.pass(Duration::from_secs(40));
    (world.up.up, world.down.up) = (true, true);
    world.stack.retry(world.now);
    world.pass(Duration::from_secs(1));
    user.read(&flow);
    assert_eq!(user.read, 1);
}

#[test]
fn a_silent_peer_is_noticed() {
    let mut world = World::new(9);
    world.listen(App::Deaf, 4096);
    let flow = world.connect();
    world.up.up = false;
    world.pass(Duration::from_secs(250));
    let mut user = User::default();
    user.read(&flow);
    assert_eq!(user.error, Some(ErrorKind::TimedOut));
    drop(flow);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.stack.flows.len(), 0);
}

#[test]
fn who_refuses_is_told_from_who_is_silent() {
    let mut world = World::new(10);
    assert_eq!(world.connect_to(far(81)).unwrap_err(), ConnectError::Refused);
    world.up.up = false;
    world.keep_sent = true;
    assert_eq!(world.connect_to(far(PORT)).unwrap_err(), ConnectError::TimedOut);
    let syns = world.sent.iter().filter(|packet| TcpPacket::new_unchecked(&packet[20..]).syn()).count();
    assert_eq!(syns, 7, "at 0, 1, 3, 7, 15, 31 and 63 s");
    assert_eq!(world.stack.flows.len(), 0);
}

#[test]
fn what_was_left_unread_is_reset() {
    let mut world = World::new(11);
    world.listen(App::Source(4 * MIB), 64 << 10);
    let flow = world.connect();
    world.pass(Duration::from_millis(200));
    drop(flow);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.far_socket(0).state(), State::Closed);
    assert_eq!(world.stack.flows.len(), 0);
}

#[test]
fn what_was_written_is_delivered_after_the_drop() {
    let mut world = World::new(12);
    world.listen(App::Sink, 64 << 10);
    let flow = world.connect();
    let mut user = User::default();
    world.run(LONG, |_| {
        user.write(&flow, 200_000);
        user.written == 200_000
    });
    drop(flow);
    world.run(LONG, |world| world.connections[0].received == 200_000);
    world.pass(Duration::from_secs(70));
    assert_eq!(world.stack.flows.len(), 0);
}

#[test]
fn a_reset_ends_both_directions_but_what_came_can_be_read() {
    let mut world = World::new(13);
    world.listen(App::Source(1000), 4096);
    world.connections[0].app = App::Deaf;
    let flow = world.connect();
    world.pass(Duration::from_millis(100));
    world.far_socket(0).send_slice(&bytes(0, 1000)).unwrap();
    world.pass(Duration::from_millis(100));
    world.far_socket(0).abort();
    world.pass(Duration::from_millis(100));
    let mut user = User::default();
    user.read(&flow);
    assert_eq!((user.read, user.error), (1000, Some(ErrorKind::ConnectionReset)));
    let Poll::Ready(Err(why)) = flow.poll_write(&mut cx(), b"x") else { panic!("written") };
    assert_eq!(why.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn nothing_is_left_of_a_connection_that_ended_before_all_was_sent() {
    let mut world = World::new(15);
    world.up.up = false;
    let flow = world.stack.connect(far(PORT), world.now).unwrap();
    world.pass(Duration::from_millis(100));
    drop(flow);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.stack.flows.len(), 0, "given up while connecting");

    world.up.up = true;
    world.listen(App::Deaf, 4096);
    let flow = world.connect();
    let mut user = User::default();
    user.write(&flow, 50_000);
    world.pass(Duration::from_millis(100));
    world.far_socket(0).abort();
    world.pass(Duration::from_millis(100));
    assert_eq!(world.stack.flows.len(), 0, "reset");
    assert_eq!(world.stack.turn(world.now, &mut Basket::default()), None);
}

#[test]
fn an_abort_is_not_taken_for_the_end_of_what_was_not_read() {
    let mut world = World::new(16);
    world.listen(App::Source(1000), 4096);
    let flow = world.connect();
    world.pass(Duration::from_millis(100));
    flow.abort();
    let mut user = User::default();
    user.read(&flow);
    assert_eq!((user.read, user.end, user.error), (0, false, Some(ErrorKind::ConnectionAborted)));
}

#[test]
fn an_abort_resets() {
    let mut world = World::new(14);
    world.listen(App::Sink, 4096);
    let flow = world.connect();
    flow.abort();
    world.pass(Duration::from_millis(100));
    assert_eq!(world.far_socket(0).state(), State::Closed);
    let mut space = [0; 8];
    let Poll::Ready(Err(why)) = flow.poll_read(&mut cx(), &mut ReadBuf::new(&mut space)) else { panic!("read") };
    assert_eq!(why.kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn a_thousand_streams_at_once() {
    let mut world = World::new(15);
    let mut flows = Vec::new();
    for _ in 0..1000 {
        world.listen(App::Echo, 4096);
        flows.push((world.stack.connect(far(PORT), world.now).unwrap(), User::default()));
    }
    world.run(LONG, |_| {
        for (flow, user) in &mut flows {
            if flow.poll_connected(&mut cx()).is_ready() {
                user.write(flow, 3000);
                user.read(flow);
            }
        }
        flows.iter().all(|(_, user)| user.end)
    });
    assert!(flows.iter().all(|(_, user)| user.read == 3000 && user.error.is_none()));
    let mut ports: Vec<_> = flows.iter().map(|(flow, _)| flow.local_port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 1000);
    drop(flows);
    world.pass(Duration::from_secs(70));
    assert_eq!(world.stack.flows.len(), 0);
}

#[test]
fn a_packet_costs_the_same_however_many_connections_are_idle() {
    let mut counts = Vec::new();
    for idle in [0, 500] {
        let mut world = World::new(16);
        let mut flows = Vec::new();
        for _ in 0..idle {
            world.listen(App::Deaf, 64);
            flows.push(world.stack.connect(far(PORT), world.now).unwrap());
        }
        world.pass(Duration::from_secs(2));
        world.listen(App::Source(MIB), 64 << 10);
        let flow = world.connect();
        let before = world.stack.visits;
        let mut user = User::default();
        world.run(LONG, |_| {
            user.read(&flow);
            user.end
        });
        counts.push(world.stack.visits - before);
    }
    assert_eq!(counts[0], counts[1]);
}
