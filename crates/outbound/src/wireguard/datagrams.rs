//! One socket inside the tunnel per flow: any destination, any sender (full cone).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_net::{BoxFuture, Datagrams, DialError, Domain, Target};
use adit_wireguard::TunnelSocket;

use super::WireGuard;
use crate::connector::forbidden;
use crate::names::{Outlet, Sender};

/// Opens the socket. The first name is looked up before the flow begins, so that a wrong one is told.
pub(super) async fn open(
    wireguard: &WireGuard,
    target: &Target,
    known: Option<IpAddr>,
) -> Result<Datagrams, DialError> {
    let addresses = wireguard.addresses(target, known).await?;
    let socket = wireguard.inside.socket(&addresses).await?;
    let addresses = addresses.iter().map(SocketAddr::ip).collect();
    let outlet = Arc::new(Inlet { wireguard: wireguard.clone(), socket: socket.clone() });
    Ok(Datagrams { recv: Box::new(socket), send: Box::new(Sender::new(outlet, &target.host, addresses)) })
}

/// A socket inside and the tunnel it belongs to.
struct Inlet {
    wireguard: WireGuard,
    socket: TunnelSocket,
}

impl Outlet for Inlet {
    fn look_up<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, DialError>> {
        Box::pin(async move {
            let addresses = self.wireguard.addresses(&Target::new(name.clone(), 0), None).await?;
            Ok(addresses.iter().map(SocketAddr::ip).collect())
        })
    }

    fn may_send_to(&self, ip: IpAddr) -> bool {
        self.wireguard.inside.has_family_of(ip) && forbidden(ip).is_none()
    }

    /// Nothing tells at once which address there is a way to: it is the first.
    fn poll_send(
        &self,
        cx: Option<&mut Context<'_>>,
        payload: &[u8],
        addresses: &mut [IpAddr],
        port: u16,
    ) -> Poll<io::Result<()>> {
        let Some(to) = addresses.first().map(|ip| SocketAddr::new(*ip, port)) else { return Poll::Ready(Ok(())) };
        match cx {
            Some(cx) => self.socket.poll_send(cx, payload, to).map(Ok),
            None => {
                self.socket.send_or_lose(payload, to);
                Poll::Ready(Ok(()))
            }
        }
    }
}
