//! From arguments and a configuration to rules that fit both, or to what does not fit.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use adit_config::{DnsMode, Plan, TransparentPlan};
use adit_inbound::Interception;
use adit_net::Target;
use adit_outbound::options::Kind;
use adit_redirect::{Bypass, Endpoint, Interface, Mark, Mode, Options, OptionsError, Owner, Transport};
use ipnet::IpNet;

use super::CaptureArgs;

/// Rules that fit, and what their owner should know of them.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) options: Options,
    pub(crate) notes: Vec<String>,
}

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// What is wrong with whom.
    pub(crate) what: String,
    /// What to write.
    pub(crate) remedy: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

fn mismatch(what: impl Into<String>, remedy: impl Into<String>) -> Mismatch {
    Mismatch { what: what.into(), remedy: remedy.into() }
}

/// Chooses the rules for a daemon that runs with `plan`, read from the file `name`.
///
/// # Errors
/// Everything that does not fit, in one go.
pub(crate) fn choose(args: &CaptureArgs, plan: &Plan, name: &str) -> Result<Choice, Vec<Mismatch>> {
    let (mut wrong, mut notes) = (Vec::new(), Vec::new());
    let listener = listener(args, plan, name).map_err(|why| vec![why])?;
    let sources = Sources::of(args, plan);
    wrong.extend(listener.unreachable(&sources));
    let dns = dns(args, plan, listener.mode, &sources, &mut wrong, &mut notes);
    if !sources.ipv6 && !args.kill_switch {
        notes.push("IPv6 is not captured and goes its way".to_owned());
    }
    let owner = Owner { mark: plan.general.routing_mark, uid: args.user, gid: args.group, cgroup: args.cgroup.clone() };
    let options = Options {
        mode: listener.mode,
        port: listener.port,
        dns,
        owner,
        host: sources.host,
        interfaces: sources.interfaces,
        ipv6: sources.ipv6,
        fake: fake(plan),
        bypass: bypass(args, plan),
        kill_switch: args.kill_switch,
    };
    wrong.extend(options.check().err().map(|why| remedied(&why, name)));
    if wrong.is_empty() { Ok(Choice { options, notes }) } else { Err(wrong) }
}

/// Whose traffic is captured.
struct Sources {
    host: bool,
    interfaces: Vec<Interface>,
    ipv6: bool,
}

impl Sources {
    fn of(args: &CaptureArgs, plan: &Plan) -> Self {
        let mut interfaces = args.interfaces.clone();
        if args.docker {
            interfaces.extend(Interface::of_docker());
        }
        interfaces.sort();
        interfaces.dedup();
        Self { host: !args.no_host, interfaces, ipv6: plan.general.ipv6 && !args.no_ipv6 }
    }

    /// Whether sockets at these addresses get IPv4 packets, and whether they get IPv6 packets. Packets of this host come in
    /// over the loopback interface, those of others over their own.
    fn reach(&self, at: &[SocketAddr]) -> (bool, bool) {
        let takes = |ip: IpAddr| ip.is_unspecified() || (self.interfaces.is_empty() && ip.is_loopback());
        let dual = at.iter().any(|at| at.is_ipv6() && at.ip().is_unspecified());
        (dual || at.iter().any(|at| at.is_ipv4() && takes(at.ip())), at.iter().any(|at| at.is_ipv6() && takes(at.ip())))
    }
}

/// A listener of the configuration. On loopback it has an address in each family.
struct Listener<'p> {
    mode: Mode,
    port: u16,
    parts: Vec<&'p TransparentPlan>,
}

fn mode(plan: &TransparentPlan) -> Mode {
    match plan.options.interception {
        Interception::Redirect => Mode::Redirect,
        Interception::Tproxy => Mode::Tproxy,
    }
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Redirect => "redirect",
        Mode::Tproxy => "tproxy",
    }
}

fn listener<'p>(args: &CaptureArgs, plan: &'p Plan, name: &str) -> Result<Listener<'p>, Mismatch> {
    if plan.transparent.is_empty() {
        let what = format!("{name} has no listener for captured traffic");
        return Err(mismatch(
            what,
            "write `tproxy-port: 7893` (TCP and UDP) or `redir-port: 7892` (TCP) into it; -f names another file",
        ));
    }
    let fits = |part: &&TransparentPlan| {
        args.mode.is_none_or(|wanted| Mode::from(wanted) == mode(part))
            && args.port.is_none_or(|port| port == part.options.listen.port())
    };
    let fitting = || plan.transparent.iter().filter(fits);
    let Some(first) = fitting().find(|part| mode(part) == Mode::Tproxy).or_else(|| fitting().next()) else {
        let mut there: Vec<String> = plan
            .transparent
            .iter()
            .map(|part| format!("--mode {} --port {}", word(mode(part)), part.options.listen.port()))
            .collect();
        there.dedup();
        return Err(mismatch(
            format!("{name} has no listener for this --mode and --port"),
            format!("it has {}", there.join(", ")),
        ));
    };
    let (mode_of, port) = (mode(first), first.options.listen.port());
    let parts = fitting().filter(|part| mode(part) == mode_of && part.options.listen.port() == port).collect();
    Ok(Listener { mode: mode_of, port, parts })
}

impl Listener<'_> {
    /// Why captured packets would find nobody.
    fn unreachable(&self, sources: &Sources) -> Vec<Mismatch> {
        let at: Vec<SocketAddr> = self.parts.iter().map(|part| part.options.listen).collect();
        let what = format!("the {} listener is at {}", word(self.mode), list(&at));
        let mut wrong = Vec::new();
        match sources.reach(&at) {
            (false, _) if !sources.interfaces.is_empty() => wrong.push(mismatch(
                format!("{what}, which forwarded traffic does not reach"),
                "write `allow-lan: true` and no `bind-address` (at an entry of `listeners`: `listen: '::'`), or capture no interface",
            )),
            (false, _) => wrong.push(mismatch(
                format!("{what}, which captured traffic does not reach"),
                "write no `bind-address` (at an entry of `listeners`: `listen: '::'`)",
            )),
            (true, false) if sources.ipv6 => wrong.push(mismatch(
                format!("{what}, which IPv6 does not reach"),
                "write `bind-address: '*'` (at an entry of `listeners`: `listen: '::'`), or --no-ipv6",
            )),
            (true, _) => {}
        }
        if self.mode == Mode::Tproxy && !self.parts.iter().all(|part| part.options.udp) {
            wrong.push(mismatch("the tproxy listener takes no UDP", "write `udp: true` at it, or --mode redirect"));
        }
        wrong
    }
}

fn list(at: &[SocketAddr]) -> String {
    at.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ")
}

/// The port of our DNS server, if captured clients are to be answered there.
fn dns(
    args: &CaptureArgs,
    plan: &Plan,
    mode: Mode,
    sources: &Sources,
    wrong: &mut Vec<Mismatch>,
    notes: &mut Vec<String>,
) -> Option<u16> {
    if args.no_dns || args.dns_port.is_some() {
        return args.dns_port;
    }
    let dns = plan.dns.as_ref()?;
    let Some(listen) = dns.listen else {
        notes.push(match mode {
            Mode::Redirect => "questions for names are not captured: write `listen: ':1053'` under `dns`".to_owned(),
            Mode::Tproxy => {
                "questions to nameservers in private networks are not captured: write `listen: ':1053'` under \
                             `dns`"
                    .to_owned()
            }
        });
        return None;
    };
    let what = format!("`dns.listen` is {listen}");
    let remedy = format!("write `listen: ':{}'` under `dns`", listen.port());
    match sources.reach(&[listen]) {
        (false, _) => wrong
            .push(mismatch(format!("{what}, which captured questions do not reach"), format!("{remedy}, or --no-dns"))),
        (true, false) if sources.ipv6 => wrong.push(mismatch(
            format!("{what}, which questions over IPv6 do not reach"),
            format!("{remedy}, or --no-ipv6"),
        )),
        (true, _) => {}
    }
    Some(listen.port())
}

fn fake(plan: &Plan) -> Vec<IpNet> {
    match plan.dns.as_ref().map(|dns| &dns.mode) {
        Some(DnsMode::FakeIp { ranges, .. }) => {
            ranges.v4.map(IpNet::V4).into_iter().chain(ranges.v6.map(IpNet::V6)).collect()
        }
        Some(DnsMode::Normal | DnsMode::RedirHost) | None => Vec::new(),
    }
}

fn bypass(args: &CaptureArgs, plan: &Plan) -> Bypass {
    let general = plan.general.routing_mark;
    let mut marks = args.bypass_mark.clone();
    // A proxy with a mark of its own is ours all the same.
    let others = plan.outbounds.iter().map(|outbound| outbound.common.socket.mark);
    marks.extend(others.filter(|mark| *mark != 0 && *mark != general).map(|value| Mark { value, mask: u32::MAX }));
    marks.dedup();
    Bypass {
        networks: args.bypass.clone(),
        endpoints: if general == 0 { endpoints(plan) } else { Vec::new() },
        uids: args.bypass_uid.clone(),
        gids: args.bypass_gid.clone(),
        cgroups: args.bypass_cgroup.clone(),
        marks,
        served_udp: args.served_udp.clone(),
        ..Bypass::default()
    }
}

/// The servers that are written as addresses. Those that are names have others tomorrow.
fn endpoints(plan: &Plan) -> Vec<Endpoint> {
    let tcp = |server: &Target| endpoint(Transport::Tcp, server);
    let of = |kind: &Kind| -> Vec<Endpoint> {
        match kind {
            Kind::Socks5(options) => tcp(&options.server).into_iter().collect(),
            Kind::Http(options) => tcp(&options.server).into_iter().collect(),
            Kind::Vless(options) => tcp(&options.server).into_iter().collect(),
            Kind::WireGuard(options) => {
                options.endpoints.iter().filter_map(|server| endpoint(Transport::Udp, server)).collect()
            }
            Kind::Direct | Kind::Reject | Kind::RejectDrop | Kind::Pass | Kind::Dns => Vec::new(),
        }
    };
    plan.outbounds.iter().flat_map(|outbound| of(&outbound.kind)).collect()
}

fn endpoint(transport: Transport, server: &Target) -> Option<Endpoint> {
    Some(Endpoint { transport, addr: SocketAddr::new(server.host.ip()?, server.port) })
}

fn remedied(why: &OptionsError, name: &str) -> Mismatch {
    match why {
        OptionsError::NoOwner => mismatch(
            "adit's own packets cannot be told from others, and would be captured again and again",
            format!("write `routing-mark: 45` into {name}, or run adit as a user of its own and name that with --user"),
        ),
        OptionsError::NothingCaptured => mismatch("nothing is captured", "name an --interface, or leave out --no-host"),
        OptionsError::MarkTaken(_) => {
            mismatch(why.to_string(), "write a mark below 0x1000000, such as `routing-mark: 45`")
        }
        OptionsError::SamePort(_) => mismatch(why.to_string(), "give `dns.listen` a port of its own"),
        OptionsError::NoPort => mismatch("port 0 is no port", "leave out --dns-port, or name the server's port"),
        OptionsError::EmptyRange { .. } | OptionsError::EmptyMask => {
            mismatch(why.to_string(), "correct the --bypass-… argument")
        }
    }
}

#[cfg(test)]
mod tests;
