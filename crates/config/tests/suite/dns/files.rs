//! Databases and rule sets in files.

use std::fs;
use std::path::PathBuf;

use adit_config::{Loaded, load};
use adit_dns::FakeFilter;

use crate::dns::{dns_of, fake, policy_for};
use crate::scene::source;

/// A home folder with two databases and a rule set; gone when dropped.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("adit-dns-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let name = [varint(1, 2), bytes(2, b"google.example")].concat();
        let sites = [bytes(1, b"GOOGLE"), bytes(2, &name)].concat();
        fs::write(dir.join("GeoSite.dat"), bytes(1, &sites)).unwrap();
        let network = [bytes(1, &[198, 51, 100, 0]), varint(2, 24)].concat();
        let country = [bytes(1, b"CN"), bytes(2, &network)].concat();
        fs::write(dir.join("GeoIP.dat"), bytes(1, &country)).unwrap();
        fs::write(dir.join("names.txt"), "+.file.example\n").unwrap();
        Self(dir)
    }

    fn load(&self, text: &str) -> Loaded {
        let mut source = source(text);
        source.home.clone_from(&self.0);
        load(&source)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A length-delimited field of protobuf; everything here is shorter than 128 bytes.
fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2, content.len() as u8], content].concat()
}

fn varint(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

const TEXT: &str = "\
geodata-mode: true
rules: ['GEOSITE,google,REJECT', 'MATCH,DIRECT']
dns:
  enable: true
  nameserver: [192.0.2.53]
  fallback: [192.0.2.54]
  fallback-filter: {geoip-code: cn, geosite: [google]}
  nameserver-policy: {'geosite:google': 192.0.2.1, 'rule-set:names': 192.0.2.2}
  enhanced-mode: fake-ip
  fake-ip-filter: ['geosite:google', 'rule-set:names', +.lan]
rule-providers:
  names: {type: file, behavior: domain, format: text, path: ./names.txt}
";

#[test]
fn databases_and_rule_sets_say_who_is_asked() {
    let loaded = Home::new("good").load(TEXT);
    let shown = loaded.problems.render(false);
    let plan = loaded.plan.expect(&shown);
    let dns = dns_of(&plan);
    for (name, server) in
        [("www.google.example", "udp://192.0.2.1:53"), ("a.file.example", "udp://192.0.2.2:53"), ("b.example", "")]
    {
        assert_eq!(policy_for(&dns.upstreams.policy, name).unwrap_or_default(), server);
        assert_eq!(fake(&dns).1.is_fake(name), server.is_empty(), "{name}");
    }
    let fallback = dns.upstreams.fallback.unwrap();
    let only = fallback.only.unwrap();
    assert!(only("google.example") && !only("a.file.example"));
    let doubtful = |ip: &str| (fallback.doubtful)(ip.parse().unwrap());
    assert!(doubtful("8.8.8.8") && !doubtful("198.51.100.7") && !doubtful("10.0.0.1"));
    assert_eq!(loaded.problems.counts().warnings, 1, "{shown}");
    assert!(shown.contains("replace fallback-filter.geosite with nameserver-policy"), "{shown}");
}

#[test]
fn rules_in_a_filter_may_be_about_sites() {
    let text = TEXT.replace(
        "['geosite:google', 'rule-set:names', +.lan]",
        "['GEOSITE,google,real-ip', 'RULE-SET,names,fake-ip', 'MATCH,real-ip']\n  fake-ip-filter-mode: rule",
    );
    let dns = dns_of(&Home::new("rules").load(&text).plan.unwrap());
    let FakeFilter::Rules(rules) = fake(&dns).1 else { panic!() };
    assert_eq!(rules.len(), 3);
    assert!(!fake(&dns).1.is_fake("google.example") && fake(&dns).1.is_fake("x.file.example"));
}

#[test]
fn lists_that_are_not_in_the_database_are_errors() {
    let text = TEXT.replace("'geosite:google': 192.0.2.1", "'geosite:googel': 192.0.2.1");
    let loaded = Home::new("none").load(&text);
    let problem = loaded.problems.iter().find(|problem| problem.message.contains("googel")).unwrap();
    assert_eq!((problem.line, &*problem.message), (8, "list [googel] not found in GeoSite.dat"));
}

/// F-D10: one that is damaged is opened once, said once, and counts as missing.
#[test]
fn databases_are_opened_once_and_only_for_those_who_need_them() {
    let home = Home::new("damaged");
    fs::write(home.0.join("GeoSite.dat"), b"not a database").unwrap();
    let loaded = home.load(TEXT);
    let shown = loaded.problems.render(false);
    assert_eq!(shown.matches("the file is damaged").count(), 1, "{shown}");
    assert_eq!(shown.matches("the GeoSite database is not available: lists").count(), 1, "{shown}");
    let dns = dns_of(&loaded.plan.unwrap());
    assert_eq!(policy_for(&dns.upstreams.policy, "google.example"), None);

    let without = "dns: {enable: true, nameserver: [192.0.2.53], fallback-filter: {geoip: true}}\n";
    assert_eq!(home.load(without).problems.render(false), "");
}
