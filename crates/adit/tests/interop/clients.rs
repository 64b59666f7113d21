//! Programs that users really run, through the proxy: directly, and through REALITY with Vision.

use adit_testkit::certificate::Authority;
use adit_testkit::data;
use adit_testkit::origin::{HttpOrigin, TlsOrigin};
use adit_testkit::peers::Era;
use adit_testkit::programs::{curl, node, python};
use adit_testkit::stage::{Door, FAR_NAME, Stage};
use adit_testkit::subject::{Proxy, Subject, Way};
use adit_testkit::tls::Version;

use crate::scenes;

/// A proxy, a plain and a TLS origin, and what to ask them for.
struct Scene {
    proxy: Proxy,
    http: HttpOrigin,
    https: TlsOrigin,
    /// A name that the proxy's way out can resolve.
    name: &'static str,
}

/// Both ways that traffic may take.
fn scenes() -> [Scene; 2] {
    let subject = Subject::from_env();
    let route = Stage::shared(Era::Xray26_10).route(Door::Vision);
    let direct_name = if matches!(subject, Subject::Adit | Subject::Mihomo) { FAR_NAME } else { "localhost" };
    [(Way::Direct, direct_name), (Way::Vless(&route), FAR_NAME)].map(|(way, name)| Scene {
        proxy: subject.start(way),
        http: HttpOrigin::start(),
        https: scenes::https(Version::Tls13),
        name,
    })
}

impl Scene {
    fn proxy(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.proxy.addr)
    }

    /// URLs of this scene; `host` is an address or a name.
    fn urls(&self, host: &str) -> [String; 4] {
        let (http, https) = (self.http.port(), self.https.port());
        [
            format!("http://{host}:{http}/bytes/1"),
            format!("http://{host}:{http}/chunked/123456"),
            format!("https://{host}:{https}/bytes/100"),
            format!("https://{host}:{https}/bytes/3000000"),
        ]
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The proxy shows its own log; the server is shared and lives on.
        Stage::shared(Era::Xray26_10).process().explain();
    }
}

/// What a script of `tests/clients` prints for [`Scene::urls`].
fn expected() -> String {
    [1, 123_456, 100, 3_000_000].map(|length| format!("{length} {}", data::sha256(length))).join("\n")
}

fn root() -> String {
    Authority::shared().root_file().display().to_string()
}

#[test]
fn curl_fetches_through_every_kind_of_proxy() {
    for scene in scenes() {
        for scheme in ["socks4", "socks4a", "socks5", "socks5h", "http"] {
            // With socks4 and socks5 curl resolves the name itself.
            let host = if matches!(scheme, "socks4" | "socks5") { "127.0.0.1" } else { scene.name };
            for (url, length) in scene.urls(host).iter().zip([1, 123_456, 100, 3_000_000]) {
                let file = adit_testkit::Scratch::new("curl");
                let path = file.path().join("out");
                let out = path.display().to_string();
                let ran = curl(&["-x", &scene.proxy(scheme), "--cacert", &root(), "-o", &out, "--fail", url]);
                assert_eq!(ran.ok(), "", "{scheme} {url}");
                assert!(data::first(length) == std::fs::read(&path).unwrap(), "{scheme} {url}");
            }
        }
        // CONNECT for plain HTTP too, and a body upwards in both forms.
        let url = format!("http://{}:{}/sink", scene.name, scene.http.port());
        let body = adit_testkit::Scratch::new("curl-body");
        let file = format!("@{}", body.write("body", data::first(700_000)).display());
        for form in
            [&["--proxytunnel"][..], &[], &["-H", "Transfer-Encoding: chunked"], &["-H", "Expect: 100-continue"]]
        {
            let proxy = scene.proxy("http");
            let arguments = [&["-x", &proxy, "--data-binary", &file, &url][..], form].concat();
            assert_eq!(curl(&arguments).ok(), format!("700000 {}", data::sha256(700_000)), "{form:?}");
        }
    }
}

#[test]
fn curl_learns_of_failures() {
    let scene = &scenes()[0];
    let closed = format!("http://127.0.0.1:{}/", adit_testkit::free_port());
    // curl(1) EXIT CODES: 97 "PROXY handshake error", 56 "failure in receiving", 7 "failed to connect", 52 "no data".
    let told = |scheme: &str| curl(&["-x", &scene.proxy(scheme), &closed]).code;
    if Subject::from_env() == Subject::Adit {
        assert_eq!(told("socks5h"), 97, "the SOCKS reply says no");
        assert_eq!(told("socks4a"), 97, "the SOCKS reply says no");
        let status = |arguments: &[&str]| {
            let proxy = scene.proxy("http");
            curl(
                &[&["-x", &proxy, "-o", "/dev/null", "-w", "%{http_code} %{http_connect}", &closed][..], arguments]
                    .concat(),
            )
            .out
        };
        assert_eq!(status(&[]), "502 000");
        assert_eq!(status(&["--proxytunnel"]), "000 502");
    } else {
        assert_ne!(told("socks5h"), 0);
    }
}

fn python_fetches(script: &str, schemes: &[&str]) {
    for scene in scenes() {
        for scheme in schemes {
            let host = if matches!(*scheme, "socks4" | "socks5") { "127.0.0.1" } else { scene.name };
            let (proxy, root, urls) = (scene.proxy(scheme), root(), scene.urls(host));
            let mut arguments = vec![proxy.as_str(), &root];
            arguments.extend(urls.iter().map(String::as_str));
            assert_eq!(python(script, &arguments).ok(), expected(), "{script} through {scheme}");
        }
    }
}

#[test]
fn requests_fetches_through_every_kind_of_proxy() {
    python_fetches("with_requests.py", &["socks4", "socks4a", "socks5", "socks5h", "http"]);
}

#[test]
fn httpx_fetches_through_socks_and_http() {
    python_fetches("with_httpx.py", &["socks5", "socks5h", "http"]);
}

#[test]
fn aiohttp_fetches_through_http_and_aiohttp_socks() {
    python_fetches("with_aiohttp.py", &["http", "socks5", "socks4"]);
}

#[test]
fn websockets_run_through_socks_and_http() {
    for scene in scenes() {
        for scheme in ["socks5h", "http"] {
            for (form, port) in [("ws", scene.http.port()), ("wss", scene.https.port())] {
                let url = format!("{form}://{}:{port}/websocket", scene.name);
                assert_eq!(
                    python("with_websockets.py", &[&scene.proxy(scheme), &root(), &url]).ok(),
                    "ok",
                    "{scheme} {form}"
                );
            }
        }
    }
}

#[test]
fn node_fetches_with_its_environment_proxy() {
    for scene in scenes() {
        let (proxy, root, urls) = (scene.proxy("http"), root(), scene.urls(scene.name));
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let environment = [
            ("NODE_USE_ENV_PROXY", "1"),
            ("HTTP_PROXY", proxy.as_str()),
            ("HTTPS_PROXY", &proxy),
            ("NODE_EXTRA_CA_CERTS", &root),
        ];
        assert_eq!(node("with_fetch.mjs", &urls, &environment).ok(), expected());
    }
}
