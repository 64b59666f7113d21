//! Single situations, with segments made by hand where nobody else would send them.

use std::time::Duration;

use smoltcp::wire::TcpControl;

use super::super::{Algorithm, Error, KeepAlive, Read, Segment, Seq, Settings, State, Tcp, Unreachable};
use super::lab::{ISN, Lab, read, segment, syn};
use super::sim::{App, End, Ours, Path, Smol, World};
use crate::Moment;

#[test]
fn an_idle_connection_owns_next_to_nothing() {
    assert!(size_of::<Tcp>() <= 1088, "{} bytes", size_of::<Tcp>());
    let mut lab = Lab::open(Settings::default());
    lab.tcp.write(&[1; 5000]).unwrap();
    assert!(lab.tcp.allocated() > 5000);
    let sent: usize = lab.poll().iter().chain(&lab.next()).map(|sent| sent.len).sum();
    assert_eq!(sent, 5000);
    lab.hear(lab.data(1, b"hello", 5001));
    lab.hear(lab.data(16, b"later", 5001));
    assert!(lab.tcp.allocated() > 0);
    lab.hear(lab.data(6, b"0123456789", 5001));
    assert_eq!(read(&mut lab.tcp), b"hello0123456789later");
    lab.poll();
    assert_eq!(lab.tcp.allocated(), 0);
}

#[test]
fn a_syn_is_repeated_and_then_given_up() {
    let mut lab = Lab::new(Settings::default());
    let syns: Vec<u64> = (0..6)
        .map(|_| {
            assert_eq!(lab.next()[0].control, TcpControl::Syn);
            lab.now.micros() / 1_000_000
        })
        .collect();
    assert_eq!(syns, [0, 1, 3, 7, 15, 31]);
    while lab.tcp.error().is_none() {
        lab.poll();
        lab.now = lab.due.unwrap_or(lab.now);
    }
    assert_eq!(lab.tcp.error(), Some(Error::TimedOut));
    assert_eq!(lab.due, None);
}

#[test]
fn a_refusal_counts_only_with_the_right_number() {
    let mut lab = Lab::new(Settings::default());
    lab.poll();
    lab.hear(segment(TcpControl::Rst, 0, Some(77)));
    lab.hear(segment(TcpControl::Rst, 0, None));
    assert_eq!(lab.tcp.state(), State::SynSent);
    // Half-open: the peer remembers somebody else (RFC 9293 §3.5.1).
    lab.hear(segment(TcpControl::None, 5, Some(300)));
    let reset = lab.poll();
    assert_eq!((reset[0].control, reset[0].offset, reset[0].ack), (TcpControl::Rst, 300, None));
    lab.hear(segment(TcpControl::Rst, 0, Some(1)));
    assert_eq!(lab.tcp.error(), Some(Error::Refused));
}

#[test]
fn a_router_can_refuse_only_before_there_is_a_connection() {
    let mut lab = Lab::new(Settings::default());
    lab.poll();
    lab.tcp.unreachable(Unreachable::Destination, Seq::new(ISN.wrapping_add(5)));
    assert_eq!(lab.tcp.error(), None);
    lab.tcp.unreachable(Unreachable::Destination, Seq::new(ISN));
    assert_eq!(lab.tcp.error(), Some(Error::Unreachable));
    let mut lab = Lab::open(Settings::default());
    lab.tcp.write(b"x").unwrap();
    lab.poll();
    lab.tcp.unreachable(Unreachable::Port, Seq::new(ISN.wrapping_add(1)));
    assert_eq!(lab.tcp.error(), None);
}

#[test]
fn syns_may_cross() {
    let mut lab = Lab::new(Settings::default());
    lab.poll();
    lab.hear(Segment { scale: Some(2), ..syn(None) });
    let answer = lab.poll();
    assert_eq!((answer[0].control, answer[0].offset, answer[0].ack), (TcpControl::Syn, 0, Some(1)));
    assert_eq!(answer[0].stamp, None);
    lab.hear(segment(TcpControl::None, 1, Some(1)));
    assert_eq!(lab.tcp.state(), State::Established);
}

#[test]
fn resets_have_to_be_exact() {
    let mut lab = Lab::open(Settings::default());
    // RFC 5961 §3.2: inside the window, so it is asked about; again within half a second, so it is not.
    lab.hear(segment(TcpControl::Rst, 100, Some(1)));
    lab.hear(segment(TcpControl::Rst, 200, Some(1)));
    let challenge = lab.poll();
    assert_eq!((challenge.len(), challenge[0].ack), (1, Some(1)));
    lab.hear(segment(TcpControl::Rst, 300, Some(1)));
    assert!(lab.poll().is_empty());
    lab.wait(600);
    // RFC 5961 §4.2.
    lab.hear(segment(TcpControl::Syn, 1, None));
    assert_eq!(lab.poll().len(), 1);
    // Outside the window.
    lab.hear(segment(TcpControl::Rst, 0x4000_0000, Some(1)));
    assert_eq!(lab.tcp.state(), State::Established);
    lab.hear(segment(TcpControl::Rst, 1, Some(1)));
    assert_eq!(lab.tcp.error(), Some(Error::Reset));
}

#[test]
fn acknowledgements_of_what_was_never_sent_do_nothing() {
    let mut lab = Lab::open(Settings::default());
    // RFC 5961 §5.2, and the data goes with it.
    lab.hear(lab.data(1, b"forged", 5000));
    lab.hear(lab.data(1, b"forged", 0x8000_0000));
    assert_eq!(lab.tcp.unread(), 0);
    assert_eq!(lab.poll().len(), 1);
}

#[test]
fn old_timestamps_are_refused() {
    let mut lab = Lab::new(Settings::default());
    lab.poll();
    lab.hear(Segment { timestamp: Some((5000, 0)), ..syn(Some(1)) });
    lab.poll();
    let stamped =
        |lab: &Lab, offset, payload, stamp| Segment { timestamp: Some((stamp, 0)), ..lab.data(offset, payload, 1) };
    lab.hear(stamped(&lab, 1, b"new", 5001));
    assert_eq!(lab.poll()[0].stamp.map(|stamp| stamp.1), Some(5001));
    // RFC 7323 §5.3: R1.
    lab.hear(stamped(&lab, 4, b"old", 4000));
    assert_eq!(read(&mut lab.tcp), b"new");
    assert_eq!(lab.poll()[0].ack, Some(4));
    // After 24 days the clock may have wrapped (RFC 7323 §5.5).
    lab.now = lab.now + Duration::from_secs(25 * 24 * 3600);
    lab.hear(stamped(&lab, 4, b"wrapped", 4000));
    assert_eq!(read(&mut lab.tcp), b"wrapped");
}

#[test]
fn blocks_tell_of_the_latest_first_and_of_what_came_twice() {
    let mut lab = Lab::open(Settings::default());
    lab.hear(lab.data(11, b"0123456789", 1));
    assert_eq!(lab.poll()[0].sacks, [(11, 21)]);
    lab.hear(lab.data(31, b"0123456789", 1));
    lab.hear(lab.data(51, b"0123456789", 1));
    lab.hear(lab.data(21, b"01234", 1));
    // RFC 2018 §4.
    assert_eq!(lab.poll()[0].sacks, [(11, 26), (51, 61), (31, 41)]);
    // RFC 2883 §4: inside what is known, then below what is acknowledged.
    lab.hear(lab.data(33, b"01", 1));
    assert_eq!(lab.poll()[0].sacks[..2], [(33, 35), (31, 41)]);
    lab.hear(lab.data(1, b"0123456789", 1));
    assert_eq!(lab.poll()[0].ack, Some(26));
    lab.hear(lab.data(1, b"0123456789", 1));
    let again = lab.poll();
    assert_eq!((again[0].ack, again[0].sacks[0]), (Some(26), (1, 11)));
    assert_eq!(read(&mut lab.tcp).len(), 25);
}

#[test]
fn a_fin_may_overtake_the_data() {
    let mut lab = Lab::open(Settings::default());
    lab.hear(Segment { payload: b"world", ..segment(TcpControl::Fin, 7, Some(1)) });
    assert_eq!(lab.tcp.state(), State::Established);
    assert_eq!(lab.poll()[0].ack, Some(1));
    lab.hear(lab.data(1, b"hello ", 1));
    assert_eq!(lab.tcp.state(), State::CloseWait);
    assert_eq!(lab.poll()[0].ack, Some(13));
    // What comes behind is not part of the stream.
    lab.hear(lab.data(12, b"junk", 1));
    assert_eq!(read(&mut lab.tcp), b"hello world");
    assert_eq!(lab.tcp.read(&mut [0; 8], lab.now), Ok(Read::End));
}

#[test]
fn either_side_may_end_first() {
    let mut lab = Lab::open(Settings::default());
    lab.tcp.write(b"request").unwrap();
    lab.tcp.shutdown();
    let sent = lab.poll();
    assert_eq!((sent[0].control, sent[0].len), (TcpControl::Fin, 7));
    lab.hear(segment(TcpControl::None, 1, Some(9)));
    assert_eq!(lab.tcp.state(), State::FinWait2);
    // An hour later: somebody still reads, so there is no limit.
    lab.wait(3_600_000);
    lab.hear(lab.data(1, b"answer", 9));
    assert_eq!(read(&mut lab.tcp), b"answer");
    lab.hear(segment(TcpControl::Fin, 7, Some(9)));
    assert_eq!(lab.tcp.state(), State::TimeWait);
    assert_eq!(lab.poll()[0].ack, Some(8));
    // The acknowledgement was lost.
    lab.hear(segment(TcpControl::Fin, 7, Some(9)));
    assert_eq!(lab.poll()[0].ack, Some(8));
    lab.wait(61_000);
    lab.poll();
    assert_eq!((lab.tcp.state(), lab.tcp.error()), (State::Closed, None));

    let mut lab = Lab::open(Settings::default());
    lab.hear(segment(TcpControl::Fin, 1, Some(1)));
    lab.tcp.write(b"more").unwrap();
    lab.tcp.shutdown();
    assert_eq!(lab.poll()[0].control, TcpControl::Fin);
    assert_eq!(lab.tcp.state(), State::LastAck);
    lab.hear(segment(TcpControl::None, 2, Some(6)));
    assert_eq!((lab.tcp.state(), lab.tcp.error()), (State::Closed, None));
}

#[test]
fn both_may_end_at_once() {
    let mut lab = Lab::open(Settings::default());
    lab.tcp.shutdown();
    lab.poll();
    lab.hear(segment(TcpControl::Fin, 1, Some(1)));
    assert_eq!(lab.tcp.state(), State::Closing);
    assert_eq!(lab.poll()[0].ack, Some(2));
    lab.hear(segment(TcpControl::None, 2, Some(2)));
    assert_eq!(lab.tcp.state(), State::TimeWait);
}

#[test]
fn nobody_reads_any_more() {
    // What was not read is worth a RST (RFC 9293 §3.6.1).
    let mut lab = Lab::open(Settings::default());
    lab.hear(lab.data(1, b"unread", 1));
    lab.tcp.orphan(lab.now);
    assert_eq!(lab.poll()[0].control, TcpControl::Rst);
    // So is what comes later.
    let mut lab = Lab::open(Settings::default());
    lab.tcp.orphan(lab.now);
    assert_eq!(lab.poll()[0].control, TcpControl::Fin);
    lab.hear(lab.data(1, b"too late", 2));
    assert_eq!(lab.poll()[0].control, TcpControl::Rst);
    // And nobody waits for ever.
    let mut lab = Lab::open(Settings::default());
    lab.tcp.orphan(lab.now);
    lab.poll();
    lab.hear(segment(TcpControl::None, 1, Some(2)));
    assert_eq!(lab.tcp.state(), State::FinWait2);
    lab.wait(61_000);
    lab.poll();
    assert_eq!(lab.tcp.state(), State::Closed);
}

#[test]
fn a_closed_window_is_asked_about_for_ever() {
    let mut lab = Lab::open(Settings::default());
    lab.hear(Segment { window: 0, ..lab.data(1, b"", 1) });
    lab.tcp.write(&[3; 3000]).unwrap();
    assert!(lab.poll().is_empty());
    let mut intervals = Vec::new();
    for _ in 0..40 {
        let before = lab.now;
        let probe = lab.next();
        intervals.push(lab.now.since(before).as_secs());
        assert_eq!((probe[0].len, probe[0].offset), (0, 0));
        lab.wait(50);
        lab.hear(Segment { window: 0, ..lab.data(1, b"", 1) });
    }
    assert!(intervals.iter().all(|&interval| interval <= 120) && intervals[39] >= 100, "{intervals:?}");
    // Half an hour and more.
    assert!(lab.now.micros() > 3_600_000_000);
    // A silly window (RFC 9293 §3.8.6.2.1) is not used, a good one is.
    lab.hear(Segment { window: 1, ..lab.data(1, b"", 1) });
    assert!(lab.poll().is_empty());
    lab.hear(Segment { window: 100, ..lab.data(1, b"", 1) });
    assert_eq!(lab.poll()[0].len, 1368);
}

#[test]
fn a_peer_that_is_gone_is_noticed() {
    let keep_alive = KeepAlive { idle: 15, interval: 15, count: 4 };
    let mut lab = Lab::open(Settings { keep_alive: Some(keep_alive), ..Settings::default() });
    for n in 1..=4 {
        let probe = lab.next();
        assert_eq!((probe[0].len, probe[0].offset), (0, 0));
        assert_eq!(lab.now.micros() / 1_000_000, 15 * n);
    }
    lab.wait(15_100);
    assert_eq!(lab.poll()[0].control, TcpControl::Rst);
    assert_eq!(lab.tcp.error(), Some(Error::TimedOut));
}

#[test]
fn a_lost_tail_is_repaired_without_a_timeout() {
    let mut lab = Lab::open(Settings::default());
    lab.tcp.write(&[1; 4000]).unwrap();
    let sent: usize = lab.poll().iter().chain(&lab.next()).map(|sent| sent.len).sum();
    assert_eq!(sent, 4000);
    let begin = lab.now;
    // RFC 8985 §7: after about two round trips the last segment goes out again.
    let probe = lab.next();
    assert!(lab.now.since(begin) <= Duration::from_millis(110));
    assert_eq!(probe[0].offset as usize + probe[0].len, 4001);
    // And its SACK says that the others are lost.
    lab.wait(50);
    let block = |from: u32, to: u32| Some((Seq::new(ISN.wrapping_add(from)), Seq::new(ISN.wrapping_add(to))));
    lab.hear(Segment { sacks: [block(probe[0].offset, 4001), None, None], ..lab.data(1, b"", 1) });
    let again = lab.next();
    assert_eq!(again[0].offset, 1);
}

#[test]
fn a_spurious_timeout_is_undone() {
    let mut lab = Lab::new(Settings { algorithm: Algorithm::Cubic, ..Settings::default() });
    let stamp = lab.poll()[0].stamp.unwrap().0;
    lab.wait(50);
    lab.hear(Segment { mss: Some(1368), timestamp: Some((9, stamp)), sack_permitted: true, ..syn(Some(1)) });
    lab.tcp.write(&[1; 13_560]).unwrap();
    let sent = lab.poll();
    let before = lab.tcp.path().0;
    let stamp = sent.last().unwrap().stamp.unwrap().0;
    // Nothing comes for a second.
    lab.wait(1000);
    assert_eq!(lab.poll()[0].offset, 1);
    assert!(lab.tcp.path().0 < before);
    // The answer is to the first transmission (RFC 3522 §3.2).
    lab.hear(Segment { window: 60_000, timestamp: Some((10, stamp)), ..lab.data(1, b"", 1357) });
    assert!(lab.tcp.path().0 >= before, "{} {before}", lab.tcp.path().0);
}

#[test]
fn too_large_packets_go_out_again_in_pieces() {
    let mut lab = Lab::open(Settings::default());
    lab.tcp.write(&[1; 4000]).unwrap();
    assert_eq!(lab.poll()[0].total, 1408);
    // Not about us (RFC 5927 §7.1).
    lab.tcp.packet_too_big(1000, Seq::new(ISN.wrapping_add(100_000)), lab.now);
    assert!(lab.poll().is_empty());
    lab.tcp.packet_too_big(1000, Seq::new(ISN.wrapping_add(1)), lab.now);
    let mut bytes = 0;
    while bytes < 4000 {
        for sent in lab.next() {
            assert!(sent.total <= 1000);
            bytes += sent.len;
        }
    }
    // No router can make us send crumbs (§7.2).
    lab.tcp.packet_too_big(68, Seq::new(ISN.wrapping_add(1)), lab.now);
    assert!(lab.next()[0].total >= 570);
}

#[test]
fn a_black_hole_is_found() {
    let hole = Path { mtu: 1300, ..Path::default() };
    let ends: [Box<dyn End>; 2] =
        [Box::new(Ours::connect(Settings::default(), 7)), Box::new(Ours::Listening(Settings::default(), 9))];
    let apps = [App { to_send: 200_000, ends: true, ..App::default() }, App { ends: true, ..App::default() }];
    let mut world = World::new(ends, [hole, Path::default()], apps, 1);
    assert!(world.run(Duration::from_secs(8), |world| world.complete()), "{:?}", world.apps);
}

#[test]
fn a_reader_that_comes_late_and_a_window_of_minutes() {
    for smoltcp in [false, true] {
        let late = Moment::from_micros(300_000_000);
        let settings = Settings { receive_limit: 65_536, ..Settings::default() };
        let other: Box<dyn End> =
            if smoltcp { Box::new(Smol::listen(65_536, 1408)) } else { Box::new(Ours::Listening(settings, 9)) };
        let apps =
            [App { to_send: 500_000, ends: true, ..App::default() }; 2].map(|app| App { reads_from: late, ..app });
        let mut world = World::new([Box::new(Ours::connect(settings, 7)), other], [Path::default(); 2], apps, 1);
        assert!(world.run(Duration::from_secs(600), |world| world.complete()), "{smoltcp} {:?}", world.apps);
        // While the window was closed there was little to say.
        assert!(world.packets[0] < 2000, "{:?}", world.packets);
    }
}

#[test]
fn acknowledgements_wait_for_a_second_segment_or_a_moment() {
    let mut lab = Lab::open(Settings::default());
    let full: &'static [u8] = &[7; 1368];
    let mut offset = 1;
    // The first sixteen are answered at once, so that the sender's window grows.
    for _ in 0..16 {
        lab.hear(lab.data(offset, full, 1));
        offset += 1368;
        assert_eq!(lab.poll().len(), 1);
    }
    lab.hear(lab.data(offset, full, 1));
    assert!(lab.poll().is_empty());
    assert!(lab.due.unwrap().since(lab.now) <= Duration::from_millis(40));
    lab.hear(lab.data(offset + 1368, full, 1));
    assert_eq!(lab.poll()[0].ack, Some(offset + 2 * 1368));
    lab.hear(lab.data(offset + 2 * 1368, b"x", 1));
    let begin = lab.now;
    assert_eq!(lab.next()[0].ack, Some(offset + 2 * 1368 + 1));
    assert_eq!(lab.now.since(begin), Duration::from_millis(40));
}

#[test]
fn nonsense_does_no_harm() {
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};
    let controls = [TcpControl::None, TcpControl::Psh, TcpControl::Syn, TcpControl::Fin, TcpControl::Rst];
    let noise: &'static [u8] = &[9; 3000];
    for seed in 0..3000 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut lab = if random.random() { Lab::open(Settings::default()) } else { Lab::new(Settings::default()) };
        for _ in 0..40 {
            let near = |random: &mut SmallRng| match random.random_range(0..6) {
                0 => random.random(),
                _ => random.random_range(0..20_000u32).wrapping_sub(5),
            };
            let seq = near(&mut random);
            let ack = near(&mut random);
            let mut blocks = [None; 3];
            for block in &mut blocks {
                let (from, to) = (near(&mut random), near(&mut random));
                let at = |offset: u32| Seq::new(ISN.wrapping_add(offset));
                *block = random.random::<bool>().then(|| (at(from), at(to)));
            }
            let kinds = if random.random_ratio(1, 10) { 5 } else { 2 };
            let control = controls[random.random_range(0..kinds)];
            let len = random.random_range(0..3000);
            lab.hear(Segment {
                window: random.random(),
                scale: Some(random.random_range(0..15)),
                mss: Some(random.random()),
                sack_permitted: random.random(),
                sacks: blocks,
                timestamp: random.random::<bool>().then(|| (random.random(), random.random())),
                payload: &noise[..if control == TcpControl::Syn { 0 } else { len }],
                ..segment(control, seq, random.random_ratio(9, 10).then_some(ack))
            });
            let _ = lab.tcp.write(&noise[..random.random_range(0..3000)]);
            let _ = lab.tcp.read(&mut [0; 2000], lab.now);
            lab.poll();
            let pause = if random.random() { 5 } else { 3000 };
            lab.wait(random.random_range(0..pause));
            match random.random_range(0..60) {
                0 => lab.tcp.shutdown(),
                1 => lab.tcp.packet_too_big(random.random(), Seq::new(ISN.wrapping_add(ack)), lab.now),
                2 => lab.tcp.orphan(lab.now),
                _ => {}
            }
        }
    }
}
