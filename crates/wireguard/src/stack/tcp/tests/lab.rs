//! One connection, and a peer that says what the test says.

use std::time::Duration;

use smoltcp::wire::TcpControl;

use super::super::{Read, Segment, Seq, Settings, State, Tcp};
use super::sim::{client, server};
use crate::Moment;

pub(super) const ISN: u32 = 0xffff_ff00;
pub(super) const PEER: u32 = 0x7fff_fff0;

/// A connection at the test's mercy.
pub(super) struct Lab {
    pub(super) tcp: Tcp,
    pub(super) now: Moment,
    pub(super) due: Option<Moment>,
}

/// What was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) control: TcpControl,
    /// From our SYN.
    pub(super) offset: u32,
    pub(super) len: usize,
    pub(super) ack: Option<u32>,
    pub(super) sacks: Vec<(u32, u32)>,
    pub(super) stamp: Option<(u32, u32)>,
    pub(super) total: usize,
}

impl Lab {
    pub(super) fn new(settings: Settings) -> Self {
        let tcp = Tcp::connect(client(), server(), settings, ISN, Moment::default());
        Self { tcp, now: Moment::default(), due: None }
    }

    /// Connected, with a peer that has SACK and shifts windows by 7.
    pub(super) fn open(settings: Settings) -> Self {
        let mut lab = Self::new(settings);
        assert_eq!(lab.poll().len(), 1);
        lab.wait(50);
        lab.hear(Segment { mss: Some(1368), scale: Some(7), sack_permitted: true, ..syn(Some(1)) });
        assert_eq!(lab.poll().len(), 1);
        assert_eq!(lab.tcp.state(), State::Established);
        lab
    }

    pub(super) fn hear(&mut self, segment: Segment<'_>) {
        self.tcp.receive(&segment, self.now);
    }

    /// From `offset` behind its SYN.
    pub(super) fn data(&self, offset: u32, payload: &'static [u8], ack: u32) -> Segment<'static> {
        Segment { payload, ..segment(TcpControl::None, offset, Some(ack)) }
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    pub(super) fn poll(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        self.due = self.tcp.poll(self.now, &mut |len, write| {
            let mut packet = vec![0; len];
            write(&mut packet);
            let segment = Segment::parse(&packet[20..], client().ip(), server().ip()).unwrap();
            sent.push(Sent {
                control: segment.control,
                offset: segment.seq.number().wrapping_sub(ISN),
                len: segment.payload.len(),
                ack: segment.ack.map(|ack| ack.number().wrapping_sub(PEER)),
                sacks: segment.sacks.iter().flatten().map(|(from, to)| (rel(*from), rel(*to))).collect(),
                stamp: segment.timestamp,
                total: len,
            });
            true
        });
        sent
    }

    /// Lets time pass until something is sent.
    pub(super) fn next(&mut self) -> Vec<Sent> {
        for _ in 0..100 {
            let sent = self.poll();
            if !sent.is_empty() {
                return sent;
            }
            self.now = self.now.max(self.due.expect("nothing will ever happen"));
        }
        panic!("nothing is sent");
    }
}

pub(super) fn rel(seq: Seq) -> u32 {
    seq.number().wrapping_sub(PEER)
}

pub(super) fn segment(control: TcpControl, offset: u32, ack: Option<u32>) -> Segment<'static> {
    Segment {
        source_port: server().port(),
        destination_port: client().port(),
        seq: Seq::new(PEER.wrapping_add(offset)),
        ack: ack.map(|ack| Seq::new(ISN.wrapping_add(ack))),
        control,
        window: 1000,
        scale: None,
        mss: None,
        sack_permitted: false,
        sacks: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

pub(super) fn syn(ack: Option<u32>) -> Segment<'static> {
    Segment { window: 64_000, ..segment(TcpControl::Syn, 0, ack) }
}

pub(super) fn read(tcp: &mut Tcp) -> Vec<u8> {
    let mut place = [0; 4096];
    match tcp.read(&mut place, Moment::default()) {
        Ok(Read::Bytes(len)) => place[..len].to_vec(),
        _ => Vec::new(),
    }
}
