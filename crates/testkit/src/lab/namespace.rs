//! A network namespace without a name.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, panic, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Process, Scratch};

/// Holds the namespace open until standard input ends, then ends every process in it. So nothing outlives this process, not
/// even when it is killed.
const HOLDER: &str = r#"
cat >/dev/null
for process in /proc/[0-9]*; do
    if [ "$process" != "/proc/$$" ] && [ "$(readlink "$process/ns/net")" = "$(readlink "/proc/$$/ns/net")" ]; then
        kill -s KILL "${process#/proc/}"
    fi
done
"#;

/// A network namespace of its own, with its loopback interface up.
///
/// It has no name on this machine, so two tests never meet. It goes away with its last user: this value, a program
/// started in it, a socket opened in it.
#[derive(Debug)]
pub struct Namespace {
    holder: Process,
    file: File,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Panics
    /// Without the right to make one: tests that need a namespace fail rather than pass without having run.
    #[must_use]
    pub fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", HOLDER]);
        let mut holder = Process::start("unshare", command, Scratch::new("namespace"));
        let path = link_of(&holder);
        let ours = fs::read_link("/proc/self/ns/net").expect("a kernel with network namespaces");
        let end = Instant::now() + Duration::from_secs(10);
        // Until `unshare` has done its work, the link shows where it started.
        while fs::read_link(&path).is_ok_and(|link| link == ours) && holder.is_running() && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        let made = holder.is_running() && fs::read_link(&path).is_ok_and(|link| link != ours);
        assert!(made, "no network namespace can be made (root is needed): {}", holder.log());
        let namespace = Self { file: File::open(&path).expect("a namespace's link"), holder };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `work` on a thread inside and returns its result; a panic goes on in the caller.
    ///
    /// Sockets, threads and programs made by `work` belong to the namespace and keep doing so after it returns. A whole
    /// test may run in one: its `127.0.0.1` is nobody else's.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("the right to enter a namespace that this process made");
                work()
            });
            inside.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` inside with these words.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, words: &str) {
        self.command("ip", words.split_ascii_whitespace(), "");
    }

    /// Gives `interface` an address. IPv6 ones can be used at once.
    pub(super) fn add_address(&self, interface: &str, address: IpAddr, prefix: u8) {
        let at_once = if address.is_ipv6() { "nodad" } else { "" };
        self.ip(&format!("address add {address}/{prefix} dev {interface} {at_once}"));
    }

    /// Writes `value` to the kernel setting `name`, as it is below `/proc/sys/net`.
    pub fn set(&self, name: &str, value: &str) {
        // This folder shows the namespace of the thread that looks.
        let path = Path::new("/proc/sys/net").join(name);
        self.run(|| fs::write(&path, value)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Runs a program inside, gives it `input`, and returns what it printed.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub(super) fn command<'a>(&self, program: &str, words: impl Iterator<Item = &'a str>, input: &str) -> String {
        use std::io::Write;
        use std::process::Stdio;

        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = self.run(|| {
            let mut child =
                command.spawn().unwrap_or_else(|error| panic!("{program}: {error}: run scripts/setup first"));
            let mut stdin = child.stdin.take().expect("a pipe");
            stdin.write_all(input.as_bytes()).expect("a program that reads its input");
            drop(stdin);
            child.wait_with_output().expect("a child's status")
        });
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?} ended with {}: {said}{input}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The namespace as `ip` and `nsenter` take it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        link_of(&self.holder)
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

fn link_of(holder: &Process) -> PathBuf {
    format!("/proc/{}/ns/net", holder.id()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    #[test]
    fn a_namespace_has_its_own_loopback_and_goes_away() {
        let namespace = Namespace::new();
        let path = namespace.path();
        let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = outside.local_addr().unwrap().port();
        let inside = namespace.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
        // A thread started inside is inside; it meets the inner listener.
        let reached = namespace.run(|| thread::spawn(move || TcpStream::connect((Ipv4Addr::LOCALHOST, port))).join());
        inside.accept().unwrap();
        reached.unwrap().unwrap();
        outside.set_nonblocking(true).unwrap();
        assert!(outside.accept().is_err());
        drop(namespace);
        assert!(!path.exists());
    }

    #[test]
    #[should_panic(expected = "told to")]
    fn a_panic_inside_is_a_panic_outside() {
        Namespace::new().run(|| panic!("told to"));
    }

    #[test]
    fn programs_inside_end_when_the_holder_loses_us() {
        let namespace = Namespace::new();
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut sleeper = namespace.run(|| Process::start("sleep", command, Scratch::new("sleep")));
        let mut holder = namespace.holder;
        holder.end_input();
        let end = Instant::now() + Duration::from_secs(10);
        while sleeper.is_running() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!sleeper.is_running());
    }
}
