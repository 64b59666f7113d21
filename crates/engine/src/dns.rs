//! DNS questions that came as traffic: captured ones, and those that a rule sends to a proxy of type `dns`.

use std::cell::RefCell;
use std::sync::Arc;

use adit_dns::{Limit, Now, Service};
use adit_net::{Packet, Protocol, Target};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::world::World;

/// Where servers are asked over UDP and TCP (RFC 1035 §4.2).
const PORT: u16 = 53;

thread_local! {
    /// Where answers are written that need nobody else.
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl World {
    /// Who answers instead of `target`, if this is a captured question.
    pub(crate) fn captured(&self, protocol: Protocol, target: &Target) -> Option<&Service> {
        let is_transparent = matches!(protocol, Protocol::Redir | Protocol::Tproxy);
        self.dns.as_ref().filter(|_| self.captures_dns && is_transparent && target.port == PORT)
    }
}

/// The questions in datagrams that wait for somebody else's answer. Cheap to clone; they end with the last clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Questions(Arc<Mutex<JoinSet<()>>>);

impl Questions {
    /// Answers the question that `packet` is, as if from where it was sent to. Never waits: what cannot be answered at
    /// once is answered later, as far as `dns` has places for it.
    pub(crate) fn answer(&self, dns: &Service, packet: &Packet) {
        let is_later =
            ANSWER.with_borrow_mut(|answer| match dns.answer_now(&packet.payload, Limit::Datagram, answer) {
                Now::Answered => {
                    // A client that is gone needs no answer.
                    let _ = packet.back.send(&packet.target, answer);
                    false
                }
                Now::Silence => false,
                Now::Later(_) => true,
            });
        if is_later {
            self.answer_later(dns.clone(), packet);
        }
    }

    fn answer_later(&self, dns: Service, packet: &Packet) {
        let (question, back) = (packet.payload.clone(), Arc::clone(&packet.back));
        let (client, asked) = (packet.client.ip(), packet.target.clone());
        let mut open = self.0.lock();
        while open.try_join_next().is_some() {}
        open.spawn(async move {
            if let Some(answer) = dns.handle(&question, client, Limit::Datagram).await {
                let _ = back.send(&asked, &answer);
            }
        });
    }
}
