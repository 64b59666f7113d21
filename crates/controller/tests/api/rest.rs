//! Settings, rules, providers, DNS, storage: the plain calls of dashboards.

use std::path::PathBuf;

use adit_controller::{LogLevel, ModeName, ProviderKind, Reload, ReloadFrom};
use serde_json::json;

use crate::theatre::{ODD, ODD_ENCODED, Scene};

#[tokio::test]
async fn who_this_is() {
    let scene = Scene::open();
    assert_eq!(scene.json("/").await, json!({ "hello": "mihomo" }));
    assert_eq!(scene.json("/version").await, json!({ "meta": true, "version": "v9.9.9" }));
    assert_eq!(scene.json("/version/").await["meta"], true);
    assert_eq!(scene.json("/configs").await["mixed-port"], 7890);
    let browser = scene.ask("GET", "/", &["Accept: text/html,*/*"], "").await;
    assert_eq!((browser.status, browser.header("location")), (307, Some("/ui/")));
}

#[tokio::test]
async fn settings_change() {
    let scene = Scene::open();
    for body in [r#"{"mode":"global","socket-port":1}"#, r#"{"log-level":"warning","tun":{"enable":true}}"#] {
        let answer = scene.ask("PATCH", "/configs", &["Content-Type: text/plain"], body).await;
        assert_eq!((answer.status, &*answer.body), (204, ""));
    }
    let patches = scene.daemon.patches.lock().clone();
    assert_eq!((patches[0].mode, patches[1].log_level), (Some(ModeName::Global), Some(LogLevel::Warning)));
    assert_eq!(patches[1].tun, Some(json!({ "enable": true })));
    for body in [r#"{"mode":"Rule"}"#, r#"{"mode":"script"}"#, r#"{"mixed-port":70000}"#, "{", ""] {
        let answer = scene.ask("PATCH", "/configs", &[], body).await;
        assert_eq!((answer.status, &*answer.message()), (400, "Body invalid"), "{body}");
    }
    let taken = scene.ask("PATCH", "/configs", &[], r#"{"mixed-port":1}"#).await;
    assert_eq!((taken.status, &*taken.message()), (400, "port 1 is taken"));
}

#[tokio::test]
async fn configurations_are_reloaded_from_everywhere() {
    let scene = Scene::open();
    for (query, body) in [
        ("?force=true", r#"{"path":"/etc/adit/config.yaml"}"#),
        ("", r#"{"payload":"mode: rule"}"#),
        ("?reload=true", r#"{"path":"","payload":""}"#),
    ] {
        assert_eq!(scene.ask("PUT", &format!("/configs{query}"), &[], body).await.status, 204, "{body}");
    }
    let expected = [
        Reload { from: ReloadFrom::File(PathBuf::from("/etc/adit/config.yaml")), force: true },
        Reload { from: ReloadFrom::Text("mode: rule".into()), force: false },
        Reload { from: ReloadFrom::Current, force: false },
    ];
    assert_eq!(*scene.daemon.reloads.lock(), expected);
    let relative = scene.ask("PUT", "/configs", &[], r#"{"path":"config.yaml"}"#).await;
    assert_eq!((relative.status, &*relative.message()), (400, "path is not a absolute path"));
}

#[tokio::test]
async fn the_program_restarts_and_does_not_upgrade_itself() {
    let scene = Scene::open();
    assert_eq!(scene.ask("POST", "/restart", &[], "").await.body, "{\"status\":\"ok\"}\n");
    assert_eq!(*scene.daemon.calls.lock(), ["restart"]);
    for path in ["/upgrade?force=true", "/upgrade/ui", "/upgrade/geo", "/configs/geo"] {
        let answer = scene.ask("POST", path, &[], "").await;
        assert_eq!(answer.status, 500, "{path}");
        assert!(answer.message().starts_with("adit "), "{path}");
    }
    assert_eq!(scene.ask("POST", "/cache/dns/flush", &[], "").await.status, 204);
    let fake = scene.ask("POST", "/cache/fakeip/flush", &[], "").await;
    assert_eq!((fake.status, &*fake.message()), (400, "fake-ip is off"));
}

#[tokio::test]
async fn rules_and_their_switches() {
    let scene = Scene::open();
    let never = "1970-01-01T00:00:00Z";
    let first = json!({
        "index": 0, "type": "DomainSuffix", "payload": "example.com", "proxy": "Proxy", "size": -1,
        "extra": { "disabled": false, "hitCount": 0, "hitAt": never, "missCount": 0, "missAt": never }
    });
    let rules = scene.json("/rules").await;
    assert_eq!(rules["rules"][0], first);
    assert_eq!((&rules["rules"][2]["type"], &rules["rules"][2]["payload"]), (&json!("Match"), &json!("")));
    assert_eq!(scene.ask("PATCH", "/rules/disable", &[], r#"{"0":true,"99":true}"#).await.status, 204);
    assert_eq!(scene.json("/rules").await["rules"][0]["extra"]["disabled"], true);
    assert_eq!(scene.ask("PATCH", "/rules/disable", &[], r#"{"0":false}"#).await.status, 204);
    assert_eq!(scene.json("/rules").await["rules"][0], first);
    assert_eq!(scene.ask("PATCH", "/rules/disable", &[], r#"{"x":true}"#).await.message(), "Body invalid");
}

#[tokio::test]
async fn rule_providers() {
    let scene = Scene::open();
    let expected = json!({ "providers": {
        "own": { "name": "own", "type": "Rule", "vehicleType": "Inline", "behavior": "Classical", "format": "",
                 "ruleCount": 1, "updatedAt": "0001-01-01T00:00:00Z", "payload": ["DOMAIN,a.test"] },
        "ads": { "name": "ads", "type": "Rule", "vehicleType": "HTTP", "behavior": "IPCIDR", "format": "MrsRule",
                 "ruleCount": 1, "updatedAt": "0001-01-01T00:00:00Z" },
    } });
    assert_eq!(scene.json("/providers/rules").await, expected);
    assert_eq!(scene.ask("PUT", "/providers/rules/own", &[], "").await.status, 204);
    let failed = scene.ask("PUT", "/providers/rules/ads", &[], "").await;
    assert_eq!((failed.status, &*failed.message()), (503, "no route to host"));
    assert_eq!(scene.ask("PUT", "/providers/rules/none", &[], "").await.message(), "Resource not found");
    assert_eq!(scene.daemon.updates.lock()[0], (ProviderKind::Rules, "own".to_owned()));
}

#[tokio::test]
async fn proxy_providers() {
    let scene = Scene::open();
    let providers = scene.json("/providers/proxies").await["providers"].clone();
    let sub = &providers["sub"];
    assert_eq!((&sub["vehicleType"], &sub["type"]), (&json!("HTTP"), &json!("Proxy")));
    assert_eq!(sub["updatedAt"], "2023-11-14T22:13:20Z");
    assert_eq!(sub["subscriptionInfo"], json!({ "Upload": 1, "Download": 2, "Total": 3, "Expire": 4 }));
    assert_eq!((&sub["testUrl"], &sub["expectedStatus"]), (&json!(adit_outbound::options::TEST_URL), &json!("*")));
    assert_eq!((&sub["proxies"][0]["name"], &sub["proxies"][0]["provider-name"]), (&json!(ODD), &json!("sub")));
    assert_eq!(
        (&providers["default"]["vehicleType"], &providers["Auto"]["vehicleType"]),
        (&json!("Compatible"), &json!("Compatible"))
    );
    assert!(providers["default"].get("subscriptionInfo").is_none());
    assert_eq!(scene.json("/providers/proxies/sub").await, *sub);
    assert_eq!(scene.json(&format!("/providers/proxies/sub/{ODD_ENCODED}")).await, sub["proxies"][0]);
    for path in ["/providers/proxies/none", "/providers/proxies/sub/one", "/providers/proxies/none/healthcheck"] {
        assert_eq!(scene.get(path).await.status, 404, "{path}");
    }
    assert_eq!(scene.ask("PUT", "/providers/proxies/sub", &[], "").await.status, 204);
    assert_eq!(scene.ask("PUT", "/providers/proxies/default", &[], "").await.status, 204);
    assert_eq!(*scene.daemon.updates.lock(), [(ProviderKind::Proxies, "sub".to_owned())]);
}

#[tokio::test]
async fn questions_to_nameservers() {
    let scene = Scene::open();
    let expected = json!({
        "Status": 0, "Question": [{ "Name": "example.com.", "Qtype": 1, "Qclass": 1 }],
        "TC": false, "RD": false, "RA": false, "AD": false, "CD": false,
        "Answer": [{ "name": "example.com.", "type": 1, "TTL": 300, "data": "192.0.2.7" }],
    });
    assert_eq!(scene.json("/dns/query?name=example.com").await, expected);
    assert_eq!(scene.json("/dns/query?name=example.com&type=AAAA").await["Question"][0]["Qtype"], 28);
    let bad = scene.get("/dns/query?name=example.com&type=a").await;
    assert_eq!((bad.status, &*bad.message()), (400, "invalid query type"));
    let off = scene.get("/dns/query?name=off.test").await;
    assert_eq!((off.status, &*off.message()), (500, "DNS section is disabled"));
}

#[tokio::test]
async fn dashboards_keep_their_settings_here() {
    let scene = Scene::open();
    let path = "/storage/zashboard";
    assert_eq!(scene.get(path).await.body, "null\n");
    assert_eq!(scene.ask("PUT", path, &[], r#"{"a":[1,"<b>"]}"#).await.status, 204);
    assert_eq!(scene.get(path).await.body, r#"{"a":[1,"<b>"]}"#);
    assert_eq!(scene.ask("PUT", path, &[], "{").await.status, 400);
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    let refused = scene.ask("PUT", path, &[], &large).await;
    assert_eq!((refused.status, &*refused.message()), (413, "payload exceeds 1MB limit"));
    assert_eq!(scene.get(&format!("/storage/{}", "k".repeat(65))).await.status, 400);
    assert_eq!(scene.ask("DELETE", path, &[], "").await.status, 204);
    assert_eq!(scene.get(path).await.body, "null\n");
}
