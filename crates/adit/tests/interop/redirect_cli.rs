//! `adit redirect` and `adit doctor`, the program itself, in a network namespace.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use adit_testkit::lab::Namespace;
use adit_testkit::{Process, Scratch};

const CONFIG: &str = "\
allow-lan: true
tproxy-port: 7893
redir-port: 7892
routing-mark: 45
dns:
  enable: true
  listen: ':1053'
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  nameserver: [192.0.2.53]
rules: ['MATCH,DIRECT']
";

struct Scene {
    host: Namespace,
    scratch: Scratch,
    config: PathBuf,
}

impl Scene {
    fn new(config: &str) -> Self {
        let host = Namespace::new();
        host.ip("link add lan0 type veth peer name lan1");
        host.ip("link set lan0 up");
        let scratch = Scratch::new("redirect");
        let config = scratch.write("config.yaml", config);
        Self { host, scratch, config }
    }

    /// Runs adit there, with the configuration after the words.
    fn adit(&self, words: &str) -> Output {
        self.adit_on(None, words)
    }

    /// The same with only the programs of a folder.
    fn adit_on(&self, path: Option<&Path>, words: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
        command.args(words.split(' '));
        if !words.ends_with("down") {
            command.arg("-d").arg(self.scratch.path()).arg("-f").arg(&self.config);
        }
        if let Some(path) = path {
            command.env("PATH", path);
        }
        self.host.run(move || command.output().unwrap())
    }

    /// What a program prints there.
    fn said(&self, program: &str, words: &str) -> String {
        let output = self.host.run(|| Command::new(program).args(words.split(' ')).output().unwrap());
        String::from_utf8(output.stdout).unwrap()
    }

    fn daemon(&self) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
        command.arg("run").arg("-d").arg(self.scratch.path()).arg("-f").arg(&self.config);
        self.host.run(move || Process::start("adit", command, Scratch::new("adit")))
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn up_is_idempotent_show_prints_it_and_down_leaves_no_trace() {
    let scene = Scene::new(CONFIG);
    let state = || scene.said("nft", "-s list ruleset") + &scene.said("ip", "rule") + &scene.said("ip", "-6 rule");
    let before = state();
    let up = "redirect up --interface lan0 --bypass 203.0.113.0/24 --bypass-uid 1000-1999";
    let output = scene.adit(up);
    assert!(output.status.success(), "{}", err(&output));
    let said = "captured: TCP and UDP over IPv4 and IPv6 from this host, lan0 to port 7893, DNS to port 1053; while adit does \
                not run, everything goes its way\n";
    assert_eq!(out(&output), said);
    let installed = state();
    for part in
        ["tproxy to :7893", "redirect to :1053", "198.18.0.0/16", "203.0.113.0/24", "skuid 1000-1999", "0x0000002d"]
    {
        assert!(installed.contains(part), "{part}: {installed}");
    }
    assert!(scene.adit(up).status.success());
    assert_eq!(state(), installed);

    let script = out(&scene.adit(&up.replace("up", "show")));
    let output = scene.adit("redirect down");
    assert_eq!(out(&output), "nothing is captured any more: the rules are removed\n");
    assert_eq!(state(), before);
    scene.host.run(|| {
        let mut shell = Command::new("sh").stdin(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success(), "{script}");
    });
    assert_eq!(state(), installed);
    let output = scene.adit("redirect show --down");
    assert!(out(&output).contains("delete table inet adit"));
    assert!(scene.adit("redirect down").status.success());
    assert!(scene.adit("redirect down").status.success(), "nothing to remove is no error");
    assert_eq!(state(), before);
}

#[test]
fn without_nft_the_rules_go_into_iptables() {
    let scene = Scene::new(CONFIG);
    let programs = Scratch::new("path");
    for program in ["ip", "iptables", "ip6tables", "iptables-restore", "ip6tables-restore"] {
        symlink(format!("/usr/sbin/{program}"), programs.path().join(program)).unwrap();
    }
    for program in ["sh", "cat", "grep"] {
        symlink(format!("/bin/{program}"), programs.path().join(program)).unwrap();
    }
    let path = Some(programs.path());
    let output = scene.adit_on(path, "redirect up --docker --kill-switch");
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).contains("from this host, br-*, docker0 to port 7893"), "{}", out(&output));
    assert!(scene.said("nft", "list tables").lines().all(|line| line != "table inet adit"));
    let rules = scene.said("iptables-save", "-t mangle") + &scene.said("ip6tables-save", "-t mangle");
    assert_eq!(rules.matches("-A ADIT_PREROUTING -i br-+ -g ADIT_FORWARDED").count(), 2, "{rules}");
    assert!(scene.adit_on(path, "redirect show").stdout.starts_with(b"#!/bin/sh"));
    assert!(out(&scene.adit_on(path, "redirect show")).contains("ip6tables-restore"));
    let output = scene.adit_on(path, "redirect down");
    assert!(output.status.success(), "{}", err(&output));
    assert!(!scene.said("iptables-save", "-t mangle").contains("ADIT"));
    assert!(!scene.said("ip", "rule").contains("2769"));
}

#[test]
fn what_does_not_fit_is_said_and_nothing_is_changed() {
    for (config, words, said) in [
        ("mixed-port: 7890\n", "redirect up", "write `tproxy-port: 7893`"),
        ("tproxy-port: 7893\n", "redirect up", "write `routing-mark: 45`"),
        ("tproxy-port: 7893\nrouting-mark: 45\n", "redirect up --interface lan0", "write `allow-lan: true`"),
        (CONFIG, "redirect up --mode redirect --port 7893", "it has --mode "),
        (CONFIG, "redirect up --no-host", "name an --interface"),
    ] {
        let scene = Scene::new(config);
        let output = scene.adit(words);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(err(&output).contains(said), "{words}: {}", err(&output));
        assert_eq!(scene.said("nft", "list ruleset"), "");
    }
}

/// The configuration among the recipes is one that host rules can be made for.
#[test]
fn the_recipe_makes_rules() {
    let text = include_str!("../../../../configs/redirect/config.yaml");
    let scene = Scene::new(text);
    let output = scene.adit("check");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", err(&output));
    for words in ["redirect up", "redirect show --docker --no-host --firewall iptables"] {
        let output = scene.adit(words);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", err(&output));
    }
}

/// Before the daemon runs, while it does, and after.
#[test]
fn the_doctor_names_what_is_wrong() {
    let scene = Scene::new(CONFIG);
    scene.host.set("ipv4/ip_forward", "0");
    let none = scene.adit("doctor");
    assert!(none.status.success() && out(&none).contains("no rules are installed"), "{}", out(&none));
    assert!(scene.adit("redirect up --interface lan0").status.success());
    let said = out(&scene.adit("doctor"));
    for part in ["warning: nobody listens on port 7893", "sysctl -w net.ipv4.ip_forward=1", "DNS over HTTPS"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let daemon = scene.daemon().listening(&[]);
    let end = Instant::now() + Duration::from_secs(20);
    let mut said = out(&scene.adit("doctor"));
    while said.contains("nobody") || said.contains("no sign of life") {
        assert!(Instant::now() < end, "{said}\n{}", daemon.log());
        said = out(&scene.adit("doctor"));
    }
    assert!(scene.adit("doctor").status.success(), "{said}");
    scene.host.ip("rule del pref 2769");
    scene.host.ip("-6 rule del pref 2769");
    let broken = scene.adit("doctor");
    assert_eq!(broken.status.code(), Some(1));
    assert!(out(&broken).starts_with("problem: the policy routing that tproxy needs is gone"), "{}", out(&broken));
    drop(daemon);
    let config = scene.scratch.write("config.yaml", CONFIG.replace("routing-mark: 45\n", ""));
    assert_eq!(config, scene.config);
    let marked = out(&scene.adit("doctor"));
    assert!(marked.contains("write `routing-mark: 45`"), "{marked}");
}
