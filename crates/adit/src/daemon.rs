//! What runs: an engine with its world, listeners, providers; and how another configuration takes the place of one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use adit_config::{
    DnsMode, Nodes, Overrides, Plan, ProviderPlan, RuleProviderPlan, Settings, Source, Vehicle, Ways as Outs,
};
use adit_engine::{Engine, World};
use adit_net::Tag;
use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::cli::ConfigArgs;
use crate::listeners::{ApiIs, Listeners};
use crate::logs::Logs;
use crate::providers::Providers;
use crate::store::Store;
use crate::world::{Before, Installed, Ways};

/// The file of the store, in the home folder.
const STORE: &str = "adit.redb";

/// A running configuration. The API and signals change it, one after the other.
pub(crate) struct Daemon {
    pub(crate) engine: Arc<Engine>,
    pub(crate) logs: Logs,
    pub(crate) store: Store,
    pub(crate) config: ConfigArgs,
    /// The folder that relative paths and the store are in.
    home: PathBuf,
    /// Told when the process is to begin anew.
    pub(crate) restart: Notify,
    now: Mutex<Now>,
    listeners: Mutex<Listeners>,
    /// Held while a configuration takes the place of another.
    changing: tokio::sync::Mutex<()>,
    me: Weak<Self>,
}

/// What the present configuration amounts to, besides the engine's world.
pub(crate) struct Now {
    /// The configuration itself, for changes to it that are kept nowhere else.
    pub(crate) source: Source,
    /// Since when it is used.
    since: SystemTime,
    installed: Installed,
    /// The file that fake addresses are in.
    fake_store: Option<PathBuf>,
    outs: Outs,
    contents: HashMap<Tag, Nodes>,
    pub(crate) rule_providers: Vec<RuleProviderPlan>,
    pub(crate) providers: Providers,
    pub(crate) settings: Settings,
    pub(crate) general: adit_config::General,
}

impl Now {
    /// Gives `engine` a world that differs from the one in use in a part that nobody else holds.
    pub(crate) fn replace(&self, engine: &Engine, world: World) {
        self.installed.replace(engine, world);
    }

    /// When a provider's list came, of which its own status tells `fetched`; one in the configuration came with it.
    pub(crate) fn updated(&self, vehicle: &Vehicle, fetched: Option<SystemTime>) -> Option<SystemTime> {
        if *vehicle == Vehicle::Inline { Some(self.since) } else { fetched }
    }

    pub(crate) fn proxy_providers(&self) -> &[ProviderPlan] {
        &self.outs.providers
    }
}

/// Why there is another configuration.
pub(crate) enum Change {
    /// The file is read again, with everything that is in it.
    Anew,
    /// The API was given one, or told to read the file again: the API stays as it is, and without `force` so do the
    /// classic listeners.
    Put { source: Option<Source>, force: bool },
    /// The present one with other values.
    Patch(Overrides),
}

/// What a plan is, apart from what its world is made of.
struct Rest {
    fake_store: Option<PathBuf>,
    outs: Outs,
    contents: HashMap<Tag, Nodes>,
    rule_providers: Vec<RuleProviderPlan>,
    settings: Settings,
    general: adit_config::General,
}

impl Rest {
    fn of(plan: &mut Plan) -> Self {
        let fake_store = match plan.dns.as_ref().map(|dns| &dns.mode) {
            Some(DnsMode::FakeIp { store, .. }) => store.clone(),
            _ => None,
        };
        Self {
            fake_store,
            outs: std::mem::take(&mut plan.ways),
            contents: std::mem::take(&mut plan.contents),
            rule_providers: std::mem::take(&mut plan.rule_providers),
            settings: plan.settings.clone(),
            general: plan.general.clone(),
        }
    }
}

impl Daemon {
    /// Starts everything that `plan`, which `source` means, says. `config` says where it is read again from.
    ///
    /// # Errors
    /// An address is in use, a right is missing, or a part cannot be built.
    pub(crate) fn start(mut plan: Plan, source: Source, config: ConfigArgs, logs: Logs) -> anyhow::Result<Arc<Self>> {
        let home = source.home.clone();
        let store = Store::at(home.join(STORE));
        let mut listeners = Listeners::default();
        let bound = listeners.bind(&plan, ApiIs::AsPlanned)?;
        let rest = Rest::of(&mut plan);
        let (engine, installed) = Ways::of(plan).with_clients(None)?.into_engine();
        let engine = Arc::new(engine);
        if rest.general.store_selected {
            for (group, member) in store.selected() {
                engine.world().book.restore(&group, &member);
            }
        }
        let daemon = Arc::new_cyclic(|me| Self {
            engine,
            logs,
            store,
            config,
            home,
            restart: Notify::new(),
            now: Mutex::new(Now {
                source,
                since: SystemTime::now(),
                installed,
                fake_store: rest.fake_store,
                outs: rest.outs,
                contents: rest.contents,
                rule_providers: rest.rule_providers,
                providers: Providers::default(),
                settings: rest.settings,
                general: rest.general,
            }),
            listeners: Mutex::default(),
            changing: tokio::sync::Mutex::new(()),
            me: Weak::clone(me),
        });
        listeners.run(bound, &daemon);
        *daemon.listeners() = listeners;
        daemon.start_providers()?;
        Ok(daemon)
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the configuration before are ended.
    fn start_providers(&self) -> anyhow::Result<()> {
        let (proxies, rules, handles, user_agent) = {
            let now = self.now();
            let handles = now.installed.handles.clone();
            (now.outs.providers.clone(), now.rule_providers.clone(), handles, now.general.user_agent.clone())
        };
        // Not while `now` is locked: what is on disk is brought at once.
        let running = Providers::start(&proxies, &rules, &handles, user_agent.as_deref(), &self.me)?;
        let ended = std::mem::replace(&mut self.now().providers, running);
        drop(ended);
        Ok(())
    }

    /// A proxy provider has something else: the book is put together again.
    pub(crate) fn bring(&self, provider: &Tag, nodes: Nodes) -> Result<(), String> {
        let mut now = self.now();
        now.contents.insert(provider.clone(), nodes);
        let assembled = now.outs.assemble(&now.contents);
        for line in &assembled.left_out {
            tracing::warn!("{line}");
        }
        let world = self.engine.world();
        let book = world.book.renew(assembled.outbounds, assembled.groups).map_err(|error| error.to_string())?;
        now.installed.replace(&self.engine, World { book, ..World::clone(&world) });
        Ok(())
    }

    /// Lets another configuration take the place of the present one.
    ///
    /// # Errors
    /// Says what is wrong; then nothing was changed.
    pub(crate) async fn reload(&self, change: Change) -> anyhow::Result<()> {
        let _changing = self.changing.lock().await;
        let api = if matches!(change, Change::Anew) { ApiIs::AsPlanned } else { ApiIs::Kept };
        let source = self.source(change)?;
        // Files are read and rules compiled.
        let loaded = tokio::task::block_in_place(|| adit_config::load(&source));
        let report = loaded.problems.render(false);
        let plan = loaded.plan.with_context(|| format!("Parse config error: {report}"))?;
        let name = source.name.clone();
        tokio::task::block_in_place(|| self.apply(plan, source, api))?;
        tracing::info!("{name} was read again: {}", self.summary());
        Ok(())
    }

    /// The configuration that `change` means.
    fn source(&self, change: Change) -> anyhow::Result<Source> {
        // What came over standard input or in an argument does not come again.
        let again = || match self.config.file() {
            Some(_) => self.config.read(),
            None => Ok(Source { overrides: self.config.overrides(), ..self.now().source.clone() }),
        };
        Ok(match change {
            Change::Anew => again()?,
            Change::Put { source, force } => {
                let mut source = source.map_or_else(again, Ok)?;
                if !force {
                    source.overrides.extend(&self.now().settings.listeners);
                }
                source
            }
            Change::Patch(overrides) => {
                let mut source = self.now().source.clone();
                source.overrides.extend(&overrides);
                source
            }
        })
    }

    fn summary(&self) -> String {
        let world = self.engine.world();
        format!("{} rules, {} outbounds and groups", world.rules.len(), world.book.names().count())
    }

    /// Everything that can fail comes before anything changes; ports that change hands come last, because for a moment
    /// nobody listens there.
    fn apply(&self, mut plan: Plan, source: Source, api: ApiIs) -> anyhow::Result<()> {
        let me = self.me.upgrade().context("adit is ending")?;
        let level = plan.log_level;
        let rest = Rest::of(&mut plan);
        let mut bound = self.listeners().bind(&plan, api)?;
        let fake_store = self.now().fake_store.clone();
        let world = self.engine.world();
        let before = Before { world: &world, fake_store: fake_store.as_deref() };
        let unsettled = Ways::of(plan).with_clients(Some(&before))?;
        // Whoever listens may be asked about what is now, so that is not locked meanwhile.
        let handed_over = Handle::current().block_on(self.listeners().hand_over(&mut bound, &me));
        handed_over?;
        let mut now = self.now();
        (now.source, now.since) = (source, SystemTime::now());
        now.installed = unsettled.install(&self.engine);
        now.fake_store = rest.fake_store;
        now.outs = rest.outs;
        now.contents = rest.contents;
        now.rule_providers = rest.rule_providers;
        now.settings = rest.settings;
        now.general = rest.general;
        drop(now);
        self.listeners().run(bound, &me);
        self.logs.set_level(level);
        self.start_providers()
    }

    /// How to try a listener, whether there is none, and whether host rules can send traffic to one.
    pub(crate) fn reached(&self) -> (Option<String>, bool, bool) {
        let listeners = self.listeners();
        (listeners.trial(), listeners.is_empty(), listeners.intercepts())
    }

    /// No new clients from now on.
    pub(crate) fn stop_listening(&self) {
        self.listeners().stop();
    }

    /// Notes what is chosen in each group.
    pub(crate) fn remember_choices(&self) {
        if !self.now().general.store_selected {
            return;
        }
        self.store.select(|| self.choices());
    }

    /// Each group, and what was chosen in it.
    fn choices(&self) -> Vec<(String, Option<String>)> {
        let world = self.engine.world();
        let chosen: HashMap<Tag, Tag> = world.book.choices().map(|(group, member)| (group.clone(), member)).collect();
        let groups = world.book.names().filter(|name| world.book.report(name).is_some_and(|node| node.group.is_some()));
        groups.map(|group| (group.to_string(), chosen.get(group).map(ToString::to_string))).collect()
    }
}
