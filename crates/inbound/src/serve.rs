//! One client connection, from its first byte to its end.

use std::sync::Arc;

use adit_net::{Accepted, ClientAddr, Handler, Protocol, Target, farewell};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Kind;
use crate::client::{Client, Refusal};
use crate::door::Door;
use crate::http::{self, Conversation};
use crate::socks4::{self, Socks4Reply};
use crate::socks5::reply::{Socks5Reply, code};
use crate::socks5::{self, wire};
use crate::udp::Association;

/// What a client turned out to want.
enum Wish {
    /// A stream to one target.
    Tunnel(Accepted),
    /// HTTP requests, one after the other.
    Http(Conversation),
    /// Datagrams, for as long as this connection lives.
    Datagrams(Association, TcpStream),
}

/// Serves one client. Everything that is needed only until the target is known lives in boxes that are gone when the
/// tunnel begins, because tunnels are many and idle.
pub(crate) async fn serve<H: Handler>(stream: TcpStream, addr: ClientAddr, door: Arc<Door>, handler: Arc<H>) {
    let accepted = match Box::pin(understand(stream, addr, &door)).await {
        None => None,
        Some(Wish::Tunnel(accepted)) => Some(accepted),
        Some(Wish::Http(conversation)) => Box::pin(conversation.run(door, &handler)).await,
        Some(Wish::Datagrams(association, control)) => {
            association.hold(control, &door.shutdown).await;
            None
        }
    };
    if let Some(accepted) = accepted {
        handler.tcp(accepted).await;
    }
}

/// Finds out what the client wants, within the budget of a handshake. `None`: it was told why not, and is gone.
async fn understand(stream: TcpStream, addr: ClientAddr, door: &Arc<Door>) -> Option<Wish> {
    let mut client = Client::new(stream, addr);
    let refusal = match timeout(door.budgets.handshake, hear(&mut client, door)).await {
        Ok(Ok(heard)) => match grant(client, door, heard).await {
            Ok(wish) => return Some(wish),
            Err(_) => return None,
        },
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal::silent("the handshake took too long"),
    };
    refuse(client, door, refusal).await;
    None
}

/// What a client said, in its protocol.
enum Heard {
    Socks4(Target, Option<Arc<str>>),
    Socks5(socks5::Wish),
    Http(http::Heard),
}

/// Lets the client speak, in the protocol that its first byte begins.
async fn hear(client: &mut Client, door: &Door) -> Result<Heard, Refusal> {
    client.more().await?;
    let first = client.ahead.first().copied().unwrap_or_default();
    match (door.options.kind, first) {
        (Kind::Socks | Kind::Mixed, socks4::VERSION) => {
            let (target, user) = socks4::hear(client, door).await?;
            Ok(Heard::Socks4(target, user))
        }
        (Kind::Socks | Kind::Mixed, wire::VERSION) => Ok(Heard::Socks5(socks5::hear(client, door).await?)),
        (Kind::Socks, _) => Err(Refusal::silent("this is not SOCKS")),
        (Kind::Http | Kind::Mixed, _) => Ok(Heard::Http(http::hear(client, door, None).await?)),
    }
}

/// Turns what was said into what is done.
async fn grant(mut client: Client, door: &Arc<Door>, heard: Heard) -> Result<Wish, Refusal> {
    Ok(match heard {
        Heard::Socks4(target, user) => {
            Wish::Tunnel(door.accepted(client, Protocol::Socks4, user, target, &Socks4Reply))
        }
        Heard::Socks5(socks5::Wish::Connect { target, user }) => {
            Wish::Tunnel(door.accepted(client, Protocol::Socks5, user, target, &Socks5Reply))
        }
        Heard::Socks5(socks5::Wish::UdpAssociate { user, associations }) => {
            let entry = door.datagram_entry(&client, user);
            let association = associations.admit(client.addr, entry);
            let here = door.local_addr(&client);
            client.say(&wire::reply(code::SUCCEEDED, &here.into())).await?;
            Wish::Datagrams(association, client.stream)
        }
        Heard::Http(http::Heard { wish, version, user }) => match wish {
            http::request::Wish::Tunnel(target) => {
                Wish::Tunnel(door.accepted(client, Protocol::Https, user, target, http::reply::to_connect(version)))
            }
            http::request::Wish::Forward(forward) => Wish::Http(Conversation::new(client, forward, version, user)),
        },
    })
}

/// Tells the client and the log why it does not get what it wants.
pub(crate) async fn refuse(client: Client, door: &Door, refusal: Refusal) {
    if let Refusal::Told { answer, why } = refusal {
        door.log_refusal(client.addr, &why);
        farewell(client.stream, &answer).await;
    }
}
