//! UDP flows: one per client socket, whatever it sends to.
//!
//! The table here holds only inboxes; the flow's task owns everything else. A flow is keyed by (inbound, client
//! address): the client keeps one mapping for all its targets (full cone).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use adit_net::{ClientAddr, Packet, Tag, Task};
use parking_lot::Mutex;

use crate::dns::Questions;
use crate::flow::{Datagram, Door, Flow, Inbox};
use crate::serve::Engine;

/// Flows at once; the one that has been quiet longest goes first (faults §1).
const MAX_FLOWS: usize = 16_384;

/// Payload bytes waiting in all flows together; beyond it datagrams are dropped, as a network would (faults §1).
const MAX_HELD: usize = 256 * 1024;

type Key = (Tag, ClientAddr);

/// The open flows.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    open: Arc<Mutex<Open>>,
    held: Arc<AtomicUsize>,
    questions: Questions,
}

#[derive(Debug, Default)]
struct Open {
    flows: HashMap<Key, Place>,
    /// Flows by the time at which they were listed here. A datagram does not move its flow; who looks for the quietest
    /// does, so that each datagram pays for one move at most.
    order: BTreeMap<u64, Key>,
    /// Counts packets: time without a clock.
    now: u64,
}

/// A flow's place in the table.
#[derive(Debug)]
struct Place {
    /// When it began.
    id: u64,
    /// When its latest datagram came.
    last: u64,
    /// Its key in `order`.
    listed: u64,
    inbox: Arc<Inbox>,
    /// Dropping the place ends the flow.
    _task: Task<()>,
}

impl Flows {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Hands `packet` to its client's flow, which is started if there is none. Never waits.
    pub(crate) fn deliver(&self, engine: &Engine, packet: Packet) {
        let Packet { entry, client, target, dscp, payload, back } = packet;
        let Some(datagram) = Datagram::new(target, payload, dscp, &self.held, MAX_HELD) else { return };
        let key = (entry.inbound.clone(), client);
        let door = Door { entry, back };

        let mut open = self.open.lock();
        open.now += 1;
        let now = open.now;
        // Dropped outside the lock: that ends tasks, and a task's end takes the lock.
        let mut gone = None;
        let datagram = match open.flows.get_mut(&key) {
            None => datagram,
            Some(place) => {
                place.last = now;
                match place.inbox.push(&door, datagram) {
                    Ok(()) => return,
                    // The flow has ended and not yet left the table.
                    Err(datagram) => {
                        gone = open.remove(&key);
                        datagram
                    }
                }
            }
        };
        if open.flows.len() >= MAX_FLOWS {
            gone = open.remove_quietest();
        }
        let place = self.start(engine, key.clone(), door, datagram, now);
        open.order.insert(now, key.clone());
        open.flows.insert(key, place);
        drop(open);
        drop(gone);
    }

    fn start(&self, engine: &Engine, key: Key, door: Door, first: Datagram, now: u64) -> Place {
        let client = key.1;
        let inbox = Arc::new(Inbox::new(door.clone(), first));
        let world = engine.world();
        let leave = Leave { key, id: now, open: Arc::clone(&self.open) };
        let (table, questions) = (engine.table().clone(), self.questions.clone());
        let flow = Flow::new(world, table, questions, client, door, Arc::clone(&inbox), leave);
        let task = Task::spawn("udp flow", flow);
        Place { id: now, last: now, listed: now, inbox, _task: task }
    }
}

impl Open {
    fn remove(&mut self, key: &Key) -> Option<Place> {
        let place = self.flows.remove(key)?;
        self.order.remove(&place.listed);
        // A table that once held thousands would keep their room for ever.
        if self.flows.capacity() > 1024 && self.flows.len() * 4 < self.flows.capacity() {
            let room = self.flows.len() * 2;
            self.flows.shrink_to(room);
        }
        Some(place)
    }

    /// Removes the flow whose latest datagram came first.
    fn remove_quietest(&mut self) -> Option<Place> {
        loop {
            let (listed, key) = self.order.pop_first()?;
            let Some(place) = self.flows.get_mut(&key) else { continue };
            if place.last == listed {
                return self.flows.remove(&key);
            }
            place.listed = place.last;
            self.order.insert(place.last, key);
        }
    }
}

/// Takes a flow out of the table when its task ends, unless a newer flow has taken its place.
pub(crate) struct Leave {
    key: Key,
    id: u64,
    open: Arc<Mutex<Open>>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        let is_own = open.flows.get(&self.key).is_some_and(|place| place.id == self.id);
        let place = if is_own { open.remove(&self.key) } else { None };
        drop(open);
        // Outside the lock: it aborts this very task, which is ending anyway.
        drop(place);
    }
}

#[cfg(test)]
mod tests {
    use adit_net::{Entry, Protocol, ReturnPath, Target};
    use bytes::Bytes;

    use super::*;

    struct Nowhere;

    impl ReturnPath for Nowhere {
        fn send(&self, _: &Target, _: &[u8]) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn client(port: u16) -> ClientAddr {
        std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    fn datagram(held: &Arc<AtomicUsize>, len: usize) -> Option<Datagram> {
        Datagram::new("192.0.2.1:9".parse().unwrap(), Bytes::from(vec![0; len]), 0, held, MAX_HELD)
    }

    fn open(ports: std::ops::Range<u16>) -> Open {
        let local = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let entry = Arc::new(Entry { inbound: "door".into(), protocol: Protocol::Socks5, local, user: None });
        let door = Door { entry, back: Arc::new(Nowhere) };
        let mut open = Open::default();
        for port in ports {
            open.now += 1;
            let now = open.now;
            let inbox = Arc::new(Inbox::new(door.clone(), datagram(&Arc::default(), 0).unwrap()));
            let task = Task::spawn("test", std::future::pending());
            let key = (Tag::new("door"), client(port));
            open.order.insert(now, key.clone());
            open.flows.insert(key, Place { id: now, last: now, listed: now, inbox, _task: task });
        }
        open
    }

    /// F-B17: the flow that has been quiet longest goes first, wherever it began.
    #[tokio::test]
    async fn f_b17_the_quietest_flow_goes_first() {
        let mut open = open(1..7);
        for port in [1, 4, 2, 1] {
            open.now += 1;
            let now = open.now;
            open.flows.get_mut(&(Tag::new("door"), client(port))).unwrap().last = now;
        }
        open.remove(&(Tag::new("door"), client(5)));
        for port in [3, 6, 4, 2, 1] {
            open.remove_quietest().unwrap();
            let is_open = |port| open.flows.contains_key(&(Tag::new("door"), client(port)));
            assert!(!is_open(port), "{port}");
        }
        assert!(open.flows.is_empty() && open.order.is_empty() && open.remove_quietest().is_none());
    }

    #[tokio::test]
    async fn a_table_gives_its_room_back() {
        let mut open = open(0..9000);
        for port in 0..9000 {
            open.remove(&(Tag::new("door"), client(port)));
        }
        assert!(open.flows.capacity() < 2048 && open.order.is_empty());
    }

    #[test]
    fn what_waits_in_all_flows_is_bounded() {
        let held = Arc::default();
        let waiting: Vec<Datagram> = (0..300).filter_map(|_| datagram(&held, 1024)).collect();
        assert_eq!(waiting.len(), MAX_HELD / 1024);
        drop(waiting);
        assert_eq!(held.load(std::sync::atomic::Ordering::Relaxed), 0);
        assert!(datagram(&held, 65_507).is_some());
    }
}
