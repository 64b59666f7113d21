//! The programs of a scene. Each listens before its constructor returns and is killed when dropped.

use std::path::PathBuf;
use std::process::Command;

use crate::cache::{adit_binary, cached, repository};
use crate::{Process, Scratch};

/// A generation of Xray that treats clients differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// 26.7.28: by default refuses clients that announce a version below 26.3.27.
    Xray26_7,
    /// 26.10.10: refuses hellos without an X25519MLKEM768 share before the X25519 one.
    Xray26_10,
}

impl Era {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Xray26_7, Self::Xray26_10];

    fn python(self) -> PathBuf {
        cached(match self {
            Self::Xray26_7 => "xray-26.7/bin/python",
            Self::Xray26_10 => "xray-26.10/bin/python",
        })
    }
}

/// Starts Xray with a JSON configuration and waits for its ports.
///
/// It also ends when this process does, so a test binary may share one in a static.
#[must_use]
pub fn xray(era: Era, config: &serde_json::Value, ports: &[u16]) -> Process {
    let scratch = Scratch::new("xray");
    let file = scratch.write("config.json", config.to_string());
    let mut command = Command::new(era.python());
    command.arg(repository().join("tests/peers/run_xray.py")).arg(file);
    Process::start("xray", command, scratch).listening(ports)
}

/// Starts Mihomo's core with a YAML configuration (the keys that `tests/peers/mihomo` reads) and waits for its ports.
#[must_use]
pub fn mihomo(config: &str, ports: &[u16]) -> Process {
    let scratch = Scratch::new("mihomo");
    let file = scratch.write("config.yaml", config);
    let mut command = Command::new(cached("mihomo/mihomo"));
    // With everything on one address it takes clients whose port it uses itself elsewhere for its own connections.
    command.arg("-f").arg(file).env("DISABLE_LOOPBACK_DETECTOR", "true");
    Process::start("mihomo", command, scratch).listening(ports)
}

/// Starts sing-box with a JSON configuration and waits for its ports.
#[must_use]
pub fn sing_box(config: &serde_json::Value, ports: &[u16]) -> Process {
    let scratch = Scratch::new("sing-box");
    let file = scratch.write("config.json", config.to_string());
    let mut command = Command::new(cached("sing-box/sing-box"));
    command.args(["run", "-c"]).arg(file).arg("-D").arg(scratch.path());
    Process::start("sing-box", command, scratch).listening(ports)
}

/// Starts adit with a YAML configuration and waits for its ports.
#[must_use]
pub fn adit(config: &str, ports: &[u16]) -> Process {
    adit_with(config, ports, |command| command)
}

/// As [`adit`]; `change` may wrap or extend the command before it starts.
#[must_use]
pub fn adit_with(config: &str, ports: &[u16], change: impl FnOnce(Command) -> Command) -> Process {
    let scratch = Scratch::new("adit");
    let file = scratch.write("config.yaml", config);
    let mut command = Command::new(adit_binary());
    command.arg("run").arg("-f").arg(file).current_dir(scratch.path());
    Process::start("adit", change(command), scratch).listening(ports)
}
