//! DNS over UDP (RFC 1035 §4.2.1), one socket for each question: its port is as hard to guess as its id (RFC 5452).

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use adit_net::{RecvDatagram, Target};
use tokio::io::ReadBuf;
use tokio::time::timeout;

use super::{Reach, UpstreamError, random_id};
use crate::message::{Extension, Question, id_of, is_truncated};
use crate::response::{Response, read_response};

/// How long the first answer may take before the question is sent again; doubled each time.
const RETRANSMIT: Duration = Duration::from_secs(1);
/// How often a question is sent in all: at 0, 1 and 3 seconds.
const ATTEMPTS: u32 = 3;
/// More than we announce, for servers that do not care.
const BUFFER: usize = 4096;

/// Asks by UDP; `None` if the answer did not fit.
pub(super) async fn ask(
    reach: &Reach,
    question: &Question,
    extension: Extension,
) -> Result<Option<Response>, UpstreamError> {
    let (mut sockets, server) = reach.datagrams().await?;
    let id = random_id()?;
    let query = question.encode(id, extension)?;
    let mut buffer = vec![0; BUFFER];
    for attempt in 0..ATTEMPTS {
        poll_fn(|cx| sockets.send.poll_send(cx, &query, &server)).await?;
        let answer = receive(&mut *sockets.recv, &mut buffer, &server, question, id);
        if let Ok(answer) = timeout(RETRANSMIT * 2_u32.pow(attempt), answer).await {
            return Ok(answer?);
        }
    }
    Err(UpstreamError::Silent)
}

/// Waits for the answer and passes over everything else: it may be forged, and the real one still on its way
/// (RFC 5452 §9.1).
async fn receive(
    recv: &mut dyn RecvDatagram,
    buffer: &mut [u8],
    server: &Target,
    question: &Question,
    id: u16,
) -> io::Result<Option<Response>> {
    loop {
        let mut room = ReadBuf::new(buffer);
        let from = poll_fn(|cx| recv.poll_recv(cx, &mut room)).await?;
        let message = room.filled();
        if from != *server || id_of(message) != Some(id) {
            continue;
        }
        if is_truncated(message) {
            return Ok(None);
        }
        match read_response(message, question, id) {
            Ok(response) => return Ok(Some(response)),
            Err(error) => tracing::debug!(%server, %error, "passed over a datagram that is no answer"),
        }
    }
}
