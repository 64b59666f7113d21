//! Lists for providers, on loopback: another version at every download.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A server that writes version 1, 2, 3 … of a list, as long as it is on.
pub(crate) struct Lists {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    write: Box<dyn Fn(u64) -> String + Send + Sync>,
    served: AtomicU64,
    is_on: AtomicBool,
}

impl Lists {
    pub(crate) fn start(write: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = listener.local_addr().expect("a bound socket");
        let shared =
            Arc::new(Shared { write: Box::new(write), served: AtomicU64::new(0), is_on: AtomicBool::new(true) });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                // Whoever asks was perhaps killed meanwhile.
                let _ = theirs.serve(stream);
            }
        });
        Self { addr, shared }
    }

    /// The newest version that anybody has got.
    pub(crate) fn served(&self) -> u64 {
        self.shared.served.load(Ordering::SeqCst)
    }

    pub(crate) fn switch(&self, on: bool) {
        self.shared.is_on.store(on, Ordering::SeqCst);
    }

    /// A version as it was served.
    pub(crate) fn version(&self, version: u64) -> String {
        (self.shared.write)(version)
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut head = Vec::new();
        let mut buffer = [0; 4096];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                n => head.extend_from_slice(&buffer[..n]),
            }
        }
        if !self.is_on.load(Ordering::SeqCst) {
            return Ok(());
        }
        let body = (self.write)(self.served.fetch_add(1, Ordering::SeqCst) + 1);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }
}
