//! The server name of a QUIC connection: the ClientHello in a client's Initial packets, versions 1 (RFC 9000, RFC 9001)
//! and 2 (RFC 9369).
//!
//! Initial packets are sealed with keys that follow from the connection id in them. Opening one proves that a client
//! of that version made it, and reveals frames; [`CryptoStream`] makes a hello of those.

mod crypto;
mod keys;
mod packet;

pub use crypto::CryptoStream;
use keys::Keys;
use packet::{Initial, Packet};

use crate::{LIMIT, Verdict};

/// Looks at the first datagrams of one client towards one server.
///
/// Holds nothing until the first Initial packet, then its keys and at most [`LIMIT`] bytes of data with as many flags, and
/// nothing any more once the verdict has fallen. At most [`MAX_DATAGRAMS`] are looked at.
#[derive(Debug)]
pub struct QuicSniffer {
    state: State,
    /// How many more datagrams are looked at.
    left: u8,
}

#[derive(Debug)]
enum State {
    /// No Initial packet was there yet.
    Waiting,
    Collecting(Box<Collecting>),
    /// The verdict has fallen.
    Over(Verdict),
}

struct Collecting {
    keys: Keys,
    /// The largest packet number so far.
    largest: u64,
    crypto: CryptoStream,
}

impl QuicSniffer {
    /// Nothing was seen of the flow.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Waiting, left: MAX_DATAGRAMS }
    }

    /// Looks at the next datagram.
    ///
    /// After a verdict other than [`Verdict::NeedMore`] it stays the same, whatever is fed. Packets that belong to another
    /// connection than the first, cannot be opened, or carry early data are passed over; a datagram that does not begin
    /// like a client's Initial or 0-RTT packet ends the wait.
    pub fn feed(&mut self, datagram: &[u8]) -> Verdict {
        if let State::Over(verdict) = &self.state {
            return verdict.clone();
        }
        let verdict = self.datagram(datagram);
        self.left = self.left.saturating_sub(1);
        let verdict = match verdict {
            Verdict::NeedMore if self.left == 0 => Verdict::NotThis,
            verdict => verdict,
        };
        if verdict != Verdict::NeedMore {
            self.state = State::Over(verdict.clone());
        }
        verdict
    }

    fn datagram(&mut self, datagram: &[u8]) -> Verdict {
        let Some((packet, mut rest)) = packet::split(datagram) else { return Verdict::NotThis };
        let mut verdict = self.packet(packet);
        // Coalesced packets; whatever else follows is padding (RFC 9000 §12.2).
        while verdict == Verdict::NeedMore
            && let Some((packet, after)) = packet::split(rest)
        {
            verdict = self.packet(packet);
            rest = after;
        }
        verdict
    }

    fn packet(&mut self, packet: Packet<'_>) -> Verdict {
        match packet {
            Packet::Initial(initial) if initial.bytes.len() > LIMIT => Verdict::NotThis,
            Packet::Initial(initial) => self.initial(&initial),
            Packet::Early => Verdict::NeedMore,
            Packet::Later => Verdict::NotThis,
        }
    }

    fn initial(&mut self, initial: &Initial<'_>) -> Verdict {
        match &mut self.state {
            State::Waiting => {
                let Some((collecting, verdict)) = Collecting::begin(initial) else { return Verdict::NotThis };
                self.state = State::Collecting(Box::new(collecting));
                verdict
            }
            State::Collecting(collecting) => collecting.go_on(initial),
            State::Over(verdict) => verdict.clone(),
        }
    }
}

impl Default for QuicSniffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Collecting {
    /// None if `initial` is not a client's first.
    fn begin(initial: &Initial<'_>) -> Option<(Self, Verdict)> {
        // RFC 9000 §7.2: the id that a client makes up has at least eight bytes.
        if initial.dcid.len() < 8 {
            return None;
        }
        let keys = Keys::of_client(initial.version, initial.dcid).ok()?;
        let opened = keys.open(initial, None)?;
        let mut crypto = CryptoStream::new();
        let verdict = crypto.read(&opened.frames);
        Some((Self { keys, largest: opened.number, crypto }, verdict))
    }

    /// The client's id stays the same until the server has answered (RFC 9000 §7.2), and so do the keys, which fit no other
    /// id. What a server's Retry changes is not seen here: the flow was decided before it came.
    fn go_on(&mut self, initial: &Initial<'_>) -> Verdict {
        let Some(opened) = self.keys.open(initial, Some(self.largest)) else { return Verdict::NeedMore };
        self.largest = self.largest.max(opened.number);
        self.crypto.read(&opened.frames)
    }
}

impl std::fmt::Debug for Collecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collecting")
            .field("largest", &self.largest)
            .field("crypto", &self.crypto)
            .finish_non_exhaustive()
    }
}

/// How many datagrams of a flow are looked at: enough for a hello of [`LIMIT`] bytes, each sent twice.
pub const MAX_DATAGRAMS: u8 = 32;
