//! In a network namespace of the test's own.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use adit_redirect::{ApplyError, Firewall, Mode, Options, Plan};
use adit_testkit::lab::Namespace;
use rustix::process::Uid;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_thread_uid};

use crate::{all, full, small};

/// What `program` prints.
fn said(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that rules may change. Pulses and counters are left out.
fn state() -> String {
    let parts = ["rule show", "route show table all", "-6 rule show", "-6 route show table all"];
    let routing: String = parts.into_iter().map(|words| said("ip", words)).collect();
    said("nft", "-s list ruleset") + &routing
}

/// With somebody else's table and rule in it.
fn namespace() -> Namespace {
    let namespace = Namespace::new();
    namespace.ip("link add lan0 type veth peer name lan1");
    namespace.ip("link set lan0 up");
    namespace.ip("address add 10.9.0.1/24 dev lan0");
    namespace.ip("address add fd09::1/64 dev lan0 nodad");
    namespace.ip("rule add pref 100 fwmark 9 lookup main");
    namespace.run(|| {
        said("nft", "add table inet filter");
        said("nft", "add table ip nat");
        // The kernel adds the route to a new address a moment later.
        let end = Instant::now() + Duration::from_secs(5);
        while !said("ip", "-6 route show table local").contains("local fd09::1") && Instant::now() < end {}
    });
    namespace
}

#[test]
fn up_twice_is_up_once_and_down_leaves_no_trace() {
    namespace().run(|| {
        let before = state();
        for options in all() {
            adit_redirect::up(&options).unwrap();
            let once = state();
            assert!(once != before && once.contains("table inet adit"));
            adit_redirect::up(&options).unwrap();
            assert_eq!(state(), once);
            adit_redirect::down().unwrap();
            assert_eq!(state(), before);
        }
        adit_redirect::down().unwrap();
        assert_eq!(state(), before);
    });
}

/// Whatever is installed, the next options are what holds then.
#[test]
fn up_replaces_what_other_options_installed() {
    namespace().run(|| {
        let alone: Vec<String> = all()
            .iter()
            .map(|options| {
                adit_redirect::up(options).unwrap();
                let state = state();
                adit_redirect::down().unwrap();
                state
            })
            .collect();
        for (options, expected) in all().iter().zip(&alone).rev() {
            adit_redirect::up(options).unwrap();
            assert_eq!(&state(), expected);
        }
    });
}

#[test]
fn the_printed_script_does_the_same() {
    let run = |script: &str| {
        let mut child = Command::new("sh").stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{script}");
    };
    namespace().run(|| {
        let before = state();
        for options in all() {
            adit_redirect::up(&options).unwrap();
            let expected = state();
            adit_redirect::down().unwrap();
            let script = Plan::up(&options).unwrap().script();
            run(&script);
            assert_eq!(state(), expected);
            run(&script);
            assert_eq!(state(), expected);
            run(&Plan::down().script());
            assert_eq!(state(), before);
        }
    });
}

/// Where `nft` was missing once, chains of ours may lie in iptables: two sets of rules would fight over each packet.
#[test]
fn chains_of_a_host_without_nft_go_when_it_has_one() {
    let install = |options: &Options| {
        let script = Plan::up_in(Firewall::Iptables, options).unwrap().script();
        assert!(Command::new("sh").arg("-c").arg(script).status().unwrap().success());
        assert!(
            said("iptables-save", "-t mangle").contains("ADIT_")
                && said("ip6tables-save", "-t mangle").contains("ADIT_")
        );
    };
    let is_clean = || {
        for program in ["iptables-save", "ip6tables-save"] {
            for table in ["filter", "mangle", "nat"] {
                assert!(!said(program, &format!("-t {table}")).contains("ADIT_"), "{program} {table}");
            }
        }
    };
    namespace().run(|| {
        let options = full(Mode::Tproxy, true);
        install(&options);
        adit_redirect::up(&options).unwrap();
        is_clean();
        assert!(state().contains("table inet adit") && said("ip", "rule show").contains("2769:"));
        adit_redirect::down().unwrap();
        install(&options);
        adit_redirect::down().unwrap();
        is_clean();
        assert!(!said("ip", "rule show").contains("2769:"));
    });
}

/// F-H7
#[test]
fn a_host_without_ipv6_gets_rules_too() {
    let namespace = namespace();
    namespace.set("ipv6/conf/all/disable_ipv6", "1");
    namespace.set("ipv6/conf/lo/disable_ipv6", "1");
    namespace.run(|| {
        let before = state();
        adit_redirect::up(&full(Mode::Tproxy, true)).unwrap();
        let script = Plan::up(&full(Mode::Tproxy, true)).unwrap().script();
        let status = Command::new("sh").arg("-c").arg(script).status().unwrap();
        assert!(status.success());
        adit_redirect::down().unwrap();
        assert_eq!(state(), before);
    });
}

/// F-H11: an ordinary user is told what is missing.
#[test]
fn without_the_right_the_error_says_so() {
    namespace().run(|| {
        // What a thread drops, programs that it starts do not get, unless they are root's.
        set_thread_uid(Uid::from_raw(65_534)).unwrap();
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
        assert!(matches!(adit_redirect::up(&small(Mode::Tproxy)), Err(ApplyError::NotPermitted)));
    });
}
