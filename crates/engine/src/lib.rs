//! Serves connections: route, dial, answer the client, relay.
//!
//! What it is: the [`Engine`], which implements [`adit_net::Handler`] for every inbound; the connection [`Table`]; the
//! UDP flows; and the [`World`] (rules, outbounds, resolver) that a configuration becomes and that is swapped as one.
//!
//! What it is not: it knows no protocol name, no YAML and no socket option.

#![forbid(unsafe_code)]

mod explain;
mod flow;
mod flows;
mod log;
mod route;
mod serve;
mod table;
mod world;

pub use explain::Explanation;
pub use serve::{Engine, Outcome};
pub use table::{Connection, Decision, Row, Table};
pub use world::{Mode, Pin, World};
