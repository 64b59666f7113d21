//! Size on disk and time to the first connection.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use adit_testkit::cache::cached;
use adit_testkit::subject::Subject;
use adit_testkit::{Scratch, free_port};

use crate::Plan;
use crate::table::{Samples, head, row};

/// Bytes of the program: the file, or for the wheel its shared library.
fn size(path: &Path) -> u64 {
    if path.is_file() {
        return path.metadata().map_or(0, |meta| meta.len());
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| {
        let path = entry.path();
        if path.is_dir() || path.to_string_lossy().contains("xray") && path.extension().is_some_and(|end| end == "so") {
            size(&path)
        } else {
            0
        }
    });
    sizes.sum()
}

/// Milliseconds from the start of the process to the first accepted connection.
fn start_once(subject: Subject) -> f64 {
    let port = free_port();
    let scratch = Scratch::new("start");
    let yaml =
        scratch.write("config.yaml", format!("mixed-port: {port}\nlog-level: error\nrules:\n  - MATCH,DIRECT\n"));
    let mut command = Command::new(subject.binary());
    match subject {
        Subject::Adit => command.arg("run").arg("-f").arg(yaml),
        _ => command.arg("-f").arg(yaml),
    };
    let begin = Instant::now();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "it does not listen");
        std::thread::sleep(Duration::from_micros(200));
    }
    let took = begin.elapsed();
    let _ = child.kill();
    let _ = child.wait();
    took.as_secs_f64() * 1e3
}

pub(crate) fn run(plan: &Plan) {
    head("Program", &["", "binary MiB", "start ms"]);
    for &(name, subject) in &plan.subjects {
        let (bytes, start) = match subject {
            // It comes as a Python module, so its start would be Python's.
            Subject::Xray(_) => (size(&cached("xray-26.10/lib")), "–".to_owned()),
            _ => {
                let samples = Samples((0..3 + plan.rounds).map(|_| start_once(subject)).collect());
                (size(&subject.binary()), samples.shown(1))
            }
        };
        row(&[name.to_owned(), format!("{:.1}", bytes as f64 / f64::from(1 << 20)), start]);
    }
}
