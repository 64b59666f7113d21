//! Names and their fake addresses, over kills.
//!
//! The store promises that a name is on the disk about 0.1 s after it got its address: it writes in the order in which names
//! come, pauses 0.1 s, writes again. So of the names that a killed process has given addresses to the last ones may be lost,
//! none between others, and none that was old. The address of one that is lost stands for nobody else for a while: a client may
//! still use it.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use adit_testkit::lossy::Random;

/// A pause of the writer, and a transaction on a disk that is busy.
const WINDOW: Duration = Duration::from_millis(500);

/// Until a question is repeated.
const AGAIN: Duration = Duration::from_millis(100);
/// Until a server that is there counts as deaf.
const PATIENCE: Duration = Duration::from_secs(2);

/// A name that has got an address.
pub(super) struct Answer {
    pub(super) name: String,
    pub(super) ip: Ipv4Addr,
    pub(super) asked: Instant,
    pub(super) answered: Instant,
}

/// A client of the DNS server.
pub(super) struct Asker {
    socket: UdpSocket,
    count: u16,
}

impl Asker {
    pub(super) fn new(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(AGAIN))?;
        Ok(Self { socket, count: 0 })
    }

    pub(super) fn ask(&mut self, name: String) -> io::Result<Answer> {
        self.count = self.count.wrapping_add(1);
        let asked = Instant::now();
        let mut buffer = [0; 512];
        let answer = self.answer(&question(self.count, &name), &mut buffer)?;
        // RFC 1035 §4.1: one answer, an address at its very end.
        let is_answer = answer.len() > 16 && answer[3] & 15 == 0 && answer[7] == 1;
        let ip = answer.last_chunk::<4>().filter(|_| is_answer);
        let ip = Ipv4Addr::from(*ip.ok_or_else(|| io::Error::other(format!("no address: {answer:02x?}")))?);
        Ok(Answer { name, ip, asked, answered: Instant::now() })
    }

    /// Repeats the question: the second one to a server that is gone is an error.
    fn answer<'b>(&self, question: &[u8], buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let start = Instant::now();
        loop {
            self.socket.send(question)?;
            loop {
                match self.socket.recv(buffer) {
                    Ok(n) if buffer[..2] == question[..2] => return Ok(&buffer[..n]),
                    // The answer to a question that was repeated.
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < PATIENCE => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// A question for an IPv4 address (RFC 1035 §4).
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

/// Who has which address.
pub(super) struct Names {
    server: SocketAddr,
    by_name: HashMap<String, Ipv4Addr>,
    by_ip: HashMap<Ipv4Addr, String>,
    /// Names that were written down by a process that was killed: none of them may be lost any more.
    stored: Vec<String>,
    /// Given by the last process, which was killed at that time.
    fresh: Vec<Answer>,
    killed: Instant,
    /// Addresses of names that the last process took along. Nobody has them while the present one runs.
    vacant: Vec<Ipv4Addr>,
    lost: usize,
    oldest_lost: Duration,
}

impl Names {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            by_name: HashMap::new(),
            by_ip: HashMap::new(),
            stored: Vec::new(),
            fresh: Vec::new(),
            killed: Instant::now(),
            vacant: Vec::new(),
            lost: 0,
            oldest_lost: Duration::ZERO,
        }
    }

    /// What the process that has just been killed has answered.
    pub(super) fn asked(&mut self, answers: impl Iterator<Item = Answer>, killed: Instant) {
        self.killed = killed;
        self.fresh.extend(answers);
    }

    /// Asks the new process for what the last one has given, and for `sample` older names.
    pub(super) fn look(&mut self, sample: usize, random: &mut Random) -> Vec<String> {
        let mut faults = Vec::new();
        for ip in std::mem::take(&mut self.vacant) {
            self.by_ip.remove(&ip);
        }
        let fresh = std::mem::take(&mut self.fresh);
        faults.extend(fresh.iter().filter_map(|answer| self.learn(&answer.name, answer.ip).err()));
        match self.compare(fresh) {
            Ok(holes) => faults.extend(holes),
            Err(error) => faults.push(error.to_string()),
        }
        faults.extend(self.compare_stored(sample, random).err().map(|error| error.to_string()));
        faults
    }

    /// Whether a name is lost that was asked for before one that is kept.
    fn compare(&mut self, fresh: Vec<Answer>) -> io::Result<Vec<String>> {
        let mut asker = Asker::new(self.server)?;
        let (mut faults, mut lost, mut last_kept) = (Vec::new(), Vec::new(), None);
        for before in fresh {
            let now = asker.ask(before.name.clone())?;
            if now.ip == before.ip {
                last_kept = last_kept.max(Some(before.asked));
                self.stored.push(before.name);
                continue;
            }
            self.vacant.push(before.ip);
            self.by_name.remove(&before.name);
            faults.extend(self.learn(&now.name, now.ip).err());
            self.oldest_lost = self.oldest_lost.max(self.killed.saturating_duration_since(before.answered));
            lost.push(before);
            self.fresh.push(now);
        }
        self.lost += lost.len();
        let holes = lost.iter().filter(|lost| last_kept.is_some_and(|kept| lost.answered < kept));
        faults.extend(holes.map(|lost| format!("{} is lost, a later one is kept", lost.name)));
        Ok(faults)
    }

    fn compare_stored(&self, sample: usize, random: &mut Random) -> io::Result<()> {
        let mut asker = Asker::new(self.server)?;
        let all = sample >= self.stored.len();
        for n in 0..sample.min(self.stored.len()) {
            let name = &self.stored[if all { n } else { random.below(self.stored.len()) }];
            let now = asker.ask(name.clone())?;
            if self.by_name.get(name) != Some(&now.ip) {
                return Err(io::Error::other(format!("{name} had {:?} and has {}", self.by_name.get(name), now.ip)));
            }
        }
        Ok(())
    }

    /// Nobody else has `ip`, or had it a moment ago.
    fn learn(&mut self, name: &str, ip: Ipv4Addr) -> Result<(), String> {
        self.by_name.insert(name.to_owned(), ip);
        match self.by_ip.insert(ip, name.to_owned()) {
            Some(other) if other != name => Err(format!("{ip} stands for {name}, and for {other} a moment ago")),
            _ => Ok(()),
        }
    }

    pub(super) fn are_written_in_time(&self) -> bool {
        self.oldest_lost < WINDOW
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "{} names kept their addresses; {} were lost with a kill, the oldest {:.0?} after its answer",
            self.stored.len(),
            self.lost,
            self.oldest_lost
        )
    }
}
