//! splice-floor LISTEN TARGET: the least a relay can do. Accepts at LISTEN, connects to TARGET, splices both ways through
//! pipes of 1 MiB. No protocol, no deadline, no accounting: the floor that the benchmark measures proxies against.

#![forbid(unsafe_code)]

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};

// The size that cost least here (0.22 CPU-s/GiB against 0.32 with 256 KiB and 0.43 with 64 KiB), and what an unprivileged process may have.
const PIPE: usize = 1024 * 1024;
/// Connections at once. Threads never end, so that the system's accounting of them stays complete.
const WORKERS: usize = 4;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || io::Error::other("usage: splice-floor ADDRESS:PORT ADDRESS:PORT");
    let listen: SocketAddr = arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let target: SocketAddr = arguments.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let listener = TcpListener::bind(listen)?;
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let listener = listener.try_clone()?;
            Ok(thread::spawn(move || work(&listener, target)))
        })
        .collect::<io::Result<_>>()?;
    for worker in workers {
        let _ = worker.join();
    }
    Ok(())
}

/// Serves one connection after the other, the uplink in a second thread.
fn work(listener: &TcpListener, target: SocketAddr) {
    let (sender, uplinks) = mpsc::channel::<(TcpStream, TcpStream)>();
    let (finished, done) = mpsc::channel::<()>();
    thread::spawn(move || {
        for (from, to) in uplinks {
            let _ = lane(&from, &to);
            let _ = finished.send(());
        }
    });
    loop {
        let Ok((client, _)) = listener.accept() else { continue };
        let Ok(upstream) = TcpStream::connect(target) else { continue };
        let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
        let (Ok(from), Ok(to)) = (client.try_clone(), upstream.try_clone()) else { continue };
        if sender.send((from, to)).is_err() {
            return;
        }
        let _ = lane(&upstream, &client);
        let _ = done.recv();
    }
}

fn lane(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (out, into) = pipe()?;
    fcntl_setpipe_size(&into, PIPE)?;
    loop {
        let mut held = splice(from, None, &into, None, PIPE, SpliceFlags::MOVE)?;
        if held == 0 {
            return to.shutdown(Shutdown::Write);
        }
        while held > 0 {
            held -= splice(&out, None, to, None, held, SpliceFlags::MOVE)?;
        }
    }
}
