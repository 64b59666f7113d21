//! Looks after the configuration's file: whoever writes it does not have to say so.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// How long a file must be left alone before it is read: editors write in several steps.
const SETTLED: Duration = Duration::from_millis(500);

/// A file that is being looked after.
pub(crate) struct Watch {
    file: PathBuf,
    known: Option<Stamp>,
    /// Tells of everything that happens in the file's folder: editors, and mounts of containers, put another file in place.
    events: AsyncFd<OwnedFd>,
}

/// What changes when a file's content does.
type Stamp = (SystemTime, u64, u64);

impl Watch {
    /// Looks after `file` from now on.
    ///
    /// # Errors
    /// The system's: no such folder, or too many watches.
    pub(crate) fn new(file: PathBuf) -> io::Result<Self> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let events = inotify::init(flags)?;
        let folder = file.parent().filter(|folder| *folder != OsStr::new("")).unwrap_or_else(|| Path::new("."));
        let what = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::ATTRIB;
        inotify::add_watch(&events, folder, what)?;
        let known = stamp(&file);
        #[expect(deprecated, reason = "the other one is unsafe; an `OwnedFd` stays open for as long as it lives")]
        let events = AsyncFd::with_interest(events, Interest::READABLE)?;
        Ok(Self { file, known, events })
    }

    /// Waits until the file is another one, and has been left alone for half a second.
    ///
    /// # Errors
    /// The system's; nothing will be noticed any more.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        loop {
            self.something_happened().await?;
            let mut now = stamp(&self.file);
            loop {
                sleep(SETTLED).await;
                let later = stamp(&self.file);
                if later == now {
                    break;
                }
                now = later;
            }
            // A file that is away is about to come back.
            if now.is_some() && now != self.known {
                self.known = now;
                return Ok(());
            }
        }
    }

    async fn something_happened(&self) -> io::Result<()> {
        let mut room = [MaybeUninit::uninit(); 4096];
        loop {
            let mut ready = self.events.readable().await?;
            match inotify::Reader::new(&self.events, &mut room).next() {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let meta = fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("adit-watch-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    async fn is_noticed(watch: &mut Watch) -> bool {
        timeout(Duration::from_secs(2), watch.changed()).await.is_ok_and(|outcome| outcome.is_ok())
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_linked_anew_is_noticed() {
        let folder = folder("notices");
        let file = folder.0.join("config.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(file.clone()).unwrap();
        fs::write(&file, "written").unwrap();
        assert!(is_noticed(&mut watch).await);
        fs::write(folder.0.join(".new"), "replaced!").unwrap();
        fs::rename(folder.0.join(".new"), &file).unwrap();
        assert!(is_noticed(&mut watch).await);
        // As mounts of configuration maps do.
        fs::write(folder.0.join("data"), "linked anew!!").unwrap();
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("data", &file).unwrap();
        assert!(is_noticed(&mut watch).await);
    }

    #[tokio::test]
    async fn other_files_of_the_folder_are_nothing() {
        let folder = folder("others");
        let file = folder.0.join("config.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(file).unwrap();
        fs::write(folder.0.join("cache.db"), "b").unwrap();
        assert!(timeout(Duration::from_millis(800), watch.changed()).await.is_err());
    }
}
