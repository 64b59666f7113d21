//! `direct`: this machine connects to the destination itself.

use adit_net::{BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer};

use crate::connector::Connector;

mod datagrams;

/// A way out without a proxy. Names are resolved here, and `Dial::known` saves the question.
pub(crate) struct Direct {
    connector: Connector,
}

impl Direct {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector }
    }
}

impl Dialer for Direct {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move {
            let stream = self.connector.connect(dial.target, dial.known).await?;
            Ok(Box::new(stream) as BoxStream)
        })
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(datagrams::open(&self.connector, dial.target, dial.known))
    }
}
