//! Cookies, load and allowances (F-G4, F-G5), with boringtun on the other side where there is one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::{OURS, SHARED, THEIRS, boringtun, identity, public, remote, start, to_network};
use crate::Moment;
use crate::noise::message::Message;
use crate::noise::*;

const WORD: [u8; 4] = [3, 0, 0, 0];

fn at(millis: u64) -> Moment {
    Moment::from_micros(millis * 1000)
}

fn from(host: u8) -> SocketAddr {
    ([192, 0, 2, host], 51820).into()
}

/// A gate that has heard enough in this second.
fn under_load(message: &[u8], random: &mut StdRng) -> Gate {
    let mut gate = identity(THEIRS).gate();
    while gate.judge(message, 7, from(99), at(0), WORD, random) == Verdict::Pass {}
    gate
}

fn cookie(initiator: &Initiator, reply: &mut [u8], now: Moment) -> Result<Cookie, Rejected> {
    let Some(Message::Cookie(reply)) = Message::parse(&Wire::default(), reply) else { panic!("no cookie reply") };
    initiator.cookie(&remote(THEIRS), &reply, now)
}

fn with_cookie(cookie: &Cookie, now: Moment, random: &mut StdRng) -> [u8; 148] {
    let value = cookie.value(now);
    let stamp = Tai64n([10; 12]);
    Initiator::start(&identity(OURS), &remote(THEIRS), &Wire::default(), 7, stamp, value, random).unwrap().1
}

#[test]
fn a_busy_boringtun_lets_us_in_by_its_cookie() {
    let random = &mut StdRng::seed_from_u64(1);
    let its_key = x25519_dalek::PublicKey::from(*public(THEIRS).as_bytes());
    let our_key = x25519_dalek::PublicKey::from(*public(OURS).as_bytes());
    let limiter = Arc::new(RateLimiter::new(&its_key, 0));
    let mut peer = Tunn::new(THEIRS.into(), our_key, Some(SHARED), None, 5, Some(limiter));
    let address = Some(from(1).ip());
    let mut buffer = [0; 2048];

    let (initiator, initiation) = start(random);
    let reply = to_network(peer.decapsulate(address, &initiation, &mut buffer));
    let cookie = cookie(&initiator, reply, at(0)).unwrap();
    let second = with_cookie(&cookie, at(119_999), random);
    let answer = to_network(peer.decapsulate(address, &second, &mut buffer));
    assert!(matches!(Message::parse(&Wire::default(), answer), Some(Message::Response(_))));
    assert!(cookie.value(at(120_000)).is_none(), "a cookie is good for two minutes");
}

#[test]
fn a_boringtun_gets_in_by_our_cookie() {
    let random = &mut StdRng::seed_from_u64(2);
    let mut peer = boringtun(OURS, THEIRS);
    let mut buffer = [0; 2048];
    let first = to_network(peer.format_handshake_initiation(&mut buffer, false)).to_vec();
    let mut gate = under_load(&first, random);
    let sender = u32::from_le_bytes(first[4..8].try_into().unwrap());
    let Verdict::Challenge(reply) = gate.judge(&first, sender, from(1), at(1), WORD, random) else {
        panic!("no challenge under load")
    };
    assert!(matches!(peer.decapsulate(None, &reply, &mut buffer), TunnResult::Done));
    let second = to_network(peer.format_handshake_initiation(&mut buffer, true));
    assert_eq!(gate.judge(second, sender, from(1), at(2), WORD, random), Verdict::Pass);
    // The cookie is for that address only.
    assert!(matches!(gate.judge(second, sender, from(2), at(2), WORD, random), Verdict::Challenge(_)));
}

/// The next second begins without a load, and the secret behind the cookies lasts two minutes.
#[test]
fn f_g4_load_ends_and_cookies_expire() {
    let random = &mut StdRng::seed_from_u64(3);
    let (initiator, first) = start(random);
    let mut gate = under_load(&first, random);
    let Verdict::Challenge(mut reply) = gate.judge(&first, 7, from(1), at(1), WORD, random) else { panic!() };
    let cookie = cookie(&initiator, &mut reply, at(1)).unwrap();
    let second = with_cookie(&cookie, at(2), random);
    assert_eq!(gate.judge(&first, 7, from(1), at(1_000), WORD, random), Verdict::Pass);
    while gate.judge(&first, 7, from(99), at(119_000), WORD, random) == Verdict::Pass {}
    assert_eq!(gate.judge(&second, 7, from(1), at(119_500), WORD, random), Verdict::Pass);
    while gate.judge(&first, 7, from(99), at(121_000), WORD, random) == Verdict::Pass {}
    assert!(matches!(gate.judge(&second, 7, from(1), at(121_000), WORD, random), Verdict::Challenge(_)));
}

#[test]
fn f_g4_one_address_gets_twenty_a_second_and_five_at_once() {
    let random = &mut StdRng::seed_from_u64(4);
    let (initiator, first) = start(random);
    let mut gate = under_load(&first, random);
    let Verdict::Challenge(mut reply) = gate.judge(&first, 7, from(1), at(0), WORD, random) else { panic!() };
    let cookie = cookie(&initiator, &mut reply, at(0)).unwrap();
    let second = with_cookie(&cookie, at(0), random);
    let mut passed = |gate: &mut Gate, now: Moment, times: usize| {
        (0..times).filter(|_| gate.judge(&second, 7, from(1), now, WORD, random) == Verdict::Pass).count()
    };
    assert_eq!(passed(&mut gate, at(0), 1000), 5);
    assert_eq!(passed(&mut gate, at(0) + Duration::from_millis(500), 1000), 5);
    assert_eq!((500..1000).map(|millis| passed(&mut gate, at(millis), 10)).sum::<usize>(), 9);
}

/// F-G5: a cookie that was made for another message, or by another, is none.
#[test]
fn f_g5_a_forged_cookie_is_refused() {
    let random = &mut StdRng::seed_from_u64(5);
    let (initiator, first) = start(random);
    let (other, _) = start(random);
    let mut gate = under_load(&first, random);
    let Verdict::Challenge(mut reply) = gate.judge(&first, 7, from(1), at(0), WORD, random) else { panic!() };
    assert_eq!(cookie(&other, &mut reply, at(0)).err(), Some(Rejected::Forged));
    let mut to_another = reply;
    to_another[4] ^= 1;
    assert_eq!(cookie(&initiator, &mut to_another, at(0)).err(), Some(Rejected::Unknown));
    cookie(&initiator, &mut reply, at(0)).unwrap();
}
