//! The last good content, on disk.
//!
//! Two files: the content itself, which people look at and copy, and beside it what belongs to it (`.<name>.meta`).
//! Both are written whole or not at all; what belongs to other content than is there counts as absent.

use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Read as _, Write as _};
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
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// Tells contents apart; nobody gains by making two that are taken for one.
fn hash(content: &[u8]) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(content);
    format!("{:032x}", hasher.finish128().as_u128())
}
