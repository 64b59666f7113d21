//! Where `scripts/setup` put things.

use std::path::{Path, PathBuf};

/// The folder that `scripts/setup` fills: `$ADIT_CACHE`, else `adit` in the user's cache folder.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("ADIT_CACHE").unwrap_or_else(|| {
        var("XDG_CACHE_HOME")
            .or_else(|| var("HOME").map(|home| home.join(".cache")))
            .expect("HOME is not set")
            .join("adit")
    })
}

/// A file below [`cache_dir`].
///
/// # Panics
/// When it is not there: the message names the command that makes it.
#[must_use]
pub fn cached(relative: &str) -> PathBuf {
    let path = cache_dir().join(relative);
    assert!(path.exists(), "{} is missing: run scripts/setup first", path.display());
    path
}

/// The top of the checkout.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The adit binary under test: `$ADIT_BIN`, else the release build in this checkout.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn adit_binary() -> PathBuf {
    let path = std::env::var_os("ADIT_BIN").map_or_else(|| repository().join("target/release/adit"), PathBuf::from);
    assert!(path.exists(), "{} is missing: cargo build --release, or set ADIT_BIN", path.display());
    path
}
