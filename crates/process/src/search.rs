//! Finding a socket among open files.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::Program;
use crate::diag::Found;

/// The program that has `socket` open. Looks first at `recent` processes, then at those of the socket's user, then at all:
/// a socket may be made by one user and used by another.
pub(crate) fn program_with(socket: Found, recent: &[u32]) -> Option<Program> {
    let wanted = format!("socket:[{}]", socket.inode);
    let has = |pid: &u32| has_open(*pid, wanted.as_bytes());
    if let Some(pid) = recent.iter().copied().find(|pid| has(pid)) {
        return program(pid);
    }
    let (own, others): (Vec<u32>, Vec<u32>) = processes().partition(|pid| is_of(*pid, socket.uid));
    own.into_iter().chain(others).find(has).and_then(program)
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

fn has_open(pid: u32, wanted: &[u8]) -> bool {
    let files = fs::read_dir(folder(pid).join("fd")).into_iter().flatten().flatten();
    files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str().as_bytes() == wanted))
}

fn program(pid: u32) -> Option<Program> {
    let link = fs::read_link(folder(pid).join("exe")).ok()?;
    let path = link.to_string_lossy();
    // proc(5): the kernel appends this to the path of an executable that is gone, as after an update.
    let path = path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned();
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    Some(Program { pid, name, path })
}
