//! 200 kills at random moments of work and of the start: what was acknowledged is there afterwards, and whole.
//!
//! What is promised: a choice that the API acknowledged is kept; so is a list of a provider, whole; so is the fake address of a
//! name, from about 0.1 s after it was given ([`names`]). Lists are compared while nobody serves new ones.

mod names;
mod work;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_testkit::Process;
use adit_testkit::lossy::Random;
use adit_testkit::origin::TcpOrigin;
use adit_testkit::subject::Subject;

use crate::home::Home;
use crate::lists::Lists;
use crate::verdict::Verdict;
use names::Names;
use work::{Chosen, GROUPS, MEMBERS};

const KILLS: usize = 200;
/// Of these, one in so many while adit starts.
const EARLY: usize = 5;
/// In folders that adit has never seen.
const NEWBORN: usize = 30;
/// From the start of the process to an answer of its API.
const START: Duration = Duration::from_secs(2);
/// What a home folder holds: the configuration, choices, fake addresses, two copies of lists and what is known of them; and
/// what was being written when the process was killed, of each list once.
const FILES: usize = 7 + 2 * 2;

pub(crate) fn run(subject: Subject, verdict: &mut Verdict) {
    if subject != Subject::Adit {
        return verdict.note("it is about what adit promises; nothing was done");
    }
    let seed = seed();
    verdict.note(format!("SEED={seed} chooses the same moments"));
    let mut random = Random::new(seed);
    let mut scene = Scene::new();
    scene.first_lists();
    for kill in 1..=KILLS {
        if kill.is_multiple_of(EARLY) {
            scene.kill_while_it_starts(&mut random);
        } else {
            scene.kill_at_work(&mut random);
        }
    }
    scene.last_look();
    scene.judge(verdict);
    newborn(&mut random, verdict);
}

fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs()))
}

/// A list of proxies. Its size differs from version to version, and so does the name of each proxy.
fn proxies(version: u64) -> String {
    let proxies: String = proxy_names(version).map(|name| format!("  - {{name: {name}, type: direct}}\n")).collect();
    format!("# {version}\nproxies:\n{proxies}")
}

fn proxy_names(version: u64) -> impl Iterator<Item = String> {
    let own = (0..50 + version % 37).map(move |n| format!("v{version}-{n}"));
    MEMBERS.into_iter().map(|member| format!("kept-{member}")).chain(own)
}

fn rule_count(version: u64) -> u64 {
    500 + version % 311
}

fn rules(version: u64) -> String {
    let names: String = (0..rule_count(version)).map(|n| format!("  - 'n{n}.v{version}.blocked.test'\n")).collect();
    format!("# {version}\npayload:\n{names}")
}

/// A provider's copy, and the oldest version that it may be.
struct Copy {
    file: &'static str,
    lists: Lists,
    acknowledged: u64,
}

impl Copy {
    fn new(file: &'static str, write: fn(u64) -> String) -> Self {
        Self { file, lists: Lists::start(write), acknowledged: 0 }
    }

    /// The version that lies in `folder`.
    fn version_in(&self, folder: &Path) -> Result<u64, String> {
        let text =
            std::fs::read_to_string(folder.join(self.file)).map_err(|error| format!("{}: {error}", self.file))?;
        let number = text.strip_prefix("# ").and_then(|text| text.split_once('\n')?.0.parse().ok());
        let version: u64 = number.ok_or_else(|| format!("{} begins with no version", self.file))?;
        let newest = self.lists.served();
        if !(self.acknowledged..=newest).contains(&version) {
            let oldest = self.acknowledged;
            return Err(format!("{} has version {version}, not one of {oldest} to {newest}", self.file));
        }
        if text != self.lists.version(version) {
            return Err(format!("{} is not version {version} as it was served", self.file));
        }
        Ok(version)
    }
}

struct Scene {
    home: Home,
    origin: TcpOrigin,
    proxies: Copy,
    rules: Copy,
    chosen: Vec<Chosen>,
    names: Names,
    /// Numbers the names that are asked for.
    round: usize,
    starts: Vec<Duration>,
    faults: Vec<String>,
    tally: work::Tally,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        let (proxies, rules) = (Copy::new("sub.yaml", proxies), Copy::new("blocked.yaml", rules));
        home.configure(&work::configuration(&home, proxies.lists.addr, rules.lists.addr));
        let chosen = GROUPS.map(Chosen::first).into();
        let names = Names::new(home.dns);
        let (origin, tally) = (TcpOrigin::echo(), work::Tally::default());
        Self { home, origin, proxies, rules, chosen, names, round: 0, starts: Vec::new(), faults: Vec::new(), tally }
    }

    /// From now on there is something to compare.
    fn first_lists(&mut self) {
        let (mut adit, _) = self.home.start();
        for (path, copy) in [("proxies/sub", &mut self.proxies), ("rules/blocked", &mut self.rules)] {
            copy.update(&mut self.home.api(), path).expect("a first list");
        }
        adit.kill();
    }

    fn kill_while_it_starts(&mut self, random: &mut Random) {
        self.switch_lists(random.below(2) == 0);
        let mut adit = self.home.spawn();
        sleep_up_to(60, random);
        adit.kill();
        self.look_at_log(&adit);
    }

    /// The first choice makes the file that choices are in.
    fn kill_at_the_first_choice(&self, random: &mut Random) {
        let mut adit = self.home.spawn();
        let killed = &AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !killed.load(Ordering::Relaxed) && self.home.api().choose(GROUPS[0], MEMBERS[1]).is_err() {
                    thread::yield_now();
                }
            });
            sleep_up_to(60, random);
            adit.kill();
            killed.store(true, Ordering::Relaxed);
        });
    }

    fn kill_at_work(&mut self, random: &mut Random) {
        let mut adit = self.start_and_look(100, random);
        self.switch_lists(true);
        let delay = Duration::from_micros(random.below(300_000) as u64);
        let faults = work::until_killed(self, &mut adit, delay, random);
        self.faults.extend(faults);
        self.look_at_log(&adit);
        self.round += 1;
    }

    /// Starts adit without anybody who serves lists, and compares what it has with what it must have.
    fn start_and_look(&mut self, sample: usize, random: &mut Random) -> Process {
        self.switch_lists(false);
        let (adit, took) = self.home.start();
        self.starts.push(took);
        let mut faults = self.names.look(sample, random);
        if let Err(fault) = self.look_at_choices() {
            faults.push(fault);
        }
        if let Err(fault) = self.look_at_lists() {
            faults.push(fault);
        }
        let round = self.round;
        self.faults.extend(faults.into_iter().map(|fault| format!("round {round}: {fault}")));
        adit
    }

    fn look_at_choices(&mut self) -> Result<(), String> {
        let mut api = self.home.api();
        for chosen in &mut self.chosen {
            let now = api.now(chosen.group).map_err(|error| error.to_string())?;
            chosen.is(now)?;
        }
        Ok(())
    }

    fn look_at_lists(&self) -> Result<(), String> {
        let folder = self.home.folder.path();
        let mut api = self.home.api();
        let mut get = |path: &str| api.get(path).map_err(|error| error.to_string());
        let version = self.proxies.version_in(folder)?;
        let members = &get("/proxies/Sub")?["all"];
        let expected: Vec<String> = proxy_names(version).collect();
        if *members != serde_json::json!(expected) {
            return Err(format!("the proxies in use are not those of version {version}: {members}"));
        }
        let version = self.rules.version_in(folder)?;
        let count = &get("/providers/rules")?["providers"]["blocked"]["ruleCount"];
        if count.as_u64() != Some(rule_count(version)) {
            return Err(format!("{count} rules are in use, not those of version {version}"));
        }
        Ok(())
    }

    fn last_look(&mut self) {
        let mut adit = self.start_and_look(usize::MAX, &mut Random::new(0));
        adit.kill();
        self.look_at_log(&adit);
    }

    fn switch_lists(&self, on: bool) {
        self.proxies.lists.switch(on);
        self.rules.lists.switch(on);
    }

    fn look_at_log(&mut self, adit: &Process) {
        self.faults.extend(complaints(adit).into_iter().map(|line| format!("round {}: {line}", self.round)));
    }

    fn judge(&self, verdict: &mut Verdict) {
        let versions = [&self.proxies, &self.rules].map(|copy| copy.lists.served());
        verdict.note(format!("{}; {versions:?} versions of the lists were served", self.tally));
        let longest = self.starts.iter().max().copied().unwrap_or_default();
        verdict.require(longest < START, format!("{} starts, the longest took {longest:.0?}", self.starts.len()));
        verdict.note(self.names.summary());
        let shown: String = self.faults.iter().take(10).map(|fault| format!("\n       {fault}")).collect();
        let count = self.faults.len();
        verdict.require(count == 0, format!("{KILLS} kills, {count} times something was not as it must be{shown}"));
        verdict.require(self.names.are_written_in_time(), "names are on the disk in time");
        let files = files(self.home.folder.path());
        verdict.require(files.len() <= FILES, format!("{} files are in the folder: {}", files.len(), files.join(" ")));
    }
}

fn sleep_up_to(milliseconds: usize, random: &mut Random) {
    thread::sleep(Duration::from_micros(random.below(milliseconds * 1000) as u64));
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a home folder");
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What adit warns of, except that nobody serves lists.
fn complaints(adit: &Process) -> Vec<String> {
    let is_warning = |line: &str| ["level=warning", "level=error", "panicked"].iter().any(|word| line.contains(word));
    let is_expected = |line: &str| line.contains("the last good content stays");
    let log = adit.log();
    log.lines().filter(|line| is_warning(line) && !is_expected(line)).map(ToOwned::to_owned).collect()
}

/// Kills adit while it makes its files; the next one can use them, or has others.
fn newborn(random: &mut Random, verdict: &mut Verdict) {
    let mut faults = Vec::new();
    for _ in 0..NEWBORN {
        let scene = Scene::new();
        scene.switch_lists(false);
        scene.kill_at_the_first_choice(random);
        let (mut adit, _) = scene.home.start();
        faults.extend(complaints(&adit));
        faults.extend(scene.home.api().choose(GROUPS[0], MEMBERS[2]).err().map(|error| error.to_string()));
        adit.kill();
        let (adit, _) = scene.home.start();
        faults.extend(complaints(&adit));
        match scene.home.api().now(GROUPS[0]) {
            Ok(now) if now == MEMBERS[2] => {}
            other => faults.push(format!("{} was chosen, {other:?} is", MEMBERS[2])),
        }
    }
    let shown: String = faults.iter().take(5).map(|fault| format!("\n       {fault}")).collect();
    verdict.require(faults.is_empty(), format!("{NEWBORN} kills while files are made, {} faults{shown}", faults.len()));
}
