//! Processes of a scene: killed when dropped, their logs shown when the test fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Scratch, is_listening};

/// A running program, its scratch folder and its log.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    scratch: Scratch,
}

/// What the system says a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time, in seconds, of all its threads.
    pub cpu: f64,
    /// Resident memory, in KiB.
    pub rss: u64,
    /// The part of it that no file backs, in KiB.
    pub anonymous: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: u64,
}

impl Process {
    /// Starts `command` with standard output and error going to a log in `scratch`.
    ///
    /// Standard input is a pipe that stays open as long as this process lives: programs that watch it end with us even
    /// where no destructor runs.
    #[must_use]
    pub fn start(name: &str, mut command: Command, scratch: Scratch) -> Self {
        let log = scratch.path().join("log");
        let out = File::create(&log).expect("a log file");
        let child = command
            .stdin(Stdio::piped())
            .stdout(out.try_clone().expect("a log file"))
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error} ({command:?})"));
        Self { name: name.to_owned(), child, log, scratch }
    }

    /// Waits until it listens on every one of `ports`.
    ///
    /// # Panics
    /// When it ends first, or takes longer than 20 s.
    #[must_use]
    pub fn listening(mut self, ports: &[u16]) -> Self {
        let end = Instant::now() + Duration::from_secs(20);
        for &port in ports {
            while !is_listening(port) {
                if let Some(status) = self.child.try_wait().expect("a child's status") {
                    panic!("{} ended with {status} before it listened on {port}", self.name);
                }
                assert!(Instant::now() < end, "{} does not listen on {port}", self.name);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it writes `text`, within five seconds: a log may be written behind what it tells of.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        let end = Instant::now() + Duration::from_secs(5);
        while !self.log().contains(text) {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// The last `lines` of [`Process::log`].
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Sends it a signal by number name (`TERM`, `HUP` …) and does not wait.
    pub fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(status.is_ok_and(|status| status.success()), "no process {id}");
    }

    /// Closes its standard input, as our own end would.
    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has used so far.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn usage(&self) -> Usage {
        usage_of(self.id()).unwrap_or_else(|| panic!("{} has ended:\n{}", self.name, self.tail(20)))
    }

    /// Prints its log's tail now if this thread is panicking. For processes that tests share and nobody drops.
    pub fn explain(&self) {
        let tail = self.tail(60);
        if std::thread::panicking() && !tail.is_empty() {
            eprintln!("--- the end of {}'s log ---\n{}\n---", self.name, tail);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.explain();
    }
}

/// `Usage` of any process of this machine; `None` when there is none with this id.
fn usage_of(id: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // proc(5): the second field is in parentheses and may contain anything; utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok());
    // USER_HZ is 100 on every architecture that we build for.
    let cpu = (ticks(11)? + ticks(12)?) / 100.0;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Usage {
        cpu: precise_cpu(id).unwrap_or(cpu),
        rss: line("VmRSS:")?,
        anonymous: line("RssAnon:")?,
        descriptors: std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count(),
        threads: line("Threads:")?,
    })
}

/// The same time in nanoseconds, where the scheduler keeps it: `stat` has steps of 10 ms.
fn precise_cpu(id: u32) -> Option<f64> {
    let mut total = 0.0;
    for task in std::fs::read_dir(format!("/proc/{id}/task")).ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        total += text.split_ascii_whitespace().next()?.parse::<f64>().ok()?;
    }
    Some(total / 1e9)
}

/// Makes the close of `stream` a reset instead of an orderly end.
pub fn reset_on_close(stream: &std::net::TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a linger time of zero");
}
