//! Dashboards on the disk, and the built-in one.

use std::os::unix::fs::symlink;

use adit_controller::Options;
use adit_testkit::Scratch;

use crate::theatre::Scene;

fn served() -> (Scratch, Scene) {
    let scratch = Scratch::new("ui");
    let ui = scratch.path().join("ui");
    std::fs::create_dir_all(ui.join("assets/.git")).unwrap();
    for (name, content) in [
        ("ui/index.html", "<p>hello"),
        ("ui/assets/app.js", "plain"),
        ("ui/assets/app.js.gz", "packed"),
        ("ui/assets/.git/config", "SECRET"),
        ("ui/.env", "SECRET"),
        ("outside.txt", "SECRET"),
    ] {
        scratch.write(name, content);
    }
    symlink(scratch.path().join("outside.txt"), ui.join("link.txt")).unwrap();
    symlink(scratch.path(), ui.join("up")).unwrap();
    symlink("index.html", ui.join("inside.html")).unwrap();
    let scene = Scene::start(Options { ui: Some(ui), ..Options::default() });
    (scratch, scene)
}

#[tokio::test]
async fn files_are_served_and_not_sent_twice() {
    let (_scratch, scene) = served();
    let redirect = scene.get("/ui").await;
    assert_eq!((redirect.status, redirect.header("location")), (307, Some("/ui/")));
    let page = scene.get("/ui/").await;
    assert_eq!((page.status, &*page.body), (200, "<p>hello"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let tag = format!("If-None-Match: {}", page.header("etag").unwrap());
    let date = format!("If-Modified-Since: {}", page.header("last-modified").unwrap());
    for known in [tag, date] {
        let answer = scene.ask("GET", "/ui/index.html", &[&known], "").await;
        assert_eq!((answer.status, &*answer.body), (304, ""), "{known}");
    }
    assert_eq!(scene.get("/ui/inside.html").await.body, "<p>hello");
    assert_eq!(scene.get("/ui/assets/app.js").await.body, "plain");
    let packed = scene.ask("GET", "/ui/assets/app.js", &["Accept-Encoding: gzip, br"], "").await;
    assert_eq!((&*packed.body, packed.header("content-encoding")), ("packed", Some("gzip")));
    assert_eq!(packed.header("content-type"), Some("text/javascript; charset=utf-8"));
}

/// F-C5
#[tokio::test]
async fn f_c5_nothing_outside_and_nothing_hidden_is_served() {
    let (_scratch, scene) = served();
    for path in [
        "/ui/../outside.txt",
        "/ui/%2e%2e/outside.txt",
        "/ui/..%2foutside.txt",
        "/ui/..%5coutside.txt",
        "/ui/%252e%252e/outside.txt",
        "/ui/assets/../../outside.txt",
        "/ui//outside.txt",
        "/ui/./index.html",
        "/ui/link.txt",
        "/ui/up/outside.txt",
        "/ui/.env",
        "/ui/%2eenv",
        "/ui/assets/.git/config",
        "/ui/index.html%00",
        "/ui/assets",
        "/ui/assets/",
        "/UI/index.html",
    ] {
        let answer = scene.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.body.contains("SECRET"), "{path}");
    }
}

#[tokio::test]
async fn the_built_in_dashboard_is_packed_and_locked_down() {
    let scene = Scene::open();
    let page = scene.get("/ui/").await;
    assert_eq!(page.status, 200);
    assert!(page.body.to_lowercase().contains("<!doctype html>"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let packed = scene.ask("GET", "/ui/index.html", &["Accept-Encoding: gzip"], "").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let tag = format!("If-None-Match: {}", packed.header("etag").unwrap());
    assert_eq!(scene.ask("GET", "/ui/", &["Accept-Encoding: gzip", &tag], "").await.status, 304);
    assert_eq!(scene.get("/ui/nowhere.js").await.status, 404);
}
