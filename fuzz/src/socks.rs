//! SOCKS, both ends.

use adit_inbound::socks4;
use adit_inbound::socks5::wire as server;
use adit_net::{Host, Target};
use adit_outbound::socks5::wire as client;

use crate::input::{Input, whole_or_nothing};

/// All messages of SOCKS4, SOCKS4a and SOCKS5, and from our client to our server and back.
pub fn socks(data: &[u8]) {
    let mut input = Input(data);
    let (kind, seed) = (input.byte(), input.short());
    let message = input.0;
    match kind % 9 {
        0 => drop(whole_or_nothing(seed, message, server::greeting)),
        1 => {
            whole_or_nothing(seed, message, |bytes| {
                let read = server::credentials(bytes)?;
                Ok::<_, server::Malformed>(read.map(|(who, n)| ((who.name.to_vec(), who.password.to_vec()), n)))
            });
        }
        2 => {
            if let Some((request, _)) = whole_or_nothing(seed, message, server::request) {
                there_and_back(&request.target);
            }
        }
        3 => datagram(message),
        4 => {
            whole_or_nothing(seed, message, |bytes| {
                let read = socks4::request(bytes)?;
                Ok::<_, socks4::Malformed>(read.map(|(wish, n)| ((wish.target.clone(), wish.user_id.to_vec()), n)))
            });
        }
        5 => reply(message),
        6 => {
            if let Ok((from, at)) = client::parse_datagram(message) {
                assert!(at <= message.len());
                let (target, payload) = server::datagram(message).expect("the other end reads it too");
                // Mapped addresses are unmapped by both.
                assert_eq!((target, payload), (from.into(), &message[at..]));
            }
        }
        7 => {
            if let &[a, b, ..] = message {
                let _ = client::parse_choice([a, b], client::Method::NoAuth);
                let _ = client::parse_choice([a, b], client::Method::Password);
                let _ = client::parse_login_status([a, b]);
            }
        }
        _ => {
            let target = std::str::from_utf8(message).ok().and_then(|text| text.parse().ok());
            if let Some(target) = target {
                there_and_back(&target);
            }
        }
    }
}

fn there_and_back(target: &Target) {
    let mut request = Vec::new();
    client::put_request(client::Command::Connect, target, &mut request);
    let (read, length) = server::request(&request).expect("our own request").expect("a whole request");
    assert_eq!((&read.target, length), (target, request.len()));
    let bound = client::Bound { host: Some(target.host.clone()), port: target.port };
    let answer = client::parse_reply(&server::reply(0, target));
    assert_eq!(answer, Ok(client::Progress::Done(client::Reply::Succeeded(bound))));
    let mut packet = Vec::new();
    client::put_datagram_header(target, &mut packet);
    packet.extend_from_slice(b"payload");
    assert_eq!(server::datagram(&packet), Ok((target.clone(), &b"payload"[..])));
}

fn datagram(packet: &[u8]) {
    let Ok((target, payload)) = server::datagram(packet) else { return };
    let mut room = [0; server::MAX_UDP_HEADER];
    let header = server::datagram_header(&target, &mut room);
    let again = [header, payload].concat();
    assert_eq!(server::datagram(&again), Ok((target.clone(), payload)));
    match (&target.host, client::parse_datagram(&again)) {
        (Host::Ip(ip), Ok((from, at))) => assert_eq!((from.ip(), from.port(), at), (*ip, target.port, header.len())),
        (Host::Ip(_), Err(why)) => panic!("{why}"),
        (Host::Domain(_), read) => assert!(read.is_err()),
    }
}

/// Reads as the client does: exactly as many bytes as the parser says that it needs.
fn reply(bytes: &[u8]) {
    let whole = client::parse_reply(bytes);
    let mut have = 0;
    loop {
        match client::parse_reply(&bytes[..have]) {
            Ok(client::Progress::Needs(n)) => {
                assert!(n > have);
                if n > bytes.len() {
                    break;
                }
                have = n;
            }
            said => {
                assert_eq!(said, whole);
                break;
            }
        }
    }
}
