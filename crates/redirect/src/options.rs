//! What is captured, what is not, and where it goes.

use std::net::SocketAddr;

use ipnet::IpNet;
use thiserror::Error;

use crate::{CAPTURE_MARK, CAPTURE_MASK, Cgroup, Interface};

/// How packets get to the listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Their destination is rewritten. TCP only; under a kill switch other traffic of captured sources is dropped.
    #[default]
    Redirect,
    /// They are delivered as they are. TCP and UDP; needs policy routing.
    Tproxy,
}

/// What host rules are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How packets get to the listener.
    pub mode: Mode,
    /// The listener's port: `redir-port` or `tproxy-port`. The listener must be bound to an unspecified address if
    /// [`Options::interfaces`] are captured.
    pub port: u16,
    /// Our DNS server's port: port 53 of captured sources goes there, whoever was asked. `None`: port 53 is a port like
    /// any other. What a host asks itself over its loopback interface stays.
    pub dns: Option<u16>,
    /// How packets of the proxy are told from others.
    pub owner: Owner,
    /// Whether what this host itself sends is captured.
    pub host: bool,
    /// Captured is what enters here to be forwarded: LAN clients, containers.
    pub interfaces: Vec<Interface>,
    /// Whether IPv6 is captured too. Otherwise it goes its way, or nowhere under a kill switch.
    pub ipv6: bool,
    /// Destinations that are captured although [`Bypass`] names them: ranges of fake addresses.
    pub fake: Vec<IpNet>,
    /// What is not captured.
    pub bypass: Bypass,
    /// No packet of a captured source leaves except through the proxy, even when that does not run.
    pub kill_switch: bool,
}

/// Packets of the proxy itself have at least one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// `SO_MARK` of all its sockets (`routing-mark`); 0: none.
    pub mark: u32,
    /// The user it runs as. Nothing else should run as that user.
    pub uid: Option<u32>,
    /// The group it runs as.
    pub gid: Option<u32>,
    /// The control group it runs in.
    pub cgroup: Option<Cgroup>,
}

/// What goes its way although its source is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass {
    /// Destinations that are not on the internet: private, link-local, carrier NAT, multicast.
    pub private: bool,
    /// Other destinations.
    pub networks: Vec<IpNet>,
    /// The tunnels' own servers, where packets to them carry no mark of ours.
    pub endpoints: Vec<Endpoint>,
    /// Packets of these users.
    pub uids: Vec<Ids>,
    /// Packets of these groups.
    pub gids: Vec<Ids>,
    /// Packets of these control groups.
    pub cgroups: Vec<Cgroup>,
    /// Packets with these marks, set by other rules or programs.
    pub marks: Vec<Mark>,
    /// UDP ports of servers on this host that may answer the outside under a kill switch. Without one, and for TCP,
    /// answers are recognised by connection tracking.
    pub served_udp: Vec<u16>,
}

impl Default for Bypass {
    fn default() -> Self {
        Self {
            private: true,
            networks: Vec::new(),
            endpoints: Vec::new(),
            uids: Vec::new(),
            gids: Vec::new(),
            cgroups: Vec::new(),
            marks: Vec::new(),
            served_udp: Vec::new(),
        }
    }
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// How it is spoken to.
    pub transport: Transport,
    /// Where it is.
    pub addr: SocketAddr,
}

/// User or group ids, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ids {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

impl std::fmt::Display for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// A packet's mark, as far as `mask` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// What the mark is.
    pub value: u32,
    /// The bits that are compared; all of them: `u32::MAX`.
    pub mask: u32,
}

/// Why options make no rules.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// Port 0.
    #[error("the listener has no port: set `redir-port` or `tproxy-port`")]
    NoPort,
    /// Rules that capture the proxy's own packets are a loop.
    #[error(
        "the proxy's own packets cannot be told from others: set `routing-mark`, or name its user, group or cgroup"
    )]
    NoOwner,
    /// Nothing is captured.
    #[error("nothing is captured: name an interface, or capture this host itself")]
    NothingCaptured,
    /// A mark of ours that our rules use for something else.
    #[error("the mark {0:#x} has bits of {CAPTURE_MASK:#x}, which mark captured packets ({CAPTURE_MARK:#x})")]
    MarkTaken(u32),
    /// A range that begins after its end.
    #[error("the range {first}-{last} is empty")]
    EmptyRange {
        /// Its first id.
        first: u32,
        /// Its last id.
        last: u32,
    },
    /// A mark that would match every packet.
    #[error("a mark with mask 0 is the mark of every packet")]
    EmptyMask,
    /// Two listeners cannot have one port.
    #[error("port {0} is the DNS server's and the listener's")]
    SamePort(u16),
}

impl Options {
    /// Whether these make rules.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn check(&self) -> Result<(), OptionsError> {
        if self.port == 0 || self.dns == Some(0) {
            return Err(OptionsError::NoPort);
        }
        // A DNS server and a REDIRECT listener both take TCP.
        if self.dns == Some(self.port) {
            return Err(OptionsError::SamePort(self.port));
        }
        let Owner { mark, uid, gid, cgroup } = &self.owner;
        if *mark == 0 && uid.is_none() && gid.is_none() && cgroup.is_none() {
            return Err(OptionsError::NoOwner);
        }
        if !self.host && self.interfaces.is_empty() {
            return Err(OptionsError::NothingCaptured);
        }
        if mark & CAPTURE_MASK != 0 {
            return Err(OptionsError::MarkTaken(*mark));
        }
        for ids in self.bypass.uids.iter().chain(&self.bypass.gids) {
            if ids.first > ids.last {
                return Err(OptionsError::EmptyRange { first: ids.first, last: ids.last });
            }
        }
        for mark in &self.bypass.marks {
            if mark.mask == 0 {
                return Err(OptionsError::EmptyMask);
            }
            if mark.mask & CAPTURE_MASK != 0 && mark.value & mark.mask & CAPTURE_MASK == CAPTURE_MARK {
                return Err(OptionsError::MarkTaken(mark.value));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_loop_or_do_nothing_is_refused() {
        let good =
            Options { port: 7893, host: true, owner: Owner { mark: 1, ..Owner::default() }, ..Options::default() };
        good.check().unwrap();
        let bypass = |bypass| Options { bypass, ..good.clone() };
        for (bad, why) in [
            (Options { port: 0, ..good.clone() }, OptionsError::NoPort),
            (Options { dns: Some(7893), ..good.clone() }, OptionsError::SamePort(7893)),
            (Options { owner: Owner::default(), ..good.clone() }, OptionsError::NoOwner),
            (Options { host: false, ..good.clone() }, OptionsError::NothingCaptured),
            (
                Options { owner: Owner { mark: 0x0100_0001, ..Owner::default() }, ..good.clone() },
                OptionsError::MarkTaken(0x0100_0001),
            ),
            (
                bypass(Bypass { uids: vec![Ids { first: 2, last: 1 }], ..Bypass::default() }),
                OptionsError::EmptyRange { first: 2, last: 1 },
            ),
            (bypass(Bypass { marks: vec![Mark { value: 0, mask: 0 }], ..Bypass::default() }), OptionsError::EmptyMask),
            (
                bypass(Bypass { marks: vec![Mark { value: CAPTURE_MARK, mask: u32::MAX }], ..Bypass::default() }),
                OptionsError::MarkTaken(CAPTURE_MARK),
            ),
        ] {
            assert_eq!(bad.check(), Err(why));
        }
    }
}
