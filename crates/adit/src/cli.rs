//! Arguments: our own sub-commands, and Mihomo's spellings (`-d DIR -f FILE -t -v`), so that scripts go on working.

mod config;

use std::ffi::OsString;
use std::net::IpAddr;

use adit_net::{Network, Target};
use clap::{Args, Parser, Subcommand};

pub(crate) use config::{ConfigArgs, RunArgs};

use crate::redirect::Redirect;

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Run(RunArgs),
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
    run: RunArgs,
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
    Run(RunArgs),
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
        let cli = Cli::try_parse_from(args.map(spelt))?;
        Ok(match cli.command {
            Some(Sub::Run(run)) => Self::Run(run),
            Some(Sub::Check(config)) => Self::Check(config),
            Some(Sub::Explain(question)) => Self::Explain(question),
            Some(Sub::Import(args)) => Self::Import(args),
            Some(Sub::Redirect(redirect)) => Self::Redirect(redirect),
            Some(Sub::Doctor(config)) => Self::Doctor(config),
            None if cli.version => Self::Version,
            None if cli.test => Self::Test(cli.run.config),
            None => Self::Run(cli.run),
        })
    }
}

/// Go programs, such as Mihomo, take `-name` and `--name` for the same, however long the name is.
fn spelt(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let name = text.split('=').next().unwrap_or_default();
    match name.strip_prefix("--") {
        Some("d" | "f" | "t" | "v" | "m") => text.get(1..).unwrap_or_default().into(),
        None if config::LONG.contains(&name) => format!("-{text}").into(),
        _ => argument,
    }
}

/// The line of `-v`. Wrappers of Mihomo take the third word for the version.
pub(crate) fn version() -> String {
    format!("adit Meta v{} {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
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
        assert!(matches!(parse(&["--v"]), Ok(Command::Version)));
        let Ok(Command::Run(run)) = parse(&["-ext-ctl", ":9090", "-secret=word", "--d", "/tmp", "-m"]) else {
            panic!("Go's way of writing flags was not understood");
        };
        let source = run.config.read().unwrap();
        assert_eq!(source.home.to_str(), Some("/tmp"));
        let controller = adit_config::load(&source).plan.unwrap().controller.unwrap();
        assert_eq!(controller.listen.unwrap().port(), 9090);
        assert_eq!(controller.secret.unwrap().reveal(), "word");
        assert!(!format!("{run:?}").contains("word"), "arguments end up in messages");
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
        let Ok(Command::Test(written)) = parse(&["-t", "-config", "bWl4ZWQtcG9ydDogMQo="]) else {
            panic!("-config was not understood");
        };
        assert_eq!(written.read().unwrap().text, "mixed-port: 1\n");
    }
}
