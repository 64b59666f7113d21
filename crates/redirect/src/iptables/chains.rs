//! The rules. `RETURN` means "leave it as it is": every chain is reached from a built-in one by a jump and then only by
//! `-g`, so that it ends what we do at that hook.

use ipnet::IpNet;

use super::Table;
use crate::table::sets::{self, Kind};
use crate::{CAPTURE_MARK, CAPTURE_MASK, Family, INBOUND_MARK, Mode, Options, Transport};

/// How long after the last pulse traffic is captured.
const PULSE_SECONDS: u32 = 5;

/// In the order in which they are installed.
pub(super) fn tables(options: &Options, family: Family) -> [Table; 3] {
    let rules = Rules { options, family };
    [rules.filter(), rules.mangle(), rules.nat()]
}

struct Rules<'o> {
    options: &'o Options,
    family: Family,
}

impl Rules<'_> {
    fn is_captured(&self) -> bool {
        self.family == Family::V4 || self.options.ipv6
    }

    /// After addresses were rewritten: the kill switch for what this host sends, or what REDIRECT cannot carry.
    fn filter(&self) -> Table {
        let mut table = Table::new("filter");
        if !self.options.kill_switch {
            if self.is_captured() && self.options.mode == Mode::Redirect {
                self.refuse_fakes(&mut table);
            }
            return table;
        }
        if !self.options.host {
            return table;
        }
        const CHAIN: &str = "ADIT_GUARD_OUTPUT";
        table.rule(CHAIN, "-o lo -j RETURN");
        table.rule(CHAIN, format!("-m mark --mark {} -j RETURN", mark()));
        self.own(&mut table, CHAIN, "-j RETURN");
        for port in &self.options.bypass.served_udp {
            table.rule(CHAIN, format!("-p udp --sport {port} -j RETURN"));
        }
        self.guarded(&mut table, CHAIN, "ADIT_GUARD_LAST");
        table
    }

    /// Datagrams to fake addresses: whoever sends them (QUIC) is told at once, and takes TCP.
    fn refuse_fakes(&self, table: &mut Table) {
        const CHAIN: &str = "ADIT_FAKE";
        let fakes = self.of_family(Kind::Fake);
        if fakes.is_empty() {
            return;
        }
        if self.options.host {
            table.rule("ADIT_OUTPUT", format!("-p udp -g {CHAIN}"));
        }
        self.from(table, "ADIT_FORWARD", &format!("-p udp -g {CHAIN}"));
        self.gate(table, CHAIN);
        let told = match self.family {
            Family::V4 => "icmp-port-unreachable",
            Family::V6 => "icmp6-port-unreachable",
        };
        for network in fakes {
            table.rule(CHAIN, format!("-p udp -d {network} -j REJECT --reject-with {told}"));
        }
    }

    fn mangle(&self) -> Table {
        let mut table = Table::new("mangle");
        if self.is_captured() && !self.options.kill_switch {
            self.pulse(&mut table);
        }
        if self.is_captured() && self.options.mode == Mode::Tproxy {
            self.tproxy(&mut table);
        }
        if self.options.kill_switch {
            self.guards(&mut table);
        }
        table
    }

    fn nat(&self) -> Table {
        let mut table = Table::new("nat");
        if !self.is_captured() || (self.options.mode == Mode::Tproxy && self.options.dns.is_none()) {
            return table;
        }
        if self.options.host {
            table.rule("ADIT_OUTPUT", "-o lo -j RETURN");
            self.own(&mut table, "ADIT_OUTPUT", "-j RETURN");
            self.redirect(&mut table, "ADIT_OUTPUT");
        }
        if !self.options.interfaces.is_empty() {
            self.from(&mut table, "ADIT_PREROUTING", "-g ADIT_FORWARDED");
            self.marks(&mut table, "ADIT_FORWARDED");
            self.redirect(&mut table, "ADIT_FORWARDED");
        }
        table.rule("ADIT_REDIRECT", format!("-p tcp -j REDIRECT --to-ports {}", self.options.port));
        table
    }

    /// Sees that the proxy lives.
    fn pulse(&self, table: &mut Table) {
        let seen = format!("-m recent --name {} --set --mask {}", self.pulse_name(), self.no_mask());
        let packet = format!("-o lo -p udp --dport {}", self.options.port);
        for own in self.owned() {
            table.rule("ADIT_OUTPUT", format!("{packet} {own} {seen}"));
        }
    }

    fn pulse_name(&self) -> &'static str {
        match self.family {
            Family::V4 => "adit4",
            Family::V6 => "adit6",
        }
    }

    fn no_mask(&self) -> &'static str {
        match self.family {
            Family::V4 => "0.0.0.0",
            Family::V6 => "::",
        }
    }

    /// The proxy is dead.
    fn gate(&self, table: &mut Table, chain: &'static str) {
        if !self.options.kill_switch {
            let (name, mask) = (self.pulse_name(), self.no_mask());
            let seen = format!("! --rcheck --seconds {PULSE_SECONDS} --name {name} --mask {mask}");
            table.rule(chain, format!("-m recent {seen} -j RETURN"));
        }
    }

    fn owned(&self) -> Vec<String> {
        let owner = &self.options.owner;
        let mark = (owner.mark != 0).then(|| format!("-m mark --mark {:#x}", owner.mark));
        let uid = owner.uid.map(|uid| format!("-m owner --uid-owner {uid}"));
        let gid = owner.gid.map(|gid| format!("-m owner --gid-owner {gid}"));
        let cgroup = owner.cgroup.as_ref().map(cgroup);
        [mark, uid, gid, cgroup].into_iter().flatten().collect()
    }

    /// Packets of the proxy, and of those who are let through.
    fn own(&self, table: &mut Table, chain: &'static str, verdict: &str) {
        let bypass = &self.options.bypass;
        let uids = bypass.uids.iter().map(|ids| format!("-m owner --uid-owner {ids}"));
        let gids = bypass.gids.iter().map(|ids| format!("-m owner --gid-owner {ids}"));
        let cgroups = bypass.cgroups.iter().map(cgroup);
        for packet in self.owned().into_iter().chain(uids).chain(gids).chain(cgroups) {
            table.rule(chain, format!("{packet} {verdict}"));
        }
        self.marks(table, chain);
    }

    fn marks(&self, table: &mut Table, chain: &'static str) {
        for mark in &self.options.bypass.marks {
            let (value, mask) = (mark.value & mark.mask, mark.mask);
            table.rule(chain, format!("-m mark --mark {value:#x}/{mask:#x} -j RETURN"));
        }
    }

    fn from(&self, table: &mut Table, chain: &'static str, verdict: &str) {
        for interface in &self.options.interfaces {
            // Here, `+` means what `*` means elsewhere.
            let name = match interface.as_str().strip_suffix('*') {
                Some(begin) => format!("{begin}+"),
                None => interface.to_string(),
            };
            table.rule(chain, format!("-i {name} {verdict}"));
        }
    }

    /// Fake addresses go to the chain `captured`, destinations that are left alone return, others go on.
    fn bypass(&self, table: &mut Table, chain: &'static str, captured: &str) {
        for network in self.of_family(Kind::Fake) {
            table.rule(chain, format!("-d {network} -g {captured}"));
        }
        let here: &[&str] = match self.family {
            Family::V4 => &["LOCAL", "BROADCAST", "ANYCAST", "MULTICAST"],
            Family::V6 => &["LOCAL", "ANYCAST", "MULTICAST"],
        };
        for kind in here {
            table.rule(chain, format!("-m addrtype --dst-type {kind} -j RETURN"));
        }
        for network in self.of_family(Kind::Bypass) {
            table.rule(chain, format!("-d {network} -j RETURN"));
        }
        for endpoint in &self.options.bypass.endpoints {
            if endpoint.addr.is_ipv4() == (self.family == Family::V4) {
                let transport = match endpoint.transport {
                    Transport::Tcp => "tcp",
                    Transport::Udp => "udp",
                };
                let (ip, port) = (endpoint.addr.ip(), endpoint.addr.port());
                table.rule(chain, format!("-d {ip} -p {transport} --dport {port} -j RETURN"));
            }
        }
    }

    fn of_family(&self, kind: Kind) -> Vec<IpNet> {
        let of_family = |network: &IpNet| matches!(network, IpNet::V4(_)) == (self.family == Family::V4);
        sets::networks(self.options, kind).into_iter().filter(of_family).collect()
    }

    fn redirect(&self, table: &mut Table, chain: &'static str) {
        self.gate(table, chain);
        if let Some(port) = self.options.dns {
            for transport in ["tcp", "udp"] {
                table.rule(chain, format!("-p {transport} --dport 53 -j REDIRECT --to-ports {port}"));
            }
        }
        if self.options.mode == Mode::Redirect {
            table.rule(chain, "! -p tcp -j RETURN");
            table.rule(chain, "-p tcp ! --syn -j RETURN");
            self.bypass(table, chain, "ADIT_REDIRECT");
            table.rule(chain, "-g ADIT_REDIRECT");
        }
    }

    fn tproxy(&self, table: &mut Table) {
        let (mark, options) = (mark(), self.options);
        if options.host {
            table.rule("ADIT_OUTPUT", "-o lo -j RETURN");
            self.own(table, "ADIT_OUTPUT", "-j RETURN");
            for transport in ["tcp", "udp"] {
                table.rule("ADIT_OUTPUT", format!("-p {transport} -g ADIT_SENT"));
            }
            self.begun(table, "ADIT_SENT", "ADIT_ESTABLISHED", "ADIT_MARK");
            table.rule("ADIT_MARK", format!("-p tcp -j CONNMARK --set-xmark {mark}"));
            table.rule("ADIT_MARK", format!("-j MARK --set-xmark {mark}"));
            table.rule("ADIT_ESTABLISHED", format!("-m connmark --mark {mark} -j MARK --set-xmark {mark}"));
        }
        table.rule("ADIT_PREROUTING", format!("-i lo -m mark --mark {mark} -g ADIT_DIVERT"));
        for transport in ["tcp", "udp"] {
            table.rule("ADIT_DIVERT", format!("-p {transport} -j TPROXY --on-port {}", options.port));
        }
        if options.interfaces.is_empty() {
            return;
        }
        self.from(table, "ADIT_PREROUTING", "-g ADIT_FORWARDED");
        self.marks(table, "ADIT_FORWARDED");
        for transport in ["tcp", "udp"] {
            table.rule("ADIT_FORWARDED", format!("-p {transport} -g ADIT_RECEIVED"));
        }
        self.begun(table, "ADIT_RECEIVED", "ADIT_KNOWN", "ADIT_TPROXY");
        table.rule("ADIT_TPROXY", format!("-p tcp -j CONNMARK --set-xmark {mark}"));
        let to_listener = format!("-j TPROXY --on-port {} --tproxy-mark {mark}", options.port);
        for transport in ["tcp", "udp"] {
            table.rule("ADIT_TPROXY", format!("-p {transport} {to_listener}"));
        }
        table.rule("ADIT_KNOWN", format!("-p tcp -m connmark --mark {mark} {to_listener}"));
    }

    /// Packets of connections that are known go to `established`, those that begin one and are wanted to `captured`.
    fn begun(&self, table: &mut Table, chain: &'static str, established: &str, captured: &str) {
        table.rule(chain, "-m conntrack --ctdir REPLY -j RETURN");
        table.rule(chain, format!("-p tcp ! --syn -g {established}"));
        self.gate(table, chain);
        if self.options.dns.is_some() {
            for transport in ["tcp", "udp"] {
                table.rule(chain, format!("-p {transport} --dport 53 -j RETURN"));
            }
        }
        self.bypass(table, chain, captured);
        table.rule(chain, format!("-g {captured}"));
    }

    /// The kill switch, but for what this host sends.
    fn guards(&self, table: &mut Table) {
        // In PREROUTING we are after what captures, which returns for connections from outside.
        self.inbound(table);
        if !self.options.interfaces.is_empty() {
            self.from(table, "ADIT_FORWARD", "-g ADIT_GUARD");
            self.marks(table, "ADIT_GUARD");
            self.guarded(table, "ADIT_GUARD", "ADIT_GUARD_LAST");
        }
        table.rule("ADIT_LEAVING", format!("! -o lo -m mark --mark {} -j DROP", mark()));
    }

    /// Marks connections that others opened, which are answered.
    fn inbound(&self, table: &mut Table) {
        table.rule("ADIT_PREROUTING", "-i lo -j RETURN");
        self.from(table, "ADIT_PREROUTING", "-j RETURN");
        table.rule("ADIT_PREROUTING", "-p tcp --syn -m conntrack --ctstate NEW -g ADIT_INBOUND");
        table.rule("ADIT_INBOUND", format!("-j CONNMARK --set-xmark {INBOUND_MARK:#x}/{CAPTURE_MASK:#x}"));
    }

    fn guarded(&self, table: &mut Table, chain: &'static str, last: &'static str) {
        if self.family == Family::V6 {
            // Neighbours: router and neighbour solicitations and advertisements.
            for kind in 133..=136 {
                table.rule(chain, format!("-p icmpv6 --icmpv6-type {kind} -j RETURN"));
            }
        }
        self.bypass(table, chain, last);
        table.rule(chain, format!("-g {last}"));
        let opened_outside = format!("-m connmark --mark {INBOUND_MARK:#x}/{CAPTURE_MASK:#x}");
        table.rule(last, format!("-p tcp -m conntrack --ctdir REPLY {opened_outside} -j RETURN"));
        table.rule(last, "-j DROP");
    }
}

fn mark() -> String {
    format!("{CAPTURE_MARK:#x}/{CAPTURE_MASK:#x}")
}

fn cgroup(group: &crate::Cgroup) -> String {
    format!("-m cgroup --path {group}")
}
