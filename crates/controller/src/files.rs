//! Files for browsers: a dashboard on the disk, or the built-in one.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use crate::time::HttpDate;
use crate::ui;

/// Files that are longer are not served.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// What is at `/ui/`.
#[derive(Debug)]
pub(crate) struct Files(Option<PathBuf>);

/// A file that was found.
struct Found {
    bytes: Vec<u8>,
    modified: SystemTime,
}

impl Files {
    /// The files in `folder`, or the built-in ones.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// Answers a request for `path`, which is what follows `/ui/` as it was written. Blocks on the disk.
    pub(crate) fn answer(&self, path: &str, request: &HeaderMap) -> Response {
        let Some(segments) = segments(path) else { return not_found() };
        let mut response = match &self.0 {
            Some(folder) => of_disk(folder, &segments, request),
            None => built_in(&segments, request),
        };
        let headers = response.headers_mut();
        // A dashboard that was replaced is seen with the next look; what has not changed is not sent again.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

/// The names in a path, decoded. None if one of them could lead elsewhere or to what is hidden (F-C5).
fn segments(path: &str) -> Option<Vec<String>> {
    let path = match path {
        "" => "index.html".to_owned(),
        folder if folder.ends_with('/') => format!("{folder}index.html"),
        file => file.to_owned(),
    };
    path.split('/')
        .map(|segment| {
            let name = percent_decode_str(segment).decode_utf8().ok()?;
            let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
            is_plain.then(|| name.into_owned())
        })
        .collect()
}

fn of_disk(folder: &Path, segments: &[String], request: &HeaderMap) -> Response {
    let mut path = folder.to_owned();
    path.extend(segments);
    let kind = kind(&path);
    for (encoding, suffix) in [("br", ".br"), ("gzip", ".gz")] {
        if !accepts(request, encoding) {
            continue;
        }
        let mut packed = path.clone().into_os_string();
        packed.push(suffix);
        if path.is_file()
            && let Ok(found) = open(folder, Path::new(&packed))
        {
            return disk_answer(found, kind, Some(encoding), request);
        }
    }
    match open(folder, &path) {
        Ok(found) => disk_answer(found, kind, None, request),
        Err(_) => not_found(),
    }
}

/// Reads a file, unless links lead out of `folder`.
fn open(folder: &Path, path: &Path) -> io::Result<Found> {
    let real = fs::canonicalize(path)?;
    if !real.starts_with(fs::canonicalize(folder)?) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // A pipe would be waited for.
    if !fs::metadata(&real)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = fs::File::open(&real)?;
    let metadata = file.metadata()?;
    if metadata.len() > FILE_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(Found { bytes, modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH) })
}

fn disk_answer(found: Found, kind: &'static str, encoding: Option<&'static str>, request: &HeaderMap) -> Response {
    let age = found.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let tag = format!("\"{age:x}-{:x}{}\"", found.bytes.len(), encoding.unwrap_or_default());
    let date = HttpDate(found.modified).to_string();
    let is_known = is_known(request, &tag, Some(&date));
    let mut response = answer(found.bytes, kind, encoding, &tag, is_known);
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(header::LAST_MODIFIED, date);
    }
    response
}

fn built_in(segments: &[String], request: &HeaderMap) -> Response {
    let path = segments.join("/");
    let Some(file) = ui::files().iter().find(|file| file.path == path) else { return not_found() };
    // The last four bytes but four are the CRC-32 of what is inside (RFC 1952, 2.3.1).
    let sum = file.gzip.iter().rev().skip(4).take(4).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let (bytes, encoding) = if accepts(request, "gzip") { (file.gzip, Some("gzip")) } else { (file.plain, None) };
    let tag = format!("\"{sum:08x}{}\"", encoding.unwrap_or_default());
    let is_known = is_known(request, &tag, None);
    let mut response = answer(bytes, kind(Path::new(file.path)), encoding, &tag, is_known);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(ui::POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

fn answer(
    bytes: impl IntoResponse,
    kind: &'static str,
    encoding: Option<&'static str>,
    tag: &str,
    is_known: bool,
) -> Response {
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { bytes.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    // Added to that of CORS.
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// Whether the client has this version (RFC 9110, 13.1): a date counts only if no tag was sent.
fn is_known(request: &HeaderMap, tag: &str, date: Option<&str>) -> bool {
    let text = |name| request.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match text(header::IF_NONE_MATCH) {
        Some(tags) => tags.split(',').any(|known| {
            let known = known.trim();
            known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
        }),
        None => date.is_some() && text(header::IF_MODIFIED_SINCE) == date,
    }
}

/// Whether `encoding` is among those that are accepted (RFC 9110, 12.5.3).
fn accepts(request: &HeaderMap, encoding: &str) -> bool {
    let values = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.']).is_empty());
        name.trim().eq_ignore_ascii_case(encoding) && !is_refused
    })
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

/// The type of a file by its name; scripts must have theirs, because browsers do not guess (nosniff).
fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_c5_odd_paths_have_no_segments() {
        for path in [
            "..",
            "a/../b",
            "a//b",
            "./a",
            "%2e%2e/a",
            "a%2fb",
            "a%5cb",
            "a\\b",
            "a%00",
            ".git/config",
            "a/%2egit",
            "/",
        ] {
            assert_eq!(segments(path), None, "{path}");
        }
        assert_eq!(segments("").unwrap(), ["index.html"]);
        assert_eq!(segments("a/").unwrap(), ["a", "index.html"]);
        assert_eq!(segments("%C3%A4%20b.js").unwrap(), ["ä b.js"]);
    }

    #[test]
    fn encodings_are_negotiated() {
        let with = |value: &str| HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())]);
        assert!(accepts(&with("deflate, GZIP;q=0.5"), "gzip"));
        assert!(!accepts(&with("gzip;q=0.000, br"), "gzip"));
        assert!(!accepts(&HeaderMap::new(), "gzip"));
    }
}
