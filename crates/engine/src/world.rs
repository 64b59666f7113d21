//! Everything a configuration means at run time, swapped as one.

use std::collections::HashMap;
use std::sync::Arc;

use adit_dns::Service;
use adit_net::{HostsTable, Resolve, Tag};
use adit_outbound::Book;
use adit_process::Processes;
use adit_router::{Mode, Rules};

/// What a listener prescribes for its own clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// The sub-rule that is asked instead of the main list.
    pub rules: Option<Tag>,
    /// The outbound that is taken without asking any rule or mode.
    pub outbound: Option<Tag>,
}

/// Rules, outbounds and resolver of one configuration. A connection keeps the world it started with. Clones share
/// everything, so that one part can be replaced.
#[derive(Clone)]
pub struct World {
    /// Which question is asked.
    pub mode: Mode,
    /// The rules.
    pub rules: Arc<Rules>,
    /// The outbounds and groups.
    pub book: Arc<Book>,
    /// Fixed addresses and aliases, applied before the rules.
    pub hosts: Arc<dyn HostsTable>,
    /// Who is asked when a rule needs an address.
    pub resolver: Arc<dyn Resolve>,
    /// By listener name.
    pub pins: HashMap<Tag, Pin>,
    /// Our own DNS: what fake and other addresses stand for, and who answers captured questions. None: nobody does.
    pub dns: Option<Service>,
    /// Whether questions that transparent listeners capture (port 53) are answered by `dns`, whatever server they are for.
    pub captures_dns: bool,
    /// Which connections are looked into. None: none.
    pub sniffer: Option<Arc<adit_sniffer::Plan>>,
    /// Who knows the processes behind connections. None: nobody is asked, and process rules do not match.
    pub processes: Option<Arc<Processes>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("mode", &self.mode).finish_non_exhaustive()
    }
}
