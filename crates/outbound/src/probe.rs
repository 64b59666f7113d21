//! Delay tests: how long an answer takes through a way out. Spec: mihomo-surface §6.2.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use adit_net::{BoxStream, Dial, DialError, Dialer, Stream, Target};
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::health::Tested;
use crate::http::answer;
use crate::options::{TestUrl, Tls, Verify};
use crate::tls::TlsConnector;

/// One test to be made.
#[derive(Clone, Copy, Debug)]
pub struct Test<'a> {
    /// What is asked for, with HEAD.
    pub url: &'a TestUrl,
    /// The status that counts as success; empty is any.
    pub expected: &'a [RangeInclusive<u16>],
    /// How long it may take.
    pub timeout: Duration,
    /// Counts only a second request on the same connection (`unified-delay`), so that handshakes do not matter.
    pub unified: bool,
}

/// Why there is no delay.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TestError {
    /// There is no proxy or group of that name.
    #[error("resource not found")]
    NotFound,
    /// It took too long.
    #[error("Timeout")]
    Timeout,
    /// Anything else.
    #[error("{0}")]
    Failed(#[from] DialError),
}

impl Test<'_> {
    /// Asks through `dialer`: the status and how long it took.
    pub(crate) async fn run(self, dialer: &dyn Dialer) -> Result<(u16, Duration), TestError> {
        timeout(self.timeout, self.ask(dialer)).await.unwrap_or(Err(TestError::Timeout))
    }

    async fn ask(self, dialer: &dyn Dialer) -> Result<(u16, Duration), TestError> {
        let start = Instant::now();
        let mut stream = self.open(dialer).await?;
        let status = self.head(&mut stream).await?;
        let first = start.elapsed();
        if !self.unified {
            return Ok((status, first));
        }
        let start = Instant::now();
        // A server that takes only one request has been measured all the same.
        Ok(self.head(&mut stream).await.map_or((status, first), |status| (status, start.elapsed())))
    }

    async fn open(self, dialer: &dyn Dialer) -> Result<BoxStream, DialError> {
        let target: Target = self
            .url
            .authority
            .parse()
            .map_err(|error: adit_net::BadAddress| DialError::Denied(format!("{}: {error}", self.url.authority)))?;
        let stream = dialer.connect(Dial { target: &target, known: None, client: None }).await?;
        if !self.url.tls {
            return Ok(stream);
        }
        let tls = Tls {
            server_name: target.host.to_string(),
            alpn: Vec::new(),
            verify: Verify::Roots(Vec::new()),
            client_certificate: None,
        };
        let tls = TlsConnector::new(&tls).map_err(|error| DialError::Denied(error.to_string()))?;
        Ok(Box::new(tls.connect(stream).await?))
    }

    async fn head(self, stream: &mut impl Stream) -> Result<u16, DialError> {
        let TestUrl { authority, path, tls, .. } = self.url;
        let host = authority.strip_suffix(if *tls { ":443" } else { ":80" }).unwrap_or(authority);
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: adit\r\nAccept: */*\r\n\r\n");
        let sent = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await
        };
        sent.await.map_err(|source| DialError::Io { context: format!("asking {host}"), source })?;
        let (head, _) = answer(stream).await?;
        Ok(head.status)
    }

    /// What an outcome means for the record, and the delay to report: also that of an answer with the wrong status.
    pub(crate) fn judge(self, outcome: &Result<(u16, Duration), TestError>) -> Tested {
        let Ok((status, took)) = outcome else { return Tested::Failed };
        let delay = milliseconds(*took);
        let expected = self.expected.is_empty() || self.expected.iter().any(|range| range.contains(status));
        if expected { Tested::Passed(delay) } else { Tested::Unexpected(delay) }
    }
}

/// At least 1, because 0 is a failure for everybody who looks at it.
pub(crate) fn milliseconds(took: Duration) -> u16 {
    u16::try_from(took.as_millis()).unwrap_or(u16::MAX).max(1)
}
