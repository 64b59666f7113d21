//! `type: relay`: the members one behind the other. Mihomo took it away in favour of `dialer-proxy`; here it is short for that.

use adit_net::{Secret, Tag};
use adit_outbound::options::{Group, Kind, Outbound};

/// Makes of the members of `group` the one way that leads through all of them, the first one nearest to us, and adds to
/// `outbounds` what that takes: every proxy but the first once more, reached through those before it. DIRECT is no step of a
/// way. Where there is no such way, because only the first may be a group, the group is left as one that has `substitute`.
pub(crate) fn chain(group: &mut Group, substitute: &Tag, outbounds: &mut Vec<Outbound>) {
    let is_direct = |name: &Tag| {
        let found = outbounds.iter().find(|outbound| outbound.name == *name);
        found.is_some_and(|outbound| matches!(outbound.kind, Kind::Direct))
    };
    let steps: Vec<Tag> = group.members.iter().filter(|name| !is_direct(name)).cloned().collect();
    let mut steps = steps.into_iter();
    // Nothing but DIRECT is DIRECT.
    let Some(mut way) = steps.next() else { return group.members.truncate(1) };
    for step in steps {
        let Some(behind) = outbounds.iter().find(|outbound| outbound.name == step) else {
            group.members = vec![substitute.clone()];
            return;
        };
        let link = link(behind, &way);
        way = link.name.clone();
        // Two chains may begin in the same way.
        if outbounds.iter().all(|outbound| outbound.name != link.name) {
            outbounds.push(link);
        }
    }
    group.members = vec![way];
}

/// `proxy`, reached through `via`. It is nobody's member but the chain's, so no provider has it.
fn link(proxy: &Outbound, via: &Tag) -> Outbound {
    let mut link = proxy.clone();
    link.name = Tag::from(format!("{via} → {}", proxy.name));
    link.common.dialer_proxy = Some(via.clone());
    link.common.provider = None;
    link.common.written =
        proxy.common.written.as_ref().map(|text| Secret::new(format!("{}\nvia {via}", text.reveal())));
    link
}
