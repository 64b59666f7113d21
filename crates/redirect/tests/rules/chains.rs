//! The chains of iptables, on either of its two back ends.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use adit_redirect::{Firewall, Options, Plan};
use adit_testkit::Scratch;
use adit_testkit::lab::Namespace;

use crate::all;

const BACK_ENDS: [&str; 2] = ["nft", "legacy"];

/// A folder in which `iptables` and its relatives are those of `back_end`.
fn programs(back_end: &str) -> Scratch {
    let scratch = Scratch::new("iptables");
    for family in ["iptables", "ip6tables"] {
        for verb in ["", "-restore", "-save"] {
            let program = format!("/usr/sbin/{family}-{back_end}{verb}");
            assert!(Path::new(&program).exists(), "{program} is missing: run scripts/setup");
            symlink(program, scratch.path().join(format!("{family}{verb}"))).unwrap();
        }
    }
    scratch
}

/// Runs a script with these programs and without `nft`.
fn run(programs: &Scratch, script: &str) -> String {
    let path = format!("{}:/usr/bin:/bin", programs.path().display());
    // `ip` is where `nft` is.
    let ip = programs.path().join("ip");
    if !ip.exists() {
        symlink("/usr/sbin/ip", ip).unwrap();
    }
    let mut command = Command::new("sh");
    command.env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}");
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that rules may change: what is hooked in, our chains, the routing. Empty built-in chains are nothing.
fn state(programs: &Scratch) -> String {
    let all = "set -e; for t in filter mangle nat; do iptables-save -t $t; ip6tables-save -t $t; done
        ip rule show; ip route show table all; ip -6 rule show; ip -6 route show table all";
    let nothing = |line: &&str| !line.starts_with(['#', ':', '*']) && *line != "COMMIT" || line.starts_with(":ADIT");
    run(programs, all).lines().filter(nothing).map(|line| format!("{line}\n")).collect()
}

#[test]
fn up_twice_is_up_once_and_down_leaves_nothing_of_ours() {
    for back_end in BACK_ENDS {
        let programs = programs(back_end);
        Namespace::new().run(|| {
            run(&programs, "iptables -A OUTPUT -p udp --dport 9 -j DROP; iptables -t nat -A OUTPUT -p udp --dport 9");
            let before = state(&programs);
            assert!(before.contains("--dport 9"));
            for options in all() {
                let up = Plan::up_in(Firewall::Iptables, &options).unwrap().script();
                run(&programs, &up);
                let once = state(&programs);
                assert!(once.contains("-A OUTPUT -j ADIT_OUTPUT"), "{back_end}: {once}");
                run(&programs, &up);
                assert_eq!(state(&programs), once);
                run(&programs, &Plan::down_in(Firewall::Iptables).script());
                assert_eq!(state(&programs), before, "{back_end}");
            }
            run(&programs, &Plan::down_in(Firewall::Iptables).script());
            assert_eq!(state(&programs), before);
        });
    }
}

/// Whatever is installed, the next options are what holds then.
#[test]
fn up_replaces_what_other_options_installed() {
    let programs = programs("nft");
    let up = |options: &Options| run(&programs, &Plan::up_in(Firewall::Iptables, options).unwrap().script());
    Namespace::new().run(|| {
        let alone: Vec<String> = all()
            .iter()
            .map(|options| {
                up(options);
                let state = state(&programs);
                run(&programs, &Plan::down_in(Firewall::Iptables).script());
                state
            })
            .collect();
        for (options, expected) in all().iter().zip(&alone).rev() {
            up(options);
            assert_eq!(&state(&programs), expected);
        }
    });
}
