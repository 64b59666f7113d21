//! Origins that follow a script, and clients that forward through us to them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// An origin. Each of its connections plays the script; what it heard is kept.
pub(super) struct Origin {
    pub(super) addr: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    _serving: Task<()>,
}

impl Origin {
    /// `script` gets each connection and its number, from 0.
    pub(super) async fn start<F>(script: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        Self {
            addr: listener.local_addr().unwrap(),
            connections,
            _serving: Task::spawn("origin", async move {
                let mut playing = tokio::task::JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    playing.spawn(script(stream, count.fetch_add(1, Ordering::Relaxed)));
                }
            }),
        }
    }

    /// Answers each head with the next of `answers`, whatever it asks, then closes. Bodies are not read.
    pub(super) async fn answering(answers: &'static [&'static [u8]]) -> Self {
        Self::start(move |mut stream, _| async move {
            for answer in answers {
                if head(&mut stream).await.is_empty() {
                    return;
                }
                stream.write_all(answer).await.unwrap();
            }
        })
        .await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A listener that reaches these origins by these names, on port 80.
pub(super) fn forwarding(origins: &[(&str, &Origin)]) -> Scene {
    forwarding_within(Budgets::default(), options(Kind::Mixed), origins)
}

pub(super) fn forwarding_within(budgets: Budgets, options: Options, origins: &[(&str, &Origin)]) -> Scene {
    let map = origins.iter().map(|(name, origin)| (format!("{name}:80").parse().unwrap(), origin.addr)).collect();
    Scene::start_within(budgets, options, Manner::Relay(map))
}

/// One head, up to its empty line; empty at the end of the stream. Reads no byte too many.
pub(super) async fn head(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read_u8()).await.expect("no head") {
            Ok(byte) => heard.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(heard).unwrap()
}

pub(super) async fn exactly(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut heard = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut heard)).await.expect("too little").unwrap();
    heard
}
