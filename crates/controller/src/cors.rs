//! Which pages of other origins may use the API. Spec: mihomo-surface §9.1; the Fetch standard, 3.2.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::options::Cors;

const METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
const HEADERS: &str = "Content-Type, Authorization";
/// How long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE: &str = "300";
/// Of preflights: the answer depends on these.
const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

const PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

impl Cors {
    /// What a page of `origin` is told; `None` if it may not use the API.
    fn allowance(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.origins.iter().any(|pattern| pattern == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?;
        self.origins.iter().any(|pattern| matches(pattern, text)).then(|| origin.clone())
    }

    /// Whether pages of `origin` may use the API.
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        self.allowance(origin).is_some()
    }

    /// The headers of an ordinary answer to a request with these.
    pub(crate) fn headers(&self, request: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(allowance) = request.get(header::ORIGIN).and_then(|origin| self.allowance(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowance);
        }
        headers
    }

    /// The headers of the answer to a preflight.
    pub(crate) fn preflight(&self, request: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers(request);
        headers.insert(header::VARY, HeaderValue::from_static(VARY));
        if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return headers;
        }
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.private_network && request.get(&PRIVATE_NETWORK).is_some_and(|value| value == "true") {
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        headers
    }
}

/// One `*` in `pattern` stands for any text. Origins are compared without case.
fn matches(pattern: &str, origin: &str) -> bool {
    let (pattern, origin) = (pattern.to_ascii_lowercase(), origin.to_ascii_lowercase());
    match pattern.split_once('*') {
        None => pattern == origin,
        Some((head, tail)) => {
            origin.len() >= head.len() + tail.len() && origin.starts_with(head) && origin.ends_with(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F-C6
    #[test]
    fn f_c6_origins_that_only_look_alike_are_refused() {
        for (pattern, origin, expected) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "https://A.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example.evil", false),
            ("https://a.example", "https://evil-a.example", false),
            ("https://a.example", "null", false),
            ("https://*.example", "https://b.example", true),
            ("https://*.example", "https://.example", true),
            ("https://*.example", "https://b.example.evil", false),
            ("http://localhost:*", "http://localhost:3000", true),
            ("http://localhost:*", "http://localhost", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, origin), expected, "{pattern} {origin}");
        }
    }
}
