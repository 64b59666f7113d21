//! What outlives the process: choices in groups, and what dashboards keep here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use adit_controller::Storage;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

/// By group, its member.
const SELECTED: TableDefinition<'_, &str, &str> = TableDefinition::new("selected");
/// By key of `/storage`, its value.
const STORAGE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("storage");
/// Bytes of all values of `/storage` together.
const STORAGE_MAX: usize = 1 << 20;

/// Bytes of the file that are kept in memory.
const CACHE: usize = 64 << 10;

/// A store on disk; in memory, if there is none to be had.
#[derive(Default)]
pub(crate) struct Store {
    path: PathBuf,
    /// Opened when something is to be kept.
    disk: OnceLock<Option<Database>>,
    /// What `/storage` keeps where there is no disk.
    memory: Mutex<HashMap<String, Vec<u8>>>,
}

impl Store {
    /// One in that file.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// Opens or makes the file. One that cannot be used is told of, and done without. Blocking.
    fn disk(&self) -> Option<&Database> {
        let open = || -> Result<Database, redb::Error> {
            if !self.path.exists() {
                make(&self.path)?;
            }
            Ok(Database::builder().set_cache_size(CACHE).create(&self.path)?)
        };
        let complain = |error: &redb::Error| {
            let path = self.path.display();
            tracing::warn!("{path}: {error}: choices in groups will be forgotten at the next start");
        };
        self.disk.get_or_init(|| open().inspect_err(complain).ok()).as_ref()
    }

    /// What was chosen in each group. Blocking.
    pub(crate) fn selected(&self) -> Vec<(String, String)> {
        let read = |disk: &Database| -> Result<Vec<(String, String)>, redb::Error> {
            let table = match disk.begin_read()?.open_table(SELECTED) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let rows =
                table.iter()?.map(|row| row.map(|(group, member)| (group.value().into(), member.value().into())));
            Ok(rows.collect::<Result<_, _>>()?)
        };
        // Without a file nothing was chosen, and none is made for that.
        let disk = self.path.exists().then(|| self.disk()).flatten();
        disk.map_or_else(Vec::new, |disk| read(disk).unwrap_or_else(complain))
    }

    /// Remembers what is chosen in each group. Groups that are not named keep what they had: a configuration that lacks
    /// them may be followed by one that has them. Blocking.
    ///
    /// `choices` is asked when nobody else can write any more: of two who choose at once, the one who writes last knows
    /// both choices.
    pub(crate) fn select(&self, choices: impl FnOnce() -> Vec<(String, Option<String>)>) {
        let write = |disk: &Database| -> Result<(), redb::Error> {
            let transaction = disk.begin_write()?;
            {
                let mut table = transaction.open_table(SELECTED)?;
                for (group, member) in &choices() {
                    match member {
                        Some(member) => table.insert(group.as_str(), member.as_str())?,
                        None => table.remove(group.as_str())?,
                    };
                }
            }
            Ok(transaction.commit()?)
        };
        if let Some(disk) = self.disk() {
            write(disk).unwrap_or_else(complain);
        }
    }

    fn store(disk: &Database, key: &str, value: Option<&[u8]>) -> Result<(), redb::Error> {
        let transaction = disk.begin_write()?;
        {
            let mut table = transaction.open_table(STORAGE)?;
            match value {
                Some(value) => {
                    table.insert(key, value)?;
                    // Others make room, whichever come first.
                    let mut sizes = Vec::new();
                    for row in table.iter()? {
                        let (other, value) = row?;
                        sizes.push((other.value().to_owned(), value.value().len()));
                    }
                    let mut total: usize = sizes.iter().map(|(_, size)| *size).sum();
                    for (other, size) in sizes.iter().filter(|(other, _)| other != key) {
                        if total <= STORAGE_MAX {
                            break;
                        }
                        table.remove(other.as_str())?;
                        total = total.saturating_sub(*size);
                    }
                }
                None => drop(table.remove(key)?),
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Storage for Store {
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(disk) = self.disk() else {
            return Ok(self.memory.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned());
        };
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            match disk.begin_read()?.open_table(STORAGE) {
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
                table => Ok(table?.get(key)?.map(|value| value.value().to_vec())),
            }
        };
        read().map_err(|error| error.to_string())
    }

    fn save(&self, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        let Some(disk) = self.disk() else {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            match value {
                Some(value) => memory.insert(key.to_owned(), value.to_vec()),
                None => memory.remove(key),
            };
            return Ok(());
        };
        Self::store(disk, key, value).map_err(|error| error.to_string())
    }
}

/// Makes an empty file, whole or not at all: one that a killed process has only begun would be no store, for ever.
fn make(path: &Path) -> Result<(), redb::Error> {
    let beside = path.with_extension("redb.new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    drop(Database::create(&beside)?);
    Ok(std::fs::rename(beside, path)?)
}

fn complain<T: Default>(error: redb::Error) -> T {
    tracing::warn!(%error, "the store of choices failed");
    T::default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A path of its own, removed with the guard.
    struct File(PathBuf);

    impl File {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("adit-store-{}-{name}", std::process::id())))
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn choices_and_values_outlive_the_store() {
        let file = File::new("outlives");
        let store = Store::at(file.0.clone());
        assert!(store.selected().is_empty() && store.load("key").unwrap().is_none());
        store.select(|| vec![("G".into(), Some("a".into())), ("H".into(), Some("b".into()))]);
        store.select(|| vec![("G".into(), Some("c".into())), ("H".into(), None)]);
        store.save("key", Some(b"value")).unwrap();
        drop(store);
        let store = Store::at(file.0.clone());
        assert_eq!(store.selected(), [("G".to_owned(), "c".to_owned())]);
        assert_eq!(store.load("key").unwrap().unwrap(), b"value");
        store.save("key", None).unwrap();
        assert!(store.load("key").unwrap().is_none());
    }

    /// F-H3: what was read before another choice was written after it, and that choice was forgotten.
    #[test]
    fn f_h3_choices_at_once_are_all_stored() {
        let file = File::new("at-once");
        let store = Store::at(file.0.clone());
        let chosen: [_; 4] = std::array::from_fn(|_| AtomicUsize::new(0));
        let choices = || {
            let member = |n: &AtomicUsize| n.load(Ordering::SeqCst).to_string();
            chosen.iter().enumerate().map(|(group, n)| (group.to_string(), Some(member(n)))).collect()
        };
        std::thread::scope(|scope| {
            for (group, mine) in chosen.iter().enumerate() {
                let (store, choices) = (&store, &choices);
                scope.spawn(move || {
                    for n in 1..20 {
                        mine.store(n, Ordering::SeqCst);
                        store.select(choices);
                        let stored = store.selected().into_iter().find(|(name, _)| *name == group.to_string());
                        assert_eq!(stored.unwrap().1, n.to_string(), "acknowledged, and nobody else changes it");
                    }
                });
            }
        });
    }

    /// F-H5: a process that was killed while it made the file left one that no later process could use.
    #[test]
    fn f_h5_a_file_that_was_only_begun_is_made_again() {
        let (file, begun) = (File::new("begun.redb"), File::new("begun.redb.new"));
        std::fs::write(&begun.0, vec![0; 4096]).unwrap();
        let store = Store::at(file.0.clone());
        store.select(|| vec![("G".into(), Some("a".into()))]);
        assert_eq!(store.selected().len(), 1);
        assert!(!begun.0.exists());
    }

    #[test]
    fn values_make_room_for_others() {
        let file = File::new("room");
        let store = Store::at(file.0.clone());
        for key in ["a", "b", "c"] {
            store.save(key, Some(&vec![0; STORAGE_MAX / 2])).unwrap();
        }
        assert!(store.load("a").unwrap().is_none() && store.load("c").unwrap().is_some());
    }

    #[test]
    fn without_a_disk_it_works_for_a_while() {
        let store = Store::at("/proc/nowhere/adit.redb".into());
        store.select(|| vec![("G".into(), Some("a".into()))]);
        assert!(store.selected().is_empty());
        store.save("key", Some(b"value")).unwrap();
        assert_eq!(store.load("key").unwrap().unwrap(), b"value");
    }
}
