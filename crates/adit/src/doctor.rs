//! `adit doctor`: what keeps this host's traffic from being captured, and what to do.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use adit_config::Plan;
use adit_redirect::doctor::{Facts, Finding, Severity, examine, refusal};
use adit_redirect::{Mode, Options};

use crate::cli::ConfigArgs;
use crate::redirect::{CaptureArgs, Choice, ModeWord, choose};

/// Looks, changes nothing, and prints the worst first. The exit code is 1 if something does not work.
///
/// # Errors
/// The configuration cannot be read.
pub(crate) fn doctor(config: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let source = config.read()?;
    let loaded = adit_config::load(&source);
    let Some(plan) = loaded.plan else {
        eprint!("{}", loaded.problems.render(std::io::stderr().is_terminal()));
        return Ok(ExitCode::FAILURE);
    };
    let mut facts = Facts::gather();
    let (wanted, mut findings) = wanted(&facts, &plan, &source.name);
    if let Some(wanted) = &wanted {
        facts.refusal = refusal(wanted);
    }
    findings.extend(examine(&facts, wanted.as_ref()));
    findings.sort_by_key(|finding| finding.severity);
    for Finding { severity, what, remedy } in &findings {
        println!("{severity}: {what}\n    {remedy}");
    }
    if findings.is_empty() {
        println!("nothing is wrong: traffic is captured");
    }
    let works = findings.iter().all(|finding| finding.severity != Severity::Problem);
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rules that the configuration asks for, for the sources that are captured now. What does not fit is wrong, too.
fn wanted(facts: &Facts, plan: &Plan, name: &str) -> (Option<Options>, Vec<Finding>) {
    let mut args = CaptureArgs::default();
    if let Some(installed) = &facts.installed {
        args.interfaces.clone_from(&installed.interfaces);
        args.no_host = !installed.host;
        args.kill_switch = installed.kill_switch;
        args.no_ipv6 = !installed.ipv6;
        args.user = installed.user;
        // Which of several listeners is meant, if it is still there.
        let there = |mode| {
            let choice = CaptureArgs { mode: Some(mode), port: Some(installed.port), ..args.clone() };
            choose(&choice, plan, name).is_ok().then_some(choice)
        };
        let mode = match installed.mode {
            Mode::Redirect => ModeWord::Redirect,
            Mode::Tproxy => ModeWord::Tproxy,
        };
        if let Some(choice) = there(mode) {
            args = choice;
        }
    }
    match choose(&args, plan, name) {
        Ok(Choice { options, notes }) => (
            Some(options),
            notes.into_iter().map(|note| Finding::note(note, "nothing to do if that is meant")).collect(),
        ),
        Err(wrong) => (None, wrong.into_iter().map(|wrong| Finding::problem(wrong.what, wrong.remedy)).collect()),
    }
}
