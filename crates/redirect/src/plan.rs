//! Steps that change the host, to be carried out or printed.

use std::fmt::Write as _;

use crate::{CAPTURE_MARK, CAPTURE_MASK, Mode, Options, OptionsError, ROUTING_TABLE, iptables, table};

/// An ordered list of steps. Each may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    steps: Vec<Step>,
}

/// One change of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A transaction for `nft -f -`.
    Table(String),
    /// Commands for `sh`, which replace or remove chains of iptables.
    Chains(String),
    /// Whether captured packets are delivered to this host, by a route of type `local` for everything.
    Route(Family, Presence),
    /// Whether captured packets are looked up in that table.
    Rule(Family, Presence),
}

/// What holds the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Firewall {
    /// A table of nftables, replaced whole.
    #[default]
    Nftables,
    /// Chains in the tables of `iptables` and `ip6tables`, each table replaced whole, one after the other: the one that lets
    /// nothing out is the first to come. For hosts without `nft`. TPROXY drops what finds no listener here, so in the
    /// first five seconds after a crash connections wait instead of failing.
    Iptables,
}

/// An address family, as `ip` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6; its steps are left out on hosts without it.
    V6,
}

/// Whether something is there afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not.
    Absent,
}

impl Plan {
    /// What installs the rules in nftables, or replaces installed ones.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn up(options: &Options) -> Result<Self, OptionsError> {
        Self::up_in(Firewall::Nftables, options)
    }

    /// The same for either firewall. Each plan knows nothing of the other's rules; [`crate::up`] does.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn up_in(firewall: Firewall, options: &Options) -> Result<Self, OptionsError> {
        options.check()?;
        let table = match firewall {
            Firewall::Nftables => Step::Table(table::replace(options)),
            Firewall::Iptables => Step::Chains(iptables::replace(options)),
        };
        let routed = |family| match (options.mode, family) {
            (Mode::Tproxy, Family::V4) => Presence::Present,
            (Mode::Tproxy, Family::V6) if options.ipv6 => Presence::Present,
            _ => Presence::Absent,
        };
        let families = [Family::V4, Family::V6];
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            families.into_iter().partition(|family| routed(*family) == Presence::Present);
        // Nothing is marked before its route is there, and no route goes while something may be marked.
        let mut steps: Vec<Step> = wanted.into_iter().flat_map(|family| routing(family, Presence::Present)).collect();
        steps.push(table);
        steps.extend(unwanted.into_iter().flat_map(|family| routing(family, Presence::Absent)));
        Ok(Self { steps })
    }

    /// What removes everything, whatever was installed in nftables.
    #[must_use]
    pub fn down() -> Self {
        Self::down_in(Firewall::Nftables)
    }

    /// The same for either firewall.
    #[must_use]
    pub fn down_in(firewall: Firewall) -> Self {
        let mut steps = vec![match firewall {
            Firewall::Nftables => Step::Table(table::remove()),
            Firewall::Iptables => Step::Chains(iptables::remove()),
        }];
        steps.extend([Family::V4, Family::V6].into_iter().flat_map(|family| routing(family, Presence::Absent)));
        Self { steps }
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The same as a script for `sh`.
    #[must_use]
    pub fn script(&self) -> String {
        let mut text = String::from("#!/bin/sh\nset -eu\n");
        for step in &self.steps {
            text.push('\n');
            match step {
                Step::Table(transaction) => {
                    let _ = write!(text, "nft -f - <<'EOF'\n{transaction}EOF\n");
                }
                Step::Chains(commands) => text.push_str(commands.trim_start_matches('\n')),
                Step::Route(family, presence) => in_family(&mut text, *family, &route(*family, *presence)),
                Step::Rule(family, presence) => in_family(&mut text, *family, &rule(*family, *presence)),
            }
        }
        text
    }
}

fn routing(family: Family, presence: Presence) -> [Step; 2] {
    match presence {
        Presence::Present => [Step::Route(family, presence), Step::Rule(family, presence)],
        Presence::Absent => [Step::Rule(family, presence), Step::Route(family, presence)],
    }
}

fn in_family(text: &mut String, family: Family, command: &str) {
    match family {
        Family::V4 => {
            let _ = writeln!(text, "{command}");
        }
        Family::V6 => {
            let _ = writeln!(text, "if [ \"$(cat {} 2>/dev/null)\" = 0 ]; then\n\t{command}\nfi", Family::SWITCH);
        }
    }
}

fn route(family: Family, presence: Presence) -> String {
    match presence {
        Presence::Present => format!("ip {}", family.add_route().join(" ")),
        Presence::Absent => format!("ip {} 2>/dev/null || :", family.flush_routes().join(" ")),
    }
}

fn rule(family: Family, presence: Presence) -> String {
    match presence {
        Presence::Present => format!(
            "ip {} | grep -q 'fwmark {}' || ip {}",
            family.show_rules().join(" "),
            Family::mark(),
            family.add_rule().join(" ")
        ),
        Presence::Absent => {
            format!("while ip {} 2>/dev/null; do :; done", family.delete_rule().join(" "))
        }
    }
}

/// The words of `ip` commands, the same for the script and for us.
impl Family {
    /// Says 0 where IPv6 is there and switched on. A route over the loopback interface needs it there.
    pub(crate) const SWITCH: &str = "/proc/sys/net/ipv6/conf/lo/disable_ipv6";

    pub(crate) fn mark() -> String {
        format!("{CAPTURE_MARK:#x}/{CAPTURE_MASK:#x}")
    }

    fn words(self, words: &[&str]) -> Vec<String> {
        let family = match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        };
        std::iter::once(family).chain(words.iter().copied()).map(str::to_owned).collect()
    }

    pub(crate) fn add_route(self) -> Vec<String> {
        self.words(&["route", "replace", "local", "default", "dev", "lo", "table", &ROUTING_TABLE.to_string()])
    }

    pub(crate) fn flush_routes(self) -> Vec<String> {
        self.words(&["route", "flush", "table", &ROUTING_TABLE.to_string()])
    }

    pub(crate) fn show_rules(self) -> Vec<String> {
        self.words(&["rule", "show", "pref", &ROUTING_TABLE.to_string()])
    }

    pub(crate) fn add_rule(self) -> Vec<String> {
        let table = ROUTING_TABLE.to_string();
        self.words(&["rule", "add", "pref", &table, "fwmark", &Self::mark(), "lookup", &table])
    }

    pub(crate) fn delete_rule(self) -> Vec<String> {
        let table = ROUTING_TABLE.to_string();
        self.words(&["rule", "del", "pref", &table, "lookup", &table])
    }
}
