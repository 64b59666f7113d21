//! What DNS clients ask, what DNS servers answer, and what files say of both.

mod query;
mod stream;
mod system;

use adit_dns::hickory_proto::op::Message;
use adit_dns::hickory_proto::rr::{Name, RecordType};
use adit_dns::{BadResponse, Nameserver, Question, read_response};
use std::time::Duration;

use crate::input::Input;

pub use query::dns_query;
pub use stream::dns_stream;
pub use system::{hosts_file, resolv_conf};

const ID: u16 = 0x1234;

/// Messages, raw and as a chain of records behind the right question.
pub fn dns_answer(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let record = [RecordType::A, RecordType::AAAA, RecordType::CNAME, RecordType::TXT][usize::from(kind >> 2 & 3)];
    let question = Question::new(Name::from_ascii("host.example").expect("a name"), record);
    match kind & 3 {
        0 => check(input.0, &question),
        1 => {
            // Only the id and the flags are right.
            let flags = input.byte();
            let head = [&ID.to_be_bytes()[..], &[0x80 | flags & 7, 0x80 | flags >> 4]].concat();
            check(&[&head, input.0].concat(), &question);
        }
        _ => check(&answer(kind, u16::from(record), input), &question),
    }
}

fn check(bytes: &[u8], question: &Question) {
    let response = match read_response(bytes, question, ID) {
        Ok(response) => response,
        Err(BadResponse::Malformed(why)) => return assert!(why.len() < 2_000, "{} bytes about it", why.len()),
        Err(_) => return,
    };
    assert_eq!(bytes[..2], ID.to_be_bytes());
    assert!(bytes[2] & 0x80 != 0, "a question is no answer");
    assert!(response.lifetime() <= Duration::from_secs(86_400));
    let addresses = response.addresses();
    assert!(addresses.len() <= bytes.len() / 12, "more addresses than there is room for");
    let v6 = question.kind() == RecordType::AAAA;
    assert!(addresses.iter().all(|address| address.is_ipv6() == v6));
    for (n, address) in addresses.iter().enumerate() {
        assert!(!addresses[..n].contains(address), "the same twice");
    }
    // What was read can be written, and says the same then.
    if let Ok(again) = response.message().to_vec()
        && Message::from_vec(&again).is_ok_and(|again| again == *response.message())
    {
        let again = read_response(&again, question, ID).expect("the same message");
        assert_eq!(again.addresses(), addresses);
        assert_eq!(again.lifetime(), response.lifetime());
    }
}

/// A message with the question in it and records whose lengths are right, but for those that are not.
fn answer(kind: u8, record: u16, mut input: Input<'_>) -> Vec<u8> {
    let (flags, counts) = (input.byte(), input.byte());
    let mut message = ID.to_be_bytes().to_vec();
    message.extend([0x80 | flags & 2, 0x80 | flags >> 4, 0, 1]);
    let place = message.len();
    message.extend([0; 6]);
    message.extend(b"\x04host\x07example\0");
    message.extend(record.to_be_bytes());
    message.extend([0, 1]);
    let mut count = 0u16;
    while !input.is_empty() && count < 300 {
        let choice = input.byte();
        match choice & 3 {
            // The name of the question, or whatever is at some place.
            0 | 1 => message.extend([0xc0, 12]),
            2 => message.extend([0xc0 | choice >> 7, input.byte()]),
            _ => {
                let label = input.take(usize::from(choice >> 4));
                message.push(label.len() as u8);
                message.extend(label);
                message.push(0);
            }
        }
        let kind = [1, 28, 5, 6, 16, 41, 33, 46, 64, 65, 43, 48, 257, 13, 99, input.short()];
        message.extend(kind[usize::from(choice >> 2 & 15)].to_be_bytes());
        message.extend([0, 1, 0, choice >> 6, 0, input.byte()]);
        let content = match choice >> 2 & 15 {
            0 => input.take(4),
            1 => input.take(16),
            _ => input.bytes(),
        };
        message.extend((content.len() as u16).to_be_bytes());
        message.extend(content);
        count += 1;
    }
    let [answers, authorities] = match counts & 3 {
        0 => [0, count],
        1 => [count / 2, count - count / 2],
        _ => [count, 0],
    };
    let additionals = u16::from(kind & 0x80 != 0);
    for (n, value) in [answers, authorities, additionals].into_iter().enumerate() {
        message[place + 2 * n..place + 2 * n + 2].copy_from_slice(&value.to_be_bytes());
    }
    message
}

/// Nameservers as text.
pub fn nameserver(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Nameserver::parse(text) {
        Ok(server) => {
            // What a log shows of it has no fragment and no user, and is a nameserver again.
            let shown = server.to_string();
            assert!(!shown.contains('#') && !shown.contains('@'), "{shown}");
            let again = Nameserver::parse(&shown).unwrap_or_else(|why| panic!("{shown}: {why}"));
            assert_eq!(again.server(), server.server());
        }
        Err(why) => {
            assert!(why.at.start <= why.at.end && why.at.end <= text.len());
            assert!(text.is_char_boundary(why.at.start) && text.is_char_boundary(why.at.end));
        }
    }
}
