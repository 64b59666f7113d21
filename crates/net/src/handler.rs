//! What inbounds feed.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;

use crate::{BoxStream, ClientAddr, DialError, Entry, Session, Target};

/// A client that has said where it wants to go and waits for our answer.
pub struct Accepted {
    /// What it asked for.
    pub session: Session,
    /// The client's side. Bytes the client sent after its request are still to be read from it.
    pub stream: BoxStream,
    /// How this inbound says yes or no. Pure: bytes from facts, so it is tested as a table.
    pub reply: &'static dyn Reply,
}

/// How an inbound protocol says yes or no. An empty answer means that the protocol has none.
pub trait Reply: Sync {
    /// The bytes that tell the client it is connected.
    fn accepted(&self) -> Cow<'static, [u8]>;
    /// The bytes that tell the client why not. The connection is closed after them.
    fn refused(&self, why: &DialError) -> Cow<'static, [u8]>;
}

/// A datagram from a client, and the way back to it. A `Session` is made once per flow and target, not per packet.
pub struct Packet {
    /// The door it came through. Shared by all packets of a listener and user.
    pub entry: Arc<Entry>,
    /// Who sent it.
    pub client: ClientAddr,
    /// Where to.
    pub target: Target,
    /// Differentiated services code point, 0 to 63, where the inbound is told it (TPROXY); otherwise 0.
    pub dscp: u8,
    /// What.
    pub payload: Bytes,
    /// The way back.
    pub back: Arc<dyn ReturnPath>,
}

/// The way back to one client of a UDP inbound.
pub trait ReturnPath: Send + Sync {
    /// Sends to the client, as if from `from`. Never waits: a full socket drops the datagram, as a network would.
    ///
    /// # Errors
    /// An error means that the client is gone for good (its association ended); the flow then ends too.
    fn send(&self, from: &Target, payload: &[u8]) -> io::Result<()>;

    /// As [`ReturnPath::send`], for datagrams that come together.
    ///
    /// # Errors
    /// As [`ReturnPath::send`].
    fn send_batch(&self, from: &Target, payloads: &[IoSlice<'_>]) -> io::Result<()> {
        payloads.iter().try_for_each(|payload| self.send(from, payload))
    }
}

/// What inbounds feed. `engine` implements it; tests use a recording one.
pub trait Handler: Send + Sync + 'static {
    /// Serves one client connection to its end.
    fn tcp(&self, client: Accepted) -> impl Future<Output = ()> + Send;
    /// Takes one datagram. Never waits: a full inbox drops it.
    fn udp(&self, packet: Packet);
}
