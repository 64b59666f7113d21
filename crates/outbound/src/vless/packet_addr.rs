//! Datagrams in a stream: packetaddr, the full-cone form of V2Ray 5 and sing-box (spec: vless-reality §6.3).
//!
//! ```text
//!  0        2      3           3+n    5+n
//!  +--------+------+-----------+------+-------
//!  | length | type | address … | port | data …      length counts everything behind itself
//!  +--------+------+-----------+------+-------
//! ```
//!
//! Unlike in VLESS, the address comes before the port, IPv6 has type 2, and names cannot be written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The name that says "this is packetaddr" to the server, in a request with the command UDP.
pub const MAGIC: &str = "sp.packet-addr.v2fly.arpa";

/// The longest packet, address included: what a server's buffer holds.
const MAX_PACKET: usize = 8190;

/// A datagram that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a datagram of {0} bytes is too long for packetaddr")]
pub struct TooLong(pub usize);

/// Appends one datagram.
///
/// # Errors
/// [`TooLong`]; nothing was appended.
pub fn encode(to: SocketAddr, payload: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let address = if to.is_ipv4() { 7 } else { 19 };
    let length = address + payload.len();
    if length > MAX_PACKET {
        return Err(TooLong(payload.len()));
    }
    out.extend_from_slice(&(length as u16).to_be_bytes());
    match to.ip() {
        IpAddr::V4(ip) => {
            out.push(V4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(V6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&to.port().to_be_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// What [`decode`] found at the front of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Not a whole packet yet.
    Incomplete,
    /// A packet.
    Packet {
        /// Bytes of the buffer it occupied.
        consumed: usize,
        /// Who sent it, and its bytes; `None` when it is damaged, which concerns this one only.
        datagram: Option<(SocketAddr, &'a [u8])>,
    },
}

/// Reads one packet from the front of `buf`. The caller drops the bytes it consumed.
#[must_use]
pub fn decode(buf: &[u8]) -> Decoded<'_> {
    let Some((length, rest)) = buf.split_first_chunk() else {
        return Decoded::Incomplete;
    };
    let length = usize::from(u16::from_be_bytes(*length));
    match rest.get(..length) {
        None => Decoded::Incomplete,
        Some(packet) => Decoded::Packet { consumed: 2 + length, datagram: parse(packet) },
    }
}

fn parse(packet: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (&kind, rest) = packet.split_first()?;
    let (ip, rest) = match kind {
        V4 => {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(Ipv4Addr::from(*ip)), rest)
        }
        V6 => {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(Ipv6Addr::from(*ip)), rest)
        }
        _ => return None,
    };
    let (port, payload) = rest.split_first_chunk()?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), payload))
}

const V4: u8 = 1;
const V6: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vless::testing::hex;

    #[test]
    fn packets_have_the_address_before_the_port() {
        let mut out = Vec::new();
        encode("8.8.8.8:53".parse().unwrap(), &hex("dead"), &mut out).unwrap();
        assert_eq!(out, hex("000901080808080035dead"));
        out.clear();
        encode("[2001:db8::1]:53".parse().unwrap(), b"", &mut out).unwrap();
        assert_eq!(out, hex("00130220010db80000000000000000000000010035"));
        let error = encode("8.8.8.8:53".parse().unwrap(), &[0; 8184], &mut out).unwrap_err();
        assert_eq!(error, TooLong(8184));
    }

    /// F-F13: any cut; a damaged packet does not put the stream out of step.
    #[test]
    fn packets_are_read_at_every_cut() {
        let stream = hex(concat!(
            "000901080808080035dead",
            "0000",
            "0003ff0102",
            "0006010808080800",
            "00140220010db8000000000000000000000001003561",
        ));
        for cut in 0..=stream.len() {
            let (mut at, mut here, mut seen) = (0, cut, Vec::new());
            loop {
                match decode(&stream[at..here]) {
                    Decoded::Incomplete if here == stream.len() => break,
                    Decoded::Incomplete => here = stream.len(),
                    Decoded::Packet { consumed, datagram } => {
                        at += consumed;
                        seen.push(datagram.map(|(from, payload)| (from.to_string(), payload.to_vec())));
                    }
                }
            }
            let expected = [
                Some(("8.8.8.8:53".to_owned(), hex("dead"))),
                None,
                None,
                None,
                Some(("[2001:db8::1]:53".to_owned(), hex("61"))),
            ];
            assert_eq!((seen.as_slice(), at), (&expected[..], stream.len()), "cut at {cut}");
        }
    }
}
