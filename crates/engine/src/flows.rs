//! UDP flows: one per client socket, whatever it sends to.
//!
//! The table here holds only inboxes; the flow's task owns everything else, so it needs no locks. A flow is keyed by
//! (inbound, client address): the client keeps one mapping for all its targets (full cone).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use adit_net::{ClientAddr, Packet, Tag, Task};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::flow::Flow;
use crate::serve::Engine;

/// Flows at once; the one that has been quiet longest goes first (faults §1).
const MAX_FLOWS: usize = 1024;

/// Datagrams waiting in one flow's inbox.
const INBOX: usize = 64;

/// Payload bytes waiting in all inboxes together; beyond it datagrams are dropped, as a network would (faults §1).
const MAX_QUEUED: usize = 256 * 1024;

type Key = (Tag, ClientAddr);

/// The open flows.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    open: Arc<Mutex<HashMap<Key, Inbox>>>,
    queued: Arc<AtomicUsize>,
    /// Counts packets; an inbox remembers the count at its last one, which orders inboxes by age without a clock.
    ticks: AtomicU64,
}

#[derive(Debug)]
struct Inbox {
    id: u64,
    last: u64,
    packets: mpsc::Sender<Queued>,
    /// Dropping the inbox ends the flow.
    _task: Task<()>,
}

/// A datagram that counts against [`MAX_QUEUED`] until it is dropped.
pub(crate) struct Queued {
    pub(crate) packet: Packet,
    size: usize,
    queued: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queued").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.size, Ordering::Relaxed);
    }
}

impl Flows {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Hands `packet` to its client's flow, which is started if there is none. Never waits.
    pub(crate) fn deliver(&self, engine: &Engine, packet: Packet) {
        let size = packet.payload.len();
        if self.queued.fetch_add(size, Ordering::Relaxed) + size > MAX_QUEUED {
            self.queued.fetch_sub(size, Ordering::Relaxed);
            return;
        }
        let key = (packet.entry.inbound.clone(), packet.client);
        let packet = Queued { packet, size, queued: Arc::clone(&self.queued) };
        let tick = self.ticks.fetch_add(1, Ordering::Relaxed);

        let mut open = self.open.lock();
        let packet = match open.entry(key.clone()) {
            Entry::Occupied(mut inbox) => {
                inbox.get_mut().last = tick;
                match inbox.get().packets.try_send(packet) {
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => return,
                    // The flow has ended and not yet left the table.
                    Err(mpsc::error::TrySendError::Closed(packet)) => packet,
                }
            }
            Entry::Vacant(_) => packet,
        };
        if open.len() >= MAX_FLOWS
            && let Some(quietest) = open.iter().min_by_key(|(_, inbox)| inbox.last).map(|(key, _)| key.clone())
        {
            open.remove(&quietest);
        }
        open.insert(key.clone(), self.start(engine, key, packet, tick));
    }

    fn start(&self, engine: &Engine, key: Key, first: Queued, tick: u64) -> Inbox {
        let (packets, inbox) = mpsc::channel(INBOX);
        let back = Arc::clone(&first.packet.back);
        // A fresh channel has room.
        let _ = packets.try_send(first);
        let flow = Flow::new(engine.world(), engine.table().clone(), inbox, back);
        let leave = Leave { key, id: tick, open: Arc::clone(&self.open) };
        let task = Task::spawn("udp flow", async move {
            let _leave = leave;
            flow.run().await;
        });
        Inbox { id: tick, last: tick, packets, _task: task }
    }
}

/// Takes a flow's inbox out of the table when its task ends, unless a newer flow has taken the place.
struct Leave {
    key: Key,
    id: u64,
    open: Arc<Mutex<HashMap<Key, Inbox>>>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let inbox = {
            let mut open = self.open.lock();
            match open.entry(self.key.clone()) {
                Entry::Occupied(inbox) if inbox.get().id == self.id => Some(inbox.remove()),
                _ => None,
            }
        };
        // Dropped outside the lock: it aborts this very task, which is ending anyway.
        drop(inbox);
    }
}
