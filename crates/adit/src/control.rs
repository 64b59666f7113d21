//! The daemon as the API sees it.

use std::path::Path;

use adit_config::{FindProcess, LogLevel, Overrides, Source};
use adit_controller::{
    Controller, Daemon as Api, DnsError, DnsMessage, FindProcessName, Flaw, LogFeed, LogLevel as LevelName, ModeName,
    Options, Patch, ProviderKind, ProxyProvider, Reload, ReloadFrom, RuleProvider, Storage, Subscription, TlsListener,
    Vehicle, Verdict,
};
use adit_engine::{Engine, World};
use adit_net::{BoxFuture, Tag};
use adit_router::Mode;
use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::daemon::{Change, Daemon};

/// A longer configuration is not read.
const LARGEST: u64 = 16 << 20;

/// The API's listeners, bound and not yet answering.
///
/// # Errors
/// An address is in use, or the certificate is none.
pub(crate) fn bind(plan: &adit_config::ControllerPlan) -> anyhow::Result<Controller> {
    let tls = plan.tls.as_ref().map(|tls| {
        TlsListener::from_pem(tls.listen, &tls.certificate, &tls.private_key)
            .map_err(|error| anyhow::anyhow!("external-controller-tls: {error}"))
    });
    let options = Options {
        tcp: plan.listen,
        tls: tls.transpose()?,
        unix: plan.unix.clone(),
        secret: plan.secret.clone(),
        cors: adit_controller::Cors { origins: plan.cors.origins.clone(), private_network: plan.cors.private_network },
        names: Vec::new(),
        ui: plan.ui.clone(),
    };
    Controller::bind(options).context("external-controller")
}

impl Api for Daemon {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn version(&self) -> &str {
        concat!("v", env!("CARGO_PKG_VERSION"))
    }

    fn configs(&self) -> Value {
        let now = self.now();
        let (settings, general) = (&now.settings, &now.general);
        let list = |texts: &[String]| if texts.is_empty() { Value::Null } else { json!(texts) };
        let mut configs = json!({
            "port": settings.port,
            "socks-port": settings.socks_port,
            "redir-port": settings.redir_port,
            "tproxy-port": settings.tproxy_port,
            "mixed-port": settings.mixed_port,
            "tun": { "enable": false, "device": "", "stack": "gVisor", "dns-hijack": null, "auto-route": false,
                     "auto-detect-interface": false, "file-descriptor": 0 },
            "tuic-server": { "enable": false },
            "ss-config": "",
            "vmess-config": "",
            "authentication": list(&settings.users),
            "skip-auth-prefixes": list(&settings.skip_auth_prefixes),
            "lan-allowed-ips": list(&settings.lan_allowed_ips),
            "lan-disallowed-ips": list(&settings.lan_disallowed_ips),
            "allow-lan": settings.allow_lan,
            "bind-address": settings.bind_address,
            "inbound-tfo": settings.inbound_tfo,
            "inbound-mptcp": settings.inbound_mptcp,
        });
        let more = json!({
            "mode": mode_name(self.engine.world().mode).name(),
            "unified-delay": general.unified_delay,
            "log-level": level_name(self.logs.level()).name(),
            "ipv6": general.ipv6,
            "interface-name": general.interface.clone().unwrap_or_default(),
            "routing-mark": general.routing_mark,
            "geox-url": { "geo-ip": "", "mmdb": "", "asn": "", "geo-site": "" },
            "geo-auto-update": settings.geo_auto_update,
            "geo-update-interval": settings.geo_update_interval,
            "geodata-mode": settings.geodata_mode,
            "geodata-loader": settings.geodata_loader,
            "geosite-matcher": settings.geosite_matcher,
            "tcp-concurrent": general.tcp_concurrent,
            "find-process-mode": process_name(general.find_process).name(),
            "sniffing": settings.sniffing,
            "global-ua": settings.global_ua,
            "etag-support": settings.etag_support,
            "keep-alive-idle": settings.keep_alive_idle,
            "keep-alive-interval": settings.keep_alive_interval,
            "disable-keep-alive": settings.disable_keep_alive,
        });
        if let (Value::Object(configs), Value::Object(more)) = (&mut configs, more) {
            configs.extend(more);
        }
        configs
    }

    fn unified_delay(&self) -> bool {
        self.now().general.unified_delay
    }

    fn patch(&self, patch: Patch) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let (mode, level) = (patch.mode, patch.log_level);
            let listening = overrides(patch)?;
            let mut soft = Overrides::default();
            if let Some(mode) = mode {
                soft.set("mode", mode.name());
            }
            if let Some(level) = level {
                soft.set("log-level", level.name());
            }
            // What can change by itself does not take a new world.
            if listening != Overrides::default() {
                soft.extend(&listening);
                let change = Self::reload(self, Change::Patch(soft)).await;
                return change.map_err(|error| format!("{error:#}"));
            }
            self.now().source.overrides.extend(&soft);
            if let Some(mode) = mode {
                self.change(|world| world.mode = router_mode(mode));
            }
            if let Some(level) = level {
                self.logs.set_level(config_level(level));
            }
            Ok(())
        })
    }

    fn reload(&self, reload: Reload) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let source = match reload.from {
                ReloadFrom::Current => None,
                ReloadFrom::Text(text) => Some(self.payload(text)),
                ReloadFrom::File(path) => Some(self.file(&path).await?),
            };
            let change = Change::Put { source, force: reload.force };
            Self::reload(self, change).await.map_err(|error| format!("{error:#}"))
        })
    }

    fn check(&self, text: String) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            let source = self.payload(text);
            let loaded = tokio::task::block_in_place(|| adit_config::load(&source));
            let problems = loaded.problems.iter().map(|problem| Flaw {
                line: problem.line,
                column: problem.column,
                severity: problem.severity.to_string(),
                message: problem.message.clone(),
                hint: problem.hint.clone(),
            });
            Verdict { ok: loaded.plan.is_some(), problems: problems.collect() }
        })
    }

    fn restart(&self) -> Result<(), String> {
        self.restart.notify_one();
        Ok(())
    }

    fn chosen(&self) {
        tokio::task::block_in_place(|| self.remember_choices());
    }

    fn proxy_providers(&self) -> Vec<ProxyProvider> {
        let now = self.now();
        let providers = now.proxy_providers().iter().map(|plan| {
            let status = now.providers.proxies.get(&plan.name).map(adit_provider::Running::status).unwrap_or_default();
            ProxyProvider {
                name: plan.name.clone(),
                vehicle: vehicle(&plan.vehicle),
                check: plan.health_check.clone().unwrap_or_default(),
                updated: now.updated(&plan.vehicle, status.updated),
                subscription: status.subscription.map(|plan| Subscription {
                    upload: plan.upload,
                    download: plan.download,
                    total: plan.total,
                    expire: plan.expire,
                }),
            }
        });
        providers.collect()
    }

    fn rule_providers(&self) -> Vec<RuleProvider> {
        let now = self.now();
        let providers = now.rule_providers.iter().map(|plan| {
            let status = now.providers.rules.get(&plan.name).map(adit_provider::Running::status).unwrap_or_default();
            RuleProvider {
                name: plan.name.clone(),
                vehicle: vehicle(&plan.vehicle),
                behavior: plan.behavior,
                format: plan.format,
                rules: plan.handle.rule_count(),
                updated: now.updated(&plan.vehicle, status.updated),
                payload: plan.payload.clone(),
            }
        });
        providers.collect()
    }

    fn update<'a>(&'a self, which: ProviderKind, name: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let updating = {
                let now = self.now();
                let running = match which {
                    ProviderKind::Proxies => &now.providers.proxies,
                    ProviderKind::Rules => &now.providers.rules,
                };
                running.get(&Tag::new(name)).map(adit_provider::Running::updater)
            };
            match updating {
                Some(updater) => updater.update().await,
                // Written in the configuration: there is nothing newer.
                None => Ok(()),
            }
        })
    }

    fn ask<'a>(&'a self, question: &'a adit_dns::Question) -> BoxFuture<'a, Result<DnsMessage, DnsError>> {
        Box::pin(async move {
            let world = self.engine.world();
            let dns = world.dns.as_ref().ok_or(DnsError::Off)?;
            dns.resolver().ask_message(question).await.map_err(|error| DnsError::Failed(error.to_string()))
        })
    }

    fn flush_fake_ip(&self) -> Result<(), String> {
        match self.engine.world().dns.as_ref().and_then(adit_dns::Service::fake_addresses) {
            Some(addresses) => {
                addresses.flush();
                Ok(())
            }
            None => Err("fake-ip is not in use".into()),
        }
    }

    fn flush_dns(&self) {
        if let Some(dns) = &self.engine.world().dns {
            dns.resolver().forget();
        }
    }

    fn storage(&self) -> &dyn Storage {
        &self.store
    }

    fn logs(&self) -> &LogFeed {
        &self.logs.feed
    }
}

impl Daemon {
    /// Changes one thing in the world in use.
    fn change(&self, change: impl FnOnce(&mut World)) {
        let now = self.now();
        let mut world = World::clone(&self.engine.world());
        change(&mut world);
        now.replace(&self.engine, world);
    }

    /// A configuration that somebody sent.
    fn payload(&self, text: String) -> Source {
        let (home, overrides) = (self.home().to_owned(), self.config.overrides());
        Source { name: "<payload>".into(), text, home, overrides }
    }

    /// A configuration that is somewhere else than ours.
    async fn file(&self, path: &Path) -> Result<Source, String> {
        let name = path.display().to_string();
        // Whoever has the secret may not read the machine's other files by it.
        if !adit_config::may_read(self.home(), path) {
            return Err(format!("path is not subpath of home directory or SAFE_PATHS: {name}"));
        }
        let cannot_read = |error: std::io::Error| format!("cannot read {name}: {error}");
        let file = tokio::fs::File::open(path).await.map_err(cannot_read)?;
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).await.map_err(cannot_read)?;
        let source = Source::from_bytes(name, bytes, self.home().to_owned());
        let source = source.map_err(|problems| problems.render(false))?;
        Ok(Source { overrides: self.config.overrides(), ..source })
    }
}

/// What `PATCH /configs` asks for that takes a new world, as keys of a configuration.
fn overrides(patch: Patch) -> Result<Overrides, String> {
    if patch.tcp_concurrent == Some(true) {
        return Err("`tcp-concurrent` is not supported: addresses are tried one after the other".into());
    }
    if patch.tun.as_ref().and_then(|tun| tun.get("enable")).and_then(Value::as_bool) == Some(true) {
        return Err("`tun` is not supported: `adit redirect up` has the same reach without a device".into());
    }
    let keys = [
        ("port", patch.port.map(Value::from)),
        ("socks-port", patch.socks_port.map(Value::from)),
        ("redir-port", patch.redir_port.map(Value::from)),
        ("tproxy-port", patch.tproxy_port.map(Value::from)),
        ("mixed-port", patch.mixed_port.map(Value::from)),
        ("allow-lan", patch.allow_lan.map(Value::from)),
        ("bind-address", patch.bind_address.map(Value::from)),
        ("skip-auth-prefixes", patch.skip_auth_prefixes.map(Value::from)),
        ("lan-allowed-ips", patch.lan_allowed_ips.map(Value::from)),
        ("lan-disallowed-ips", patch.lan_disallowed_ips.map(Value::from)),
        ("ipv6", patch.ipv6.map(Value::from)),
        ("unified-delay", patch.unified_delay.map(Value::from)),
        ("sniffer", patch.sniffing.map(|enable| json!({ "enable": enable }))),
        ("find-process-mode", patch.find_process_mode.map(|mode| Value::from(mode.name()))),
        ("interface-name", patch.interface_name.map(Value::from)),
    ];
    let mut overrides = Overrides::default();
    for (key, value) in keys {
        if let Some(value) = value {
            overrides.set(key, value);
        }
    }
    Ok(overrides)
}

fn vehicle(vehicle: &adit_config::Vehicle) -> Vehicle {
    match vehicle {
        adit_config::Vehicle::Http(_) => Vehicle::Http,
        adit_config::Vehicle::File(_) => Vehicle::File,
        adit_config::Vehicle::Inline => Vehicle::Inline,
    }
}

fn router_mode(mode: ModeName) -> Mode {
    match mode {
        ModeName::Rule => Mode::Rule,
        ModeName::Global => Mode::Global,
        ModeName::Direct => Mode::Direct,
    }
}

fn mode_name(mode: Mode) -> ModeName {
    match mode {
        Mode::Rule => ModeName::Rule,
        Mode::Global => ModeName::Global,
        Mode::Direct => ModeName::Direct,
    }
}

fn config_level(level: LevelName) -> LogLevel {
    match level {
        LevelName::Silent => LogLevel::Silent,
        LevelName::Error => LogLevel::Error,
        LevelName::Warning => LogLevel::Warning,
        LevelName::Info => LogLevel::Info,
        LevelName::Debug => LogLevel::Debug,
    }
}

fn level_name(level: LogLevel) -> LevelName {
    match level {
        LogLevel::Silent => LevelName::Silent,
        LogLevel::Error => LevelName::Error,
        LogLevel::Warning => LevelName::Warning,
        LogLevel::Info => LevelName::Info,
        LogLevel::Debug => LevelName::Debug,
    }
}

fn process_name(mode: FindProcess) -> FindProcessName {
    match mode {
        FindProcess::Off => FindProcessName::Off,
        FindProcess::Strict => FindProcessName::Strict,
        FindProcess::Always => FindProcessName::Always,
    }
}
