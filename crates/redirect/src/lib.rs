//! Host rules: what makes a Linux host send traffic through a transparent proxy that knows nothing of proxies.
//!
//! What it is: typed [`Options`] become a [`Plan`], an nftables table of our own and, for TPROXY, the policy routing that
//! goes with it. A plan can be carried out ([`up`], [`down`]) or printed ([`Plan::script`]); both are the same text.
//! Where there is no `nft`, the same rules go into chains of our own in iptables ([`Firewall`]).
//!
//! What it is not: it opens no socket and knows no listener; it does not watch what it installed.
//!
//! [`doctor`] says what keeps a host from being captured, and what to do about it.
//!
//! # What holds
//! * Installing twice is installing once, and each change of the rules is atomic.
//! * [`down`] leaves the rules, routes and tables of the host as they were.
//! * Packets of the proxy itself are never captured; they are known by mark, user, group or control group ([`Owner`]).
//! * Without [`Options::kill_switch`], traffic is captured only while the proxy sends its pulse: a datagram each second,
//!   over the loopback interface, to its own port. Five seconds after the last one the rules let everything through, so a
//!   crash cuts nobody off.
//! * With it, no packet of a captured source leaves this host except through the proxy, whether that runs or not.
//!
//! ```
//! use adit_redirect::{Mode, Options, Owner, Plan};
//!
//! let options = Options {
//!     mode: Mode::Tproxy,
//!     port: 7893,
//!     dns: Some(1053),
//!     owner: Owner { mark: 0x2d, ..Owner::default() },
//!     host: true,
//!     interfaces: vec!["lan0".parse()?, "br-*".parse()?],
//!     ..Options::default()
//! };
//! let script = Plan::up(&options)?.script();
//! assert!(script.contains("table inet adit {"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod apply;
pub mod doctor;
mod host;
mod iptables;
mod kernel;
mod names;
mod options;
mod plan;
mod table;

pub use apply::{ApplyError, down, up};
pub use names::{BadName, Cgroup, Interface};
pub use options::{Bypass, Endpoint, Ids, Mark, Mode, Options, OptionsError, Owner, Transport};
pub use plan::{Family, Firewall, Plan, Presence, Step};

/// The mark of captured packets on their way to the listener, within [`CAPTURE_MASK`] of a packet's mark.
pub const CAPTURE_MARK: u32 = 0xad00_0000;

/// The bits of packet and connection marks that belong to us. Other programs' bits stay as they are.
pub const CAPTURE_MASK: u32 = 0xff00_0000;

/// Our bits in the mark of a connection that somebody outside opened to this host or through it.
const INBOUND_MARK: u32 = 0xae00_0000;

/// The routing table that delivers captured packets here, and the preference of the rule that leads to it.
pub const ROUTING_TABLE: u32 = 2769;

/// The nftables table, of family `inet`.
pub const TABLE: &str = "adit";
