//! Carrying a plan out, with `nft` and `ip`.

use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

use thiserror::Error;

use crate::kernel::missing_feature;
use crate::{Family, Firewall, Mode, Options, OptionsError, Plan, Presence, Step, host, iptables};

/// More rules of ours than anybody has installed.
const MAX_DUPLICATES: usize = 64;

/// Why the host was not changed, or not wholly. The text says what to do.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// There is nothing to install.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A program is missing.
    #[error("`{program}` is not installed; install the package {package}")]
    NotInstalled {
        /// Its name.
        program: &'static str,
        /// What Debian, Alpine and Fedora call the package.
        package: &'static str,
    },
    /// We may not.
    #[error("not permitted: changing the firewall needs root (in a container CAP_NET_ADMIN and the host's network)")]
    NotPermitted,
    /// The kernel does not know a rule.
    #[error("this kernel lacks {feature}")]
    NoFeature {
        /// Its configuration option and module.
        feature: &'static str,
    },
    /// TPROXY by iptables does not work there: the kernel has bridged packets filtered, and forgets on the way what it found
    /// then. Rules of nftables remind it.
    #[error(
        "TPROXY by iptables cannot capture what enters at {bridge}, because bridged packets are filtered: \
         install the package nftables, use mode redirect, or run \
         `sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0`"
    )]
    BridgesFilter {
        /// A bridge among the captured interfaces.
        bridge: String,
    },
    /// A program failed for another reason.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// Program and words.
        command: String,
        /// What it said.
        said: String,
    },
    /// A program could not be run.
    #[error("cannot run `{program}`: {source}")]
    Io {
        /// Its name.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Firewall {
    /// What this host has: iptables only where there is no `nft`.
    #[must_use]
    pub fn of_this_host() -> Self {
        if !host::has("nft") && host::has("iptables") { Self::Iptables } else { Self::Nftables }
    }
}

/// Installs the rules, or replaces installed ones. Blocks until it is done.
///
/// # Errors
/// See [`ApplyError`]. The table is either replaced whole or not at all; routes that were added before it stay, and mean
/// nothing without it.
pub fn up(options: &Options) -> Result<(), ApplyError> {
    let firewall = Firewall::of_this_host();
    let plan = Plan::up_in(firewall, options)?;
    if (firewall, options.mode) == (Firewall::Iptables, Mode::Tproxy)
        && let Some(bridge) = host::filtered_bridge(&options.interfaces)
    {
        return Err(ApplyError::BridgesFilter { bridge });
    }
    carry_out(&plan)?;
    match firewall {
        Firewall::Nftables => remove_chains(),
        // There is no `nft`, so no table of ours either.
        Firewall::Iptables => Ok(()),
    }
}

/// Removes everything that [`up`] may have installed. Blocks until it is done.
///
/// # Errors
/// See [`ApplyError`].
pub fn down() -> Result<(), ApplyError> {
    let firewall = Firewall::of_this_host();
    if firewall == Firewall::Nftables {
        remove_chains()?;
    }
    carry_out(&Plan::down_in(firewall))
}

/// Removes the chains that an earlier [`up`] made where there was no `nft` yet. Looking for them makes no table.
fn remove_chains() -> Result<(), ApplyError> {
    let has_chains = |save| {
        let output = host::has(save).then(|| run(save, "iptables", &[], "").ok()).flatten();
        output.is_some_and(|output| String::from_utf8_lossy(&output.stdout).contains("\n:ADIT_"))
    };
    if has_chains("iptables-save") || has_chains("ip6tables-save") {
        shell(&iptables::remove())?;
    }
    Ok(())
}

fn carry_out(plan: &Plan) -> Result<(), ApplyError> {
    let is_there = |family| family == Family::V4 || has_ipv6();
    for step in plan.steps() {
        match step {
            Step::Table(transaction) => nft(transaction)?,
            Step::Chains(commands) => shell(commands)?,
            Step::Route(family, presence) if is_there(*family) => route(*family, *presence)?,
            Step::Rule(family, presence) if is_there(*family) => rule(*family, *presence)?,
            Step::Route(..) | Step::Rule(..) => {}
        }
    }
    Ok(())
}

/// Installs the tables of `plan` in a network namespace that ends with the program.
pub(crate) fn try_table(plan: &Plan) -> Result<(), ApplyError> {
    let words = ["-n", "nft", "-f", "-"].map(str::to_owned);
    for step in plan.steps() {
        if let Step::Table(transaction) = step {
            let output = run("unshare", "util-linux", &words, transaction)?;
            succeeded("nft", &words[2..], &output)?;
        }
    }
    Ok(())
}

fn has_ipv6() -> bool {
    std::fs::read_to_string(Family::SWITCH).is_ok_and(|switch| switch.trim() == "0")
}

fn nft(transaction: &str) -> Result<(), ApplyError> {
    let words = ["-f".to_owned(), "-".to_owned()];
    let output = run("nft", "nftables", &words, transaction)?;
    succeeded("nft", &words, &output)
}

fn shell(commands: &str) -> Result<(), ApplyError> {
    let words = ["-eu".to_owned()];
    let output = run("sh", "busybox or dash", &words, commands)?;
    succeeded("iptables", &[], &output)
}

fn route(family: Family, presence: Presence) -> Result<(), ApplyError> {
    match presence {
        Presence::Present => ip(&family.add_route()),
        // The table does not exist where it is empty: that is an error to `ip`, and what we want.
        Presence::Absent => run("ip", "iproute2", &family.flush_routes(), "").map(drop),
    }
}

fn rule(family: Family, presence: Presence) -> Result<(), ApplyError> {
    match presence {
        Presence::Present => {
            let there = run("ip", "iproute2", &family.show_rules(), "")?;
            if String::from_utf8_lossy(&there.stdout).contains(&format!("fwmark {}", Family::mark())) {
                return Ok(());
            }
            ip(&family.add_rule())
        }
        Presence::Absent => {
            for _ in 0..MAX_DUPLICATES {
                let output = run("ip", "iproute2", &family.delete_rule(), "")?;
                if !output.status.success() {
                    break;
                }
            }
            Ok(())
        }
    }
}

fn ip(words: &[String]) -> Result<(), ApplyError> {
    let output = run("ip", "iproute2", words, "")?;
    succeeded("ip", words, &output)
}

fn succeeded(program: &str, words: &[String], output: &Output) -> Result<(), ApplyError> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Operation not permitted") || said.contains("Permission denied") {
        return Err(ApplyError::NotPermitted);
    }
    if let Some(feature) = missing_feature(&said) {
        return Err(ApplyError::NoFeature { feature });
    }
    Err(ApplyError::Failed { command: format!("{program} {}", words.join(" ")), said: said.trim().to_owned() })
}

/// Runs a program with `input`, in the language that its messages are read in.
fn run(program: &'static str, package: &'static str, words: &[String], input: &str) -> Result<Output, ApplyError> {
    let mut command = Command::new(program);
    command.args(words).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let outcome = (|| {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that fails early does not read all of it, and says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output()
    })();
    outcome.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ApplyError::NotInstalled { program, package },
        _ => ApplyError::Io { program, source },
    })
}
