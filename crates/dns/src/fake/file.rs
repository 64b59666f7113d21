//! The file that fake addresses survive in. What is read from it is checked like anything from outside.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use adit_net::Domain;
use redb::{Database, ReadableTable, TableDefinition};
use thiserror::Error;

use super::pool::{Naming, Start};

/// From a place to when it was named, as a count of namings, and the name.
type Names = TableDefinition<'static, u32, (u64, &'static str)>;
const V4: Names = TableDefinition::new("fake4");
const V6: Names = TableDefinition::new("fake6");
/// From "range4", "range6" to the range that the names belong to; from "closed" to "yes" or "no"; from "start4", "start6"
/// to where the last process began that followed one which was killed: its count and its place.
const ABOUT: TableDefinition<'static, &str, &str> = TableDefinition::new("about");

/// How much of the file's content redb may keep in memory.
const CACHE: usize = 256 * 1024;

/// One of the two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn names(self) -> Names {
        match self {
            Self::V4 => V4,
            Self::V6 => V6,
        }
    }

    fn range_key(self) -> &'static str {
        match self {
            Self::V4 => "range4",
            Self::V6 => "range6",
        }
    }

    fn start_key(self) -> &'static str {
        match self {
            Self::V4 => "start4",
            Self::V6 => "start6",
        }
    }
}

/// Why the file was not read or written.
#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Redb(#[from] redb::Error),
    /// redb asserts some of what a damaged file breaks.
    #[error("its structure is damaged")]
    Panicked,
}

pub(super) struct File(Database);

/// What was found when a file was opened.
pub(super) struct Found {
    pub(super) file: File,
    /// What was named, the first one first, and where the last process began, if that is known.
    pub(super) families: Vec<(Family, Vec<Naming>, Option<Start>)>,
    /// Whether the last process said that nothing is missing.
    pub(super) is_whole: bool,
}

impl File {
    /// Opens `path`, or makes it. A file that cannot be understood is moved aside (to `….bad`), with a notice, and a new
    /// one made. Names of another range than the given ones are dropped.
    ///
    /// # Errors
    /// Nothing could be opened or made: the folder is missing, read-only, full, or another process has the file.
    pub(super) fn open(path: &Path, ranges: [Option<&str>; 2]) -> Result<Found, FileError> {
        match Self::try_open(path, ranges) {
            Ok(found) => Ok(found),
            // Another process is using it: it is fine, and not ours to move.
            Err(FileError::Redb(error @ redb::Error::DatabaseAlreadyOpen)) => Err(error.into()),
            Err(error) if path.exists() => {
                // What lies there already is replaced.
                let aside = beside(path, ".bad");
                std::fs::rename(path, &aside)?;
                tracing::warn!(
                    file = %path.display(), aside = %aside.display(), %error,
                    "the fake addresses of the last run cannot be read; the file was set aside, addresses start afresh"
                );
                Self::try_open(path, ranges)
            }
            Err(error) => Err(error),
        }
    }

    fn try_open(path: &Path, ranges: [Option<&str>; 2]) -> Result<Found, FileError> {
        guarded(|| {
            if !path.exists() {
                make(path)?;
            }
            let mut database = Database::builder().set_cache_size(CACHE).create(path).map_err(redb::Error::from)?;
            // A page whose checksum is wrong would otherwise be found when it is in the way.
            database.check_integrity().map_err(redb::Error::from)?;
            Ok(Self(database).load(ranges)?)
        })
    }

    fn load(self, ranges: [Option<&str>; 2]) -> Result<Found, redb::Error> {
        let transaction = self.0.begin_write()?;
        let mut families = Vec::new();
        let mut about = transaction.open_table(ABOUT)?;
        let is_whole = about.insert("closed", "no")?.is_none_or(|closed| closed.value() == "yes");
        for (family, range) in Family::BOTH.into_iter().zip(ranges) {
            let known = about.get(family.range_key())?.map(|range| range.value().to_owned());
            if known.as_deref() == range {
                let start = about.get(family.start_key())?.and_then(|text| start_from(text.value()));
                families.push((family, read(&transaction.open_table(family.names())?)?, start));
                continue;
            }
            transaction.delete_table(family.names())?;
            about.remove(family.start_key())?;
            match range {
                Some(range) => drop(about.insert(family.range_key(), range)?),
                None => drop(about.remove(family.range_key())?),
            }
        }
        drop(about);
        transaction.commit()?;
        Ok(Found { file: self, families, is_whole })
    }

    /// Writes names to the disk, in one transaction; `clear` forgets all others first.
    pub(super) fn write(&self, clear: bool, names: &[(Family, Vec<Naming>)]) -> Result<(), FileError> {
        guarded(|| Ok(self.commit(clear, names)?))
    }

    fn commit(&self, clear: bool, names: &[(Family, Vec<Naming>)]) -> Result<(), redb::Error> {
        let transaction = self.0.begin_write()?;
        if clear {
            for family in Family::BOTH {
                transaction.delete_table(family.names())?;
                transaction.open_table(ABOUT)?.remove(family.start_key())?;
            }
        }
        for (family, names) in names {
            let mut table = transaction.open_table(family.names())?;
            for Naming { at, count, name } in names {
                table.insert(*at, (*count, name.as_str()))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Says where this process begins, before it has given out anything.
    pub(super) fn begin(&self, starts: &[(Family, Start)]) -> Result<(), FileError> {
        guarded(|| Ok(self.say_begun(starts)?))
    }

    fn say_begun(&self, starts: &[(Family, Start)]) -> Result<(), redb::Error> {
        let transaction = self.0.begin_write()?;
        for (family, Start { count, at }) in starts {
            transaction.open_table(ABOUT)?.insert(family.start_key(), format!("{count} {at}").as_str())?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Says that nothing is missing.
    pub(super) fn close(self) -> Result<(), FileError> {
        guarded(move || Ok(self.say_closed()?))
    }

    fn say_closed(&self) -> Result<(), redb::Error> {
        let transaction = self.0.begin_write()?;
        transaction.open_table(ABOUT)?.insert("closed", "yes")?;
        transaction.commit()?;
        Ok(())
    }
}

fn start_from(text: &str) -> Option<Start> {
    let (count, at) = text.split_once(' ')?;
    Some(Start { count: count.parse().ok()?, at: at.parse().ok()? })
}

/// All namings of a family, the first one first. What is no name is left out.
fn read(table: &impl ReadableTable<u32, (u64, &'static str)>) -> Result<Vec<Naming>, redb::Error> {
    let mut namings = Vec::new();
    for row in table.iter()? {
        let (place, naming) = row?;
        let (count, name) = naming.value();
        if let Ok(name) = Domain::new(name) {
            namings.push(Naming { at: place.value(), count, name });
        }
    }
    namings.sort_unstable_by_key(|naming| naming.count);
    Ok(namings)
}

/// Names stored under a path, for whoever wants to look without changing anything.
#[cfg(test)]
pub(super) fn names_in(path: &Path, family: Family) -> Vec<(u32, String)> {
    use redb::ReadableDatabase as _;
    let database = Database::open(path).unwrap();
    let table = database.begin_read().unwrap().open_table(family.names()).unwrap();
    let rows = table.iter().unwrap().map(Result::unwrap);
    rows.map(|(place, naming)| (place.value(), naming.value().1.to_owned())).collect()
}

/// F-D9: a damaged file is an error, whatever the library makes of it.
fn guarded<T>(work: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(FileError::Panicked))
}

/// Makes an empty file, whole or not at all: one that a killed process has only begun cannot be read.
fn make(path: &Path) -> Result<(), FileError> {
    let beside = beside(path, ".new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    drop(Database::create(&beside).map_err(redb::Error::from)?);
    Ok(std::fs::rename(beside, path)?)
}

/// Another file of the same name, with `ending`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
