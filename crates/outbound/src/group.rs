//! A group is a name for one of its members; which one depends on its kind.

use adit_net::Tag;

use crate::options::{self, GroupKind};

mod select;

pub(crate) use select::Select;

/// One entry of `proxy-groups:`.
pub(crate) struct Group {
    /// INVARIANT: not empty.
    members: Vec<Tag>,
    disable_udp: bool,
    choice: Choice,
}

/// How the member is chosen.
enum Choice {
    ByHand(Select),
}

impl Group {
    /// `None` if it has no members.
    pub(crate) fn new(options: options::Group) -> Option<Self> {
        let choice = match &options.kind {
            GroupKind::Select { default } => Choice::ByHand(Select::new(&options.members, default.as_ref())),
        };
        (!options.members.is_empty()).then_some(Self {
            members: options.members,
            disable_udp: options.disable_udp,
            choice,
        })
    }

    /// The member that is used now.
    pub(crate) fn now(&self) -> Option<&Tag> {
        match &self.choice {
            Choice::ByHand(select) => select.now(&self.members),
        }
    }

    /// The choice by hand, for groups that have one.
    pub(crate) fn select(&self) -> Option<&Select> {
        match &self.choice {
            Choice::ByHand(select) => Some(select),
        }
    }

    pub(crate) fn members(&self) -> &[Tag] {
        &self.members
    }

    pub(crate) fn disable_udp(&self) -> bool {
        self.disable_udp
    }
}
