//! Looking at what has arrived without taking it.

use std::cell::RefCell;
use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How far one can look, in bytes.
pub const PEEK_LIMIT: usize = 16 * 1024;

thread_local! {
    /// One per worker thread: a connection that waits holds nothing.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; PEEK_LIMIT].into_boxed_slice());
}

/// Shows `look` what `socket` has received, from the first byte on and at most [`PEEK_LIMIT`] of it, and again whenever
/// there is more, until it returns something. Every byte stays in the socket, so that it may still be spliced.
///
/// `None` when there is nothing more to see: the peer has ended without a byte, or the limit is reached. The end of a
/// stream behind bytes is not seen, so the caller sets a deadline.
///
/// # Errors
/// The socket's.
///
/// # Cancel safety
/// Dropping the future loses nothing.
pub async fn peek<T>(socket: &TcpStream, mut look: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
    let mut seen = 0;
    socket
        .async_io(Interest::READABLE, || {
            ROOM.with_borrow_mut(|room| {
                let (count, _) = recv(socket, &mut **room, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
                if count == 0 {
                    return Ok(None);
                }
                if count == seen {
                    // Bytes that are only looked at leave the socket readable: wait for the next ones.
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                seen = count;
                match look(&room[..count]) {
                    None if count < PEEK_LIMIT => Err(io::ErrorKind::WouldBlock.into()),
                    outcome => Ok(outcome),
                }
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;
    use crate::stream::tests::pair;

    #[tokio::test]
    async fn each_arrival_is_shown_from_the_first_byte_on_and_stays() {
        let (mut client, mut socket) = pair().await;
        let (shown, mut saw) = tokio::sync::mpsc::unbounded_channel();
        let looking = peek(&socket, |seen| {
            shown.send(seen.to_vec()).unwrap();
            (seen.len() == 6).then_some(seen.len())
        });
        let writing = async {
            for piece in [b"ab", b"cd", b"ef"] {
                client.write_all(piece).await.unwrap();
                assert!(saw.recv().await.unwrap().ends_with(piece));
            }
        };
        assert_eq!(tokio::join!(looking, writing).0.unwrap(), Some(6));
        assert!(saw.try_recv().is_err(), "shown only when there is more");
        let mut all = [0; 6];
        socket.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"abcdef");
    }

    #[tokio::test]
    async fn an_end_without_a_byte_is_nothing_to_see() {
        let (client, socket) = pair().await;
        drop(client);
        assert_eq!(peek(&socket, |_| Some(())).await.unwrap(), None);
    }

    #[tokio::test]
    async fn nobody_looks_further_than_the_limit() {
        let (mut client, socket) = pair().await;
        client.write_all(&vec![7; 3 * PEEK_LIMIT]).await.unwrap();
        let mut most = 0;
        let outcome = peek(&socket, |seen| {
            most = seen.len();
            None::<()>
        });
        assert_eq!(outcome.await.unwrap(), None);
        assert_eq!(most, PEEK_LIMIT);
    }

    #[tokio::test]
    async fn waiting_for_more_costs_no_turns() {
        let (mut client, socket) = pair().await;
        client.write_all(b"x").await.unwrap();
        let mut looks = 0;
        let looking = peek(&socket, |_| {
            looks += 1;
            None::<()>
        });
        assert!(timeout(Duration::from_millis(50), looking).await.is_err());
        assert_eq!(looks, 1);
    }
}
