//! The configuration as its users meet it: files in, plans and diagnostics out.

mod configs;
mod diagnostics;
mod inbounds;
mod links;
mod proxies;
mod scene;
mod yaml;
