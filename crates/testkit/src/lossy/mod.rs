//! A UDP relay that loses, delays, changes and repeats packets on request, and remembers what passed.
//!
//! Its kernel has no part in that: what happens to a packet is drawn from a seed, so a test that fails can be repeated.
//! Packets travel in trains (one system call for many, as senders make them), so it carries more than a gigabit per
//! second beside the programs that are measured.
//!
//! ```
//! use std::net::UdpSocket;
//! use std::time::Duration;
//!
//! use adit_testkit::lossy::{Faults, LossyRelay};
//! use adit_testkit::origin::UdpOrigin;
//!
//! let echo = UdpOrigin::echo("");
//! let relay = LossyRelay::start(echo.addr(), Faults::NONE, Faults::NONE, 1);
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! client.set_read_timeout(Some(Duration::from_secs(5)))?;
//! client.send_to(b"hello", relay.addr())?;
//! assert_eq!(client.recv(&mut [0; 64])?, 5);
//! assert_eq!((relay.up().counts().sent, relay.down().counts().sent), (1, 1));
//! # Ok::<(), std::io::Error>(())
//! ```

mod lane;
mod random;
mod relay;

pub use lane::{Counts, Faults, Loss, Rate};
pub use random::Random;
pub use relay::{Direction, LossyRelay};
