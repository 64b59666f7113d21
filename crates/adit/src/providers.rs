//! Providers at work: what they bring goes to the rules, or to the book.

use std::collections::HashMap;
use std::sync::Weak;

use adit_config::{Download, ProviderPlan, RuleProviderPlan, Vehicle};
use adit_net::Tag;
use adit_provider::{Fetcher, Provider, Request, Running, Source};
use anyhow::Context as _;

use crate::daemon::Daemon;
use crate::resolvers::Handles;

/// Running providers by name. Dropping them ends their work.
#[derive(Default)]
pub(crate) struct Providers {
    pub(crate) proxies: HashMap<Tag, Running>,
    pub(crate) rules: HashMap<Tag, Running>,
}

/// What every download needs.
struct Workshop<'a> {
    handles: &'a Handles,
    fetcher: Fetcher,
    user_agent: Option<&'a str>,
}

impl Providers {
    /// Starts all that have something to look at or to ask. What they have on disk is taken before this returns.
    ///
    /// # Errors
    /// What the configuration should have refused.
    pub(crate) fn start(
        proxies: &[ProviderPlan],
        rules: &[RuleProviderPlan],
        handles: &Handles,
        user_agent: Option<&str>,
        daemon: &Weak<Daemon>,
    ) -> anyhow::Result<Self> {
        let workshop = Workshop { handles, fetcher: Fetcher::new(&[]).context("trust roots")?, user_agent };
        let mut running = Self::default();
        for plan in rules {
            let Some(provider) = workshop.provider(&plan.name, &plan.vehicle)? else { continue };
            let taken = plan.clone();
            running.rules.insert(plan.name.clone(), provider.start(move |bytes: &[u8]| take_rules(&taken, bytes)));
        }
        for plan in proxies {
            let Some(provider) = workshop.provider(&plan.name, &plan.vehicle)? else { continue };
            let (taken, daemon) = (plan.clone(), Weak::clone(daemon));
            running.proxies.insert(
                plan.name.clone(),
                provider.start(move |bytes: &[u8]| {
                    let nodes = taken.nodes(bytes).map_err(|error| error.to_string())?;
                    match daemon.upgrade() {
                        Some(daemon) => daemon.bring(&taken.name, nodes),
                        None => Ok(()),
                    }
                }),
            );
        }
        Ok(running)
    }
}

/// A new set takes the place of the old one.
fn take_rules(plan: &RuleProviderPlan, bytes: &[u8]) -> Result<(), String> {
    let (set, warnings) = plan.parse(bytes).map_err(|error| error.to_string())?;
    for warning in warnings {
        tracing::warn!("rule provider {}: {warning}", plan.name);
    }
    plan.handle.replace(set);
    Ok(())
}

impl Workshop<'_> {
    /// The provider, unless its content stands in the configuration.
    fn provider(&self, name: &Tag, vehicle: &Vehicle) -> anyhow::Result<Option<Provider>> {
        let (source, interval) = match vehicle {
            Vehicle::Inline => return Ok(None),
            Vehicle::File(_) => (Source::File, None),
            Vehicle::Http(download) => {
                let request = self.request(download).with_context(|| format!("provider {name}"))?;
                let via = match &download.proxy {
                    Some(proxy) => self.handles.by_name(proxy),
                    None => self.handles.by_rules(),
                };
                (Source::Http { request, fetcher: self.fetcher.clone(), via }, download.interval)
            }
        };
        let path = vehicle.path().map(ToOwned::to_owned).unwrap_or_default();
        Ok(Some(Provider::new(name, source, path, interval)))
    }

    fn request(&self, download: &Download) -> anyhow::Result<Request> {
        let mut request = Request::new(download.url.reveal())?.limited_to(download.size_limit.unwrap_or(0));
        if let Some(user_agent) = self.user_agent {
            request = request.with_header("User-Agent", user_agent)?;
        }
        for (name, value) in &download.headers {
            request = request.with_header(name, value.reveal())?;
        }
        Ok(request)
    }
}
