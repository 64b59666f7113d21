//! Which configuration is meant, and what the command line says over it. Spec: mihomo-surface §10.1.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use adit_config::{Overrides, Problems, Source};
use adit_net::Secret;
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

/// Options that Mihomo spells with one dash.
pub(super) const LONG: &[&str] =
    &["-config", "-ext-ctl", "-ext-ctl-tls", "-ext-ctl-unix", "-ext-ui", "-post-down", "-post-up", "-secret"];

/// Which configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// Home directory: relative paths, geo databases and rule files [default: ~/.config/mihomo if it exists]
    #[arg(short = 'd', value_name = "DIR", env = "CLASH_HOME_DIR")]
    home: Option<PathBuf>,
    /// Configuration file, `-` for standard input [default: config.yaml in the home directory]
    #[arg(short = 'f', value_name = "FILE", env = "CLASH_CONFIG_FILE")]
    file: Option<PathBuf>,
    /// The configuration itself, in base64; no file is read then
    #[arg(long, value_name = "BASE64", env = "CLASH_CONFIG_STRING", hide_env_values = true, value_parser = secret)]
    config: Option<Secret>,
    /// Address of the API, whatever the configuration says
    #[arg(long, value_name = "ADDRESS", env = "CLASH_OVERRIDE_EXTERNAL_CONTROLLER")]
    ext_ctl: Option<String>,
    /// Address of the API over TLS, whatever the configuration says
    #[arg(long, value_name = "ADDRESS", env = "CLASH_OVERRIDE_EXTERNAL_CONTROLLER_TLS")]
    ext_ctl_tls: Option<String>,
    /// Unix socket of the API, whatever the configuration says
    #[arg(long, value_name = "PATH", env = "CLASH_OVERRIDE_EXTERNAL_CONTROLLER_UNIX")]
    ext_ctl_unix: Option<String>,
    /// Folder of the dashboard, whatever the configuration says
    #[arg(long, value_name = "DIR", env = "CLASH_OVERRIDE_EXTERNAL_UI_DIR")]
    ext_ui: Option<String>,
    /// Secret of the API, whatever the configuration says; others see arguments, so rather use the variable
    #[arg(long, value_name = "SECRET", env = "CLASH_OVERRIDE_SECRET", hide_env_values = true, value_parser = secret)]
    secret: Option<Secret>,
    /// Read geo data from .dat files
    #[arg(short = 'm')]
    geodata: bool,
}

/// How to run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Shell command after the start; the start fails with it
    #[arg(long, value_name = "COMMAND", env = "CLASH_POST_UP")]
    pub(crate) post_up: Option<String>,
    /// Shell command before the end
    #[arg(long, value_name = "COMMAND", env = "CLASH_POST_DOWN")]
    pub(crate) post_down: Option<String>,
}

/// Secrets are not shown by `Debug`.
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl ConfigArgs {
    /// The file that the arguments name, if it is one that can change.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.named().filter(|file| file.as_os_str() != "-")
    }

    /// What the arguments say over the configuration.
    pub(crate) fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::default();
        let texts = [
            ("external-controller", self.ext_ctl.as_deref()),
            ("external-controller-tls", self.ext_ctl_tls.as_deref()),
            ("external-controller-unix", self.ext_ctl_unix.as_deref()),
            ("external-ui", self.ext_ui.as_deref()),
            ("secret", self.secret.as_ref().map(Secret::reveal)),
        ];
        for (key, text) in texts {
            // An empty variable of a compose file says nothing.
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                overrides.set(key, text);
            }
        }
        if self.geodata {
            overrides.set("geodata-mode", true);
        }
        overrides
    }

    fn named(&self) -> Option<PathBuf> {
        if self.config.is_some() {
            return None;
        }
        self.file.clone().or_else(|| Some(self.home.as_ref()?.join("config.yaml")).filter(|file| file.exists()))
    }

    /// Reads the configuration the arguments name, or the built-in one when they name none; with what they say over it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(&self) -> anyhow::Result<Source> {
        Ok(Source { overrides: self.overrides(), ..self.written()? })
    }

    fn written(&self) -> anyhow::Result<Source> {
        let named = self.named();
        let home = self.home_for(named.as_deref());
        // Paths of the configuration are compared with it, and outlive a change of the working directory.
        let home = std::path::absolute(&home).unwrap_or(home);
        if let Some(config) = &self.config {
            let bytes = STANDARD.decode(config.reveal().trim()).context("`-config` is not base64")?;
            return Source::from_bytes("<config>", bytes, home).map_err(unreadable);
        }
        let Some(file) = named else {
            return Source::from_bytes("<built-in>", adit_config::DEFAULT_CONFIG.into(), home).map_err(unreadable);
        };
        if file.as_os_str() == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("reading the configuration from standard input")?;
            return Source::from_bytes("<stdin>", bytes, home).map_err(unreadable);
        }
        let name = file.display().to_string();
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read the configuration {name}"))?;
        Source::from_bytes(name, bytes, home).map_err(unreadable)
    }

    /// `-d`, else Mihomo's own place if it exists, else the folder of the configuration.
    fn home_for(&self, file: Option<&Path>) -> PathBuf {
        if let Some(home) = &self.home {
            return home.clone();
        }
        let usual = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/mihomo"));
        usual
            .filter(|home| home.is_dir())
            .or_else(|| file.and_then(Path::parent).filter(|parent| parent.is_dir()).map(Path::to_path_buf))
            .unwrap_or_else(|| PathBuf::from("."))
    }
}

fn unreadable(problems: Problems) -> anyhow::Error {
    anyhow::anyhow!("the configuration is not a text\n{}", problems.render(false))
}
