//! Settings, and the life of the program.

use std::path::PathBuf;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::query;
use crate::daemon::{Patch, Reload, ReloadFrom, Verdict};
use crate::json::{FromJson, Json, Refusal};
use crate::server::Shared;

/// `GET /configs`.
pub(super) async fn show(State(shared): State<Shared>) -> Json<serde_json::Value> {
    Json(shared.daemon.configs())
}

/// `PATCH /configs`.
pub(super) async fn change(
    State(shared): State<Shared>,
    FromJson(patch): FromJson<Patch>,
) -> Result<StatusCode, Refusal> {
    shared.daemon.patch(patch).await.map_err(Refusal::bad)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct Written {
    #[serde(default)]
    path: String,
    #[serde(default)]
    payload: String,
}

/// `PUT /configs`.
pub(super) async fn reload(
    State(shared): State<Shared>,
    uri: Uri,
    FromJson(written): FromJson<Written>,
) -> Result<StatusCode, Refusal> {
    let path = PathBuf::from(&written.path);
    let from = match (written.path.is_empty(), written.payload.is_empty()) {
        (_, false) => ReloadFrom::Text(written.payload),
        (true, true) => ReloadFrom::Current,
        (false, true) if path.is_absolute() => ReloadFrom::File(path),
        (false, true) => return Err(Refusal::bad("path is not a absolute path")),
    };
    let force = query(&uri, "force").is_some_and(|force| force == "true");
    shared.daemon.reload(Reload { from, force }).await.map_err(Refusal::bad)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /configs/check`: of ours. What is wrong with a configuration that is not used.
pub(super) async fn check(State(shared): State<Shared>, FromJson(written): FromJson<Written>) -> Json<Verdict> {
    Json(shared.daemon.check(written.payload).await)
}

#[derive(Serialize)]
pub(super) struct Status {
    status: &'static str,
}

/// `POST /restart`.
pub(super) async fn restart(State(shared): State<Shared>) -> Result<Json<Status>, Refusal> {
    shared.daemon.restart().map_err(Refusal::failed)?;
    Ok(Json(Status { status: "ok" }))
}

/// `POST /upgrade`: a program that can replace itself can be made to.
pub(super) async fn upgrade() -> Refusal {
    Refusal::failed("adit does not replace itself: upgrade the container image or the package")
}

/// `POST /upgrade/ui`.
pub(super) async fn upgrade_ui() -> Refusal {
    Refusal::failed("adit downloads no dashboard: put another one into the folder that `external-ui` names")
}

/// `POST /configs/geo`, `POST /upgrade/geo`.
pub(super) async fn update_geo() -> Refusal {
    Refusal::failed("adit downloads no geo databases: put newer files into the home directory and reload")
}
