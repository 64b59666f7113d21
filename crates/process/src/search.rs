//! Finding a socket among open files.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::Program;
use crate::diag::Found;

/// The program that has `socket` open, and all its sockets: who asks for one asks for others, and each look at the open
/// files of a program takes as long as it has files. Looks first at `recent` processes, then at those of the socket's
/// user, then at all: a socket may be made by one user and used by another.
pub(crate) fn program_with(socket: Found, recent: &[u32]) -> Option<(Program, Vec<u32>)> {
    let look = |pid: u32| Some(sockets(pid)).filter(|open| open.contains(&socket.inode)).map(|open| (pid, open));
    let found = recent.iter().copied().find_map(look).or_else(|| {
        let (own, others): (Vec<u32>, Vec<u32>) = processes().partition(|pid| is_of(*pid, socket.uid));
        own.into_iter().chain(others).find_map(look)
    });
    let (pid, open) = found?;
    Some((program(pid)?, open))
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn folder(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

fn is_of(pid: u32, uid: u32) -> bool {
    fs::metadata(folder(pid)).is_ok_and(|folder| folder.uid() == uid)
}

/// The numbers of the sockets that a process has open.
fn sockets(pid: u32) -> Vec<u32> {
    let files = fs::read_dir(folder(pid).join("fd")).into_iter().flatten().flatten();
    files.filter_map(|file| socket(fs::read_link(file.path()).ok()?.as_os_str().as_bytes())).collect()
}

/// proc(5): `socket:[12345]`
fn socket(link: &[u8]) -> Option<u32> {
    std::str::from_utf8(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?).ok()?.parse().ok()
}

fn program(pid: u32) -> Option<Program> {
    let link = fs::read_link(folder(pid).join("exe")).ok()?;
    let path = link.to_string_lossy();
    // proc(5): the kernel appends this to the path of an executable that is gone, as after an update.
    let path = path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned();
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    Some(Program { pid, name, path })
}
