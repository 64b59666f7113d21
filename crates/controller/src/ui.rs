//! The built-in dashboard: the files of `ui/`, compiled in.

/// One of them.
#[derive(Debug)]
pub(crate) struct File {
    /// Below `/ui/`.
    pub(crate) path: &'static str,
    pub(crate) plain: &'static [u8],
    pub(crate) gzip: &'static [u8],
}

/// All of them.
pub(crate) fn files() -> &'static [File] {
    FILES
}

/// Made by `build.rs`.
const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What a page of the dashboard may do: load what is beside it, talk to this controller, and nothing else.
pub(crate) const POLICY: &str = "default-src 'self'; img-src 'self' data:; \
                                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    /// What a phone has to load before it shows something.
    #[test]
    fn the_dashboard_is_small() {
        let size: usize = files().iter().map(|file| file.gzip.len()).sum();
        assert!(size <= 150 * 1024, "{size} bytes");
    }
}
