//! Ending a conversation with a last word that arrives.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::Stream;

/// At most this long for the last words to be taken, and again for the peer to close.
const PATIENCE: Duration = Duration::from_secs(2);

/// At most this much of what the peer still sends is read and thrown away.
const DRAINED: usize = 64 * 1024;

/// Sends `last_words` and [lingers](linger). Without words it closes at once.
///
/// Errors are not reported: there is nobody left to tell.
///
/// # Cancel safety
/// Dropping the future closes the stream at once.
pub async fn farewell(mut stream: impl Stream, last_words: &[u8]) {
    if last_words.is_empty() {
        return;
    }
    if let Ok(Ok(())) = timeout(PATIENCE, stream.write_all(last_words)).await {
        linger(stream).await;
    }
}

/// Ends our direction and closes, but not in a way that could take back what was written.
///
/// A socket that is closed with unread input resets the connection, and a reset may overtake words on their way. So
/// what the peer still sends is read for a moment: until it closes, 64 KiB or two seconds, whichever comes first.
///
/// # Cancel safety
/// As [`farewell`].
pub async fn linger(mut stream: impl Stream) {
    let goodbye = async {
        stream.shutdown().await?;
        let mut sink = vec![0; 4096];
        let mut left = DRAINED;
        while left > 0 {
            match stream.read(&mut sink).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        std::io::Result::Ok(())
    };
    // Either way the connection ends here.
    let _ = timeout(PATIENCE, goodbye).await;
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// F-A2
    #[tokio::test]
    async fn the_last_words_arrive_although_input_was_never_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(&[7; 20_000]).await.unwrap();
        let server = crate::Task::spawn("server", async move { farewell(server, b"no").await });
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"no");
        drop(client);
        server.join().await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_never_stops_sending_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let server = crate::Task::spawn("server", async move { farewell(server, b"no").await });
        while client.write_all(&[7; 4096]).await.is_ok() {}
        server.join().await.unwrap();
    }
}
