//! File descriptors are the first thing a busy proxy runs out of.
//!
//! [`raise_descriptor_limit`] is called once at start-up; accept loops ask [`is_scarce`] about each descriptor they are
//! given, so that the last [`RESERVE`] of them stay free for what must go on working when clients have taken the rest:
//! outbound connections of the clients already served, DNS, the controller.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Accept loops stop while fewer descriptors than this are left.
pub(crate) const RESERVE: u64 = 32;

/// Raises the soft limit on open files to the hard one and returns the limit now in force ([`u64::MAX`]: none).
///
/// # Errors
/// The system's error if it refuses; the old limit then stays.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Whether a descriptor that was just opened comes out of the reserve.
///
/// The kernel hands out the lowest free number, so every lower number is in use: the number itself says how many are.
#[must_use]
pub fn is_scarce(just_opened: RawFd) -> bool {
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return false;
    };
    u64::try_from(just_opened).is_ok_and(|number| number >= limit.saturating_sub(RESERVE))
}

/// Whether a descriptor opened now would come out of the reserve. Costs two system calls; asked only when the answer
/// was yes a moment ago.
pub(crate) fn would_be_scarce(any: impl AsFd) -> bool {
    fcntl_dupfd_cloexec(any, 0).map_or(true, |copy| is_scarce(copy.as_raw_fd()))
}
