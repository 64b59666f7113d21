//! Drives a REALITY handshake over a stream, and leaves politely when the peer is somebody else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_net::{BoxStream, DialError, Task};
use adit_reality::{
    ClientHandshake, Error, Fault, Impostor, MAX_RECORD, Opener, Options, Progress, Random as _, Sealer, SystemRandom,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// A connection to a server that has proven itself.
pub(super) struct Proven {
    pub(super) io: BoxStream,
    pub(super) opener: Opener,
    pub(super) sealer: Sealer,
    /// Read beyond the handshake, not opened.
    pub(super) received: Vec<u8>,
}

/// Why there is none.
pub(super) enum Unproven {
    /// The peer is not our server. Nothing of the user's was sent.
    Stranger(String),
    /// Anything else.
    Failed(DialError),
}

/// Shakes hands over `io`. No deadline of its own. A stranger is left to `farewells`.
///
/// # Cancel safety
/// Dropping the future closes the stream.
pub(super) async fn shake_hands(
    mut io: BoxStream,
    options: &Options,
    farewells: &Farewells,
) -> Result<Proven, Unproven> {
    let mut handshake = ClientHandshake::new(options, &mut SystemRandom, unix_time()).map_err(Unproven::from)?;
    io.write_all(&handshake.take_output()).await.map_err(lost)?;
    let mut received = Vec::with_capacity(MAX_RECORD);
    loop {
        if io.read_buf(&mut received).await.map_err(lost)? == 0 {
            return Err(Unproven::Failed(DialError::Protocol(
                "the server closed the connection during the REALITY handshake (its target may be unreachable)".into(),
            )));
        }
        let progress = handshake.feed(&mut received);
        let output = handshake.take_output();
        match progress {
            Ok(Progress::NeedMore { consumed }) => {
                received.drain(..consumed);
            }
            Ok(Progress::Done { consumed, established }) => {
                io.write_all(&output).await.map_err(lost)?;
                received.drain(..consumed);
                // Most often nothing: then it would only hold memory.
                received.shrink_to_fit();
                tracing::debug!(suite = established.negotiated.suite, group = established.negotiated.group, "REALITY");
                return Ok(Proven { io, opener: established.opener, sealer: established.sealer, received });
            }
            Ok(Progress::NotReality { impostor, .. }) => {
                let why = impostor.explanation();
                farewells.leave(io, *impostor, output);
                return Err(Unproven::Stranger(why));
            }
            Err(error) => {
                // The alert; the connection is lost whether it arrives or not.
                let _ = io.write_all(&output).await;
                let _ = io.shutdown().await;
                return Err(error.into());
            }
        }
    }
}

impl From<Error> for Unproven {
    fn from(error: Error) -> Self {
        match error.fault() {
            Fault::NotReality => Self::Stranger(format!("REALITY: {error}")),
            _ => Self::Failed(DialError::Protocol(format!("REALITY: {error}"))),
        }
    }
}

fn lost(source: std::io::Error) -> Unproven {
    Unproven::Failed(DialError::Io { context: "REALITY handshake".into(), source })
}

/// Seconds, as the session id carries them. The server may compare them with its own clock.
fn unix_time() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Connections to strangers that end as a browser's would: a look at the page, then a clean close (spec §2.9). An
/// outbound that is dropped drops them too.
#[derive(Debug, Default)]
pub(super) struct Farewells(Mutex<Vec<Task<()>>>);

impl Farewells {
    /// Sends `output`, our Finished, and leaves in the background. Beyond [`MOST`] at once, just closes.
    fn leave(&self, io: BoxStream, impostor: Impostor, output: Vec<u8>) {
        let mut under_way = self.0.lock();
        under_way.retain(|task| !task.is_finished());
        if under_way.len() < MOST {
            under_way.push(Task::spawn("leave a stranger", async move {
                // Whatever happens, it happened to a stranger.
                let _ = timeout(LONGEST, browse_and_leave(io, impostor, output)).await;
            }));
        }
    }
}

async fn browse_and_leave(mut io: BoxStream, mut impostor: Impostor, output: Vec<u8>) -> std::io::Result<()> {
    io.write_all(&output).await?;
    io.write_all(&impostor.browse()).await?;
    let mut page = vec![0; 4096];
    let _ = timeout(linger(), async { while io.read(&mut page).await.is_ok_and(|n| n > 0) {} }).await;
    io.write_all(&impostor.close()).await?;
    io.shutdown().await
}

/// 5 to 14 seconds.
fn linger() -> Duration {
    let mut byte = [0];
    SystemRandom.fill(&mut byte);
    Duration::from_millis(5000 + u64::from(byte[0]) * 35)
}

const LONGEST: Duration = Duration::from_secs(15);
const MOST: usize = 8;
