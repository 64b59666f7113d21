//! Every way out but VLESS, built as the configuration builds it and dialled over loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod book;
mod direct;
mod groups;
mod http;
mod scene;
mod socket_factory;
mod socks5;
