//! What is asked for, and how.

use std::fmt;

use adit_net::{Secret, Target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use percent_encoding::percent_decode_str;
use thiserror::Error;
use url::Url;

/// Larger answers are refused unless something else is said.
const LIMIT: u64 = 64 << 20;

/// A download that can be asked for again and again.
#[derive(Clone)]
pub struct Request {
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    limit: u64,
}

/// Why a download cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// Not a URL.
    #[error("not a URL: {0}")]
    Url(#[from] url::ParseError),
    /// Neither `http` nor `https`.
    #[error("`{0}` is neither http nor https")]
    Scheme(String),
    /// The host or port is none that can be dialled.
    #[error("nobody can be asked there: {0}")]
    Host(String),
    /// A header that HTTP does not allow. Values are not repeated.
    #[error("`{0}` is not a header that can be sent")]
    Header(String),
}

impl Request {
    /// A download from `url`; a user in it becomes basic authentication (RFC 7617).
    ///
    /// # Errors
    /// See [`BadRequest`].
    pub fn new(url: &str) -> Result<Self, BadRequest> {
        let mut url = Url::parse(url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadRequest::Scheme(url.scheme().to_owned()));
        }
        let mut headers = vec![(USER_AGENT, HeaderValue::from_static(concat!("adit/", env!("CARGO_PKG_VERSION"))))];
        if let Some(authorization) = credentials(&url) {
            headers.push((AUTHORIZATION, authorization));
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        url.set_fragment(None);
        target(&url)?;
        Ok(Self { url, headers, limit: LIMIT })
    }

    /// With another header, which takes the place of ours of that name.
    ///
    /// # Errors
    /// [`BadRequest::Header`].
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, BadRequest> {
        let bad = || BadRequest::Header(name.to_owned());
        let parsed = HeaderName::try_from(name).map_err(|_| bad())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| bad())?;
        value.set_sensitive(true);
        if parsed == USER_AGENT || parsed == AUTHORIZATION {
            self.headers.retain(|(known, _)| *known != parsed);
        }
        self.headers.push((parsed, value));
        Ok(self)
    }

    /// Refuses answers of more than `bytes`; 0 leaves the default of 64 MiB.
    #[must_use]
    pub fn limited_to(mut self, bytes: u64) -> Self {
        self.limit = if bytes == 0 { LIMIT } else { bytes };
        self
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The headers for `url`: those of the request, without credentials if that is another place (RFC 9110 §15.4).
    pub(crate) fn headers(&self, url: &Url) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        let is_home = url.origin() == self.url.origin();
        self.headers.iter().filter(move |(name, value)| is_home || (*name == USER_AGENT && !value.is_sensitive()))
    }
}

/// Where `url` leads.
pub(crate) fn target(url: &Url) -> Result<Target, BadRequest> {
    let host = url.host_str().unwrap_or_default();
    let authority = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
    let target: Target =
        authority.parse().map_err(|error: adit_net::BadAddress| BadRequest::Host(error.to_string()))?;
    if target.port == 0 { Err(BadRequest::Host("port 0".into())) } else { Ok(target) }
}

fn credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let value = Secret::new(format!("Basic {}", STANDARD.encode(pair)));
    let mut value = HeaderValue::try_from(value.reveal()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Without path and query: they are often what a customer pays for.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("host", &self.url.host_str())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_asked_for() {
        for bad in ["", "x", "ftp://x/", "http://", "http://x:0/", "http://x:99999/"] {
            assert!(Request::new(bad).is_err(), "{bad}");
        }
        let request = Request::new("https://u%3A:p@x.test/a?b#c").unwrap();
        assert_eq!(request.url().as_str(), "https://x.test/a?b");
        assert!(request.clone().with_header("a b", "c").is_err() && request.clone().with_header("a", "b\nc").is_err());
        let shown = format!("{request:?}");
        assert!(!shown.contains("/a") && !shown.contains("p@"), "{shown}");
    }

    #[test]
    fn secrets_are_for_the_place_they_were_given_for() {
        let request = Request::new("https://user:word@x.test/a").unwrap().with_header("X-Token", "t").unwrap();
        let names = |url: &str| {
            let url = Url::parse(url).unwrap();
            request.headers(&url).map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("https://x.test/b"), ["user-agent", "authorization", "x-token"]);
        for elsewhere in ["https://y.test/a", "http://x.test/a", "https://x.test:444/a"] {
            assert_eq!(names(elsewhere), ["user-agent"], "{elsewhere}");
        }
    }
}
