//! Ordinary TLS to a proxy server.

use adit_net::Secret;
use adit_outbound::options::{ClientCertificate, Tls, Verify};

use super::flaw::Flaw;

/// TLS settings as written, from YAML keys or the parameters of a share link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Vec<String>,
    pub(crate) skip_verify: bool,
    pub(crate) fingerprint: Option<String>,
    /// PEM texts; files are already read.
    pub(crate) certificate: Option<String>,
    pub(crate) private_key: Option<Secret>,
}

/// TLS to `host` unless `written` names somebody else.
pub(crate) fn options(written: Written, host: &str, flaws: &mut Vec<Flaw>) -> Tls {
    let verify = match written.fingerprint.as_deref().map(pin) {
        Some(Ok(pin)) => Verify::Pin(pin),
        Some(Err(flaw)) => {
            flaws.push(flaw);
            Verify::Roots(Vec::new())
        }
        None if written.skip_verify => Verify::Off,
        None => Verify::Roots(Vec::new()),
    };
    if let Some(long) = written.alpn.iter().find(|name| name.is_empty() || name.len() > 255) {
        flaws.push(Flaw::wrong("alpn", format!("a protocol name has 1 to 255 bytes, this one has {}", long.len())));
    }
    let client_certificate = match (written.certificate, written.private_key) {
        (Some(chain), Some(key)) => Some(ClientCertificate { chain, key }),
        (None, None) => None,
        (Some(_), None) => {
            flaws.push(Flaw::wrong("certificate", "`certificate` needs `private-key` beside it"));
            None
        }
        (None, Some(_)) => {
            flaws.push(Flaw::wrong("private-key", "`private-key` needs `certificate` beside it"));
            None
        }
    };
    let server_name = written.server_name.filter(|name| !name.is_empty());
    Tls { server_name: server_name.unwrap_or_else(|| host.to_owned()), alpn: written.alpn, verify, client_certificate }
}

/// The SHA-256 of a certificate in hexadecimal, colons allowed.
fn pin(text: &str) -> Result<[u8; 32], Flaw> {
    let wrong = || {
        let flaw = Flaw::wrong("fingerprint", "`fingerprint` must be a SHA-256 in hexadecimal (64 digits)");
        match text.parse::<adit_reality::Fingerprint>() {
            Ok(_) => flaw.hint("a browser's name belongs into `client-fingerprint`"),
            Err(_) => flaw,
        }
    };
    let digits: Vec<u8> = text.bytes().filter(|b| !matches!(b, b':' | b' ')).collect();
    if digits.len() != 64 {
        return Err(wrong());
    }
    let mut pin = [0; 32];
    for (byte, pair) in pin.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: Option<&u8>| digit.and_then(|digit| char::from(*digit).to_digit(16));
        let (Some(high), Some(low)) = (nibble(pair.first()), nibble(pair.get(1))) else {
            return Err(wrong());
        };
        *byte = u8::try_from(high << 4 | low).map_err(|_| wrong())?;
    }
    Ok(pin)
}
