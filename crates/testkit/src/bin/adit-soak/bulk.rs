//! 1 GiB each way on one connection, compared byte by byte with what it must be (more than a checksum would say).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use adit_testkit::client::socks5;
use adit_testkit::data;
use adit_testkit::lab::{Lab, PeerOptions};
use adit_testkit::origin::TcpOrigin;
use adit_testkit::subject::{Subject, Way};

use crate::verdict::Verdict;

const LENGTH: u64 = 1 << 30;
/// Of each way; 72 Mbit/s keeps it. A stream that only trickles is a failure.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn run(subject: Subject, verdict: &mut Verdict) {
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions::default());
    let watch = lab.watch(&[peer.endpoint_v4()]);
    let origin = lab.inside(|| TcpOrigin::answers_after_eof(LENGTH));
    let result = lab.client().run(|| {
        let proxy = subject.start(Way::WireGuard(&peer.route()));
        let result = exchange(proxy.addr, origin.addr());
        if result.is_err() {
            eprintln!("{}", proxy.process.tail(20));
        }
        result
    });
    match result {
        Ok((up, [there, back])) => {
            verdict.require(up == LENGTH, format!("{up} bytes arrived at the origin as they were sent"));
            verdict.require(true, format!("{LENGTH} bytes arrived at the client as they were sent"));
            verdict.note(format!("{there:.1} s up, {back:.1} s down"));
        }
        Err(error) => verdict.require(false, format!("1 GiB each way: {error}")),
    }
    verdict.require(watch.leaks() == 0, "nothing went around the tunnel");
}

/// The origin's count, and the seconds of each way.
fn exchange(proxy: SocketAddr, origin: SocketAddr) -> io::Result<(u64, [f64; 2])> {
    let mut stream = socks5(proxy, &origin.into())?;
    let start = Instant::now();
    let mut at = 0;
    while at < LENGTH {
        let chunk = data::content(at, (LENGTH - at).min(256 * 1024) as usize);
        stream.write_all(chunk)?;
        at += chunk.len() as u64;
        in_time(start, at)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    let there = start.elapsed().as_secs_f64();
    let turned = Instant::now();
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0;
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        if !data::is_content(got, &buffer[..n]) {
            return Err(io::Error::other(format!("wrong bytes after {got}")));
        }
        got += n as u64;
        in_time(turned, got)?;
    }
    if got != LENGTH {
        return Err(io::Error::other(format!("the answer ended after {got} bytes")));
    }
    Ok((u64::from_be_bytes(count), [there, turned.elapsed().as_secs_f64()]))
}

fn in_time(start: Instant, bytes: u64) -> io::Result<()> {
    if start.elapsed() < LIMIT {
        return Ok(());
    }
    Err(io::Error::other(format!("only {bytes} bytes came through in {LIMIT:?}")))
}
