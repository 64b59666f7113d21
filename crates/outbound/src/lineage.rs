//! What the books of one process have in common: a book replaces another, and what the new one kept follows it.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use adit_net::{BoxFuture, Domain, Resolve, ResolveError};
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::book::Book;

/// Held by everything that outlives a book.
pub(crate) struct Lineage {
    current: RwLock<Weak<Book>>,
    /// Told when a dial shows that something is wrong, and when there is another book.
    pub(crate) alarm: Arc<Notify>,
    /// For destinations.
    pub(crate) names: Arc<Latest>,
    /// For proxy servers.
    pub(crate) server_names: Arc<Latest>,
}

impl Lineage {
    pub(crate) fn new(names: Arc<dyn Resolve>, server_names: Arc<dyn Resolve>) -> Arc<Self> {
        Arc::new(Self {
            current: RwLock::default(),
            alarm: Arc::default(),
            names: Arc::new(Latest(RwLock::new(names))),
            server_names: Arc::new(Latest(RwLock::new(server_names))),
        })
    }

    /// The book that is in use; `None` once nobody holds one.
    pub(crate) fn book(&self) -> Option<Arc<Book>> {
        self.current.read().upgrade()
    }

    pub(crate) fn install(&self, book: &Arc<Book>) {
        *self.current.write() = Arc::downgrade(book);
        // What is new in it may have to be tested.
        self.alarm.notify_one();
    }
}

/// The resolver that is in use.
pub(crate) struct Latest(RwLock<Arc<dyn Resolve>>);

impl Latest {
    pub(crate) fn set(&self, resolver: Arc<dyn Resolve>) {
        *self.0.write() = resolver;
    }
}

impl Resolve for Latest {
    fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        let resolver = Arc::clone(&self.0.read());
        Box::pin(async move { resolver.resolve(name).await })
    }
}
