//! Happy eyeballs: RFC 8305, from the sorted list of addresses to the connection.
//!
//! Knows no socket: what "connect" means is an argument, so the tests need neither routes nor patience.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

/// How patient a race is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// RFC 8305 §5, "Connection Attempt Delay": the head start of each address over the next one.
    pub(crate) head_start: Duration,
    /// The time one address has.
    pub(crate) each: Duration,
}

/// The budgets of every connect.
pub(crate) const PACE: Pace = Pace { head_start: Duration::from_millis(250), each: Duration::from_secs(5) };

/// Attempts in flight at once. With the head start above, the fifth would begin after a second of silence.
const AT_ONCE: usize = 4;

/// Addresses of one name that are tried at all; a hostile resolver may return hundreds.
const AT_MOST: usize = 16;

/// RFC 8305 §4: the families alternate, and the family of the first address leads.
pub(crate) fn interleave(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let leads = |ip: &&IpAddr| addresses.first().is_some_and(|first| first.is_ipv4() == ip.is_ipv4());
    let mut first = addresses.iter().filter(leads);
    let mut second = addresses.iter().filter(|ip| !leads(ip));
    let mut mixed = Vec::with_capacity(addresses.len().min(AT_MOST));
    while mixed.len() < AT_MOST {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before {
            break;
        }
    }
    mixed.truncate(AT_MOST);
    mixed
}

/// Tries `addresses` in order until one is connected: the next one starts when its predecessor has had its head start,
/// or at once when one fails. The losers are dropped.
///
/// # Errors
/// The most telling failure and the address it belongs to: one that was answered before one that was not, the earlier
/// before the later. `None` if there are no addresses.
///
/// # Cancel safety
/// Dropping the future drops every attempt.
pub(crate) async fn race<T, F>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    pace: Pace,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, Option<(SocketAddr, io::Error)>>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses.into_iter().peekable();
    let mut running: Vec<(SocketAddr, Pin<Box<_>>)> = Vec::new();
    let mut next_start = Instant::now();
    let mut worst: Option<(SocketAddr, io::Error)> = None;
    loop {
        if running.len() < AT_ONCE
            && Instant::now() >= next_start
            && let Some(address) = waiting.next()
        {
            running.push((address, Box::pin(timeout(pace.each, connect(address)))));
            next_start = Instant::now() + pace.head_start;
        }
        if running.is_empty() {
            return Err(worst);
        }
        let more = running.len() < AT_ONCE && waiting.peek().is_some();
        tokio::select! {
            (address, outcome) = first_done(&mut running) => match outcome {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => {
                    worst = Some(more_telling(worst, (address, error)));
                    next_start = Instant::now();
                }
                Err(_elapsed) => {
                    worst = Some(more_telling(worst, (address, io::ErrorKind::TimedOut.into())));
                    next_start = Instant::now();
                }
            },
            () = sleep_until(next_start), if more => {}
        }
    }
}

/// Waits for the first of a few futures and removes it.
async fn first_done<A: Copy, F: Future>(running: &mut Vec<(A, Pin<Box<F>>)>) -> (A, F::Output) {
    poll_fn(|cx| {
        for (index, (address, attempt)) in running.iter_mut().enumerate() {
            if let Poll::Ready(output) = attempt.as_mut().poll(cx) {
                let address = *address;
                running.swap_remove(index);
                return Poll::Ready((address, output));
            }
        }
        Poll::Pending
    })
    .await
}

fn more_telling(old: Option<(SocketAddr, io::Error)>, new: (SocketAddr, io::Error)) -> (SocketAddr, io::Error) {
    let silence = |error: &io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => 0,
        io::ErrorKind::TimedOut => 1,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => 2,
        _ => 1,
    };
    match old {
        Some(old) if silence(&old.1) <= silence(&new.1) => old,
        _ => new,
    }
}
