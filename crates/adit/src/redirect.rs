//! `adit redirect`: the host rules that send traffic to a transparent listener of the configuration.

mod choice;

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use adit_redirect::{Cgroup, Firewall, Ids, Interface, Mark, Mode, Options, Plan};
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;

pub(crate) use choice::{Choice, choose};

use crate::cli::ConfigArgs;

/// What `redirect` does.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Redirect {
    /// Install the rules, or replace installed ones (needs root)
    Up(CaptureArgs),
    /// Remove everything that `up` installed, whatever the configuration says now (needs root)
    Down,
    /// Print the shell script that does what `up` does
    Show {
        #[command(flatten)]
        capture: CaptureArgs,
        /// Print what `down` does instead
        #[arg(long)]
        down: bool,
        /// For which firewall [default: nftables, or iptables where only that is installed]
        #[arg(long, value_name = "WHICH")]
        firewall: Option<FirewallWord>,
    },
}

/// What is captured, and what is not. The rest is in the configuration that the daemon runs with.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CaptureArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How packets get to the listener [default: tproxy if the configuration has such a listener]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<ModeWord>,
    /// The listener's port, where the configuration has several
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Where questions to port 53 go [default: the port of `dns.listen`]
    #[arg(long, value_name = "PORT")]
    pub(crate) dns_port: Option<u16>,
    /// Leave port 53 alone
    #[arg(long, conflicts_with = "dns_port")]
    pub(crate) no_dns: bool,
    /// Capture what enters here to be forwarded (LAN, bridge; `wg*` means all that begin so); may be repeated
    #[arg(long = "interface", value_name = "NAME")]
    pub(crate) interfaces: Vec<Interface>,
    /// Capture containers: the same as --interface docker0 --interface 'br-*'
    #[arg(long)]
    pub(crate) docker: bool,
    /// Capture what this host itself sends (the default)
    #[arg(long, overrides_with = "no_host")]
    pub(crate) host: bool,
    /// Capture forwarded traffic only
    #[arg(long, overrides_with = "host")]
    pub(crate) no_host: bool,
    /// Leave IPv6 alone; with --kill-switch: let none out
    #[arg(long)]
    pub(crate) no_ipv6: bool,
    /// The user that adit runs as, where its packets have no `routing-mark`
    #[arg(long, value_name = "USER", value_parser = user)]
    pub(crate) user: Option<u32>,
    /// The group that adit runs as
    #[arg(long, value_name = "GROUP", value_parser = group)]
    pub(crate) group: Option<u32>,
    /// The control group that adit runs in, such as system.slice/adit.service
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Option<Cgroup>,
    /// Let through what goes to this address or network; private ones always are; may be repeated
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(crate) bypass: Vec<IpNet>,
    /// Let through what this user sends: a name, 1000 or 1000-1999; may be repeated
    #[arg(long, value_name = "USER", value_parser = users)]
    pub(crate) bypass_uid: Vec<Ids>,
    /// Let through what this group sends; may be repeated
    #[arg(long, value_name = "GROUP", value_parser = groups)]
    pub(crate) bypass_gid: Vec<Ids>,
    /// Let through what this control group sends; it must exist; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) bypass_cgroup: Vec<Cgroup>,
    /// Let through packets with this mark: 7, 0x7 or 0x70000/0xff0000; may be repeated
    #[arg(long, value_name = "MARK", value_parser = mark)]
    pub(crate) bypass_mark: Vec<Mark>,
    /// Let nothing that is captured leave except through adit, whether that runs or not
    #[arg(long)]
    pub(crate) kill_switch: bool,
    /// With --kill-switch: the UDP port of a server on this host that may answer the outside; may be repeated
    #[arg(long, value_name = "PORT", requires = "kill_switch")]
    pub(crate) served_udp: Vec<u16>,
}

/// A mode, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeWord {
    /// TCP only, by rewriting destinations
    Redirect,
    /// TCP and UDP, as they are
    Tproxy,
}

/// A firewall, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FirewallWord {
    /// A table of its own
    Nftables,
    /// Chains in the tables of iptables and ip6tables
    Iptables,
}

impl From<FirewallWord> for Firewall {
    fn from(word: FirewallWord) -> Self {
        match word {
            FirewallWord::Nftables => Self::Nftables,
            FirewallWord::Iptables => Self::Iptables,
        }
    }
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Self {
        match word {
            ModeWord::Redirect => Self::Redirect,
            ModeWord::Tproxy => Self::Tproxy,
        }
    }
}

/// Does it.
///
/// # Errors
/// The configuration cannot be read, or the host cannot be changed.
pub(crate) fn redirect(command: &Redirect) -> anyhow::Result<ExitCode> {
    match command {
        Redirect::Down => {
            adit_redirect::down().context("the rules are not removed")?;
            println!("nothing is captured any more: the rules are removed");
        }
        Redirect::Show { capture, down, firewall } => {
            let firewall = firewall.map_or_else(Firewall::of_this_host, Firewall::from);
            let plan = if *down {
                Plan::down_in(firewall)
            } else {
                let Some(options) = options(capture)? else { return Ok(ExitCode::FAILURE) };
                Plan::up_in(firewall, &options)?
            };
            print!("{}", plan.script());
        }
        Redirect::Up(capture) => {
            let Some(options) = options(capture)? else { return Ok(ExitCode::FAILURE) };
            adit_redirect::up(&options).context("the rules are not installed")?;
            println!("{}", summary(&options));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the arguments and the configuration come to; notes and mistakes go to standard error, and `None` is a mistake.
fn options(capture: &CaptureArgs) -> anyhow::Result<Option<Options>> {
    let source = capture.config.read()?;
    let loaded = adit_config::load(&source);
    let Some(plan) = loaded.plan else {
        eprint!("{}", loaded.problems.render(std::io::stderr().is_terminal()));
        return Ok(None);
    };
    match choose(capture, &plan, &source.name) {
        Ok(Choice { options, notes }) => {
            for note in notes {
                eprintln!("adit: note: {note}");
            }
            Ok(Some(options))
        }
        Err(mismatches) => {
            for mismatch in mismatches {
                eprintln!("adit: {mismatch}");
            }
            Ok(None)
        }
    }
}

/// What `up` did, in one line.
fn summary(options: &Options) -> String {
    let mode = match options.mode {
        Mode::Redirect => "TCP",
        Mode::Tproxy => "TCP and UDP",
    };
    let families = if options.ipv6 { "IPv4 and IPv6" } else { "IPv4" };
    let host = options.host.then_some("this host");
    let sources: Vec<&str> = host.into_iter().chain(options.interfaces.iter().map(Interface::as_str)).collect();
    let dns = options.dns.map(|port| format!(", DNS to port {port}")).unwrap_or_default();
    let otherwise = if options.kill_switch {
        "nothing leaves otherwise (kill switch)"
    } else {
        "while adit does not run, everything goes its way"
    };
    format!("captured: {mode} over {families} from {} to port {}{dns}; {otherwise}", sources.join(", "), options.port)
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address).ok_or_else(|| "write an address or a network like 203.0.113.0/24".to_owned())
}

fn mark(text: &str) -> Result<Mark, String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (number(value), number(mask)),
        None => (number(text), Some(u32::MAX)),
    };
    let (Some(value), Some(mask)) = (value, mask) else {
        return Err("write a mark like 7, 0x7 or 0x70000/0xff0000".to_owned());
    };
    Ok(Mark { value, mask })
}

fn user(text: &str) -> Result<u32, String> {
    id(text, "/etc/passwd")
}

fn group(text: &str) -> Result<u32, String> {
    id(text, "/etc/group")
}

fn users(text: &str) -> Result<Ids, String> {
    ids(text, "/etc/passwd")
}

fn groups(text: &str) -> Result<Ids, String> {
    ids(text, "/etc/group")
}

/// One id, or both ends of a range.
fn ids(text: &str, names: &str) -> Result<Ids, String> {
    if let Some((first, last)) = text.split_once('-')
        && let (Ok(first), Ok(last)) = (first.parse(), last.parse())
    {
        return Ok(Ids { first, last });
    }
    id(text, names).map(|id| Ids { first: id, last: id })
}

/// A number, or a name in the file `names` (passwd(5), group(5)).
fn id(text: &str, names: &str) -> Result<u32, String> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let known = std::fs::read_to_string(names).unwrap_or_default();
    let ids: HashMap<&str, &str> = known.lines().filter_map(named_id).collect();
    ids.get(text).and_then(|id| id.parse().ok()).ok_or_else(|| format!("{names} does not know it; write its number"))
}

/// `name:password:id:…`
fn named_id(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.split(':');
    Some((fields.next()?, fields.nth(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbers_names_and_ranges() {
        assert_eq!(user("root"), Ok(0));
        assert_eq!(group("root"), Ok(0));
        assert_eq!(users("1000-1999"), Ok(Ids { first: 1000, last: 1999 }));
        assert_eq!(users("7"), Ok(Ids { first: 7, last: 7 }));
        users("no-such-user").unwrap_err();
        assert_eq!(mark("0x70000/0xff0000"), Ok(Mark { value: 0x70000, mask: 0xff_0000 }));
        assert_eq!(mark("7"), Ok(Mark { value: 7, mask: u32::MAX }));
        for bad in ["", "0x", "7/", "-1", "4294967296"] {
            mark(bad).unwrap_err();
        }
        assert_eq!(network("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
        network("203.0.113.0/33").unwrap_err();
    }

    #[test]
    fn the_summary_says_what_is_captured_and_what_happens_otherwise() {
        let mut options = Options {
            mode: Mode::Tproxy,
            port: 7893,
            dns: Some(1053),
            host: true,
            ipv6: true,
            interfaces: Interface::of_docker().to_vec(),
            ..Options::default()
        };
        let all = "captured: TCP and UDP over IPv4 and IPv6 from this host, docker0, br-* to port 7893, DNS to port 1053; \
                   while adit does not run, everything goes its way";
        assert_eq!(summary(&options), all);
        options = Options { mode: Mode::Redirect, dns: None, host: false, ipv6: false, kill_switch: true, ..options };
        let some = "captured: TCP over IPv4 from docker0, br-* to port 7893; nothing leaves otherwise (kill switch)";
        assert_eq!(summary(&options), some);
    }
}
