//! The text that an outbound was made of, by which a reload knows that it is still the same.

use std::fmt::Write as _;

use adit_net::Secret;
use adit_outbound::options::{ClientCertificate, Kind, Outbound, Tls};
use adit_outbound::vless::Security;

/// Keeps `text`, what the outbound says of itself, together with what else went into it: global settings, what a provider
/// forces on it, the content of files. Without a text the outbound is never the same.
pub(crate) fn write(outbound: &mut Outbound, text: Option<String>, ipv6: bool) {
    let Some(mut text) = text else { return };
    let common = &outbound.common;
    let (socket, tls) = (&common.socket, tls(&outbound.kind));
    // Writing to a text cannot fail.
    let _ = write!(
        text,
        "\n{} {:?} {:?} {ipv6} {} {:?} {:?} {:?}",
        socket.mark,
        socket.interface,
        socket.keep_alive,
        common.udp,
        common.ip_version,
        common.dialer_proxy,
        common.provider
    );
    if let Some(tls) = tls {
        let _ = write!(text, " {:?}", tls.verify);
        if let Some(ClientCertificate { chain, key }) = &tls.client_certificate {
            let _ = write!(text, " {chain} {}", key.reveal());
        }
    }
    outbound.common.written = Some(Secret::new(text));
}

fn tls(kind: &Kind) -> Option<&Tls> {
    match kind {
        Kind::Socks5(options) => options.tls.as_ref(),
        Kind::Http(options) => options.tls.as_ref(),
        Kind::Vless(options) => match &options.security {
            Security::Tls(tls) => Some(tls),
            _ => None,
        },
        _ => None,
    }
}
