//! Rules of ours, read back.

use crate::{Interface, Mode};

/// What the installed rules do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// How packets get to the listener.
    pub mode: Mode,
    /// The listener's port.
    pub port: u16,
    /// Where questions go.
    pub dns: Option<u16>,
    /// Whose forwarded traffic is captured.
    pub interfaces: Vec<Interface>,
    /// Whether what this host sends is captured.
    pub host: bool,
    /// Whether IPv6 is.
    pub ipv6: bool,
    /// The user whose packets are let through first, which may be the proxy's.
    pub user: Option<u32>,
    /// Whether nothing leaves otherwise.
    pub kill_switch: bool,
    /// Whether the proxy has given a sign of life in the last five seconds. `None`: a kill switch asks for none, and
    /// iptables does not tell.
    pub alive: Option<bool>,
}

impl Installed {
    /// Reads the table as `nft list table inet adit` prints it. `None` if it is none of ours.
    #[must_use]
    pub fn from_nft(listing: &str) -> Option<Self> {
        let kill_switch = listing.contains("chain guard_inbound");
        let alive = listing.split_once("set alive {").map(|(_, set)| {
            let set = set.split_once("\n\t}").map_or(set, |(set, _)| set);
            set.contains("elements")
        });
        let ports = |after: &str| listing.split(after).skip(1).filter_map(number).collect::<Vec<u16>>();
        let (mode, port) = match ports("tproxy to :").first() {
            Some(port) => (Mode::Tproxy, *port),
            None => (Mode::Redirect, *ports("meta l4proto tcp redirect to :").first()?),
        };
        let dns: Option<u16> = listing.lines().filter(|line| line.contains("dport 53")).find_map(|line| {
            let (_, port) = line.split_once("redirect to :")?;
            number(port)
        });
        let interfaces = quoted(listing, "iifname \"");
        Some(Self {
            mode,
            port,
            dns,
            interfaces,
            host: listing.contains("chain output {"),
            ipv6: !listing.contains("meta nfproto ipv6 accept"),
            user: listing.split_once("meta skuid ").and_then(|(_, rest)| number(rest)),
            kill_switch,
            alive: if kill_switch { None } else { alive },
        })
    }

    /// Reads what `iptables-save` and `ip6tables-save` print.
    #[must_use]
    pub fn from_iptables(saved: &str, saved_v6: &str) -> Option<Self> {
        let rules = || saved.lines().filter(|line| line.starts_with("-A ADIT_"));
        let after = |line: &str, word: &str| line.split_once(word).and_then(|(_, rest)| number::<u16>(rest));
        let (mode, port) = match rules().find_map(|line| after(line, "--on-port ")) {
            Some(port) => (Mode::Tproxy, port),
            None => (
                Mode::Redirect,
                rules()
                    .filter(|line| line.starts_with("-A ADIT_REDIRECT"))
                    .find_map(|line| after(line, "--to-ports "))?,
            ),
        };
        let dns = rules().filter(|line| line.contains("--dport 53 ")).find_map(|line| after(line, "--to-ports "));
        let named = |line: &str| {
            let (_, rest) = line.split_once(" -i ")?;
            let name = rest.split(' ').next()?;
            name.strip_suffix('+').map_or_else(|| name.to_owned(), |begin| format!("{begin}*")).parse().ok()
        };
        let mut interfaces: Vec<Interface> =
            rules().filter(|line| line.contains("ADIT_PREROUTING")).filter_map(named).collect();
        tidy(&mut interfaces);
        let kill_switch = rules().any(|line| line.starts_with("-A ADIT_LEAVING"));
        let captures = |line: &str| line.contains("--on-port ") || line.starts_with("-A ADIT_REDIRECT");
        let own = |line: &str| line.starts_with("-A ADIT_OUTPUT") && line.ends_with("-j RETURN");
        Some(Self {
            mode,
            port,
            dns,
            interfaces,
            host: rules().any(own),
            ipv6: saved_v6.lines().any(captures),
            user: rules().find_map(|line| line.split_once("--uid-owner ").and_then(|(_, rest)| number(rest))),
            kill_switch,
            alive: None,
        })
    }
}

/// The number that `text` begins with.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.split(|end: char| !end.is_ascii_digit()).next()?.parse().ok()
}

fn quoted(listing: &str, before: &str) -> Vec<Interface> {
    let names = listing.split(before).skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok());
    let mut interfaces: Vec<Interface> = names.collect();
    tidy(&mut interfaces);
    interfaces
}

fn tidy(interfaces: &mut Vec<Interface>) {
    interfaces.retain(|interface| interface.as_str() != "lo");
    interfaces.sort();
    interfaces.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["br-*", "docker0", "lan0"];

    fn names(installed: &Installed) -> Vec<&str> {
        installed.interfaces.iter().map(Interface::as_str).collect()
    }

    #[test]
    fn a_table_is_read_back() {
        let installed = Installed::from_nft(include_str!("../../tests/golden/tproxy-kill-switch.sh")).unwrap();
        assert_eq!((installed.mode, installed.port, installed.dns), (Mode::Tproxy, 7893, Some(1053)));
        assert_eq!(names(&installed), NAMES);
        assert!(installed.kill_switch && installed.alive.is_none() && installed.host && installed.ipv6);
        assert_eq!(installed.user, Some(991));
        let installed = Installed::from_nft(include_str!("../../tests/golden/redirect.sh")).unwrap();
        assert_eq!((installed.mode, installed.port, installed.dns), (Mode::Redirect, 7893, Some(1053)));
        assert_eq!((installed.kill_switch, installed.alive), (false, Some(false)));
        assert_eq!(Installed::from_nft("table inet adit {\n}\n"), None);
    }

    #[test]
    fn chains_are_read_back() {
        let saved = include_str!("../../tests/golden/iptables-tproxy-kill-switch.sh");
        let installed = Installed::from_iptables(saved, saved).unwrap();
        assert_eq!((installed.mode, installed.port, installed.dns), (Mode::Tproxy, 7893, Some(1053)));
        assert_eq!((names(&installed).as_slice(), installed.user), (&NAMES[..], Some(991)));
        assert!(installed.kill_switch && installed.host && installed.ipv6);
        let saved = include_str!("../../tests/golden/iptables-redirect.sh");
        let installed = Installed::from_iptables(saved, saved).unwrap();
        assert_eq!((installed.mode, installed.port, installed.dns), (Mode::Redirect, 7893, Some(1053)));
        assert!(!installed.kill_switch);
        assert_eq!(Installed::from_iptables("-A OUTPUT -j ADIT_OUTPUT", ""), None);
    }
}
