//! From a configuration file as written to a plan as meant.
//!
//! What it is: it reads the YAML of Mihomo and its historical quirks, share links, `wg-quick` files ([`import`]), and the
//! local files that a configuration names, and makes of them the options of listeners, outbounds and groups and the
//! compiled rules, in the types of the crates that use them. [`load`] reports everything that is wrong in one go, each
//! [`Problem`] with its line; what comes out as a [`Plan`] cannot be wrong any more.
//!
//! What it is not: it opens no socket, downloads nothing, and starts nothing. No other crate knows YAML.
//!
//! How it reads: `yaml` makes a tree in which everything has its place; `read` takes keys out of it leniently and reports
//! those that nobody took; each section (`general`, `inbound`, `proxy`, `provider`, `group`, `rules`, `dns`, `sniffer`,
//! `hosts`, `controller`) turns its keys into options, with the lists that several of them refer to (`sets`); `plan` puts
//! the sections together.
//!
//! What changes while the daemon runs: providers are downloaded by somebody else, who hands the bytes to
//! [`ProviderPlan::nodes`] or [`RuleProviderPlan::parse`]. Which members groups have then, and what all outbounds are
//! called, is for [`Ways::assemble`] to say. None of these needs the configuration any more.
//!
//! ```
//! use adit_config::{DEFAULT_CONFIG, Source, load};
//!
//! let source = Source {
//!     name: "<built-in>".into(),
//!     text: DEFAULT_CONFIG.into(),
//!     home: ".".into(),
//!     overrides: Default::default(),
//! };
//! let loaded = load(&source);
//! print!("{}", loaded.problems.render(false));
//! let plan = loaded.plan.expect("the default is right");
//! assert_eq!(plan.inbounds[0].options.listen.to_string(), "127.0.0.1:7890");
//! ```

#![forbid(unsafe_code)]

mod context;
mod controller;
mod dns;
mod filter;
mod general;
mod group;
mod home;
mod hosts;
pub mod import;
mod inbound;
mod mask;
mod plan;
mod problem;
mod provider;
mod proxy;
mod read;
mod report;
mod rules;
mod sets;
mod settings;
mod sniffer;
mod source;
mod suggest;
mod vehicle;
mod ways;
mod yaml;

pub use controller::{ControllerPlan, ControllerTls, Cors};
pub use dns::{DnsMode, DnsPlan};
pub use general::{EmptyGroup, FindProcess, General, LogFormat, LogLevel};
pub use group::{Candidate, GroupPlan};
pub use home::may_read;
pub use inbound::{InboundPlan, TransparentPlan};
pub use plan::{Loaded, Plan, load};
pub use problem::{Counts, Problem, Problems, Severity};
pub use provider::{ContentError, Nodes, ProviderPlan, Skipped};
pub use rules::RuleLines;
pub use sets::RuleProviderPlan;
pub use settings::{GeoxUrl, Settings};
pub use source::{Overrides, Source};
pub use vehicle::{Download, Vehicle};
pub use ways::{Assembled, Ways};

/// What runs when there is no configuration: a mixed port on loopback, everything DIRECT. It is `configs/default.yaml`.
pub const DEFAULT_CONFIG: &str = include_str!("../../../configs/default.yaml");

/// Share links of proxies.
pub mod link {
    pub use crate::proxy::links::{LinkError, parse};
}
