//! Who may use the API: before any handler sees a request. Spec: mihomo-surface §9.1.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use adit_net::Secret;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;

use crate::attempts::Attempts;
use crate::json::Refusal;
use crate::options::{Options, Peer};
use crate::server::Shared;
use crate::stream::is_websocket;

/// Who may use the API.
#[derive(Debug)]
pub(crate) struct Gate {
    options: Options,
    attempts: Mutex<Attempts>,
}

/// Names that no server of the public DNS answers for, so that no page can point one at us.
const LOCAL_SUFFIXES: &[&str] = &[".localhost", ".local", ".lan", ".home.arpa", ".internal", ".home"];

/// Lets a request in, or answers it.
pub(crate) async fn pass(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let gate = &shared.gate;
    let headers = request.headers();
    if request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return (StatusCode::OK, gate.options.cors.preflight(headers)).into_response();
    }
    let cors = gate.options.cors.headers(headers);
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer::Local);
    let response = match gate.admit(peer, request.method(), request.uri(), headers) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let (mut parts, body) = response.into_parts();
    for (name, value) in &cors {
        parts.headers.append(name, value.clone());
    }
    Response::from_parts(parts, body)
}

impl Gate {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, attempts: Mutex::default() }
    }

    /// Whether a request may go on.
    fn admit(&self, peer: Peer, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let Peer::Ip(source) = peer else { return Ok(()) };
        let Some(secret) = self.options.secret() else {
            return self.admit_without_secret(method, headers);
        };
        // The pages themselves are no secret: they ask for it.
        if matches!(uri.path(), "/ui") || uri.path().starts_with("/ui/") || proves(secret, uri, headers) {
            return Ok(());
        }
        if self.attempts.lock().fail(source, Instant::now()) {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "Too many wrong secrets: wait a minute"))
    }

    /// Without a secret, being able to connect is all it takes, and a browser connects wherever a page tells it to.
    /// A secret is what a page of somebody else does not have, so none of this matters with one.
    fn admit_without_secret(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        // DNS rebinding: the page's own name was made to lead here.
        if !self.is_ours(host) {
            let text = "This name is not known: use the address, or set a `secret`";
            return Err(Refusal::new(StatusCode::FORBIDDEN, text));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        // What CORS does not keep a page from: requests whose answer it cannot read, and WebSockets.
        let acts = !matches!(*method, Method::GET | Method::HEAD) || is_websocket(headers);
        let of_us = origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, at)| at == host);
        if acts && !of_us && !self.options.cors.allows(origin) {
            let text = "Pages of this origin are not allowed: see `external-controller-cors`";
            return Err(Refusal::new(StatusCode::FORBIDDEN, text));
        }
        Ok(())
    }

    /// Whether `host`, with or without a port, is an address or a name that only this network knows.
    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &host,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse::<IpAddr>().is_ok();
        }
        let is_single = !name.is_empty() && !name.contains('.');
        is_single
            || name.parse::<IpAddr>().is_ok()
            || LOCAL_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
            || self.options.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Whether a request carries the secret: in a header, or, where a browser cannot set one, in the query.
fn proves(secret: &Secret, uri: &Uri, headers: &HeaderMap) -> bool {
    let is_secret = |candidate: &[u8]| bool::from(candidate.ct_eq(secret.reveal().as_bytes()));
    if is_websocket(headers)
        && let Some(token) = crate::api::query(uri, "token").filter(|token| !token.is_empty())
    {
        return is_secret(token.as_bytes());
    }
    let bearer = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    bearer.and_then(|value| value.strip_prefix(b"Bearer ")).is_some_and(is_secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(gate: &Gate, request: Request<()>) -> Result<(), StatusCode> {
        let peer = Peer::Ip([192, 0, 2, 1].into());
        let admitted = gate.admit(peer, request.method(), request.uri(), request.headers());
        admitted.map_err(|refusal| refusal.status)
    }

    #[test]
    fn names_that_only_this_network_knows() {
        let gate = Gate::new(Options { names: vec!["Box.example.com".into()], ..Options::default() });
        for (host, expected) in [
            ("127.0.0.1:9090", true),
            ("[::1]:9090", true),
            ("[::1]", true),
            ("192.168.1.2", true),
            ("localhost:9090", true),
            ("LOCALHOST", true),
            ("nas:9090", true),
            ("nas.local.", true),
            ("box.example.com:9090", true),
            ("evil.example.com:9090", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("[::1].evil.example", false),
            ("", false),
        ] {
            assert_eq!(gate.is_ours(host), expected, "{host}");
        }
    }

    #[test]
    fn the_secret_is_compared_whole_and_where_it_may_be() {
        let gate = Gate::new(Options { secret: Some(Secret::new("a b")), ..Options::default() });
        let plain =
            |path: &str, value: &str| Request::builder().uri(path).header("authorization", value).body(()).unwrap();
        let upgrade = |path: &str, value: &str| Request::builder().uri(path).header("upgrade", value).body(()).unwrap();
        for (request, expected) in [
            (plain("/x", "Bearer a b"), Ok(())),
            (plain("/x?token=wrong", "Bearer a b"), Ok(())),
            (plain("/x", "bearer a b"), Err(StatusCode::UNAUTHORIZED)),
            (plain("/x", "Bearer  a b"), Err(StatusCode::UNAUTHORIZED)),
            (plain("/x", "Bearer a"), Err(StatusCode::UNAUTHORIZED)),
            (plain("/x", "Bearer "), Err(StatusCode::UNAUTHORIZED)),
            (plain("/x?token=a%20b", "Bearer "), Err(StatusCode::UNAUTHORIZED)),
            (plain("/ui/x", ""), Ok(())),
            (plain("/uix", ""), Err(StatusCode::UNAUTHORIZED)),
            (plain("//ui/", ""), Err(StatusCode::UNAUTHORIZED)),
            (upgrade("/x?token=a%20b", "websocket"), Ok(())),
            (upgrade("/x?token=a+b", "websocket"), Ok(())),
            (upgrade("/x?token=", "websocket"), Err(StatusCode::UNAUTHORIZED)),
            (upgrade("/x?token=a%20b", "WebSocket"), Err(StatusCode::UNAUTHORIZED)),
        ] {
            let what = format!("{request:?}");
            assert_eq!(admits(&gate, request), expected, "{what}");
        }
        for _ in 0..20 {
            let _ = admits(&gate, plain("/x", "Bearer guess"));
        }
        assert_eq!(admits(&gate, plain("/x", "Bearer guess")), Err(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(admits(&gate, plain("/x", "Bearer a b")), Ok(()), "the right one is never refused");
        assert!(gate.admit(Peer::Local, &Method::GET, &Uri::from_static("/x"), &HeaderMap::new()).is_ok());
    }

    #[test]
    fn without_a_secret_pages_of_others_cannot_act() {
        let gate = Gate::new(Options::default());
        let from = |method: Method, origin: &str, host: &str| {
            let request = Request::builder().method(method).uri("/restart").header("host", host);
            request.header("origin", origin).body(()).unwrap()
        };
        let (post, get) = (Method::POST, Method::GET);
        assert_eq!(admits(&gate, from(post.clone(), "http://127.0.0.1:9090", "127.0.0.1:9090")), Ok(()));
        assert_eq!(admits(&gate, from(post, "https://evil.example", "127.0.0.1:9090")), Err(StatusCode::FORBIDDEN));
        assert_eq!(admits(&gate, from(get.clone(), "https://evil.example", "127.0.0.1:9090")), Ok(()));
        assert_eq!(admits(&gate, from(get, "https://evil.example", "evil.example")), Err(StatusCode::FORBIDDEN));
    }
}
