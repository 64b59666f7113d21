//! The daemon as the API sees it.

use adit_config::{FindProcess, LogLevel, Source};
use adit_controller::{
    Controller, Daemon as Api, DnsError, DnsMessage, FindProcessName, LogFeed, LogLevel as LevelName, ModeName,
    Options, Patch, ProviderKind, ProxyProvider, Reload, ReloadFrom, RuleProvider, Storage, Subscription, TlsListener,
    Vehicle,
};
use adit_engine::{Engine, World};
use adit_net::{BoxFuture, Tag};
use adit_router::Mode;
use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::daemon::Daemon;

/// A longer configuration is not read.
const LARGEST: u64 = 16 << 20;

/// The API's listeners, bound and not yet answering; none if the configuration has none.
///
/// # Errors
/// An address is in use, or the certificate is none.
pub(crate) fn bind(plan: Option<&adit_config::ControllerPlan>) -> anyhow::Result<Option<Controller>> {
    let Some(plan) = plan else { return Ok(None) };
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
    let controller = Controller::bind(options).context("external-controller")?;
    for at in controller.tcp_addr().into_iter().chain(controller.tls_addr()) {
        tracing::info!("RESTful API listening at: {at}");
    }
    Ok(Some(controller))
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
            "mode": mode_name(self.engine.world().mode),
            "unified-delay": general.unified_delay,
            "log-level": level_name(self.logs.level()),
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
            "find-process-mode": process_name(general.find_process),
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
            let Patch { mode, log_level, .. } = &patch;
            let rest = Patch { mode: None, log_level: None, ..patch.clone() };
            self.refuse_changes(&rest)?;
            if let Some(mode) = mode {
                let mode = match mode {
                    ModeName::Rule => Mode::Rule,
                    ModeName::Global => Mode::Global,
                    ModeName::Direct => Mode::Direct,
                };
                self.change(|world| world.mode = mode);
            }
            if let Some(level) = log_level {
                self.logs.set_level(match level {
                    LevelName::Silent => LogLevel::Silent,
                    LevelName::Error => LogLevel::Error,
                    LevelName::Warning => LogLevel::Warning,
                    LevelName::Info => LogLevel::Info,
                    LevelName::Debug => LogLevel::Debug,
                });
            }
            Ok(())
        })
    }

    fn reload(&self, reload: Reload) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let source = match reload.from {
                ReloadFrom::Current => None,
                ReloadFrom::Text(text) => Some(Source {
                    name: "<payload>".into(),
                    text,
                    home: self.home().to_owned(),
                    overrides: Default::default(),
                }),
                ReloadFrom::File(path) => {
                    let name = path.display().to_string();
                    // Whoever has the secret may not read the machine's other files by it.
                    if !adit_config::may_read(self.home(), &path) {
                        return Err(format!("path is not subpath of home directory or SAFE_PATHS: {name}"));
                    }
                    let file = tokio::fs::File::open(&path).await;
                    let file = file.map_err(|error| format!("cannot read {name}: {error}"))?;
                    let mut bytes = Vec::new();
                    let read = file.take(LARGEST).read_to_end(&mut bytes).await;
                    read.map_err(|error| format!("cannot read {name}: {error}"))?;
                    let source = Source::from_bytes(name, bytes, self.home().to_owned());
                    Some(source.map_err(|problems| problems.render(false))?)
                }
            };
            Self::reload(self, source).await.map_err(|error| format!("{error:#}"))
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
                updated: status.updated,
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
                updated: status.updated,
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

    /// What cannot change while we run, unless it is what it was.
    fn refuse_changes(&self, patch: &Patch) -> Result<(), String> {
        let now = self.now();
        let (settings, general) = (&now.settings, &now.general);
        fn differs<T: PartialEq + ?Sized>(wanted: Option<&T>, now: &T) -> bool {
            wanted.is_some_and(|wanted| wanted != now)
        }
        let interface = general.interface.as_deref().unwrap_or_default();
        let keys = [
            (differs(patch.port.as_ref(), &settings.port), "port"),
            (differs(patch.socks_port.as_ref(), &settings.socks_port), "socks-port"),
            (differs(patch.redir_port.as_ref(), &settings.redir_port), "redir-port"),
            (differs(patch.tproxy_port.as_ref(), &settings.tproxy_port), "tproxy-port"),
            (differs(patch.mixed_port.as_ref(), &settings.mixed_port), "mixed-port"),
            (differs(patch.allow_lan.as_ref(), &settings.allow_lan), "allow-lan"),
            (differs(patch.ipv6.as_ref(), &general.ipv6), "ipv6"),
            (differs(patch.sniffing.as_ref(), &settings.sniffing), "sniffing"),
            (differs(patch.tcp_concurrent.as_ref(), &general.tcp_concurrent), "tcp-concurrent"),
            (differs(patch.bind_address.as_ref(), &settings.bind_address), "bind-address"),
            (differs(patch.interface_name.as_deref(), interface), "interface-name"),
            (differs(patch.skip_auth_prefixes.as_ref(), &settings.skip_auth_prefixes), "skip-auth-prefixes"),
            (differs(patch.lan_allowed_ips.as_ref(), &settings.lan_allowed_ips), "lan-allowed-ips"),
            (differs(patch.lan_disallowed_ips.as_ref(), &settings.lan_disallowed_ips), "lan-disallowed-ips"),
        ];
        let process = patch.find_process_mode.map(|mode| match mode {
            FindProcessName::Off => FindProcess::Off,
            FindProcessName::Strict => FindProcess::Strict,
            FindProcessName::Always => FindProcess::Always,
        });
        let tun = patch.tun.as_ref().and_then(|tun| tun.get("enable")).and_then(Value::as_bool);
        let more = [
            (differs(process.as_ref(), &general.find_process), "find-process-mode"),
            (differs(tun.as_ref(), &false), "tun"),
        ];
        match keys.into_iter().chain(more).find(|(differs, _)| *differs).map(|(_, key)| key) {
            Some(key) => Err(format!("`{key}` is changed in the configuration: write it there and reload")),
            None => Ok(()),
        }
    }
}

fn vehicle(vehicle: &adit_config::Vehicle) -> Vehicle {
    match vehicle {
        adit_config::Vehicle::Http(_) => Vehicle::Http,
        adit_config::Vehicle::File(_) => Vehicle::File,
        adit_config::Vehicle::Inline => Vehicle::Inline,
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Rule => "rule",
        Mode::Global => "global",
        Mode::Direct => "direct",
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Silent => "silent",
        LogLevel::Error => "error",
        LogLevel::Warning => "warning",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    }
}

fn process_name(mode: FindProcess) -> &'static str {
    match mode {
        FindProcess::Off => "off",
        FindProcess::Strict => "strict",
        FindProcess::Always => "always",
    }
}
