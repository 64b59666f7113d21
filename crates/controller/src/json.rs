//! JSON as dashboards get it from Mihomo. Spec: mihomo-surface §9.1.

use std::fmt::Display;
use std::io;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

/// Bodies may have this many bytes (faults §1).
pub(crate) const BODY_MAX: usize = 8 * 1024 * 1024;

/// An answer: `application/json`, HTML-escaped, with a line feed at its end.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        respond(text(&self.0))
    }
}

/// An answer whose text is there already.
pub(crate) fn respond(text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// `value` as text, with a line feed at its end.
pub(crate) fn text(value: &impl Serialize) -> String {
    let mut bytes = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, HtmlSafe);
    // Fails only for maps whose keys are no texts, which nobody here has.
    if let Err(error) = value.serialize(&mut serializer) {
        tracing::error!(%error, "an answer could not be written as JSON");
    }
    bytes.push(b'\n');
    String::from_utf8(bytes).unwrap_or_default()
}

/// Escapes what would end a script in a page that embeds an answer.
struct HtmlSafe;

impl Formatter for HtmlSafe {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_special) {
            let (plain, tail) = rest.split_at(at);
            let Some(special) = tail.chars().next() else { break };
            writer.write_all(plain.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = tail.get(special.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// Something that is written as a text.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A refusal: `{"message": "…"}`.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn bad_body() -> Self {
        Self::bad("Body invalid")
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Resource not found")
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Message {
            message: String,
        }
        (self.status, Json(Message { message: self.message })).into_response()
    }
}

/// A body, read as JSON whatever its type is said to be. Unknown fields are ignored.
pub(crate) struct FromJson<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for FromJson<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = read(request.into_body(), BODY_MAX).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|_| Refusal::bad_body())
    }
}

/// A body of at most `limit` bytes.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    to_bytes(body, limit).await.map(Vec::from).map_err(|_| Refusal::bad_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_could_trip_over_is_escaped() {
        let map = std::collections::BTreeMap::from([("</a>", "x & \u{2028}\"\\\n🦀")]);
        assert_eq!(text(&map), "{\"\\u003c/a\\u003e\":\"x \\u0026 \\u2028\\\"\\\\\\n🦀\"}\n");
        assert_eq!(text(&Text("<b>")), "\"\\u003cb\\u003e\"\n");
    }
}
