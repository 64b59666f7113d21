//! Where a provider's content comes from: the keys that rule providers and proxy providers share.
//! Spec: mihomo-surface §4.1, §4.6, §6.4.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_net::{Secret, Tag};
use md5::{Digest as _, Md5};
use url::Url;

use crate::context::Context;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, shown};
use crate::yaml::At;

/// Where a provider's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vehicle {
    /// It is downloaded, and kept in a file.
    Http(Download),
    /// Somebody else keeps the file.
    File(PathBuf),
    /// It stands in the configuration.
    Inline,
}

impl Vehicle {
    /// The file that has the content.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Http(download) => Some(&download.path),
            Self::File(path) => Some(path),
            Self::Inline => None,
        }
    }

    /// What the API calls it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http(_) => "HTTP",
            Self::File(_) => "File",
            Self::Inline => "Inline",
        }
    }
}

/// How something is downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// `http://` or `https://`, with a host. Often a password in itself.
    pub url: Secret,
    /// Where it is kept; inside the home folder. Without `path` it is the file that Mihomo would use.
    pub path: PathBuf,
    /// How old the file may become; `None` is as old as it likes.
    pub interval: Option<Duration>,
    /// The proxy or group that it is downloaded through; `None` is as the rules say.
    pub proxy: Option<Tag>,
    /// Headers of the request, in the order of the file; they override ours of the same name. Checked: token names, no CR
    /// or LF in values.
    pub headers: Vec<(String, Secret)>,
    /// More bytes than this are an error.
    pub size_limit: Option<u64>,
}

/// The keys of the provider `name`, whose `type` is taken already. `folder` is where its file is by default, and `what`
/// it is, for messages. `None` is reported.
pub(crate) fn read<'d>(
    kind: Text<'d>,
    name: Text<'d>,
    fields: &mut Fields<'d>,
    (what, folder): (&str, &str),
    cx: &Context<'d>,
) -> Option<Vehicle> {
    let path = fields.take("path").and_then(Value::text).filter(|path| !path.text.is_empty());
    let url = fields.take("url").and_then(Value::text).filter(|url| !url.text.is_empty());
    let number = |value: Option<Value<'d>>, meaning: &str| {
        value.and_then(|value| value.number::<u32>(meaning)).filter(|number| *number != 0)
    };
    let interval = number(fields.take("interval"), "a number of seconds");
    let size_limit = number(fields.take("size-limit"), "a number of bytes");
    let proxy = fields.take("proxy").and_then(Value::text).filter(|proxy| !proxy.text.is_empty());
    let headers = fields.take("header").map(|value| headers(value, cx)).unwrap_or_default();
    let missing = |key: &str| {
        let title = shown(name.text);
        cx.report.error(name.at, format!("{what} {title}: '' has unset fields: {key}"));
    };
    match kind.text {
        "inline" => Some(Vehicle::Inline),
        "file" => match path {
            Some(path) => cx.home.resolve("path", path, cx.report).map(Vehicle::File),
            None => {
                missing("path");
                None
            }
        },
        "http" => {
            let Some(url) = url else {
                missing("url");
                return None;
            };
            check_url(url, name, what, cx)?;
            let path = match path {
                Some(path) => cx.home.resolve("path", path, cx.report)?,
                None => cx.home.dir().join(folder).join(file_name(url.text)),
            };
            Some(Vehicle::Http(Download {
                url: Secret::new(url.text),
                path,
                interval: interval.map(|seconds| Duration::from_secs(seconds.into())),
                proxy: proxy.map(|proxy| Tag::new(proxy.text)),
                headers,
                size_limit: size_limit.map(u64::from),
            }))
        }
        other => {
            // Mihomo has two words for this.
            let word = if folder == "rules" { "unsupported" } else { "unsupport" };
            let text = format!("{word} vehicle type: {}", shown(other));
            cx.report.add(Draft::error(kind.at, text).meant(other, ["http", "file", "inline"]));
            None
        }
    }
}

/// Does not repeat the URL: it may have a password anywhere.
fn check_url(url: Text<'_>, name: Text<'_>, what: &str, cx: &Context<'_>) -> Option<()> {
    let is_good = Url::parse(url.text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
    });
    if !is_good {
        let text = format!("{what} {}: `url` is not one that begins with http:// or https://", shown(name.text));
        cx.report.error(url.at, text);
    }
    is_good.then_some(())
}

/// The name that Mihomo gives the file of `url`, so that what it downloaded serves us, too.
fn file_name(url: &str) -> String {
    Md5::digest(url.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A mapping of names to lists of values, or to one value.
fn headers(value: Value<'_>, cx: &Context<'_>) -> Vec<(String, Secret)> {
    let Some(fields) = value.fields() else { return Vec::new() };
    let mut headers = Vec::new();
    for (name, values) in fields.named().filter(|(_, values)| !values.is_null()) {
        let values = if values.is_scalar() { values.text().into_iter().collect() } else { values.texts() };
        for value in values {
            if is_header(name.text, value.text) {
                headers.push((name.text.to_owned(), Secret::new(value.text)));
            } else {
                cx.report.error(name.at, format!("`{}` is not a valid HTTP header", shown(name.text)));
            }
        }
    }
    headers
}

/// RFC 9110 §5.6.2 and §5.5
fn is_header(name: &str, value: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(is_token) && !value.bytes().any(|b| b.is_ascii_control() && b != b'\t')
}

/// `proxy` has to exist. `targets` are the names of all proxies and groups.
pub(crate) fn check_proxy(vehicle: &Vehicle, at: Option<At>, targets: &HashSet<&str>, cx: &Context<'_>) {
    let Vehicle::Http(Download { proxy: Some(proxy), .. }) = vehicle else { return };
    if targets.contains(&**proxy) {
        return;
    }
    let text = format!("proxy [{}] not found", shown(proxy));
    cx.report.add(Draft::error(at.unwrap_or(At::NOWHERE), text).meant(proxy, targets.iter().copied()));
}

/// Larger files are not read.
const MAX_BYTES: u64 = 64 << 20;

/// What the file of a provider has now.
pub(crate) fn content(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf %s https://example.com/sub | md5sum`
    #[test]
    fn files_are_named_as_mihomo_names_them() {
        assert_eq!(file_name(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(file_name("https://example.com/sub"), "3dd403f32a12bab6123243ae838133fb");
    }

    #[test]
    fn headers_cannot_smuggle_lines() {
        assert!(is_header("User-Agent", "x y"));
        for (name, value) in [("", "x"), ("A b", "x"), ("A:", "x"), ("A", "x\r\nB: y"), ("A", "\0")] {
            assert!(!is_header(name, value), "{name:?} {value:?}");
        }
    }
}
