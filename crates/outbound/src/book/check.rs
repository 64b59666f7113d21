//! What must hold of names before anything is built of them.

use std::collections::{HashMap, HashSet};

use adit_net::Tag;

use super::BookError;
use crate::options::{Group, Outbound};

/// Checks everything; the order is that of Mihomo.
pub(super) fn check(outbounds: &[Outbound], groups: &[Group]) -> Result<(), BookError> {
    let names = distinct(outbounds, groups)?;
    for group in groups {
        if group.members.is_empty() {
            return Err(BookError::NoMembers(group.name.clone()));
        }
        if let Some(member) = group.members.iter().find(|member| !names.contains(member)) {
            return Err(BookError::UnknownMember { group: group.name.clone(), member: member.clone() });
        }
    }
    group_loops(groups)?;
    dialer_proxies(outbounds, &names)
}

/// All names, each used once.
fn distinct<'a>(outbounds: &'a [Outbound], groups: &'a [Group]) -> Result<HashSet<&'a Tag>, BookError> {
    let mut names = HashSet::new();
    for outbound in outbounds {
        if !names.insert(&outbound.name) {
            return Err(BookError::DuplicateProxy(outbound.name.clone()));
        }
    }
    let mut group_names = HashSet::new();
    for group in groups {
        if !group_names.insert(&group.name) {
            return Err(BookError::DuplicateGroup(group.name.clone()));
        }
        if !names.insert(&group.name) {
            return Err(BookError::GroupNamedLikeProxy(group.name.clone()));
        }
    }
    Ok(names)
}

/// Takes away, again and again, the groups that contain no group that is left and those that no group that is left
/// contains. What stays is in a loop, or between two.
fn group_loops(groups: &[Group]) -> Result<(), BookError> {
    let mut left: Vec<&Group> = groups.iter().collect();
    loop {
        let names: HashSet<&Tag> = left.iter().map(|group| &group.name).collect();
        let contained: HashSet<&Tag> = left.iter().flat_map(|group| &group.members).collect();
        let before = left.len();
        left.retain(|group| {
            contained.contains(&group.name) && group.members.iter().any(|member| names.contains(member))
        });
        if left.is_empty() {
            return Ok(());
        }
        if left.len() == before {
            let mut names: Vec<Tag> = left.iter().map(|group| group.name.clone()).collect();
            names.sort();
            return Err(BookError::GroupLoop(names));
        }
    }
}

/// Every `dialer-proxy` exists, and none leads back to its proxy by way of proxies alone. (By way of a group it may,
/// as long as the group does not choose so: [`super::Book::hop`] looks at that when somebody dials.)
fn dialer_proxies(outbounds: &[Outbound], names: &HashSet<&Tag>) -> Result<(), BookError> {
    let via: HashMap<&Tag, &Tag> = outbounds
        .iter()
        .filter_map(|outbound| Some((&outbound.name, outbound.common.dialer_proxy.as_ref()?)))
        .collect();
    for outbound in outbounds {
        let Some(first) = via.get(&outbound.name) else { continue };
        if !names.contains(first) {
            return Err(BookError::UnknownDialerProxy { proxy: outbound.name.clone(), via: (*first).clone() });
        }
        let mut next = Some(first);
        // Bounded, because a loop further on does not come back to this proxy.
        for _ in 0..outbounds.len() {
            match next {
                Some(name) if **name == outbound.name => {
                    return Err(BookError::DialerProxyLoop(outbound.name.clone()));
                }
                Some(name) => next = via.get(name),
                None => break,
            }
        }
    }
    Ok(())
}
