//! What a set of 500,000 names costs: heap, time to load, time per look-up; and what a decision costs in a list of
//! 10,000 rules.
//!
//! ```text
//! cargo run --release -p adit-router --example domain_set_cost
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use adit_net::{Entry, Network, Protocol, Session, Tag};
use adit_router::{Address, Behavior, Format, Geo, IpSet, Query, RuleSet, Rules, Sources, Step, parse_prefix};

const NAMES: usize = 500_000;
const PROBES: usize = 200_000;

/// The system's allocator, counting.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let names: Vec<String> = (0..NAMES).map(|_| random.name()).collect();
    let bytes: usize = names.iter().map(String::len).sum();
    println!("{NAMES} names, {:.1} bytes each", bytes as f64 / NAMES as f64);
    let mut text = String::new();
    for (at, name) in names.iter().enumerate() {
        let scope = if at % 10 < 7 { "+." } else { "" };
        writeln!(text, "{scope}{name}")?;
    }
    let yaml = text.lines().fold(String::from("payload:\n"), |mut yaml, line| {
        yaml += "  - '";
        yaml += line;
        yaml += "'\n";
        yaml
    });
    let hits: Vec<&str> = (0..PROBES).map(|_| names[random.below(NAMES)].as_str()).collect();
    let below: Vec<String> = hits.iter().map(|name| format!("www.{name}")).collect();
    let misses: Vec<String> = (0..PROBES).map(|_| random.name()).collect();

    for (format, file) in [(Format::Text, &text), (Format::Yaml, &yaml)] {
        load(format, file)?;
    }
    let set: adit_router::DomainSet = text.lines().map(adit_router::DomainPattern::parse).collect::<Result<_, _>>()?;
    println!("set: {:.1} bytes per name", set.heap_bytes() as f64 / NAMES as f64);
    per_look_up("names in the set", &hits, |name| set.contains(name));
    per_look_up("names below them", &below, |name| set.contains(name));
    per_look_up("other names", &misses, |name| set.contains(name));
    addresses(&mut random)?;
    decisions(&names, &mut random)
}

fn load(format: Format, file: &str) -> Result<(), Box<dyn Error>> {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let start = Instant::now();
    let (set, _) = RuleSet::parse(file.as_bytes(), Behavior::Domain, format, &Geo::default())?;
    let took = start.elapsed();
    let heap = LIVE.load(Ordering::Relaxed) - before;
    println!(
        "{format:?}: {} rules loaded in {:.0} ms, heap {:.1} bytes per name, {:.1} MiB more than that at the peak",
        set.rule_count(),
        took.as_secs_f64() * 1e3,
        heap as f64 / NAMES as f64,
        (PEAK.load(Ordering::Relaxed) - before - heap) as f64 / (1 << 20) as f64,
    );
    Ok(())
}

fn addresses(random: &mut Random) -> Result<(), Box<dyn Error>> {
    let nets = (0..10_000).map(|_| {
        let bits = random.next() as u32;
        parse_prefix(&format!("{}/{}", std::net::Ipv4Addr::from(bits), 12 + random.below(17)))
    });
    let set: IpSet = nets.collect::<Option<Vec<_>>>().ok_or("a prefix")?.into_iter().collect();
    let probes: Vec<std::net::IpAddr> = (0..PROBES).map(|_| (random.next() as u32).to_be_bytes().into()).collect();
    per_look_up("addresses, 10,000 prefixes", &probes, |ip| set.contains(*ip));
    Ok(())
}

/// 10,000 rules, as long lists have them, and names that match none but the last.
fn decisions(names: &[String], random: &mut Random) -> Result<(), Box<dyn Error>> {
    let mut rules: Vec<String> = Vec::new();
    for (at, name) in names.iter().take(9_999).enumerate() {
        rules.push(match at % 20 {
            0..10 => format!("DOMAIN-SUFFIX,{name},PROXY"),
            10..15 => format!("DOMAIN,{name},DIRECT"),
            15 if at < 2_000 => format!("DOMAIN-KEYWORD,{}zq,PROXY", &name[..name.len().min(8)]),
            16 if at < 1_000 => {
                format!("DOMAIN-REGEX,^{}q[0-9]+\\.,PROXY", &name[..name.len().min(5)].replace('.', "-"))
            }
            _ => {
                let ip = std::net::Ipv4Addr::from(random.next() as u32);
                format!("IP-CIDR,{ip}/{},DIRECT,no-resolve", 16 + at % 16)
            }
        });
    }
    rules.push("MATCH,PROXY".into());
    let start = Instant::now();
    let compiled = Rules::compile(Sources {
        rules: &rules,
        sub_rules: &[],
        providers: &HashMap::new(),
        geo: &Geo::default(),
        known_target: &|_| true,
        no_resolve_all: false,
        processes: false,
    });
    let compiled = compiled.map_err(|errors| errors.first().map_or_else(String::new, ToString::to_string))?;
    println!("{} rules compiled in {:.0} ms", rules.len(), start.elapsed().as_secs_f64() * 1e3);
    let entry =
        Entry { inbound: Tag::new("bench"), protocol: Protocol::Socks5, local: "127.0.0.1:1".parse()?, user: None };
    let client: SocketAddr = "127.0.0.1:2".parse()?;
    let mut sessions = Vec::new();
    for _ in 0..20_000 {
        let target = format!("www.{}:443", random.name()).parse()?;
        sessions.push(Session::new(Network::Tcp, entry.clone(), client.into(), target));
    }
    per_look_up("decisions, 10,000 rules", &sessions, |session| {
        let query = Query::new(session).with_address(Address::Known([192, 0, 2, 1].into()));
        matches!(compiled.decide(&query), Step::Use(verdict) if verdict.rule.is_some())
    });
    Ok(())
}

fn per_look_up<T>(what: &str, probes: &[T], look_up: impl Fn(&T) -> bool) {
    let mut best = f64::MAX;
    let mut found = 0;
    let calls = CALLS.load(Ordering::Relaxed);
    for _ in 0..5 {
        let start = Instant::now();
        found = probes.iter().filter(|probe| look_up(black_box(probe))).count();
        best = best.min(start.elapsed().as_nanos() as f64 / probes.len() as f64);
    }
    let calls = CALLS.load(Ordering::Relaxed) - calls;
    println!("{what}: {best:.0} ns each, {found} of {} found, {calls} allocations", probes.len());
}

/// xorshift64*, so that every run measures the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// Such as `cdn7.merotani.com`: syllables, some digits and dashes, the top-level domains that lists are full of.
    fn name(&mut self) -> String {
        const SYLLABLES: [&str; 40] = [
            "me", "ro", "ta", "ni", "lo", "gi", "shop", "net", "ban", "ka", "ser", "vi", "on", "line", "ex", "tra",
            "za", "qu", "yo", "web", "ad", "pix", "el", "mo", "bi", "le", "cloud", "the", "best", "data", "hub", "in",
            "fo", "ter", "su", "per", "game", "tv", "sto", "re",
        ];
        const TOPS: [&str; 16] = [
            "com", "com", "com", "com", "com", "net", "org", "cn", "com.cn", "ru", "de", "xyz", "top", "io", "info",
            "co.uk",
        ];
        const FRONTS: [&str; 12] =
            ["www", "cdn", "api", "img", "static", "m", "ads", "mail", "s3", "track", "log", "app"];
        let mut name = String::new();
        if self.below(10) < 4 {
            name += FRONTS[self.below(FRONTS.len())];
            if self.below(3) == 0 {
                name += &self.below(100).to_string();
            }
            name.push('.');
        }
        for _ in 0..2 + self.below(3) {
            name += SYLLABLES[self.below(SYLLABLES.len())];
        }
        match self.below(8) {
            0 => name += &self.below(10_000).to_string(),
            1 => {
                name.push('-');
                name += SYLLABLES[self.below(SYLLABLES.len())];
            }
            _ => {}
        }
        name.push('.');
        name += TOPS[self.below(TOPS.len())];
        name
    }
}
