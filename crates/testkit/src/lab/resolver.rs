//! Names for programs in a namespace.

use std::net::IpAddr;
use std::process::Command;

/// A mount namespace of the program's own, in which another file lies at the place of the system's.
const WITH_NAME_SERVER: &str = r#"
file=$(mktemp) && printf 'nameserver %s\n' "$1" >"$file" && mount --bind "$file" /etc/resolv.conf && rm "$file" || exit
shift
exec "$@"
"#;

/// Wraps a program, so that it asks the DNS server at port 53 of `server` (a [`crate::origin::DnsOrigin`]) whatever the system
/// knows no address of. The system's own server is in no lab.
#[must_use]
pub fn with_name_server(command: &Command, server: IpAddr) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "sh", "-c", WITH_NAME_SERVER, "sh", &server.to_string()]);
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}
