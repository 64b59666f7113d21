//! Nobody sleeps through what they wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use smoltcp::wire::TcpControl;
use tokio::io::ReadBuf;

use super::errors::error;
use super::hostile::segment;
use super::udp::datagram;
use super::world::{App, Basket, FAR, NEAR, PORT, World, bytes, cx, far};

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::<Self>::default();
        (bell.clone(), bell.into())
    }

    fn rang(&self) -> bool {
        self.0.swap(0, Ordering::SeqCst) > 0
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn whoever_drives_hears_of_every_touch() {
    let mut world = World::new(50);
    world.listen(App::Echo, 4096);
    let flow = world.connect();
    let (bell, waker) = Bell::new();
    let cx = &mut Context::from_waker(&waker);
    world.pass(SECOND);
    for touch in [0, 1, 2] {
        assert!(world.stack.poll_touched(cx).is_pending());
        match touch {
            0 => assert!(flow.poll_write(&mut self::cx(), b"x").is_ready()),
            1 => assert!(flow.poll_shutdown(&mut self::cx()).is_ready()),
            _ => flow.abort(),
        }
        assert!(bell.rang(), "{touch}");
        assert!(world.stack.poll_touched(cx).is_ready(), "until the turn");
        world.stack.turn(world.now, &mut Basket::default());
    }
    let socket = world.stack.bind().unwrap();
    assert!(world.stack.poll_touched(cx).is_pending());
    assert!(socket.poll_send(&mut self::cx(), b"x", far(9)).is_ready());
    assert!(bell.rang());
    world.stack.turn(world.now, &mut Basket::default());
    assert!(world.stack.poll_touched(cx).is_pending());
    drop(socket);
    assert!(bell.rang());
}

#[test]
fn a_connection_wakes_its_users() {
    let mut world = World::new(51);
    world.listen(App::Deaf, 4096);
    let (bell, waker) = Bell::new();
    let cx = &mut Context::from_waker(&waker);
    let flow = world.stack.connect(far(PORT), world.now).unwrap();
    assert!(flow.poll_connected(cx).is_pending());
    world.pass(SECOND);
    assert!(bell.rang(), "connected");
    let mut space = [0; 16];
    assert!(flow.poll_read(cx, &mut ReadBuf::new(&mut space)).is_pending());
    world.far_socket(0).send_slice(&bytes(0, 16)).unwrap();
    world.pass(SECOND);
    assert!(bell.rang(), "data");
    assert!(flow.poll_read(cx, &mut ReadBuf::new(&mut space)).is_ready());
    let data = bytes(0, 1 << 20);
    let mut written = 0;
    while let Poll::Ready(n) = flow.poll_write(cx, &data[written..]) {
        written += n.unwrap();
    }
    world.pass(SECOND);
    assert!(!bell.rang(), "nobody reads at the far end");
    world.connections[0].app = App::Sink;
    world.pass(SECOND);
    assert!(bell.rang(), "room");
    assert!(flow.poll_read(cx, &mut ReadBuf::new(&mut space)).is_pending());
    world.far_socket(0).close();
    world.pass(SECOND);
    assert!(bell.rang(), "end");
}

#[test]
fn a_failure_wakes_everybody() {
    let mut world = World::new(52);
    world.up.up = false;
    world.keep_sent = true;
    let (bell, waker) = Bell::new();
    let cx = &mut Context::from_waker(&waker);
    let flow = world.stack.connect(far(PORT), world.now).unwrap();
    world.step();
    assert!(flow.poll_connected(cx).is_pending());
    let syn = world.sent[0][..28].to_vec();
    world.stack.receive(&mut error(3, 1, 0, &syn), world.now);
    world.stack.turn(world.now, &mut Basket::default());
    assert!(bell.rang(), "unreachable");

    world.up.up = true;
    world.listen(App::Deaf, 4096);
    let flow = world.connect();
    world.pass(SECOND);
    let mut space = [0; 16];
    assert!(flow.poll_read(cx, &mut ReadBuf::new(&mut space)).is_pending());
    world.far_socket(0).abort();
    world.pass(SECOND);
    assert!(bell.rang(), "reset");
}

#[test]
fn a_socket_wakes_its_users() {
    let mut world = World::new(53);
    let (bell, waker) = Bell::new();
    let cx = &mut Context::from_waker(&waker);
    let socket = world.stack.bind().unwrap();
    let mut space = [0; 16];
    assert!(socket.poll_recv(cx, &mut ReadBuf::new(&mut space)).is_pending());
    world.stack.receive(&mut datagram(far(9), (NEAR, socket.local_port()).into(), b"x"), world.now);
    assert!(bell.rang(), "datagram");
    while socket.poll_send(cx, &bytes(0, 1000), (FAR, 9).into()).is_ready() {}
    world.stack.turn(world.now, &mut Basket::default());
    assert!(bell.rang(), "room");
}

#[test]
fn a_full_egress_delays_and_does_not_lose() {
    let mut world = World::new(54);
    let flows: Vec<_> = (0..10).map(|_| world.stack.connect(far(PORT), world.now).unwrap()).collect();
    world.stack.receive(&mut segment(1, TcpControl::Syn, 1, None, b""), world.now);
    let mut sent = 0;
    for round in 0..11 {
        let mut basket = Basket { limit: Some(1), ..Basket::default() };
        let again = world.stack.turn(world.now, &mut basket);
        sent += basket.packets.len();
        assert_eq!(again == Some(world.now), round < 10, "{round}");
    }
    assert_eq!(sent, 11);
    drop(flows);
}

#[test]
fn users_hear_that_their_stack_is_gone() {
    let mut world = World::new(60);
    world.listen(App::Echo, 4096);
    let flow = world.connect();
    let socket = world.stack.bind().unwrap();
    let (bell, waker) = Bell::new();
    let cx = &mut Context::from_waker(&waker);
    let mut place = [0; 8];
    assert!(flow.poll_read(cx, &mut ReadBuf::new(&mut place)).is_pending());
    assert!(socket.poll_recv(cx, &mut ReadBuf::new(&mut place)).is_pending());
    drop(world);
    assert!(bell.rang());
    assert!(matches!(flow.poll_read(cx, &mut ReadBuf::new(&mut place)), Poll::Ready(Err(_))));
    assert!(matches!(socket.poll_recv(cx, &mut ReadBuf::new(&mut place)), Poll::Ready(Err(_))));
    assert!(matches!(socket.poll_send(cx, b"x", far(9)), Poll::Ready(Err(_))));
}
