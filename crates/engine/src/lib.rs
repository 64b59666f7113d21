//! Serves connections: route, dial, answer the client, relay.
//!
//! What it is: the [`Engine`], which implements [`adit_net::Handler`] for every inbound; the connection [`Table`]; the
//! UDP flows; and the [`World`] (rules, outbounds, resolver) that a configuration becomes and that is swapped as one.
//!
//! What it is not: it knows no protocol name, no YAML and no socket option.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::Arc;
//!
//! use adit_engine::{Engine, World};
//! use adit_net::{Domain, HostsEntry, SystemResolver};
//! use adit_outbound::Book;
//! use adit_router::{Geo, Mode, Rules, Sources};
//!
//! let resolver = Arc::new(SystemResolver);
//! let rules = Rules::compile(Sources {
//!     rules: &["DOMAIN-SUFFIX,example.com,REJECT".into(), "MATCH,DIRECT".into()],
//!     sub_rules: &[],
//!     providers: &HashMap::new(),
//!     geo: &Geo::default(),
//!     known_target: &|name| matches!(name, "DIRECT" | "REJECT"),
//!     no_resolve_all: false,
//!     processes: false,
//! })
//! .map_err(|errors| format!("{errors:?}"))?;
//! let engine = Engine::new(World {
//!     mode: Mode::Rule,
//!     rules: Arc::new(rules),
//!     book: Book::build(Vec::new(), Vec::new(), resolver.clone(), resolver.clone())?,
//!     hosts: Arc::new(HashMap::<Domain, HostsEntry>::new()),
//!     resolver,
//!     pins: HashMap::new(),
//!     dns: None,
//!     captures_dns: false,
//!     sniffer: None,
//!     processes: None,
//! });
//! assert!(engine.table().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod dials;
mod dns;
mod explain;
mod flow;
mod flows;
mod inner;
mod log;
mod look;
mod names;
mod route;
mod serve;
mod table;
mod world;

pub use dials::{BOUNDS, Dials, Durations};
pub use explain::Explanation;
pub use inner::ByRules;
pub use serve::{Engine, Outcome};
pub use table::{Connection, ConnectionId, Decision, Row, Table, Traffic};
pub use world::{Pin, World};
