//! The operating system's files.

use std::fmt::Write as _;

use adit_dns::{read_hosts, read_resolv_conf};
use adit_net::{Domain, HostsEntry};

/// Any bytes as a hosts file, as they are read from the disk.
pub fn hosts_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let names = read_hosts(&text);
    let mut written = String::new();
    for (name, entry) in &names {
        let HostsEntry::Addresses(addresses) = entry else { panic!("{name} is an alias") };
        assert!(!addresses.is_empty());
        for (n, address) in addresses.iter().enumerate() {
            assert!(!addresses[..n].contains(address), "{name} has {address} twice");
            let _ = writeln!(written, "{address} {name}");
        }
        assert!(text.to_ascii_lowercase().contains(name.as_str()) || name.as_str().parse::<Domain>().is_ok());
    }
    assert_eq!(read_hosts(&written), names, "{written}");
    // Comments, other line ends and other white space change nothing.
    assert_eq!(read_hosts(&written.replace(' ', "\t").replace('\n', "\t# 192.0.2.1 more\r\n")), names);
}

/// Any bytes as a `resolv.conf`, as they are read from the disk.
pub fn resolv_conf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let servers = read_resolv_conf(&text);
    assert!(servers.len() <= 8);
    for (n, server) in servers.iter().enumerate() {
        assert!(!servers[..n].contains(server), "{server} twice");
    }
    let written: String =
        servers.iter().map(|server| format!("options edns0\nnameserver {server} # one\r\n")).collect();
    assert_eq!(read_resolv_conf(&written), servers);
}
