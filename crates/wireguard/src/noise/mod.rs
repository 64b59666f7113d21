//! The cryptography of WireGuard, without I/O, time or randomness of its own.
//!
//! The handshake follows the pattern IKpsk2 of Noise; around it are indices, MACs, cookies and timestamps, and after it
//! the transport of data. See docs/decisions/0005.

mod cookie;
mod gate;
mod handshake;
mod message;
mod pattern;
mod replay;
mod session;
mod tai64n;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use cookie::Cookie;
pub(crate) use gate::{Gate, Verdict};
pub(crate) use handshake::{Identity, Initiator, Remote, Responder};
pub(crate) use message::{CookieReply, DATA_HEADER, DATA_OVERHEAD, Data, Initiation, Message, RESPONSE_LEN, Response};
pub(crate) use session::{REKEY_AFTER_MESSAGES, Session};
pub(crate) use tai64n::{Stamper, Tai64n};
pub(crate) use wire::{Kind, Wire};

use thiserror::Error;

/// A source of randomness that may be used for keys. Tests bring a seeded one.
pub(crate) trait Random: rand::RngCore + Send {}

impl<R: rand::RngCore + Send> Random for R {}

/// Why a message was not accepted. Whoever sent it learns nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Rejected {
    /// It answers nothing of ours, or is for a session that is gone.
    #[error("no such session")]
    Unknown,
    /// A key, a MAC or a tag does not fit.
    #[error("not authentic")]
    Forged,
    /// It was there before, or is older than the window.
    #[error("a replay")]
    Replay,
    /// The session has carried as many messages as it may.
    #[error("the session is used up")]
    Exhausted,
}
