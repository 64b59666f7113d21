//! Choices, with made-up conditions and time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_net::{Entry, Network, Protocol, Session, Tag};

use super::Group;
use crate::health::Condition;
use crate::options::{self, Check, GroupKind, Strategy};

/// Members `a`, `b`, `c`, … with conditions to be set.
struct Scene {
    group: Group,
    conditions: RefCell<HashMap<Tag, Condition>>,
    now: Instant,
}

impl Scene {
    fn new(kind: GroupKind, members: usize) -> Self {
        let members = (b'a'..).take(members).map(|letter| Tag::from(char::from(letter).to_string())).collect();
        let options = options::Group {
            name: "G".into(),
            kind,
            members,
            check: Check::default(),
            disable_udp: false,
            hidden: false,
            icon: String::new(),
        };
        Self { group: Group::new(options, None), conditions: RefCell::default(), now: Instant::now() }
    }

    fn set(&self, member: &str, alive: bool, delay: u16) {
        let delay = (delay != 0).then_some(delay);
        self.conditions.borrow_mut().insert(member.into(), Condition { alive, delay });
    }

    fn now(&self) -> &str {
        self.pick(None)
    }

    fn pick(&self, session: Option<&Session>) -> &str {
        let unknown = Condition { alive: true, delay: None };
        let condition = |name: &Tag| self.conditions.borrow().get(name).copied().unwrap_or(unknown);
        &self.group.options.members[self.group.now(&condition, session, self.now)]
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// As a reload that leaves these members.
    fn reload(self, members: &[&str]) -> Self {
        let mut options = self.group.options.clone();
        options.members = members.iter().map(|name| Tag::new(name)).collect();
        Self { group: Group::new(options, Some(&self.group)), ..self }
    }
}

fn session(client: &str, target: &str) -> Session {
    let local = SocketAddr::from(([127, 0, 0, 1], 7890));
    let entry = Entry { inbound: "door".into(), protocol: Protocol::Socks5, local, user: None };
    let client: SocketAddr = format!("{client}:1").parse().unwrap();
    Session::new(Network::Tcp, entry, client.into(), target.parse().unwrap())
}

#[test]
fn a_selector_keeps_a_choice_that_is_away() {
    let scene = Scene::new(GroupKind::Select { default: Some("b".into()) }, 3);
    assert_eq!(scene.now(), "b");
    scene.group.choose(Some("c".into())).unwrap();
    scene.set("c", false, 0);
    assert_eq!(scene.now(), "c", "a choice by hand is not second-guessed");
    let scene = scene.reload(&["a", "b"]);
    assert_eq!(scene.now(), "a");
    let scene = scene.reload(&["a", "b", "c"]);
    assert_eq!(scene.now(), "c");
}

#[test]
fn url_test_takes_the_fastest_and_is_slow_to_change_its_mind() {
    let mut scene = Scene::new(GroupKind::UrlTest { tolerance: 50 }, 3);
    assert_eq!(scene.now(), "a");
    for (member, delay) in [("a", 300), ("b", 100), ("c", 140)] {
        scene.set(member, true, delay);
    }
    assert_eq!(scene.now(), "a", "a decision stands for ten seconds");
    scene.later(10);
    assert_eq!(scene.now(), "b");
    scene.set("c", true, 60);
    scene.later(10);
    assert_eq!(scene.now(), "b", "within the tolerance");
    scene.set("c", true, 40);
    scene.later(10);
    assert_eq!(scene.now(), "c");
    scene.set("c", false, 0);
    assert_eq!(scene.now(), "b", "a dead one is left at once");
}

/// Mihomo counts the first member as gone, and its sum wraps.
#[test]
fn tolerance_protects_the_first_member_and_does_not_wrap() {
    let mut scene = Scene::new(GroupKind::UrlTest { tolerance: u16::MAX }, 2);
    scene.set("a", true, 100);
    scene.set("b", true, 99);
    scene.group.choose(Some("a".into())).unwrap();
    assert_eq!(scene.now(), "a");
    scene.group.unpin().unwrap();
    assert_eq!(scene.now(), "b");
    scene.set("a", true, 10);
    scene.set("b", true, 65_000);
    scene.later(10);
    assert_eq!(scene.now(), "b");
}

#[test]
fn a_pin_outlives_the_death_of_its_member_in_url_test_and_not_in_fallback() {
    for (kind, back) in [(GroupKind::UrlTest { tolerance: 0 }, "c"), (GroupKind::Fallback, "a")] {
        let mut scene = Scene::new(kind, 3);
        scene.group.choose(Some("c".into())).unwrap();
        assert_eq!((scene.now(), scene.group.chosen()), ("c", Some("c".into())));
        scene.set("c", false, 0);
        assert_eq!(scene.now(), "a");
        scene.set("c", true, 500);
        scene.later(10);
        assert_eq!(scene.now(), back);
    }
}

#[test]
fn fallback_takes_the_first_that_works_and_comes_back() {
    let scene = Scene::new(GroupKind::Fallback, 3);
    assert_eq!(scene.now(), "a");
    scene.set("a", false, 0);
    assert_eq!(scene.now(), "b");
    scene.set("b", false, 0);
    scene.set("c", false, 0);
    assert_eq!(scene.now(), "a", "where none works, the first");
    scene.set("c", true, 10);
    assert_eq!(scene.now(), "c");
    scene.set("a", true, 10);
    assert_eq!(scene.now(), "a");
}

/// Mihomo goes on with the first member for as long as the pin names nobody.
#[test]
fn a_pin_on_a_member_that_is_gone_has_no_effect() {
    let scene = Scene::new(GroupKind::Fallback, 3);
    scene.group.choose(Some("c".into())).unwrap();
    let scene = scene.reload(&["a", "b"]);
    scene.set("a", false, 0);
    assert_eq!(scene.now(), "b");
    let scene = scene.reload(&["a", "b", "c"]);
    assert_eq!(scene.now(), "c");
}

#[test]
fn consistent_hashing_keeps_a_site_together_and_moves_it_off_the_dead() {
    let scene = Scene::new(GroupKind::LoadBalance(Strategy::ConsistentHashing), 5);
    let of = |target: &str| scene.pick(Some(&session("10.0.0.1", target))).to_owned();
    let mut used = std::collections::HashSet::new();
    for n in 0..100 {
        let site = format!("site{n}.co.uk");
        let member = of(&format!("www.{site}:443"));
        assert_eq!(member, of(&format!("{site}:80")));
        assert_eq!(member, of(&format!("a.b.{site}:443")));
        used.insert(member);
    }
    assert_eq!(used.len(), 5, "the public suffix is not the site");
    let before = of("www.site1.co.uk:443");
    scene.set(&before, false, 0);
    assert_ne!(of("www.site1.co.uk:443"), before);
    scene.set(&before, true, 0);
    assert_eq!(of("www.site1.co.uk:443"), before);
}

#[test]
fn round_robin_passes_over_the_dead_and_does_not_move_for_onlookers() {
    let scene = Scene::new(GroupKind::LoadBalance(Strategy::RoundRobin), 4);
    scene.set("c", false, 0);
    let one = session("10.0.0.1", "x.test:1");
    let taken: Vec<_> = (0..6)
        .map(|_| {
            assert_eq!(scene.now(), scene.now());
            scene.pick(Some(&one))
        })
        .collect();
    assert_eq!(taken, ["b", "d", "a", "b", "d", "a"]);
}

#[test]
fn sticky_sessions_stay_for_ten_minutes() {
    let mut scene = Scene::new(GroupKind::LoadBalance(Strategy::StickySessions), 4);
    let one = session("10.0.0.1", "x.test:1");
    let first = scene.pick(Some(&one)).to_owned();
    for _ in 0..59 {
        scene.later(10);
        assert_eq!(scene.pick(Some(&one)), first);
    }
    scene.set(&first, false, 0);
    let second = scene.pick(Some(&one)).to_owned();
    assert_ne!(second, first);
    scene.set(&first, true, 0);
    assert_eq!(scene.pick(Some(&one)), second);
}

#[test]
fn load_balance_is_not_chosen_by_hand() {
    let scene = Scene::new(GroupKind::LoadBalance(Strategy::RoundRobin), 2);
    assert!(scene.group.choose(Some("a".into())).is_err() && scene.group.unpin().is_err());
    let scene = Scene::new(GroupKind::Select { default: None }, 2);
    assert!(scene.group.unpin().is_err());
}

#[test]
fn connections_count_as_use_and_looks_do_not() {
    let scene = Scene::new(GroupKind::Fallback, 2);
    scene.now();
    assert_eq!(scene.group.uses(), 0);
    scene.pick(Some(&session("10.0.0.1", "x.test:1")));
    assert_eq!(scene.group.uses(), 1);
}
