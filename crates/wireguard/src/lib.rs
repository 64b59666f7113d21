//! A WireGuard tunnel in user space, with a small IP stack inside: no kernel module, no TUN device, no privileges.
//!
//! Everything below `Core` is sans-IO: bytes, time and randomness come in as arguments, bytes and deadlines go out.
//! One driver task per tunnel owns the UDP socket and the clock.
//!
//! What it is not: a VPN for the host. It changes no route and sees no packet of any other program; only what is
//! dialled through it enters the tunnel.
//!
//! ```
//! use adit_wireguard::PrivateKey;
//!
//! let key: PrivateKey = "eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=".parse()?;
//! assert_eq!(key.public_key().to_string(), "Cr8hWlKvtDt7nrvf+f0brNQQzabAqrjfBvas9pmowjo=");
//! # Ok::<(), adit_wireguard::KeyError>(())
//! ```
#![forbid(unsafe_code)]

mod allowed_ips;
mod core;
#[cfg(test)]
mod core_tests;
mod device;
#[cfg(test)]
mod device_tests;
mod driver;
mod inner;
mod key;
mod moment;
mod noise;
pub mod options;
mod outbox;
mod peer;
pub mod stack;
#[cfg(feature = "testing")]
pub mod testing;

pub use self::core::Core;
pub use device::{Device, NoPeer, PeerId};
pub use driver::{Locate, Outer, PeerStatus, Tunnel, TunnelSocket, TunnelStream, Way};
pub use key::{KeyError, PresharedKey, PrivateKey, PublicKey};
pub use moment::{Clock, Moment};
pub use options::Options;
pub use outbox::{Outbox, Train};
pub use peer::{Link, Status};
