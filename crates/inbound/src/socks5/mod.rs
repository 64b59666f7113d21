//! SOCKS5, RFC 1928 and RFC 1929: what a client says until we know what it wants.

pub(crate) mod reply;
pub mod wire;

use std::sync::Arc;

use adit_net::Target;

use self::reply::{answer, code};
use self::wire::{Command, Malformed, VERSION};
use crate::client::{Client, Refusal};
use crate::door::Door;
use crate::udp::Associations;

/// What a SOCKS5 client wants.
#[derive(Debug)]
pub(crate) enum Wish {
    Connect { target: Target, user: Option<Arc<str>> },
    UdpAssociate { user: Option<Arc<str>>, associations: Arc<Associations> },
}

/// Speaks with the client until it has said what it wants. The request itself is not answered yet.
pub(crate) async fn hear(client: &mut Client, door: &Door) -> Result<Wish, Refusal> {
    let user = introduce(client, door).await?;
    let request = client.message(wire::request, refuse_request).await?;
    match request.command {
        Command::Connect if request.target.port == 0 => {
            Err(Refusal::told(answer(code::GENERAL_FAILURE), "CONNECT to port 0"))
        }
        Command::Connect => Ok(Wish::Connect { target: request.target, user }),
        // The address says from where the client is going to send. Clients behind NAT do not know it, so it is not
        // used (RFC 1928 §4 leaves that to the server).
        Command::UdpAssociate => match door.associations.clone() {
            Some(associations) => Ok(Wish::UdpAssociate { user, associations }),
            None => Err(Refusal::told(answer(code::COMMAND_NOT_SUPPORTED), "UDP ASSOCIATE on a listener without UDP")),
        },
        Command::Bind => Err(Refusal::told(answer(code::COMMAND_NOT_SUPPORTED), "BIND is not supported")),
    }
}

/// The greeting, and the credentials if a method with credentials was chosen.
async fn introduce(client: &mut Client, door: &Door) -> Result<Option<Arc<str>>, Refusal> {
    let users = &door.options.users;
    let offer = client.message(wire::greeting, Refusal::silent).await?;
    if offer.no_auth && !users.must_prove(client.addr) {
        client.say(&[VERSION, NO_AUTH]).await?;
        return Ok(None);
    }
    if !offer.password {
        return Err(Refusal::told(&[VERSION, NO_METHOD][..], "no authentication method in common"));
    }
    client.say(&[VERSION, PASSWORD]).await?;
    let addr = client.addr;
    let judged = client
        .message(
            |input| {
                let found = wire::credentials(input)?;
                Ok(found.map(|(given, length)| {
                    // RFC 1929 §2: both have 1 to 255 bytes.
                    let empty = given.name.is_empty() || given.password.is_empty();
                    let judged = users.judge(addr, given.name, given.password).ok();
                    (judged.filter(|_| !empty), length)
                }))
            },
            |why: Malformed| Refusal::told(&AUTH_FAILED[..], why),
        )
        .await?;
    let Some(user) = judged else {
        return Err(Refusal::told(&AUTH_FAILED[..], "wrong user or password"));
    };
    client.say(&AUTH_PASSED).await?;
    Ok(user)
}

fn refuse_request(why: Malformed) -> Refusal {
    let code = match why {
        Malformed::Command(_) => code::COMMAND_NOT_SUPPORTED,
        Malformed::AddressType(_) => code::ADDRESS_TYPE_NOT_SUPPORTED,
        _ => code::GENERAL_FAILURE,
    };
    Refusal::told(answer(code), why)
}

const NO_AUTH: u8 = 0x00;
const PASSWORD: u8 = 0x02;
const NO_METHOD: u8 = 0xFF;

const AUTH_PASSED: [u8; 2] = [1, 0];
const AUTH_FAILED: [u8; 2] = [1, 1];
