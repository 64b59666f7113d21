//! Listeners for what host rules capture. Spec: mihomo-surface §2.5.

use std::net::SocketAddr;

use adit_inbound::{Interception, TransparentOptions};
use adit_net::Tag;

use super::doors::Doors;
use super::{Listening, TransparentPlan};
use crate::context::Context;
use crate::proxy::Proxy;
use crate::report::Draft;
use crate::yaml::At;

/// What is particular about one transparent listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Captured<'n> {
    pub(super) name: &'n str,
    pub(super) interception: Interception,
    /// Whether datagrams are taken, if that is written. TPROXY takes them unless it is told not to. Beside REDIRECT,
    /// which has connections only, they would need host rules for TPROXY and a right that REDIRECT works without.
    pub(super) udp: Option<bool>,
    /// Its own `routing-mark`, if that is written.
    pub(super) mark: Option<u32>,
}

impl Captured<'_> {
    /// The listener at `listen`; `at` is where it was written.
    pub(super) fn plan(
        self,
        at: At,
        listen: SocketAddr,
        optional: bool,
        doors: &Doors,
        cx: &Context<'_>,
    ) -> TransparentPlan {
        let ip = listen.ip();
        if !ip.is_unspecified() && !ip.is_loopback() {
            let text = format!(
                "what this host sends itself is captured to loopback, and what others send to the interface it came in \
                 on: at {ip} only the latter arrives, by one interface"
            );
            let draft = Draft::warning(at, text).hint("listen on all addresses: '::', or `bind-address: '*'`");
            cx.report.once(format!("transparent listener at {ip}"), draft);
        }
        let options = TransparentOptions {
            name: Tag::new(self.name),
            interception: self.interception,
            listen,
            access: doors.access_of_captured(),
            udp: self.udp.unwrap_or(self.interception == Interception::Tproxy),
            mark: self.mark.unwrap_or(cx.socket.mark),
            keep_alive: cx.socket.keep_alive,
        };
        TransparentPlan { options, optional, rule: None, proxy: None }
    }
}

/// The bits of packet marks that host rules put on what they capture (`CAPTURE_MASK` of the crate `redirect`).
pub(crate) const CAPTURE_MASK: u32 = 0xff00_0000;

impl Listening {
    /// Where traffic is captured, marks of our own sockets leave the bits of host rules alone, or our packets would be
    /// taken for captured ones. `global` is where the global `routing-mark` stands, if it is written.
    pub(crate) fn check_marks(&self, global: Option<At>, proxies: &[Proxy<'_>], cx: &Context<'_>) {
        if self.transparent.is_empty() {
            return;
        }
        let global = global.map(|at| (at, cx.socket.mark));
        let own = proxies.iter().filter_map(|proxy| Some((proxy.mark_at?, proxy.outbound.common.socket.mark)));
        for (at, mark) in global.into_iter().chain(own) {
            check_mark(at, mark, cx);
        }
    }
}

/// Reports a mark that host rules would take for theirs.
pub(crate) fn check_mark(at: At, mark: u32, cx: &Context<'_>) {
    if mark & CAPTURE_MASK != 0 {
        let text = format!("`routing-mark` {mark:#x} has bits of {CAPTURE_MASK:#x}, which mark captured packets");
        cx.report.add(Draft::error(at, text).hint("take a number from 1 to 16777215 (0xffffff)"));
    }
}
