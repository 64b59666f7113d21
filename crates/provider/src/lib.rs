//! Content that comes from elsewhere and changes: lists of proxies and rule sets.
//!
//! What it is: a download over whatever way out ([`Fetcher`]), the copy on disk that outlives the process ([`struct@Copy`]), and
//! the task that keeps both fresh ([`Provider`]): it serves what is there at once, asks in time, keeps the last good
//! content whatever a server says, and tells how it went ([`Status`]).
//!
//! What it is not: it does not know what the content means. Whoever uses it says whether some bytes are good ([`Apply`]).
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use adit_net::Dialer;
//! use adit_provider::{Fetcher, Provider, Request, Source};
//!
//! # async fn example(exit: Arc<dyn Dialer>) -> Result<(), Box<dyn std::error::Error>> {
//! let request = Request::new("https://example.com/list.yaml")?.limited_to(1 << 20);
//! let source = Source::Http { request, fetcher: Fetcher::new(&[])?, via: exit };
//! let provider = Provider::new("ads", source, "rules/ads.yaml".into(), Some(Duration::from_secs(86_400)));
//! let running = provider.start(|bytes: &[u8]| if bytes.is_empty() { Err("nothing in it".into()) } else { Ok(()) });
//! running.update().await?;
//! println!("{:?}", running.status());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod copy;
mod fetch;
mod provider;
mod request;
mod subscription;

pub use copy::Copy;
pub use fetch::{Answer, FetchError, Fetcher};
pub use provider::{Apply, Provider, Running, Source, Status, Updater};
pub use request::{BadRequest, Request};
pub use subscription::Subscription;
