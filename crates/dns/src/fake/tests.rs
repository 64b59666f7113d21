//! Addresses over restarts, damage and changes. The process that is killed is in `tests/`.

use std::fs;
use std::path::PathBuf;

use super::file::names_in;
use super::*;

fn ranges(v4: &str, v6: &str) -> FakeRanges {
    FakeRanges { v4: v4.parse().ok(), v6: v6.parse().ok() }
}

fn name(n: usize) -> Domain {
    format!("n{n}.example").parse().unwrap()
}

/// A folder that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("adit-fake-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("fake.redb")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// F-E13: an address that was never given out is not one that stands for something.
#[test]
fn both_families_and_both_directions() {
    let fake = FakeIp::new(ranges("198.18.0.1/16", "fdfe::1/64")).unwrap();
    assert_eq!(fake.v4(&name(0)).unwrap().to_string(), "198.18.0.4");
    assert_eq!(fake.v4(&name(1)).unwrap().to_string(), "198.18.0.5");
    assert_eq!(fake.v6(&name(1)).unwrap().to_string(), "fdfe::4");
    assert_eq!(fake.v4(&"N0.Example.".parse().unwrap()).unwrap().to_string(), "198.18.0.4");
    for (ip, meaning) in [
        ("198.18.0.4", Some(Fake::Name(name(0)))),
        ("fdfe::4", Some(Fake::Name(name(1)))),
        ("198.18.0.6", Some(Fake::Missing)),
        ("198.18.0.2", Some(Fake::Missing)),
        ("fdfe::5", Some(Fake::Missing)),
        ("fdfe::5:0:0:0", Some(Fake::Missing)),
        ("198.18.0.1", None),
        ("198.18.255.255", None),
        ("198.19.0.4", None),
        ("fdff::4", None),
    ] {
        assert_eq!(fake.original(ip.parse().unwrap()), meaning, "{ip}");
    }
    let only4 = FakeIp::new(ranges("198.18.0.1/16", "")).unwrap();
    assert!(only4.v6(&name(0)).is_none() && !only4.has_family(true) && only4.has_family(false));
    assert_eq!(FakeIp::new(FakeRanges::default()).unwrap_err(), BadRange::None);
}

/// F-E12: the address of a live flow is not given to another name.
#[test]
fn a_held_address_is_not_given_away() {
    let fake = FakeIp::new(ranges("198.18.0.1/29", "")).unwrap();
    let ip = fake.v4(&name(0)).unwrap().into();
    let held = fake.hold(ip).unwrap();
    for n in 1..20 {
        assert_ne!(IpAddr::from(fake.v4(&name(n)).unwrap()), ip);
    }
    drop(held);
    assert!((20..23).any(|n| IpAddr::from(fake.v4(&name(n)).unwrap()) == ip));
    assert!(fake.hold("198.18.0.1".parse().unwrap()).is_none());
}

/// F-E12: restart, changed range, flush.
#[test]
fn names_keep_their_addresses_over_a_restart_and_lose_them_with_the_range() {
    let scratch = Scratch::new("restart");
    let old = ranges("198.18.0.1/16", "fdfe::1/64");
    let fake = FakeIp::open(old, &scratch.file()).unwrap();
    let before: Vec<_> = (0..3000).map(|n| fake.v4(&name(n)).unwrap()).collect();
    let six = fake.v6(&name(7)).unwrap();
    drop(fake);
    let fake = FakeIp::open(old, &scratch.file()).unwrap();
    let after: Vec<_> = (0..3000).rev().map(|n| fake.v4(&name(n)).unwrap()).collect();
    assert!(before.iter().eq(after.iter().rev()));
    assert_eq!(fake.v6(&name(7)), Some(six));
    assert_eq!(fake.v4(&name(3000)).unwrap(), Ipv4Addr::from(u32::from(before[2999]) + 1));
    drop(fake);
    // One family's range changes: the other's names stay.
    let fake = FakeIp::open(ranges("198.19.0.1/16", "fdfe::1/64"), &scratch.file()).unwrap();
    assert_eq!(fake.v4(&name(2999)).unwrap().to_string(), "198.19.0.4");
    assert_eq!(fake.original(six.into()), Some(Fake::Name(name(7))));
    fake.flush();
    assert_eq!(fake.original(six.into()), Some(Fake::Missing));
    assert_eq!(fake.v4(&name(5)).unwrap().to_string(), "198.19.0.4");
    drop(fake);
    assert_eq!(names_in(&scratch.file(), Family::V4), [(0, "n5.example".to_owned())]);
    assert!(FakeIp::open(ranges("198.19.0.1/16", ""), &scratch.file()).is_ok());
}

#[test]
fn a_range_that_wrapped_is_restored_in_the_order_of_use() {
    let scratch = Scratch::new("wrap");
    let small = ranges("198.18.0.1/29", "");
    let fake = FakeIp::open(small, &scratch.file()).unwrap();
    let last: Vec<_> = (0..8).map(|n| fake.v4(&name(n)).unwrap()).collect();
    drop(fake);
    let fake = FakeIp::open(small, &scratch.file()).unwrap();
    for (n, ip) in last.iter().enumerate().skip(5) {
        assert_eq!(fake.original((*ip).into()), Some(Fake::Name(name(n))));
    }
    drop(fake);
    let fake = FakeIp::open(small, &scratch.file()).unwrap();
    assert_eq!(fake.v4(&name(100)).unwrap(), last[5]);
}

/// F-D9: cut, empty, random, a folder, and bit flips all over: a start afresh or the same names, never a crash.
#[test]
fn a_damaged_file_is_set_aside() {
    let scratch = Scratch::new("damage");
    let same = ranges("198.18.0.1/16", "");
    let fake = FakeIp::open(same, &scratch.file()).unwrap();
    (0..2000).for_each(|n| assert!(fake.v4(&name(n)).is_some()));
    drop(fake);
    let good = fs::read(scratch.file()).unwrap();
    let step = good.len() / 12 + 1;
    let cuts = (0..good.len()).step_by(step).map(|at| good[..at].to_vec());
    let flips = (0..good.len()).step_by(step / 2).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let noise = [vec![0; 5], vec![0xff; 100_000], b"not a database".to_vec()];
    for bytes in cuts.chain(flips).chain(noise) {
        fs::write(scratch.file(), bytes).unwrap();
        let fake = FakeIp::open(same, &scratch.file()).unwrap();
        let again = fake.v4(&name(1999)).unwrap();
        assert!(matches!(fake.original(again.into()), Some(Fake::Name(known)) if known == name(1999)));
    }
    fs::remove_file(scratch.file()).unwrap();
    let _ = fs::remove_file(scratch.0.join("fake.redb.bad"));
    fs::create_dir(scratch.file()).unwrap();
    let fake = FakeIp::open(same, &scratch.file()).unwrap();
    assert_eq!(fake.v4(&name(0)).unwrap().to_string(), "198.18.0.4");
    assert!(scratch.0.join("fake.redb.bad").is_dir());
}

/// F-H5: a process that was killed while it made the file left one that could not be read.
#[test]
fn f_h5_a_file_that_was_only_begun_is_made_again() {
    let scratch = Scratch::new("begun");
    fs::write(scratch.0.join("fake.redb.new"), vec![0; 4096]).unwrap();
    drop(FakeIp::open(ranges("198.18.0.1/16", ""), &scratch.file()).unwrap());
    let files: Vec<_> = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files, [scratch.file()]);
}

/// F-D11: where nothing can be written, addresses live in memory.
#[test]
fn a_place_that_cannot_be_written_to_is_no_reason_to_fail() {
    let fake = FakeIp::open(ranges("198.18.0.1/16", ""), Path::new("/proc/nowhere/fake.redb")).unwrap();
    assert_eq!(fake.v4(&name(0)).unwrap().to_string(), "198.18.0.4");
    let scratch = Scratch::new("shared");
    let first = FakeIp::open(ranges("198.18.0.1/16", ""), &scratch.file()).unwrap();
    let second = FakeIp::open(ranges("198.18.0.1/16", ""), &scratch.file()).unwrap();
    assert_eq!(first.v4(&name(0)), second.v4(&name(0)));
    drop((second, first));
    assert_eq!(names_in(&scratch.file(), Family::V4).len(), 1);
}
