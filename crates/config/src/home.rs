//! Files that a configuration names: where they may be, and reading them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::mask::is_secret;
use crate::read::Text;
use crate::report::{Draft, Report, shown};

/// The home folder and the other folders whose files may be read.
///
/// Spec: mihomo-surface §1.3. A path must stay inside after `..` and symbolic links are followed (F-D1).
#[derive(Clone, Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    allowed: Vec<PathBuf>,
    unchecked: bool,
}

/// Whether a configuration, or whoever may change one, may name `path`: it is in `home`, or in one of `SAFE_PATHS`, after
/// `..` and symbolic links are followed.
#[must_use]
pub fn may_read(home: &Path, path: &Path) -> bool {
    let home = Home::new(home);
    home.unchecked || home.is_allowed(&without_dots(path))
}

impl Home {
    /// As the environment says: `SAFE_PATHS` (separated by `:`), `SKIP_SAFE_PATH_CHECK`.
    pub(crate) fn new(dir: &Path) -> Self {
        let unchecked = std::env::var("SKIP_SAFE_PATH_CHECK").is_ok_and(|value| value == "true" || value == "1");
        Self::with(dir, std::env::var_os("SAFE_PATHS"), unchecked)
    }

    fn with(dir: &Path, safe_paths: Option<OsString>, unchecked: bool) -> Self {
        let mut allowed = vec![dir.to_path_buf()];
        allowed.extend(safe_paths.iter().flat_map(std::env::split_paths).filter(|path| path.is_absolute()));
        Self { dir: dir.to_path_buf(), allowed, unchecked }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that `key: written` names, or a report that it is none we may touch. It need not exist.
    pub(crate) fn resolve(&self, key: &str, written: Text<'_>, report: &Report) -> Option<PathBuf> {
        let path = without_dots(&self.dir.join(written.text));
        if self.unchecked || self.is_allowed(&path) {
            return Some(path);
        }
        let text = format!("path is not subpath of home directory or SAFE_PATHS: {}", named(key, written));
        let allowed: Vec<String> = self.allowed.iter().map(|dir| dir.display().to_string()).collect();
        let allowed = format!("allowed paths: [{}]", allowed.join(" "));
        let draft = Draft::error(written.at, text);
        report.add(match path.parent() {
            Some(folder) if !is_secret(key) => {
                let folder = folder.display();
                draft.hint(format!("{allowed}; the environment variable SAFE_PATHS={folder} would allow it"))
            }
            _ => draft.hint(allowed),
        });
        None
    }

    /// The text of the file that `key: written` names, or a report why not.
    pub(crate) fn read(&self, key: &str, written: Text<'_>, report: &Report) -> Option<String> {
        let path = self.resolve(key, written, report)?;
        match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) => {
                let text = format!("cannot read the file {}: {}", named(key, written), reason(&error));
                report.error(written.at, text);
                None
            }
        }
    }

    /// Both the path as written and the file that it leads to must be in one of the folders.
    fn is_allowed(&self, path: &Path) -> bool {
        let target = real(path);
        self.allowed.iter().any(|dir| {
            let folder = real(dir);
            target.starts_with(&folder) && (path.starts_with(without_dots(dir)) || path.starts_with(&folder))
        })
    }
}

/// A path for a message. What stands where a key may be either a file or a key is not repeated.
fn named(key: &str, written: Text<'_>) -> String {
    if is_secret(key) { format!("of `{key}`") } else { shown(written.text) }
}

/// What went wrong, without the number that Rust appends.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}

/// `path` without `.` and `..`, by its text alone.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// `path` with the symbolic links of the part that exists followed.
fn real(path: &Path) -> PathBuf {
    for existing in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (existing.canonicalize(), path.strip_prefix(existing)) {
            return real.join(rest);
        }
    }
    path.to_path_buf()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::yaml::At;

    /// F-D1
    #[test]
    fn only_files_inside_home_and_safe_paths_are_touched() {
        let root = std::env::temp_dir().join(format!("adit-home-{}", std::process::id()));
        let (home, safe, other) = (root.join("home"), root.join("safe"), root.join("other"));
        for dir in [&home, &safe, &other] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(other.join("secret"), "x").unwrap();
        let _ = symlink(&other, home.join("link"));
        let _ = symlink(other.join("secret"), home.join("file"));
        let files = Home::with(&home, Some(safe.clone().into_os_string()), false);
        let allowed = |path: &str| {
            let report = Report::default();
            let text = Text { text: path, at: At::new(0, 0) };
            files.resolve("path", text, &report).is_some()
        };
        for good in ["a.yaml", "./rules/a.yaml", "rules/../a.yaml", "rules/../rules/a"] {
            assert!(allowed(good), "{good}");
        }
        assert!(allowed(safe.join("a").to_str().unwrap()));
        assert!(allowed(home.join("a").to_str().unwrap()));
        for bad in
            ["../a", "rules/../../a", "/etc/passwd", "link/secret", "link/../../other/secret", "file", "../home2/a"]
        {
            assert!(!allowed(bad), "{bad}");
        }
        assert!(
            Home::with(&home, None, true)
                .resolve("path", Text { text: "/etc/x", at: At::new(0, 0) }, &Report::default())
                .is_some()
        );
        fs::remove_dir_all(&root).unwrap();
    }
}
