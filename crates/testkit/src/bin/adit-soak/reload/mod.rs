//! 500 reloads under load: nothing that stays the same notices, and nothing grows.
//!
//! Streams, datagrams and a churn of short connections use what is the same in every configuration: DIRECT, a VLESS server, a
//! WireGuard tunnel, a provider's node. Around them rules, groups, a proxy, a listener and the provider's list change.

mod load;
mod scene;

use std::thread;
use std::time::Duration;

use adit_testkit::Usage;
use adit_testkit::lab::{Lab, PeerOptions};
use adit_testkit::subject::Subject;

use crate::verdict::Verdict;
use load::Load;
use scene::{Far, Scene};

const RELOADS: usize = 500;
/// After so many everything has been used once.
const WARM: usize = 20;
/// One in so many is of a file that cannot be used.
const BROKEN: usize = 50;
/// Between two reloads.
const PAUSE: Duration = Duration::from_millis(60);
/// Threads that blocked once end after ten idle seconds.
const COOLING: Duration = Duration::from_secs(12);
/// What anonymous memory may have grown by between the first reloads and the last, in KiB. Of 4000 reloads the first 1500 take
/// 900 KiB, the last 2000 another 84: the allocator settles, for each of its threads.
const GROWTH: i64 = 2048;
/// What resident memory may have grown by: pages of the program that are needed for the first time are part of it.
const RESIDENT_GROWTH: i64 = 4096;
/// Threads that write a provider's copy at this moment.
const WRITERS: u64 = 2;

pub(crate) fn run(subject: Subject, verdict: &mut Verdict) {
    if subject != Subject::Adit {
        return verdict.note("it is about what adit promises; nothing was done");
    }
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions::default());
    let far = Far::start(&lab);
    lab.client().run(|| {
        let mut scene = Scene::start(&far, &peer.route());
        let load = Load::default();
        let usages = thread::scope(|scope| {
            let pulses = load.start(scope, &scene);
            let usages = reload(&mut scene, &load, verdict);
            load.stop();
            for (what, pulse) in pulses {
                let pulse = pulse.join().expect("a thread that does not panic");
                verdict.require(pulse.lost.is_empty() && pulse.count > 0, pulse.summary(&what));
            }
            usages
        });
        scene.judge(verdict);
        compare(&usages, verdict);
    });
}

/// Reloads, and measures on the way.
fn reload(scene: &mut Scene<'_>, load: &Load, verdict: &Verdict) -> Vec<(usize, Usage)> {
    let mut usages = Vec::new();
    for n in 1..=RELOADS {
        if n.is_multiple_of(BROKEN) {
            scene.refuse();
        }
        scene.reload();
        if n == WARM || n.is_multiple_of(RELOADS / 5) {
            load.pause();
            // Once for comparing descriptors and threads, twice would take too long.
            thread::sleep(if n == WARM || n == RELOADS { COOLING } else { Duration::from_secs(1) });
            let usage = scene.adit.usage();
            verdict.note(format!("after {n} reloads: {}", shown(usage)));
            usages.push((n, usage));
            load.go_on();
        }
        thread::sleep(PAUSE);
    }
    usages
}

fn shown(usage: Usage) -> String {
    let Usage { rss, anonymous, descriptors, threads, .. } = usage;
    format!("{rss} KiB resident, {anonymous} KiB of it anonymous, {descriptors} descriptors, {threads} threads")
}

fn compare(usages: &[(usize, Usage)], verdict: &mut Verdict) {
    let (Some((first, before)), Some((last, after))) = (usages.first(), usages.last()) else { return };
    for (what, before, after, allowed) in
        [("resident", before.rss, after.rss, RESIDENT_GROWTH), ("anonymous", before.anonymous, after.anonymous, GROWTH)]
    {
        let growth = after.cast_signed() - before.cast_signed();
        let each = growth * 1024 / (last - first).cast_signed() as i64;
        let text = format!("{what} memory has grown by {growth} KiB in {} reloads, {each} bytes each", last - first);
        verdict.require(growth <= allowed, text);
    }
    let descriptors = format!("{} descriptors at first, {} at last", before.descriptors, after.descriptors);
    verdict.require(after.descriptors <= before.descriptors + 4, descriptors);
    let threads = format!("{} threads at first, {} at last", before.threads, after.threads);
    verdict.require(after.threads <= before.threads + WRITERS, threads);
}
