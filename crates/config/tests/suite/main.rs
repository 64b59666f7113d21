//! The configuration as its users meet it: files in, plans and diagnostics out.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod configs;
mod controller;
mod diagnostics;
mod dns;
mod docs;
mod groups;
mod import;
mod inbounds;
mod links;
mod migrating;
mod overrides;
mod providers;
mod proxies;
mod scene;
mod sniffer;
mod transparent;
mod wireguard;
mod yaml;
