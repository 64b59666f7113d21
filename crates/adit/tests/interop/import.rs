//! `adit import`, the program itself.

use std::process::{Command, Output};

use adit_testkit::Scratch;
use adit_testkit::subject::Subject;

const WG_QUICK: &str = "\
[Interface]
PrivateKey = eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=
Address = 172.16.0.2/32, 2606:4700:110::2/128
PostUp = iptables -A FORWARD -j ACCEPT

[Peer]
PublicKey = Cr8hWlKvtDt7nrvf+f0brNQQzabAqrjfBvas9pmowjo=
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = 192.0.2.1:51820
";

fn adit(arguments: &[&str]) -> Output {
    Command::new(Subject::Adit.binary()).args(arguments).output().expect("adit runs")
}

#[test]
fn a_wg_quick_file_becomes_a_configuration_that_loads() {
    let scratch = Scratch::new("import");
    let file = scratch.write("home.conf", WG_QUICK);
    let output = adit(&["import", "--full", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("PostUp"), "what cannot be kept is said: {said}");
    let config = scratch.write("config.yaml", String::from_utf8(output.stdout).unwrap());
    let output = adit(&["check", "-f", config.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_file_with_an_error_gives_nothing_but_the_error() {
    let scratch = Scratch::new("import");
    let file = scratch.write("home.conf", WG_QUICK.replace("51820", "518200"));
    let output = adit(&["import", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(said.contains("home.conf:9"), "{said}");
    assert!(!said.contains("eCtXsJZ27"), "a key is shown: {said}");
}
