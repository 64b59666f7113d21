//! A small theatre for tests that run real programs against each other.
//!
//! What it is: guards for the processes of a scene ([`peers`]: two generations of Xray, Mihomo, sing-box, and adit
//! itself), network namespaces with a WireGuard peer ([`lab`]), origins to talk to ([`origin`]), clients to talk with
//! ([`client`] and [`programs`]), middlemen that cut, slow and lose ([`middleman`], [`lossy`]), content that can be checked
//! anywhere ([`data`]), and what the system says about a process ([`Process::usage`]).
//!
//! What it is not: a mock. Everything that can be run for real is run for real; `scripts/setup` installs it.
//!
//! It fails by panicking with what happened, because a test is its only caller. It is never published and nothing but
//! tests and benchmarks depends on it.
//!
//! ```
//! use std::io::{Read, Write};
//!
//! let echo = adit_testkit::origin::TcpOrigin::echo();
//! let mut stream = std::net::TcpStream::connect(echo.addr())?;
//! stream.write_all(b"hello")?;
//! let mut back = [0; 5];
//! stream.read_exact(&mut back)?;
//! assert_eq!(&back, b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a testkit fails by panicking; tests are its only caller")]
#![expect(clippy::disallowed_methods, reason = "threads of a test may sleep; there is no runtime here to block")]

pub mod bridge;
pub mod cache;
pub mod certificate;
pub mod client;
pub mod data;
pub mod lab;
pub mod lossy;
pub mod middleman;
pub mod mldsa;
pub mod origin;
pub mod peers;
mod ports;
mod process;
pub mod programs;
mod scratch;
pub mod stage;
pub mod subject;
pub mod tls;

pub use ports::{free_port, is_listening, wait_for_port};
pub use process::{Process, Usage, reset_on_close};
pub use scratch::Scratch;
