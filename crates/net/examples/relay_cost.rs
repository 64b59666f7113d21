//! What relaying costs: CPU-seconds of the relaying thread per GiB carried, on loopback.
//!
//! `cargo run --release -p adit-net --example relay_cost [GiB per run] [rounds] [congestion control]`
//!
//! A generator and a sink run on threads of their own; the relay runs alone on a current-thread runtime whose CPU time
//! the kernel accounts. The ways take turns in every round; printed are the medians, also of each round's ratio to the
//! floor. The floor is a bare splice(2) loop that keeps its pipe, counts nothing and carries one direction only.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Instant;

use adit_net::{Counters, Limits, Stream, relay};
use rustix::net::sockopt::set_tcp_congestion;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::TcpStream;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Floor,
    Relay,
    RelayOpaque,
    Copy(usize),
}

const WAYS: [Way; 6] = [Way::Floor, Way::Relay, Way::RelayOpaque, Way::Copy(16), Way::Copy(64), Way::Copy(256)];

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).take(2).map(|text| text.parse().map_err(io::Error::other));
    let gib: u64 = arguments.next().unwrap_or(Ok(2))?;
    let rounds = arguments.next().unwrap_or(Ok(5))?.max(1);
    let mut costs = vec![Vec::new(); WAYS.len()];
    run(Way::Relay, 1)?;
    for _ in 0..rounds {
        for (way, costs) in WAYS.iter().zip(&mut costs) {
            costs.push(run(*way, gib)?);
        }
    }
    println!("{:<16}{:>10}{:>26}{:>8}", "", "CPU-s/GiB", "x floor (min … max)", "GiB/s");
    for (way, figures) in WAYS.iter().zip(&costs) {
        let cpu = median(figures.iter().map(|(cpu, _)| *cpu));
        let speed = median(figures.iter().map(|(_, speed)| *speed));
        let ratios = || figures.iter().zip(&costs[0]).map(|((cpu, _), (floor, _))| cpu / floor);
        let (least, most) = (ratios().fold(f64::MAX, f64::min), ratios().fold(0.0, f64::max));
        let ratio = format!("{:.2} ({least:.2} … {most:.2})", median(ratios()));
        println!("{:<16}{cpu:>10.3}{ratio:>26}{speed:>8.2}", format!("{way:?}"));
    }
    Ok(())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// CPU-seconds per GiB and GiB per second of carrying `gib` one way.
fn run(way: Way, gib: u64) -> io::Result<(f64, f64)> {
    let (mut source, client) = pair()?;
    let (upstream, mut sink) = pair()?;
    let bytes = gib << 30;
    let generator = thread::spawn(move || -> io::Result<()> {
        let chunk = vec![0x5a; 256 * 1024];
        for _ in 0..bytes / chunk.len() as u64 {
            source.write_all(&chunk)?;
        }
        source.shutdown(Shutdown::Write)
    });
    let receiver = thread::spawn(move || -> io::Result<u64> {
        let mut buffer = vec![0; 256 * 1024];
        let mut got = 0;
        loop {
            match sink.read(&mut buffer)? {
                0 => return Ok(got),
                n => got += n as u64,
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (cpu, since) = (cpu_seconds()?, Instant::now());
    runtime.block_on(carry(way, client, upstream))?;
    let (cpu, wall) = (cpu_seconds()? - cpu, since.elapsed().as_secs_f64());
    generator.join().map_err(|_| io::Error::other("generator"))??;
    let got = receiver.join().map_err(|_| io::Error::other("receiver"))??;
    assert_eq!(got, bytes, "{way:?}");
    Ok((cpu / gib as f64, gib as f64 / wall))
}

/// Time on the CPU of this thread: first field of proc_pid_schedstat(5), nanoseconds.
fn cpu_seconds() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse().map_err(io::Error::other)?;
    Ok(nanoseconds / 1e9)
}

fn pair() -> io::Result<(StdStream, StdStream)> {
    let listener = StdListener::bind("127.0.0.1:0")?;
    let (one, other) = (StdStream::connect(listener.local_addr()?)?, listener.accept()?.0);
    if let Some(name) = std::env::args().nth(3) {
        set_tcp_congestion(&one, &name)?;
        set_tcp_congestion(&other, &name)?;
    }
    Ok((one, other))
}

async fn carry(way: Way, client: StdStream, upstream: StdStream) -> io::Result<()> {
    let (client, upstream) = (adopt(client)?, adopt(upstream)?);
    match way {
        Way::Floor => floor(client, upstream).await,
        Way::Copy(kib) => copy(client, upstream, kib * 1024).await,
        Way::Relay => through_relay(client, upstream).await,
        Way::RelayOpaque => through_relay(Opaque(client), Opaque(upstream)).await,
    }
}

fn adopt(stream: StdStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

async fn through_relay(client: impl Stream + 'static, upstream: impl Stream + 'static) -> io::Result<()> {
    let counters = Counters::default();
    let carried = relay(Box::new(client), Box::new(upstream), &counters, Limits::default());
    let end = carried.await;
    eprintln!("{end:?}, spliced {} of {}", counters.spliced_up(), counters.up());
    Ok(())
}

async fn floor(from: TcpStream, to: TcpStream) -> io::Result<()> {
    let (outlet, inlet) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    let size = fcntl_setpipe_size(&inlet, 256 * 1024)?;
    let flags = SpliceFlags::NONBLOCK;
    loop {
        let read = || Ok(splice(&from, None, &inlet, None, size, flags)?);
        let mut held = from.async_io(Interest::READABLE, read).await?;
        if held == 0 {
            return Ok(());
        }
        while held > 0 {
            let write = || Ok(splice(&outlet, None, &to, None, held, flags)?);
            held -= to.async_io(Interest::WRITABLE, write).await?;
        }
    }
}

async fn copy(mut from: TcpStream, mut to: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n]).await?,
        }
    }
}

/// Never raw, like a stream with TLS in it.
struct Opaque(TcpStream);

impl Stream for Opaque {}

impl AsyncRead for Opaque {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
