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
            Ok(Progress::NotReality { consumed, impostor }) => {
                let why = impostor.explanation();
                received.drain(..consumed);
                farewells.leave(io, *impostor, output, received);
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
    /// Sends `output`, our Finished, and leaves in the background; `received` is what the site has already said after its
    /// own. Beyond [`MOST`] at once, just closes.
    fn leave(&self, io: BoxStream, impostor: Impostor, output: Vec<u8>, received: Vec<u8>) {
        let mut under_way = self.0.lock();
        under_way.retain(|task| !task.is_finished());
        if under_way.len() < MOST {
            under_way.push(Task::spawn("leave a stranger", async move {
                // Whatever happens, it happened to a stranger.
                let _ = timeout(LONGEST, browse_and_leave(io, impostor, output, received)).await;
            }));
        }
    }
}

async fn browse_and_leave(
    mut io: BoxStream,
    mut impostor: Impostor,
    output: Vec<u8>,
    mut received: Vec<u8>,
) -> std::io::Result<()> {
    io.write_all(&output).await?;
    io.write_all(&impostor.browse()).await?;
    let reading = async {
        // Ends with the site, or when there is nothing left to be polite about.
        while let Ok((consumed, answer)) = impostor.listen(&mut received) {
            received.drain(..consumed);
            if io.write_all(&answer).await.is_err() || io.read_buf(&mut received).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    let _ = timeout(linger(), reading).await;
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

#[cfg(test)]
mod tests {
    use adit_reality::Alert;
    use adit_reality::testing::{Identity, Sabotage, Script, TestServer};
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::vless::testing::Memory;

    /// Runs a server until the client has gone; returns it with the moments of its answers' end.
    async fn serve(mut socket: DuplexStream, mut server: TestServer) -> TestServer {
        let mut bytes = vec![0; 4096];
        while let Ok(n @ 1..) = socket.read(&mut bytes).await {
            server.receive(&bytes[..n]);
            if socket.write_all(&server.take_output()).await.is_err() {
                break;
            }
        }
        server
    }

    async fn meet(options: &Options, server: TestServer) -> (Result<Proven, Unproven>, Farewells, Task<TestServer>) {
        let (ours, theirs) = duplex(100_000);
        let server = Task::spawn("server", serve(theirs, server));
        let farewells = Farewells::default();
        let met = shake_hands(Box::new(Memory(ours)), options, &farewells).await;
        (met, farewells, server)
    }

    /// F-F1: a peer that does not know us gets a browser's visit and a clean close, after seconds, and nothing else.
    #[tokio::test(start_paused = true)]
    async fn a_stranger_is_left_as_a_browser_would() {
        for h2 in [true, false] {
            let mut options = Identity::new(1).options();
            options.short_id = "ff".parse().unwrap();
            let script = Script { site_chooses_h2: h2, ..Script::default() };
            let start = Instant::now();
            let (met, farewells, server) = meet(&options, TestServer::new(Identity::new(1), script)).await;
            let Err(Unproven::Stranger(why)) = met else { panic!("a stranger") };
            assert!(why.contains("short-id"), "{why}");
            assert_eq!(start.elapsed(), Duration::ZERO, "the caller does not wait for the farewell");
            let server = server.join().await.unwrap();
            assert!((5..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
            let received = server.received();
            assert_eq!((received.finished, &received.alerts[..]), (Some(true), &[Alert::CLOSE_NOTIFY][..]));
            assert_eq!(received.data.starts_with(b"PRI * HTTP/2.0"), h2);
            assert_eq!(received.data.is_empty(), !h2);
            drop(farewells);
        }
    }

    /// F-F2: whatever is wrong is an error at once, with the alert that belongs to it.
    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_is_refused_with_its_alert() {
        for (wrong, alert, stranger) in [
            (Sabotage::BadCertificateVerify, Some(Alert::DECRYPT_ERROR), false),
            (Sabotage::BadFinished, Some(Alert::DECRYPT_ERROR), false),
            (Sabotage::AlertInFlight(Alert::HANDSHAKE_FAILURE), None, false),
            (Sabotage::Tls12, Some(Alert::PROTOCOL_VERSION), true),
            (Sabotage::HelloRetry, Some(Alert::HANDSHAKE_FAILURE), true),
            (Sabotage::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), None, true),
            (Sabotage::Raw(b"\x15\x03\x03\x00\x02\x02\x28".to_vec()), None, true),
        ] {
            let script = Script { sabotage: Some(wrong.clone()), ..Script::default() };
            let server = TestServer::new(Identity::new(1), script);
            let (met, _farewells, server) = meet(&Identity::new(1).options(), server).await;
            match met {
                Err(Unproven::Stranger(_)) => assert!(stranger, "{wrong:?}"),
                Err(Unproven::Failed(DialError::Protocol(_))) => assert!(!stranger, "{wrong:?}"),
                _ => panic!("{wrong:?}"),
            }
            let server = server.join().await.unwrap();
            assert_eq!(server.received().alerts, Vec::from_iter(alert), "{wrong:?}");
            assert!(server.received().data.is_empty());
        }
    }

    #[tokio::test]
    async fn an_end_in_the_middle_is_an_error() {
        let (ours, mut theirs) = duplex(100_000);
        let server = async move {
            let mut hello = vec![0; 100];
            theirs.read_exact(&mut hello).await.unwrap();
            theirs.write_all(&[22, 3, 3, 0, 80]).await.unwrap();
        };
        let options = Identity::new(1).options();
        let farewells = Farewells::default();
        let (met, ()) = tokio::join!(shake_hands(Box::new(Memory(ours)), &options, &farewells), server);
        let Err(Unproven::Failed(DialError::Protocol(why))) = met else { panic!("an error") };
        assert!(why.contains("closed"), "{why}");
    }

    /// Empty records that imitate tickets come with the server's Finished; they belong to the opener.
    #[tokio::test]
    async fn what_comes_behind_the_handshake_is_kept() {
        let script = Script { empty_records: vec![10, 200], ..Script::default() };
        let (met, _farewells, server) =
            meet(&Identity::new(1).options(), TestServer::new(Identity::new(1), script)).await;
        let Ok(proven) = met else { panic!("our server") };
        assert!(!proven.received.is_empty());
        drop(proven);
        assert_eq!(server.join().await.unwrap().received().finished, Some(true));
    }
}
