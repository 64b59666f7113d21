//! HTTP: tunnels (CONNECT) and forwarded requests, RFC 9110 and RFC 9112.
//!
//! A request with an absolute-form target is forwarded by an HTTP/1.1 client of our own, which reaches the origin through
//! the same handler as every tunnel, at the far end of a pipe. Both connections persist where their ends allow it, and
//! what one origin leaves behind is never taken for the answer of another.
//!
//! A client of HTTP/1.0 gets responses whose bodies end with the connection where the origin sent chunks, no interim
//! responses, and a persistent connection only where it asks for one and the response has a length.

mod body;
pub mod chunked;
mod conversation;
mod exchange;
mod fields;
mod origin;
mod pipe;
pub(crate) mod reply;
pub mod request;
pub mod response;
mod uri;

use std::sync::Arc;

pub(crate) use self::conversation::Conversation;
use self::request::{Bad, Reader, Version, Wish};
use crate::client::{Client, Refusal};
use crate::door::Door;

/// A request of a client that may make it.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) wish: Wish,
    pub(crate) version: Version,
    pub(crate) user: Option<Arc<str>>,
}

/// Waits for a whole request head. `known`: whom the client proved to be by an earlier request on this connection.
pub(crate) async fn hear(client: &mut Client, door: &Door, known: Option<&Arc<str>>) -> Result<Heard, Refusal> {
    let mut reader = Reader::default();
    let request = client.message(|input| reader.read(input), refuse).await?;
    let users = &door.options.users;
    let user = match request.credentials {
        Some(credentials) => {
            let (name, password) = credentials.parts();
            users
                .judge(client.addr, name, password)
                .map_err(|_| Refusal::told(reply::challenge(), "wrong user or password"))?
        }
        None if !users.must_prove(client.addr) => None,
        None => match known {
            Some(user) => Some(user.clone()),
            None => return Err(Refusal::told(reply::challenge(), "no credentials")),
        },
    };
    Ok(Heard { wish: request.wish, version: request.version, user })
}

fn refuse(why: Bad) -> Refusal {
    match why.status() {
        Some(status) => Refusal::told(reply::last_answer(status), why),
        None => Refusal::silent(why),
    }
}
