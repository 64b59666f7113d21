//! The REST API that dashboards made for Mihomo speak, the built-in dashboard, and metrics.
//!
//! What it is: HTTP/1.1 listeners ([`Controller`]) on TCP, TLS and a Unix socket; who may use them ([`Options`]); every
//! endpoint, as a view of an [`adit_engine::Engine`] and of what else the program can do ([`Daemon`]); the log as a stream
//! ([`LogFeed`]).
//!
//! What it is not: it reads no configuration, stores nothing, and decides nothing about traffic.
//!
//! ```
//! use adit_controller::{Controller, Options};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let options = Options { tcp: Some("127.0.0.1:0".parse().expect("an address")), ..Options::default() };
//! let controller = Controller::bind(options)?;
//! assert_ne!(controller.tcp_addr().expect("it was asked for").port(), 0);
//! // … and `controller.run(daemon, shutdown).await` answers until the shutdown starts.
//! # std::io::Result::Ok(())
//! # })?;
//! # std::io::Result::Ok(())
//! ```
//!
//! To read first: `api/mod.rs` is the table of endpoints, `gate.rs` says who may use them, `stream.rs` sends what never
//! ends.

#![forbid(unsafe_code)]

mod api;
mod attempts;
mod cors;
mod daemon;
mod files;
mod gate;
mod json;
mod logs;
mod metrics;
mod options;
mod process;
mod server;
mod stream;
mod time;
mod ui;

pub use daemon::{
    Daemon, DnsError, DnsMessage, FindProcessName, Flaw, LogLevel, ModeName, Patch, ProviderKind, ProxyProvider,
    Reload, ReloadFrom, RuleProvider, Storage, Subscription, Vehicle, Verdict,
};
pub use logs::{EventText, LogFeed};
pub use options::{Cors, Options, TlsListener};
pub use server::Controller;
pub use time::Rfc3339;
