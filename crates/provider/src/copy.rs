//! The last good content, on disk.
//!
//! Two files: the content itself, which people look at and copy, and beside it what belongs to it (`.<name>.meta`).
//! Both are written whole or not at all; what belongs to other content than is there counts as absent.

use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::subscription::Subscription;

/// Larger files are not read.
const LARGEST: u64 = 64 << 20;

/// The place of some content on disk.
#[derive(Clone, Debug)]
pub struct Copy {
    path: PathBuf,
}

/// What is known of the content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// A hash of the content that this belongs to.
    content: String,
    pub(crate) etag: Option<String>,
    pub(crate) subscription: Option<Subscription>,
}

impl Meta {
    /// Of content that the copy will know by itself.
    pub(crate) fn new(etag: Option<String>, subscription: Option<Subscription>) -> Self {
        Self { content: String::new(), etag, subscription }
    }
}

impl Copy {
    /// The copy at `path`. Folders on the way are made when there is something to write.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content and when it was last known to be good. Blocking.
    ///
    /// # Errors
    /// The system's; `InvalidData` for more than 64 MiB.
    pub fn read(&self) -> io::Result<(Vec<u8>, SystemTime)> {
        let file = File::open(&self.path)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file of at most 64 MiB"));
        }
        let mut content = Vec::new();
        file.take(LARGEST).read_to_end(&mut content)?;
        Ok((content, meta.modified()?))
    }

    /// Replaces the content, whole or not at all. Blocking.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn write(&self, content: &[u8], meta: Meta) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Content first: a tag of newer content than is there would hide that content for ever.
        replace(&self.path, content)?;
        self.write_meta(content, meta)
    }

    /// Notes that the content is still good. Blocking.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn touch(&self, content: &[u8], meta: Meta) -> io::Result<()> {
        File::options().append(true).open(&self.path)?.set_modified(SystemTime::now())?;
        self.write_meta(content, meta)
    }

    fn write_meta(&self, content: &[u8], meta: Meta) -> io::Result<()> {
        let meta = Meta { content: hash(content), ..meta };
        replace(&self.meta_path(), &serde_json::to_vec(&meta).map_err(io::Error::other)?)
    }

    /// What is known of `content`; nothing if it is not what the note beside it belongs to. Blocking.
    pub(crate) fn meta(&self, content: &[u8]) -> Meta {
        let read = || -> Option<Meta> {
            let mut bytes = Vec::new();
            File::open(self.meta_path()).ok()?.take(64 << 10).read_to_end(&mut bytes).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        read().filter(|meta| meta.content == hash(content)).unwrap_or_default()
    }

    fn meta_path(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!(".{name}.meta"))
    }
}

/// Writes beside, syncs, and renames, so that whoever reads sees all of the old or all of the new.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    let mut file = alone(&beside)?;
    let mut write = || {
        file.set_len(0)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// The file at `path` for nobody but us: another one who writes the same content (a provider that a reload has ended, another
/// process) waits. What a killed process has left there is used again, so nothing piles up.
fn alone(path: &Path) -> io::Result<File> {
    loop {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
            locked => locked?,
        }
        // Whoever had it before us may have given it its name, or removed it.
        let here = file.metadata()?;
        if fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino())) {
            return Ok(file);
        }
    }
}

/// Tells contents apart; nobody gains by making two that are taken for one.
fn hash(content: &[u8]) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(content);
    format!("{:032x}", hasher.finish128().as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("adit-copy-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn files(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// F-H5: each process that was killed while it wrote left a file of its own.
    #[test]
    fn f_h5_what_killed_processes_leave_does_not_pile_up() {
        let folder = Folder::new("pile");
        let copy = Copy::at(folder.0.join("list"));
        copy.write(b"first", Meta::default()).unwrap();
        assert_eq!(folder.files(), 2);
        // Longer than what comes next.
        fs::write(folder.0.join(".list.new"), vec![0; 10_000]).unwrap();
        copy.write(b"second", Meta::default()).unwrap();
        assert_eq!((copy.read().unwrap().0, folder.files()), (b"second".to_vec(), 2));
    }

    /// Found in review: a provider that a reload had ended and the one in its place wrote into one file.
    #[test]
    fn writers_at_once_leave_one_whole_content() {
        let folder = Folder::new("writers");
        let copy = Copy::at(folder.0.join("list"));
        std::thread::scope(|scope| {
            for n in 1..9_u8 {
                let copy = &copy;
                scope.spawn(move || {
                    for _ in 0..20 {
                        copy.write(&vec![n; usize::from(n) * 5000], Meta::default()).unwrap();
                        let (content, _) = copy.read().unwrap();
                        let first = content[0];
                        assert!(
                            content.len() == usize::from(first) * 5000 && content.iter().all(|byte| *byte == first)
                        );
                    }
                });
            }
        });
        assert_eq!(folder.files(), 2);
    }
}
