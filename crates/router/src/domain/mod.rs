//! Domain patterns (`+.example.com`, `*.x.y`), large sets of them, and small maps from them to values.

mod hosts;
mod louds;
mod map;
mod matcher;
mod names;
mod pattern;
mod set;

pub use hosts::{Hosts, HostsError, parse_hosts_value};
pub use louds::DamagedTrie;
pub use map::DomainMap;
pub use pattern::{BadPattern, DomainPattern, Scope};
pub use set::{DomainSet, DomainSetBuilder};

use louds::Louds;
pub(crate) use matcher::{DomainMatcher, DomainMatcherBuilder, RegexBudget, bytes_regex, regex_set};
pub(crate) use pattern::lower;
