//! Arguments: our own sub-commands, and Mihomo's spellings (`-d DIR -f FILE -t -v`), so that scripts go on working.

use std::ffi::OsString;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use adit_config::{Problems, Source};
use adit_net::{Network, Target};
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::redirect::Redirect;

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Run(ConfigArgs),
    Check(ConfigArgs),
    /// Mihomo's `-t`.
    Test(ConfigArgs),
    Explain(Question),
    Import(ImportArgs),
    Redirect(Redirect),
    Doctor(ConfigArgs),
    Version,
}

/// A transparent proxy with its own userspace VLESS-REALITY and WireGuard client. Reads Mihomo's config.yaml.
///
/// Without a configuration it starts on its built-in one: HTTP and SOCKS on 127.0.0.1:7890, everything direct.
#[derive(Debug, Parser)]
#[command(name = "adit", disable_version_flag = true, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Test the configuration and exit (Mihomo's spelling of `check`)
    #[arg(short = 't')]
    test: bool,
    /// Print the version and exit
    #[arg(short = 'v', long = "version")]
    version: bool,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Run the proxy
    Run(ConfigArgs),
    /// Report every problem of a configuration; exit code 1 if it would not run
    Check(ConfigArgs),
    /// Print which rule and outbound a destination gets, and why
    Explain(Question),
    /// Turn wg-quick files and share links into the YAML of a proxy
    Import(ImportArgs),
    /// Send this host's traffic, its LAN's and its containers' to a transparent listener
    #[command(subcommand)]
    Redirect(Redirect),
    /// Say why traffic is not captured, and what to do; exit code 1 if something does not work
    Doctor(ConfigArgs),
}

/// Which configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// Home directory: relative paths, geo databases and rule files [default: ~/.config/mihomo if it exists]
    #[arg(short = 'd', value_name = "DIR", env = "CLASH_HOME_DIR")]
    home: Option<PathBuf>,
    /// Configuration file, `-` for standard input [default: config.yaml in the home directory]
    #[arg(short = 'f', value_name = "FILE", env = "CLASH_CONFIG_FILE")]
    file: Option<PathBuf>,
}

/// What `import` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct ImportArgs {
    /// wg-quick files (AmneziaWG's too), files of share links, `-` for standard input, or links themselves
    #[arg(required = true, value_name = "FILE|LINK")]
    pub(crate) sources: Vec<String>,
    /// Print a whole configuration that runs as it is, instead of the `proxies:` section alone
    #[arg(long)]
    pub(crate) full: bool,
}

/// What `explain` is asked.
#[derive(Args, Clone, Debug)]
pub(crate) struct Question {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// host:port
    pub(crate) target: Target,
    /// Ask for UDP instead of TCP
    #[arg(long)]
    udp: bool,
    /// The client's address, for SRC-* rules
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) client: IpAddr,
    /// The inbound's name, for IN-NAME rules and pinned listeners
    #[arg(long, default_value = "DEFAULT-MIXED")]
    pub(crate) inbound: String,
}

impl Question {
    pub(crate) fn network(&self) -> Network {
        if self.udp { Network::Udp } else { Network::Tcp }
    }
}

impl Command {
    /// Parses the arguments; the error prints itself, help included.
    pub(crate) fn from_args(args: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let cli = Cli::try_parse_from(args)?;
        Ok(match cli.command {
            Some(Sub::Run(config)) => Self::Run(config),
            Some(Sub::Check(config)) => Self::Check(config),
            Some(Sub::Explain(question)) => Self::Explain(question),
            Some(Sub::Import(args)) => Self::Import(args),
            Some(Sub::Redirect(redirect)) => Self::Redirect(redirect),
            Some(Sub::Doctor(config)) => Self::Doctor(config),
            None if cli.version => Self::Version,
            None if cli.test => Self::Test(cli.config),
            None => Self::Run(cli.config),
        })
    }
}

/// The line of `-v`. Wrappers of Mihomo take the third word for the version.
pub(crate) fn version() -> String {
    format!("adit Meta v{} {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
}

impl ConfigArgs {
    /// The file that the arguments name, if it is one that can change.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.named().filter(|file| file.as_os_str() != "-")
    }

    fn named(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| Some(self.home.as_ref()?.join("config.yaml")).filter(|file| file.exists()))
    }

    /// Reads the configuration the arguments name, or the built-in one when they name none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(&self) -> anyhow::Result<Source> {
        let named = self.named();
        let home = self.home_for(named.as_deref());
        // Paths of the configuration are compared with it, and outlive a change of the working directory.
        let home = std::path::absolute(&home).unwrap_or(home);
        let Some(file) = named else {
            return Ok(Source { name: "<built-in>".into(), text: adit_config::DEFAULT_CONFIG.into(), home });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Command, clap::Error> {
        Command::from_args(["adit"].iter().chain(args).map(OsString::from))
    }

    #[test]
    fn mihomos_spellings_mean_what_they_meant() {
        assert!(matches!(parse(&[]), Ok(Command::Run(_))));
        assert!(matches!(parse(&["-d", "/tmp", "-f", "x.yaml"]), Ok(Command::Run(_))));
        assert!(matches!(parse(&["-t", "-f", "x.yaml"]), Ok(Command::Test(_))));
        assert!(matches!(parse(&["-v"]), Ok(Command::Version)));
        assert_eq!(version().split(' ').nth(2), Some(concat!("v", env!("CARGO_PKG_VERSION"))));
    }

    #[test]
    fn sub_commands_take_a_configuration() {
        assert!(matches!(parse(&["run", "-f", "x.yaml"]), Ok(Command::Run(_))));
        assert!(matches!(parse(&["check", "-f", "x.yaml"]), Ok(Command::Check(_))));
        let Ok(Command::Explain(question)) = parse(&["explain", "-f", "x.yaml", "api.anthropic.com:443", "--udp"])
        else {
            panic!("explain was not understood");
        };
        assert_eq!(question.network(), Network::Udp);
        assert!(parse(&["explain", "no-port"]).is_err());
        let Ok(Command::Import(import)) = parse(&["import", "--full", "wg0.conf", "-"]) else {
            panic!("import was not understood");
        };
        assert_eq!((import.full, &*import.sources), (true, &["wg0.conf".to_owned(), "-".to_owned()][..]));
        assert!(parse(&["import"]).is_err());
    }

    #[test]
    fn without_a_configuration_the_built_in_one_runs() {
        let source = ConfigArgs::default().read().unwrap();
        assert_eq!(source.name, "<built-in>");
    }
}
