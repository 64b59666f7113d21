//! Addresses that stand for names: a client that asks for a name gets one, connects to it, and is known by it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use adit_net::Domain;
use ipnet::IpNet;
use parking_lot::{Condvar, Mutex};

use self::file::{Family, File, FileError, Found};
use self::pool::Pool;
use self::range::Range;
use self::writer::Writer;

mod file;
mod pool;
mod range;
#[cfg(test)]
mod tests;
mod writer;

pub use range::{BadRange, FakeRanges};

/// Places passed over after a process that was killed: as many may have been given out without being written down.
const PASSED_OVER: u32 = 4096;

/// Fake addresses and their names, in both directions.
///
/// A name keeps its address until all addresses of the range were given out; then the address that was not used for
/// longest goes to another name. Every operation takes constant time; a name takes about 100 bytes.
pub struct FakeIp {
    ranges: FakeRanges,
    shared: Arc<Shared>,
    /// Ends, and has written everything, when it is dropped.
    _writer: Option<Writer>,
}

/// What the writer also sees.
struct Shared {
    state: Mutex<State>,
    /// Something is there to be written.
    wake: Condvar,
}

struct State {
    v4: Option<Half>,
    v6: Option<Half>,
    /// What is on the disk is to be forgotten.
    is_cleared: bool,
    is_closing: bool,
}

/// One family.
struct Half {
    range: Range,
    pool: Pool,
}

/// What an address in a fake range stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fake {
    /// This name.
    Name(Domain),
    /// Nothing that is known: it was never given out, or is forgotten.
    Missing,
}

impl FakeIp {
    /// Addresses that end with the process.
    ///
    /// # Errors
    /// See [`BadRange`].
    pub fn new(ranges: FakeRanges) -> Result<Self, BadRange> {
        let state = State::new(&ranges)?;
        Ok(Self { ranges, shared: Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() }), _writer: None })
    }

    /// Addresses that are kept in the file at `path`, and those that it already holds if they are of the same ranges.
    ///
    /// A file that cannot be read is moved to `….bad`, and a new one begun; where that is impossible too, addresses are
    /// kept in memory. Either is logged as a warning. What a name got is on the disk within about 0.1 s: a process that
    /// is killed loses no more. Blocks while the file is read: some ten milliseconds for a full range of 65,000 names; and
    /// dropping the value blocks until everything is written.
    ///
    /// # Errors
    /// See [`BadRange`].
    pub fn open(ranges: FakeRanges, path: &Path) -> Result<Self, BadRange> {
        let mut state = State::new(&ranges)?;
        let texts = [ranges.v4.map(|v4| v4.trunc().to_string()), ranges.v6.map(|v6| v6.trunc().to_string())];
        let found = File::open(path, [texts[0].as_deref(), texts[1].as_deref()]);
        let file = match found.and_then(|found| state.restore(found)) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(
                    file = %path.display(), %error,
                    "fake addresses cannot be kept on disk; clients that remember one will need a new answer after a restart"
                );
                None
            }
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() });
        let writer = file.and_then(|file| Writer::start(file, Arc::clone(&shared)));
        Ok(Self { ranges, shared, _writer: writer })
    }

    /// The ranges it was made with: a new configuration with the same ones takes this pool over.
    #[must_use]
    pub fn ranges(&self) -> FakeRanges {
        self.ranges
    }

    /// The IPv4 address that stands for `name`; `None` without a range for IPv4, or if all addresses are
    /// [held](FakeIp::hold).
    #[must_use]
    pub fn v4(&self, name: &Domain) -> Option<Ipv4Addr> {
        match self.address(Family::V4, name)? {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        }
    }

    /// As [`FakeIp::v4`], for IPv6.
    #[must_use]
    pub fn v6(&self, name: &Domain) -> Option<Ipv6Addr> {
        match self.address(Family::V6, name)? {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip),
        }
    }

    /// Whether there are addresses of that family (`ipv6`: of IPv6) at all.
    #[must_use]
    pub fn has_family(&self, ipv6: bool) -> bool {
        if ipv6 { self.ranges.v6.is_some() } else { self.ranges.v4.is_some() }
    }

    /// What `ip` stands for; `None` if it is not a fake address (the gateway and the broadcast address are not).
    ///
    /// A name that is found counts as used now.
    #[must_use]
    pub fn original(&self, ip: IpAddr) -> Option<Fake> {
        let mut state = self.shared.state.lock();
        let half = state.half(Family::of(ip))?;
        if !half.range.contains(ip) {
            return None;
        }
        let name = half.range.offset(ip).and_then(|at| half.pool.original(at));
        Some(name.map_or(Fake::Missing, Fake::Name))
    }

    /// Keeps `ip` from standing for another name while the returned value lives: for flows that last.
    ///
    /// `None` if `ip` stands for nothing.
    #[must_use]
    pub fn hold(&self, ip: IpAddr) -> Option<Held> {
        let mut state = self.shared.state.lock();
        let half = state.half(Family::of(ip))?;
        let at = half.range.offset(ip)?;
        half.pool.hold(at).then(|| Held { shared: Arc::clone(&self.shared), family: Family::of(ip), at })
    }

    /// Forgets all names, in memory and on disk, and starts again from the first address.
    pub fn flush(&self) {
        let mut state = self.shared.state.lock();
        state.is_cleared = true;
        for half in [Family::V4, Family::V6] {
            if let Some(half) = state.half(half) {
                half.pool = Pool::new(half.range.len());
            }
        }
        self.shared.wake.notify_one();
    }

    fn address(&self, family: Family, name: &Domain) -> Option<IpAddr> {
        let mut state = self.shared.state.lock();
        let half = state.half(family)?;
        let at = half.pool.place(name)?;
        if half.pool.has_changes() {
            self.shared.wake.notify_one();
        }
        Some(half.range.address(at))
    }
}

impl std::fmt::Debug for FakeIp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeIp").field("ranges", &self.ranges).finish_non_exhaustive()
    }
}

/// A fake address that keeps standing for its name. See [`FakeIp::hold`].
pub struct Held {
    shared: Arc<Shared>,
    family: Family,
    at: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(half) = self.shared.state.lock().half(self.family) {
            half.pool.release(self.at);
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Family {
    fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl State {
    fn new(ranges: &FakeRanges) -> Result<Self, BadRange> {
        if ranges.v4.is_none() && ranges.v6.is_none() {
            return Err(BadRange::None);
        }
        let half = |network: Option<IpNet>| network.map(Half::new).transpose();
        let (v4, v6) = (half(ranges.v4.map(IpNet::V4))?, half(ranges.v6.map(IpNet::V6))?);
        Ok(Self { v4, v6, is_cleared: false, is_closing: false })
    }

    fn half(&mut self, family: Family) -> Option<&mut Half> {
        match family {
            Family::V4 => self.v4.as_mut(),
            Family::V6 => self.v6.as_mut(),
        }
    }

    /// Takes over what a file holds, and gives the file back, which then knows where this process begins: of several that
    /// are killed before they have written anything, each must pass over what the others gave out.
    fn restore(&mut self, found: Found) -> Result<File, FileError> {
        let passed_over = if found.is_whole { 0 } else { PASSED_OVER };
        let mut starts = Vec::new();
        for (family, namings, known) in found.families {
            let Some(half) = self.half(family) else { continue };
            for naming in namings {
                half.pool.restore(naming);
            }
            starts.push((family, half.pool.resume(known, passed_over)));
        }
        if !found.is_whole {
            found.file.begin(&starts)?;
        }
        Ok(found.file)
    }
}

impl Half {
    fn new(network: IpNet) -> Result<Self, BadRange> {
        let range = Range::new(network)?;
        Ok(Self { pool: Pool::new(range.len()), range })
    }
}
