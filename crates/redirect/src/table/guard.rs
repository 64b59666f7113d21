//! The kill switch: packets of captured sources that did not go to the proxy end here.

use super::{Chain, NO_SYN, from, has_mark, marks};
use crate::{CAPTURE_MASK, INBOUND_MARK, Options};

/// What makes neighbours find each other. It goes to addresses on the link, which need not be private ones.
const NEIGHBOURS: &str =
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept";

const GUARD: &str = "What was not captured and is not let through ends here.";

pub(super) fn chains(options: &Options, chains: &mut Vec<Chain>) {
    chains.push(inbound(options));
    if options.host {
        // The device here is the one before marks and rewritten addresses are routed anew.
        let output = Chain::hooked("guard_output", "filter hook output priority filter + 10", GUARD)
            .rule("oifname \"lo\" accept")
            .rule(format!("{} accept", has_mark("meta mark")))
            .rule("jump own");
        chains.push(guarded(output.rules(served(options))));
    }
    if !options.interfaces.is_empty() {
        chains.push(
            Chain::hooked("guard_forward", "filter hook forward priority filter - 10", GUARD)
                .rules(from(&options.interfaces, "goto guard_forwarded")),
        );
        let forwarded =
            Chain::plain("guard_forwarded", GUARD).rules(marks(options).map(|mark| format!("{mark} accept")));
        chains.push(guarded(forwarded));
    }
    // Only the policy routing, which is not ours alone, keeps marked packets here.
    chains.push(
        Chain::hooked("guard_leaving", "filter hook postrouting priority mangle", "What was captured never leaves.")
            .rule(format!("oifname != \"lo\" {} counter drop", has_mark("meta mark"))),
    );
}

fn guarded(chain: Chain) -> Chain {
    chain
        .rule(NEIGHBOURS)
        .rule("jump bypass")
        .rule(format!("meta l4proto tcp ct direction reply {} accept", is_inbound()))
        .rule("counter drop")
}

/// Marks connections from outside at their first segment: an answer in the middle of a connection that began before the
/// rules may look like an answer to who came from outside.
fn inbound(options: &Options) -> Chain {
    Chain::hooked(
        "guard_inbound",
        "filter hook prerouting priority mangle + 5",
        "Connections that others opened: they are answered.",
    )
    .rule("iifname \"lo\" accept")
    .rules(from(&options.interfaces, "accept"))
    .rule("meta l4proto != tcp accept")
    .rule(format!("{NO_SYN} accept"))
    .rule(format!("ct state new ct mark set ct mark & {:#010x} | {INBOUND_MARK:#010x}", !CAPTURE_MASK))
}

fn is_inbound() -> String {
    format!("ct mark & {CAPTURE_MASK:#010x} == {INBOUND_MARK:#010x}")
}

fn served(options: &Options) -> Option<String> {
    let ports: Vec<String> = options.bypass.served_udp.iter().map(u16::to_string).collect();
    (!ports.is_empty()).then(|| format!("udp sport {{ {} }} accept", ports.join(", ")))
}
