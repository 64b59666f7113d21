//! Providers over loopback, with real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use adit_net::{BoxFuture, BoxStream, Dial, DialError, Dialer, Task};
use adit_provider::{Fetcher, Provider, Request, Running, Source, Subscription};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Whatever is dialled, one server answers.
#[derive(Clone)]
struct Server {
    at: std::net::SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _task: Arc<Task<()>>,
}

impl Dialer for Server {
    fn connect<'a>(&'a self, _dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move { Ok(Box::new(TcpStream::connect(self.at).await.unwrap()) as BoxStream) })
    }
}

impl Server {
    /// Answers the n-th request with what `script` says of its head and n, and closes.
    async fn start(script: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let task = Task::spawn("server", async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let count = seen.lock().unwrap().len();
                let answer = script(&head, count);
                seen.lock().unwrap().push(head);
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { at, heads, _task: Arc::new(task) }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn source(&self, request: Request) -> Source {
        Source::Http { request, fetcher: Fetcher::new(&[]).unwrap(), via: Arc::new(self.clone()) }
    }
}

fn ok(body: &str, headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

fn request() -> Request {
    Request::new("http://lists.test/a?b").unwrap()
}

/// A folder of its own, gone with the guard.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("adit-provider-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("deep/list.txt")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What was taken. Content that begins with `bad` is not.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<String>>>);

impl Taken {
    fn start(&self, folder: &Folder, source: Source, interval: Option<Duration>) -> Running {
        let taken = self.clone();
        Provider::new("test", source, folder.file(), interval).start(move |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            if text.starts_with("bad") {
                return Err("it is bad".into());
            }
            taken.0.lock().unwrap().push(text);
            Ok(())
        })
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn wait_for(&self, count: usize) {
        let waiting = async {
            while self.all().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(8), waiting).await.unwrap();
    }
}

#[tokio::test]
async fn a_first_download_is_taken_kept_and_not_asked_for_again() {
    let server = Server::start(|_, _| ok("one", "ETag: \"1\"\r\nSubscription-Userinfo: total=9; upload=1\r\n")).await;
    let (folder, taken) = (Folder::new(), Taken::default());
    let running = taken.start(&folder, server.source(request()), Some(Duration::from_secs(3600)));
    taken.wait_for(1).await;
    running.update().await.unwrap();
    let plan = Subscription { upload: 1, total: 9, ..Subscription::default() };
    assert_eq!(running.status().subscription, Some(plan));
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "one");
    let heads = server.heads();
    assert!(heads[0].starts_with("GET /a?b HTTP/1.1\r\n") && heads[0].contains("host: lists.test\r\n"), "{}", heads[0]);
    assert!(!heads[0].contains("if-none-match") && heads[1].contains("if-none-match: \"1\"\r\n"));
    drop(running);

    // The next start serves from the copy before anybody is asked, and asks nobody while it is young.
    let again = Taken::default();
    let running = again.start(&folder, server.source(request()), Some(Duration::from_secs(3600)));
    assert_eq!(again.all(), ["one"]);
    assert_eq!(running.status().subscription, Some(plan));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.heads().len(), 2);
    running.update().await.unwrap();
    assert!(server.heads()[2].contains("if-none-match: \"1\""), "the tag outlives the process");
}

#[tokio::test]
async fn unchanged_content_is_not_taken_again() {
    let server =
        Server::start(|_, n| if n == 0 { ok("one", "ETag: x\r\n") } else { "HTTP/1.1 304 X\r\n\r\n".into() }).await;
    let (folder, taken) = (Folder::new(), Taken::default());
    let running = taken.start(&folder, server.source(request()), None);
    taken.wait_for(1).await;
    let before = running.status().updated.unwrap();
    running.update().await.unwrap();
    assert!(running.status().updated.unwrap() >= before && running.status().error.is_none());
    assert_eq!(taken.all(), ["one"]);
}

#[tokio::test]
async fn the_last_good_content_stays_whatever_the_server_says() {
    let answers = |_: &str, n: usize| match n {
        0 => ok("one", ""),
        1 => ok("bad", ""),
        2 => "HTTP/1.1 503 X\r\nContent-Length: 3\r\n\r\ntwo".into(),
        3 => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut".into(),
        4 => "SSH-2.0\r\n\r\n".into(),
        5 => ok(&"x".repeat(2000), ""),
        _ => ok("two", ""),
    };
    let server = Server::start(answers).await;
    let (folder, taken) = (Folder::new(), Taken::default());
    let running = taken.start(&folder, server.source(request().limited_to(1000)), Some(Duration::from_secs(3600)));
    taken.wait_for(1).await;
    for why in ["it is bad", "503", "HTTP", "HTTP", "size-limit"] {
        let error = running.update().await.unwrap_err();
        assert!(error.contains(why), "{error}");
        assert_eq!(running.status().error.as_deref(), Some(&*error));
        assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "one");
    }
    running.update().await.unwrap();
    assert_eq!((taken.all(), running.status().error), (vec!["one".to_owned(), "two".into()], None));
}

#[tokio::test]
async fn a_copy_that_is_no_good_is_replaced_and_its_tag_forgotten() {
    let server = Server::start(|_, _| ok("one", "ETag: x\r\n")).await;
    let (folder, taken) = (Folder::new(), Taken::default());
    let running = taken.start(&folder, server.source(request()), None);
    taken.wait_for(1).await;
    running.update().await.unwrap();
    drop(running);
    std::fs::write(folder.file(), "bad").unwrap();
    let running = taken.start(&folder, server.source(request()), None);
    taken.wait_for(2).await;
    running.update().await.unwrap();
    assert!(!server.heads()[2].contains("if-none-match"), "the tag belongs to other content");
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "one");
}

#[tokio::test]
async fn redirects_are_followed_without_secrets_and_never_out_of_tls() {
    let answers = |head: &str, _: usize| match head.split(' ').nth(1) {
        Some("/a?b") => "HTTP/1.1 302 X\r\nLocation: http://other.test/c\r\n\r\n".into(),
        Some("/c") => "HTTP/1.1 307 X\r\nLocation: d\r\n\r\n".into(),
        Some("/d") => ok("one", ""),
        _ => "HTTP/1.1 301 X\r\nLocation: /round\r\n\r\n".into(),
    };
    let server = Server::start(answers).await;
    let (folder, taken) = (Folder::new(), Taken::default());
    let secret = request().with_header("X-Token", "word").unwrap();
    let running = taken.start(&folder, server.source(secret), None);
    taken.wait_for(1).await;
    drop(running);
    let heads = server.heads();
    assert!(heads[0].contains("word") && !heads[1].contains("word") && !heads[2].contains("word"), "{heads:?}");
    assert!(heads[2].contains("host: other.test"));

    let round = Request::new("http://lists.test/round").unwrap();
    let other = Folder::new();
    let error = taken.start(&other, server.source(round), None).update().await.unwrap_err();
    assert!(error.contains("too often"), "{error}");
}

#[tokio::test]
async fn a_file_is_looked_at_again() {
    let (folder, taken) = (Folder::new(), Taken::default());
    std::fs::create_dir(folder.file().parent().unwrap()).unwrap();
    std::fs::write(folder.file(), "one").unwrap();
    let running = taken.start(&folder, Source::File, None);
    assert_eq!(taken.all(), ["one"]);
    std::fs::write(folder.file(), "two").unwrap();
    let file = std::fs::File::options().append(true).open(folder.file()).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
    taken.wait_for(2).await;
    std::fs::write(folder.file(), "bad").unwrap();
    let error = running.update().await.unwrap_err();
    assert!(error.contains("it is bad"), "{error}");
    assert_eq!(taken.all(), ["one", "two"]);
}

/// Kill -9 leaves the old file or the new one, because a new one is written beside and renamed.
#[tokio::test]
async fn nothing_is_left_beside_the_copy() {
    let server = Server::start(|_, n| ok(&format!("content {n}"), "")).await;
    let (folder, taken) = (Folder::new(), Taken::default());
    let running = taken.start(&folder, server.source(request()), None);
    taken.wait_for(1).await;
    for _ in 0..5 {
        running.update().await.unwrap();
    }
    let mut names: Vec<_> = std::fs::read_dir(folder.file().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".list.txt.meta", "list.txt"]);
}
