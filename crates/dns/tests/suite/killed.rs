//! F-E12: the names of a process that is killed keep their addresses.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use adit_dns::{Fake, FakeIp, FakeRanges};

/// Where the child finds its file. Without it, this is the parent.
const FILE: &str = "ADIT_TEST_FAKE_FILE";

fn ranges() -> FakeRanges {
    FakeRanges { v4: "198.18.0.1/16".parse().ok(), v6: None }
}

fn name(n: u32) -> adit_net::Domain {
    format!("n{n}.example").parse().unwrap()
}

/// Gives addresses out and says which, until it is killed.
#[test]
fn child_that_gives_addresses_out() {
    let Ok(file) = std::env::var(FILE) else { return };
    let fake = FakeIp::open(ranges(), &PathBuf::from(file)).unwrap();
    for n in 0..50_000 {
        // A line that was printed is an address that a client may know.
        println!("gave {n} {}", fake.v4(&name(n)).unwrap());
        if n % 20 == 0 {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
    std::thread::park();
}

/// Starts a child, lets it give addresses out for a while, kills it; what it had given out.
fn killed_after(file: &PathBuf, time: Duration) -> Vec<(u32, Ipv4Addr)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::child_that_gives_addresses_out", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let gave = |line: String| {
            let mut words = line.rsplit("gave ").next()?.split(' ');
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        lines.map_while(Result::ok).filter_map(gave).collect::<Vec<_>>()
    });
    std::thread::park_timeout(time);
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn names_keep_their_addresses_after_kill_9() {
    let folder = std::env::temp_dir().join(format!("adit-killed-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("fake.redb");
    let (mut written, mut survived) = (0, 0);
    for round in 1..=3_u64 {
        let gave = killed_after(&file, Duration::from_millis(800 * round));
        let fake = FakeIp::open(ranges(), &file).unwrap();
        for (n, ip) in &gave {
            match fake.original((*ip).into()) {
                Some(Fake::Name(known)) => assert_eq!(known, name(*n), "round {round}"),
                // Only what was given out right before the end may be forgotten; then it stands for nothing.
                Some(Fake::Missing) => assert!(*n >= written, "round {round}: {n} is lost"),
                None => panic!("{ip} is not fake"),
            }
            survived += usize::from(fake.original((*ip).into()) != Some(Fake::Missing) && *n >= written);
        }
        // An address that was given out and is forgotten goes to nobody else soon.
        if let Some((_, last)) = gave.last() {
            let next = fake.v4(&format!("new{round}.example").parse().unwrap()).unwrap();
            assert!(
                next > *last || fake.original((*last).into()) != Some(Fake::Missing),
                "round {round}: {next} {last}"
            );
            written = gave.iter().map(|(n, _)| n + 1).max().unwrap_or(written);
        }
        // As in a run without a kill: from now on they are on the disk.
        for n in 0..written {
            fake.v4(&name(n)).unwrap();
        }
        assert!(!folder.join("fake.redb.bad").exists(), "nothing was damaged");
    }
    assert!(survived > 100, "{survived} names survived the kill");
    let _ = std::fs::remove_dir_all(&folder);
}
