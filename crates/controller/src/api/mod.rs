//! The table of endpoints. Spec: mihomo-surface §9.3.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use serde::Serialize;
use url::form_urlencoded;

use crate::gate;
use crate::json::Json;
use crate::metrics;
use crate::server::Shared;

mod configs;
mod connections;
mod delay;
mod dns;
mod providers;
mod proxies;
mod rules;
mod storage;
mod streams;

/// Every endpoint, behind the gate.
pub(crate) fn router(shared: Shared) -> Router {
    let endpoints: [(&str, MethodRouter<Shared>); 34] = [
        ("/version", get(version)),
        ("/configs", get(configs::show).patch(configs::change).put(configs::reload)),
        ("/configs/check", post(configs::check)),
        ("/configs/geo", post(configs::update_geo)),
        ("/restart", post(configs::restart)),
        ("/upgrade", post(configs::upgrade)),
        ("/upgrade/geo", post(configs::update_geo)),
        ("/upgrade/ui", post(configs::upgrade_ui)),
        ("/cache/fakeip/flush", post(dns::flush_fake_ip)),
        ("/cache/dns/flush", post(dns::flush)),
        ("/dns/query", get(dns::query)),
        ("/proxies", get(proxies::all)),
        ("/proxies/{name}", get(proxies::one).put(proxies::select).delete(proxies::unpin)),
        ("/proxies/{name}/delay", get(delay::of_proxy)),
        ("/group", get(proxies::groups)),
        ("/group/{name}", get(proxies::group)),
        ("/group/{name}/delay", get(delay::of_group)),
        ("/providers/proxies", get(providers::proxies)),
        ("/providers/proxies/{provider}", get(providers::of_proxies).put(providers::update_proxies)),
        ("/providers/proxies/{provider}/healthcheck", get(delay::of_provider)),
        ("/providers/proxies/{provider}/{name}", get(providers::member)),
        ("/providers/proxies/{provider}/{name}/healthcheck", get(delay::of_member)),
        ("/providers/rules", get(providers::rules)),
        ("/providers/rules/{provider}", put(providers::update_rules)),
        ("/rules", get(rules::all)),
        ("/rules/disable", patch(rules::disable)),
        ("/connections", get(connections::all).delete(connections::close_all)),
        ("/connections/{id}", delete(connections::close)),
        ("/storage/{key}", get(storage::load).put(storage::save).delete(storage::remove)),
        ("/traffic", get(streams::traffic)),
        ("/memory", get(streams::memory)),
        ("/logs", get(streams::logs)),
        ("/metrics", get(metrics::show)),
        ("/scrape", get(metrics::show)),
    ];
    let mut router = Router::new().route("/", get(hello));
    for (path, methods) in endpoints {
        router = router.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    router
        .route("/ui", get(|| async { Redirect::temporary("/ui/") }))
        .route("/ui/", get(file))
        .route("/ui/{*path}", get(file))
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
        .layer(middleware::from_fn_with_state(shared.clone(), gate::pass))
        .with_state(shared)
}

/// Browsers that were pointed here want the dashboard.
async fn hello(request: Request) -> Response {
    #[derive(Serialize)]
    struct Hello {
        hello: &'static str,
    }
    let wants_page = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if wants_page.is_some_and(|accept| accept.contains("text/html")) {
        return Redirect::temporary("/ui/").into_response();
    }
    Json(Hello { hello: "mihomo" }).into_response()
}

async fn version(State(shared): State<Shared>) -> Response {
    #[derive(Serialize)]
    struct Version<'a> {
        meta: bool,
        version: &'a str,
    }
    Json(Version { meta: true, version: shared.daemon.version() }).into_response()
}

/// A file of the dashboard.
async fn file(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let answered = tokio::task::spawn_blocking(move || {
        let path = parts.uri.path().strip_prefix("/ui/").unwrap_or_default();
        shared.files.answer(path, &parts.headers)
    });
    answered.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// What the query has for `key`, decoded.
pub(crate) fn query(uri: &Uri, key: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}
