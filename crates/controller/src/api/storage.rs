//! What dashboards keep here. Spec: mihomo-surface §9.3.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::IgnoredAny;

use crate::json::{Refusal, read, respond};
use crate::server::Shared;

const KEY_MAX: usize = 64;
const VALUE_MAX: usize = 1024 * 1024;

/// Does something with the storage where it may block.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Refusal> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(error.to_string())).map_err(Refusal::failed)
}

fn check(key: &str) -> Result<(), Refusal> {
    if key.len() > KEY_MAX { Err(Refusal::bad("the key is longer than 64 bytes")) } else { Ok(()) }
}

/// `GET /storage/{key}`: `null` if there is nothing.
pub(super) async fn load(State(shared): State<Shared>, Path(key): Path<String>) -> Result<Response, Refusal> {
    check(&key)?;
    let value = aside(move || shared.daemon.storage().load(&key)).await?;
    let value = value.and_then(|value| String::from_utf8(value).ok());
    Ok(respond(value.unwrap_or_else(|| "null\n".to_owned())))
}

/// `PUT /storage/{key}`.
pub(super) async fn save(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    check(&key)?;
    let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "payload exceeds 1MB limit");
    let value = read(body, VALUE_MAX).await.map_err(|_| too_large())?;
    serde_json::from_slice::<IgnoredAny>(&value).map_err(|_| Refusal::bad("invalid JSON"))?;
    aside(move || shared.daemon.storage().save(&key, Some(&value))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /storage/{key}`.
pub(super) async fn remove(State(shared): State<Shared>, Path(key): Path<String>) -> Result<StatusCode, Refusal> {
    check(&key)?;
    aside(move || shared.daemon.storage().save(&key, None)).await?;
    Ok(StatusCode::NO_CONTENT)
}
