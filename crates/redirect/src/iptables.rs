//! The same rules for hosts without `nft`: chains of our own in the tables of `iptables` and `ip6tables`.
//!
//! What differs from the nftables table:
//! * each of the tables `mangle`, `nat` and `filter` is replaced atomically, but not all at once. Installing begins with
//!   what lets nothing out, and removing ends with it;
//! * the pulse is remembered by the `recent` match, under a mask that makes all addresses one;
//! * TPROXY drops what has no listener: for five seconds after a crash, connections wait instead of failing;
//! * built-in chains that iptables makes on first use stay when the rules go. They are empty.
//!
//! Chains are always the same ones, empty where nothing is captured: so the next options replace whatever is there.

mod chains;

use std::fmt::Write as _;

use crate::{Family, Options};

/// Chains of ours, each with the built-in chain that leads to it.
type Chains = &'static [(&'static str, Option<&'static str>)];

/// Our chains, by table.
const TABLES: [(&str, Chains); 3] = [
    (
        "filter",
        &[
            ("ADIT_OUTPUT", Some("OUTPUT")),
            ("ADIT_FORWARD", Some("FORWARD")),
            ("ADIT_FAKE", None),
            ("ADIT_GUARD_OUTPUT", Some("OUTPUT")),
            ("ADIT_GUARD_LAST", None),
        ],
    ),
    (
        "mangle",
        &[
            ("ADIT_OUTPUT", Some("OUTPUT")),
            ("ADIT_PREROUTING", Some("PREROUTING")),
            ("ADIT_FORWARD", Some("FORWARD")),
            ("ADIT_LEAVING", Some("POSTROUTING")),
            ("ADIT_SENT", None),
            ("ADIT_MARK", None),
            ("ADIT_ESTABLISHED", None),
            ("ADIT_DIVERT", None),
            ("ADIT_FORWARDED", None),
            ("ADIT_RECEIVED", None),
            ("ADIT_TPROXY", None),
            ("ADIT_KNOWN", None),
            ("ADIT_INBOUND", None),
            ("ADIT_GUARD", None),
            ("ADIT_GUARD_LAST", None),
        ],
    ),
    (
        "nat",
        &[
            ("ADIT_OUTPUT", Some("OUTPUT")),
            ("ADIT_PREROUTING", Some("PREROUTING")),
            ("ADIT_FORWARDED", None),
            ("ADIT_REDIRECT", None),
        ],
    ),
];

/// Our chains in one table, with their rules.
struct Table {
    name: &'static str,
    rules: Vec<(&'static str, String)>,
}

impl Table {
    fn new(name: &'static str) -> Self {
        Self { name, rules: Vec::new() }
    }

    fn rule(&mut self, chain: &'static str, rule: impl Into<String>) {
        self.rules.push((chain, rule.into()));
    }
}

impl Family {
    const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn iptables(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }
}

/// What a shell does to replace our chains. `options` have been checked.
pub(crate) fn replace(options: &Options) -> String {
    let mut text = String::new();
    for family in Family::BOTH {
        let mut part = String::new();
        for table in chains::tables(options, family) {
            restore(&mut part, family, &table);
        }
        wrap(&mut text, family, &part);
    }
    text
}

/// What a shell does to remove our chains where they are.
pub(crate) fn remove() -> String {
    let mut text = String::new();
    for family in Family::BOTH {
        let program = family.iptables();
        let mut part = String::new();
        // What captures goes first, what guards last.
        for (table, chains) in TABLES.iter().rev() {
            let Some((probe, _)) = chains.first() else { continue };
            let _ = writeln!(part, "if {program} -w -t {table} -S {probe} >/dev/null 2>&1; then");
            for (chain, from) in chains.iter() {
                if let Some(from) = from {
                    let _ =
                        writeln!(part, "\twhile {program} -w -t {table} -D {from} -j {chain} 2>/dev/null; do :; done");
                }
            }
            let lines: String = chains.iter().map(|(chain, _)| format!(":{chain} - [0:0]\n")).collect();
            let gone: String = chains.iter().map(|(chain, _)| format!("-X {chain}\n")).collect();
            let _ = write!(part, "\t{program}-restore -w --noflush <<'EOF'\n*{table}\n{lines}{gone}COMMIT\nEOF\nfi\n");
        }
        let _ = write!(text, "\nif command -v {program} >/dev/null; then\n{part}fi\n");
    }
    text
}

/// Replaces the chains of one table in one transaction, and leads to them unless something does already.
fn restore(text: &mut String, family: Family, table: &Table) {
    let program = family.iptables();
    let Some((_, chains)) = TABLES.iter().find(|(name, _)| *name == table.name) else { return };
    let name = table.name;
    let _ = writeln!(text, "hooks=");
    for (chain, from) in chains.iter() {
        if let Some(from) = from {
            let _ = writeln!(
                text,
                "{program} -w -t {name} -C {from} -j {chain} 2>/dev/null || hooks=\"$hooks\n-I {from} -j {chain}\""
            );
        }
    }
    let _ =
        writeln!(text, "{{ cat <<'EOF'; echo \"$hooks\"; echo COMMIT; }} | {program}-restore -w --noflush\n*{name}");
    for (chain, _) in chains.iter() {
        let _ = writeln!(text, ":{chain} - [0:0]");
    }
    for (chain, rule) in &table.rules {
        let _ = writeln!(text, "-A {chain} {rule}");
    }
    text.push_str("EOF\n");
}

/// IPv6 only where it is there.
fn wrap(text: &mut String, family: Family, part: &str) {
    match family {
        Family::V4 => {
            let _ = write!(text, "\n{part}");
        }
        Family::V6 => {
            let _ = write!(text, "\nif [ \"$(cat {} 2>/dev/null)\" = 0 ]; then\n{part}fi\n", Family::SWITCH);
        }
    }
}
