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

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    const QUICK: Pace = Pace { head_start: Duration::from_millis(40), each: Duration::from_millis(400) };

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
    }

    fn refused<T>() -> io::Result<T> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    #[test]
    fn families_alternate_and_the_first_leads() {
        for (resolved, tried) in [
            ("1.0.0.1 1.0.0.2 1.0.0.3 2001:db8::1", "1.0.0.1 2001:db8::1 1.0.0.2 1.0.0.3"),
            ("2001:db8::1 2001:db8::2 1.0.0.1", "2001:db8::1 1.0.0.1 2001:db8::2"),
            ("1.0.0.1", "1.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(interleave(&ips(resolved)), ips(tried));
        }
    }

    /// F-E4: a resolver that answers with hundreds of addresses.
    #[test]
    fn few_of_many_addresses_are_tried() {
        let many: Vec<IpAddr> =
            (0..700u16).map(|n| IpAddr::from([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]])).collect();
        assert_eq!(interleave(&many), many[..AT_MOST]);
    }

    #[tokio::test]
    async fn a_silent_address_delays_the_next_by_its_head_start() {
        let start = Instant::now();
        let won = race(addresses(2), QUICK, async |to| match to.port() {
            1 => pending().await,
            port => Ok(port),
        })
        .await;
        assert_eq!(won.unwrap(), 2);
        let took = start.elapsed();
        assert!(took >= QUICK.head_start && took < QUICK.each, "{took:?}");
    }

    #[tokio::test]
    async fn a_failed_address_delays_nothing() {
        let start = Instant::now();
        let slow = Pace { head_start: Duration::from_secs(10), ..QUICK };
        let won = race(addresses(3), slow, async |to| if to.port() < 3 { refused() } else { Ok(()) }).await;
        assert!(won.is_ok());
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_late_first_address_still_wins_over_silence() {
        let won = race(addresses(2), QUICK, async |to| match to.port() {
            1 => {
                sleep(QUICK.head_start * 2).await;
                Ok(1)
            }
            _ => pending().await,
        })
        .await;
        assert_eq!(won.unwrap(), 1);
    }

    #[tokio::test]
    async fn attempts_are_bounded_in_number_and_time() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let quick = Pace { head_start: Duration::from_millis(5), each: Duration::from_millis(60) };
        let start = Instant::now();
        let failed = race::<(), _>(addresses(8), quick, async |_| {
            struct Running<'a>(&'a AtomicUsize);
            impl Drop for Running<'_> {
                fn drop(&mut self) {
                    self.0.fetch_sub(1, Ordering::Relaxed);
                }
            }
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let _running = Running(&running);
            pending().await
        })
        .await;
        assert_eq!(failed.unwrap_err().unwrap().1.kind(), io::ErrorKind::TimedOut);
        assert_eq!(most.load(Ordering::Relaxed), AT_ONCE);
        assert_eq!(running.load(Ordering::Relaxed), 0);
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn the_most_telling_error_is_reported() {
        let kinds = [
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::TimedOut,
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionRefused,
        ];
        let failed = race::<(), _>(addresses(4), QUICK, async |to| Err(kinds[usize::from(to.port()) - 1].into())).await;
        let (address, error) = failed.unwrap_err().unwrap();
        assert_eq!((address.port(), error.kind()), (3, io::ErrorKind::ConnectionRefused));
        assert!(race::<(), _>(addresses(0), QUICK, async |_| refused()).await.unwrap_err().is_none());
    }
}
