//! `adit check` and Mihomo's `-t`.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use crate::cli::ConfigArgs;

/// Reports every problem in one go.
pub(crate) fn check(config: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let source = config.read()?;
    let loaded = adit_config::load(&source);
    eprint!("{}", loaded.problems.render(std::io::stderr().is_terminal()));
    Ok(match loaded.plan {
        Some(plan) => {
            println!(
                "{}: ok, {} rules, {} inbounds",
                source.name,
                plan.rules.len(),
                plan.inbounds.len() + plan.transparent.len()
            );
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    })
}

/// The same in Mihomo's words (mihomo-surface §10.1).
pub(crate) fn test(config: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let source = config.read()?;
    let loaded = adit_config::load(&source);
    eprint!("{}", loaded.problems.render(std::io::stderr().is_terminal()));
    if loaded.plan.is_none() {
        println!("configuration file {} test failed", source.name);
        return Ok(ExitCode::FAILURE);
    }
    println!("configuration file {} test is successful", source.name);
    Ok(ExitCode::SUCCESS)
}
