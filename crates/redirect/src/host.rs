//! What this host has and how it is set up, read from its files.

use std::fs;
use std::process::Command;

use crate::Interface;

/// Whether `program` is in a folder of `PATH`.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether a setting of the kernel, below `/proc/sys/net`, is there and on.
pub(crate) fn is_on(setting: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/net/{setting}")).is_ok_and(|value| value.trim() != "0")
}

/// A bridge among `interfaces`, if bridged packets meet the rules for routed ones (module `br_netfilter`).
pub(crate) fn filtered_bridge(interfaces: &[Interface]) -> Option<String> {
    if !is_on("bridge/bridge-nf-call-iptables") && !is_on("bridge/bridge-nf-call-ip6tables") {
        return None;
    }
    let captured = |name: &String| interfaces.iter().any(|interface| interface.matches(name));
    let output = Command::new("ip").args(["-o", "link", "show", "type", "bridge"]).output().ok()?;
    let bridges = String::from_utf8_lossy(&output.stdout).into_owned();
    bridges.lines().filter_map(link_of_line).find(captured)
}

/// `7: br-lan: <BROADCAST,…`, or `7: veth0@if6: <…`
fn link_of_line(line: &str) -> Option<String> {
    let name = line.split(": ").nth(1)?;
    Some(name.split('@').next().unwrap_or(name).to_owned())
}

/// The names of all interfaces.
pub(crate) fn links() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}
