//! Compresses the dashboard in `ui/` and lists it for `src/ui.rs`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

/// What a browser loads. Everything else in the folder (tests, notes) is for developers.
const SERVED: &[&str] = &["css", "html", "ico", "js", "json", "png", "svg", "webmanifest", "woff2"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=ui");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?);
    let root = Path::new("ui");
    let mut files = Vec::new();
    if root.is_dir() {
        collect(root, &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", file.display());
        let plain = fs::read(file)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&plain)?;
        let packed = out.join(format!("{number}.gz"));
        fs::write(&packed, encoder.finish()?)?;
        let path = file.strip_prefix(root).map_err(io::Error::other)?;
        let plain = fs::canonicalize(file)?;
        let _ = writeln!(
            list,
            "    File {{ path: {path:?}, plain: include_bytes!({plain:?}), gzip: include_bytes!({packed:?}) }},"
        );
    }
    list.push_str("]\n");
    fs::write(out.join("files.rs"), list)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
        if name.starts_with('.') || matches!(name, "node_modules" | "tests") {
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() {
            collect(&path, files)?;
        } else if SERVED.contains(&extension) {
            files.push(path);
        }
    }
    Ok(())
}
