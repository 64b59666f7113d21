//! Answers that are damaged in every place.

use std::time::{Duration, Instant};

use adit_dns::hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use adit_dns::hickory_proto::rr::RecordType;
use adit_dns::{BadResponse, Question, Response, read_response};

use crate::script::{a, aaaa, cname, record, reply, soa};

fn question() -> Question {
    Question::of(&"www.example".parse().unwrap(), RecordType::A)
}

fn query() -> Message {
    let mut query = Message::new(0x1234, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(question().name().clone(), RecordType::A));
    query
}

fn answer() -> Vec<u8> {
    let mut answer = reply(&query(), ResponseCode::NoError);
    answer.add_answer(record("www.example", 60, cname("other.example")));
    answer.add_answer(record("other.example", 60, a(1)));
    answer.add_authority(record("example", 60, soa(60)));
    answer.add_additional(record("ns.example", 60, aaaa(1)));
    answer.set_edns(Edns::new());
    answer.to_vec().unwrap()
}

fn read(bytes: &[u8]) -> Result<Response, BadResponse> {
    let response = read_response(bytes, &question(), 0x1234)?;
    // Whatever was read can be used.
    assert!(response.addresses().len() <= bytes.len());
    assert!(response.lifetime() <= Duration::from_secs(86_400));
    Ok(response)
}

#[test]
fn a_whole_answer_is_read_and_no_part_of_one() {
    let answer = answer();
    assert_eq!(read(&answer).unwrap().addresses().len(), 1);
    for length in 0..answer.len() {
        assert!(read(&answer[..length]).is_err(), "{length} of {}", answer.len());
    }
}

#[test]
fn no_flipped_bit_does_harm_and_none_in_id_or_question_passes() {
    let answer = answer();
    // Header without counts of other sections, and the question: 12 + "www.example" and its length bytes + 4.
    let question_end = 12 + 13 + 4;
    for bit in 0..answer.len() * 8 {
        let mut flipped = answer.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let read = read(&flipped);
        let place = bit / 8;
        // 0x20 in a letter changes its case, which means nothing in a name.
        let case = flipped[place].eq_ignore_ascii_case(&answer[place]);
        if place < 2 || (12..question_end).contains(&place) && !case {
            assert!(read.is_err(), "bit {bit}");
        }
    }
}

#[test]
fn what_is_no_answer_to_the_question_is_refused() {
    assert_eq!(read(&query().to_vec().unwrap()).unwrap_err(), BadResponse::NotAnAnswer);
    let mut other = reply(&query(), ResponseCode::NoError);
    other.metadata.id = 1;
    assert_eq!(read(&other.to_vec().unwrap()).unwrap_err(), BadResponse::OtherQuestion);
    let mut two = reply(&query(), ResponseCode::NoError);
    two.add_query(two.queries[0].clone());
    assert_eq!(read(&two.to_vec().unwrap()).unwrap_err(), BadResponse::OtherQuestion);
    let mut none = reply(&query(), ResponseCode::Refused);
    none.queries.clear();
    assert_eq!(read(&none.to_vec().unwrap()).unwrap().code(), ResponseCode::Refused);
}

/// Pointers to pointers, as far as they go, in the largest message: reading it must not take long.
#[test]
fn compression_cannot_be_made_expensive() {
    let mut bytes = answer()[..12 + 13 + 4].to_vec();
    bytes[6..12].copy_from_slice(&[0x0f, 0xff, 0, 0, 0, 0]);
    let mut last = 12_u16;
    while bytes.len() < 65_000 {
        let here = bytes.len();
        bytes.extend([1, b'x']);
        bytes.extend((0xc000 | last).to_be_bytes());
        bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        if let Ok(here @ ..0x4000) = u16::try_from(here) {
            last = here;
        }
    }
    let start = Instant::now();
    let _ = read(&bytes);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
