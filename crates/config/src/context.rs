//! What everybody who reads a section needs.

use adit_net::SocketOptions;

use crate::general::EmptyGroup;
use crate::home::Home;
use crate::report::Report;

/// Shared by all sections of one file.
#[derive(Debug)]
pub(crate) struct Context<'d> {
    pub(crate) report: &'d Report,
    pub(crate) home: &'d Home,
    /// Whether IPv6 addresses may be used at all.
    pub(crate) ipv6: bool,
    /// Whether the process behind a connection is looked up.
    pub(crate) processes: bool,
    /// What a group without members does.
    pub(crate) empty_group: EmptyGroup,
    /// What sockets of outbounds are unless a proxy says otherwise.
    pub(crate) socket: SocketOptions,
}
