//! What the kernel knows of this process.

use std::fs;
use std::time::Duration;

/// See the module. What cannot be read is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident bytes.
    pub(crate) resident: u64,
    /// Bytes of address space.
    pub(crate) virtual_memory: u64,
    /// Processor time, user and system.
    pub(crate) cpu: Duration,
    /// Threads.
    pub(crate) threads: u64,
    /// Since it began.
    pub(crate) uptime: Duration,
    /// Open descriptors.
    pub(crate) descriptors: u64,
    /// The most descriptors that may be open.
    pub(crate) descriptors_max: u64,
}

/// Resident bytes of this process. proc_pid_statm(5): the second number is in pages.
pub(crate) fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

impl Usage {
    /// Now.
    pub(crate) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Linux 6.2 and later says how many there are without listing them.
        let told = fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len());
        let listed = || fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64).saturating_sub(1);
        // proc_uptime(5): seconds since the system began, such as `5.25 3.50`.
        let system = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let system = system.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Self {
            resident: resident(),
            // The one that lists them is among them.
            descriptors: if told == 0 { listed() } else { told },
            descriptors_max: limit.unwrap_or(0),
            ..Self::parse(&stat, rustix::param::clock_ticks_per_second(), system).unwrap_or_default()
        }
    }

    /// proc_pid_stat(5): numbered from 1; the second field is in parentheses and may contain anything. `system` is how many
    /// seconds the system is up.
    fn parse(stat: &str, ticks: u64, system: u64) -> Option<Self> {
        let mut rest = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let utime: u64 = rest.nth(14 - 3)?.parse().ok()?;
        let stime: u64 = rest.next()?.parse().ok()?;
        let threads: u64 = rest.nth(20 - 15 - 1)?.parse().ok()?;
        let began: u64 = rest.nth(22 - 20 - 1)?.parse().ok()?;
        let virtual_memory: u64 = rest.next()?.parse().ok()?;
        let uptime = Duration::from_secs(system.saturating_sub(began.checked_div(ticks)?));
        let cpu = Duration::from_millis(utime.checked_add(stime)?.checked_mul(1000)?.checked_div(ticks)?);
        Some(Self { virtual_memory, cpu, threads, uptime, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 500 12345678 99 1 1 1";
        let usage = Usage::parse(stat, 100, 60).unwrap();
        assert_eq!(usage.uptime, Duration::from_secs(55));
        assert_eq!((usage.cpu, usage.threads, usage.virtual_memory), (Duration::from_secs(2), 9, 12_345_678));
        assert_eq!(Usage::parse("7 (a", 100, 60), None);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::read();
        assert!(usage.resident > 0 && usage.threads > 0 && usage.descriptors > 0, "{usage:?}");
    }
}
