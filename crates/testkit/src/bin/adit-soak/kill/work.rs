//! What adit is doing when it is killed.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use adit_testkit::Process;
use adit_testkit::client::socks5;
use adit_testkit::lossy::Random;

use super::names::{Answer, Asker};
use super::{Copy, Scene};
use crate::home::{Api, Home};

/// Groups, each of which somebody chooses in; the last one gets its members from a provider.
pub(super) const GROUPS: [&str; 4] = ["A", "B", "C", "Sub"];
/// What there is to choose from.
pub(super) const MEMBERS: [&str; 4] = ["one", "two", "three", "four"];
/// Names in a round, of each who asks: together they fit into the range, so nobody has to make room.
const NAMES: usize = 120;
/// Between two names.
const NAMES_PAUSE: Duration = Duration::from_millis(1);

pub(super) fn configuration(home: &Home, proxies: SocketAddr, rules: SocketAddr) -> String {
    let members = MEMBERS.join(", ");
    let own: String = MEMBERS.iter().map(|name| format!("  - {{name: {name}, type: direct}}\n")).collect();
    let groups = GROUPS[..3].iter().map(|name| format!("  - {{name: {name}, type: select, proxies: [{members}]}}\n"));
    let groups: String = groups.collect();
    format!(
        "log-level: info\nprofile: {{store-selected: true, store-fake-ip: true}}\n\
         dns: {{enable: true, listen: '{}', enhanced-mode: fake-ip, fake-ip-range: 198.18.0.1/16, \
         nameserver: ['rcode://refused']}}\n\
         proxy-providers:\n  sub: {{type: http, url: 'http://{proxies}/', path: ./sub.yaml, interval: 1}}\n\
         rule-providers:\n  blocked: {{type: http, behavior: domain, url: 'http://{rules}/', path: ./blocked.yaml, \
         interval: 1}}\n\
         proxies:\n{own}proxy-groups:\n{groups}  - {{name: Sub, type: select, use: [sub]}}\n\
         rules:\n  - RULE-SET,blocked,REJECT\n  - MATCH,A\n",
        home.dns
    )
}

/// What a group uses, as far as its client knows.
#[derive(Clone)]
pub(super) struct Chosen {
    pub(super) group: &'static str,
    /// Acknowledged, or seen after a start; `None` before anything was chosen.
    last: Option<String>,
    /// Asked for, and not acknowledged.
    in_flight: Option<String>,
}

impl Chosen {
    pub(super) fn first(group: &'static str) -> Self {
        Self { group, last: None, in_flight: None }
    }

    /// After a start the group uses `now`.
    pub(super) fn is(&mut self, now: String) -> Result<(), String> {
        let in_flight = self.in_flight.take();
        if in_flight.as_ref() == Some(&now) {
            self.last = in_flight;
            return Ok(());
        }
        match &self.last {
            Some(last) if *last != now => {
                Err(format!("{} uses {now}; {last} was acknowledged, {in_flight:?} under way", self.group))
            }
            _ => Ok(()),
        }
    }

    /// Chooses once more.
    fn choose(&mut self, api: &mut Api, random: &mut Random) -> io::Result<()> {
        let member = MEMBERS[random.below(MEMBERS.len())];
        let member = if self.group == "Sub" { format!("kept-{member}") } else { member.to_owned() };
        self.in_flight = Some(member.clone());
        api.choose(self.group, &member)?;
        (self.last, self.in_flight) = (Some(member), None);
        Ok(())
    }
}

/// What was done.
#[derive(Default)]
pub(super) struct Tally {
    choices: usize,
    names: usize,
    updates: usize,
    connections: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { choices, names, updates, connections } = self;
        write!(f, "{choices} choices, {names} names, {updates} updates, {connections} connections")
    }
}

/// Whether the process is alive, as far as those know who work with it.
struct Life(AtomicBool);

impl Life {
    /// Takes steps until one fails, and says how many went well.
    ///
    /// # Errors
    /// What failed while nobody had killed the process.
    fn work(&self, mut step: impl FnMut() -> io::Result<()>) -> Result<usize, String> {
        let mut count = 0;
        loop {
            match step() {
                Ok(()) => count += 1,
                Err(error) if self.0.load(Ordering::SeqCst) => return Err(error.to_string()),
                Err(_) => return Ok(count),
            }
        }
    }
}

/// Works on everything at once, and kills adit after `delay`. Returns what failed before.
pub(super) fn until_killed(scene: &mut Scene, adit: &mut Process, delay: Duration, random: &mut Random) -> Vec<String> {
    let life = &Life(AtomicBool::new(true));
    let Scene { home, origin, proxies, rules, round, chosen, names, tally, .. } = scene;
    let (home, origin, round) = (&*home, origin.addr(), *round);
    let mut answers = [Vec::new(), Vec::new()];
    let (counts, killed) = thread::scope(|scope| {
        let choosing = chosen.iter_mut().map(|chosen| {
            let (mut api, mut random) = (home.api(), Random::new(random.below(usize::MAX) as u64));
            scope.spawn(move || life.work(|| chosen.choose(&mut api, &mut random)))
        });
        let choosing: Vec<_> = choosing.collect();
        let asking = answers.iter_mut().zip(["a", "b"]);
        let asking = asking
            .map(|(answers, who)| scope.spawn(move || ask(home.dns, &format!("{who}.r{round}.test"), answers, life)));
        let asking: Vec<_> = asking.collect();
        let updating = [("proxies/sub", proxies), ("rules/blocked", rules)].map(|(path, copy)| {
            let mut api = home.api();
            scope.spawn(move || life.work(|| copy.update(&mut api, path)))
        });
        let connecting = scope.spawn(|| life.work(|| echo(home.proxy, origin)));
        thread::sleep(delay);
        // Before: what fails from now on fails for that reason.
        life.0.store(false, Ordering::SeqCst);
        let killed = Instant::now();
        adit.kill();
        ([choosing, asking, updating.into(), vec![connecting]].map(joined), killed)
    });
    names.asked(answers.into_iter().flatten(), killed);
    let [choices, names, updates, connections] = &counts;
    for (total, counts) in [
        (&mut tally.choices, choices),
        (&mut tally.names, names),
        (&mut tally.updates, updates),
        (&mut tally.connections, connections),
    ] {
        *total += counts.iter().flatten().sum::<usize>();
    }
    counts.into_iter().flatten().filter_map(Result::err).collect()
}

fn joined(threads: Vec<ScopedJoinHandle<'_, Result<usize, String>>>) -> Vec<Result<usize, String>> {
    threads.into_iter().map(|thread| thread.join().expect("a thread that does not panic")).collect()
}

/// Asks for names that nobody has asked for.
fn ask(server: SocketAddr, suffix: &str, answers: &mut Vec<Answer>, life: &Life) -> Result<usize, String> {
    let mut asker = Asker::new(server).map_err(|error| error.to_string())?;
    life.work(|| {
        thread::sleep(NAMES_PAUSE);
        // When all have been asked for, the last one again.
        let n = answers.len().min(NAMES - 1);
        let answer = asker.ask(format!("n{n}.{suffix}"))?;
        if n == answers.len() {
            answers.push(answer);
        }
        Ok(())
    })
}

impl Copy {
    /// Has another version fetched.
    pub(super) fn update(&mut self, api: &mut Api, path: &str) -> io::Result<()> {
        let before = self.lists.served();
        match api.ask("PUT", &format!("/providers/{path}"), "")? {
            (204, _) => self.acknowledged = before + 1,
            (status, body) => return Err(io::Error::other(format!("{path}: {status} {body}"))),
        }
        Ok(())
    }
}

fn echo(proxy: SocketAddr, origin: SocketAddr) -> io::Result<()> {
    let mut stream = socks5(proxy, &origin.into())?;
    stream.write_all(b"over and back")?;
    let mut back = [0; 13];
    stream.read_exact(&mut back)?;
    if &back == b"over and back" { Ok(()) } else { Err(io::Error::other("another answer")) }
}
