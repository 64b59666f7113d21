//! The binary: arguments → plan → world → run → drain.

#![forbid(unsafe_code)]

mod check;
mod cli;
mod control;
mod daemon;
mod doctor;
mod explain;
mod import;
mod listeners;
mod logs;
mod providers;
mod redirect;
mod resolvers;
mod run;
mod store;
mod watch;
mod world;

use std::process::ExitCode;

use cli::Command;

fn main() -> ExitCode {
    let outcome = match Command::from_args(std::env::args_os()) {
        Ok(Command::Run(config)) => run::run(&config),
        Ok(Command::Check(config)) => check::check(&config),
        Ok(Command::Test(config)) => check::test(&config),
        Ok(Command::Explain(question)) => explain::explain(&question),
        Ok(Command::Import(args)) => import::import(&args),
        Ok(Command::Doctor(config)) => doctor::doctor(&config),
        Ok(Command::Redirect(command)) => redirect::redirect(&command),
        Ok(Command::Version) => {
            println!("{}", cli::version());
            Ok(ExitCode::SUCCESS)
        }
        Err(usage) => usage.exit(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("adit: {error:#}");
        ExitCode::FAILURE
    })
}
