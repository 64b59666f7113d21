//! `adit explain`: which rule, group member and outbound a destination gets, and why the rules before did not match.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use adit_engine::Explanation;
use adit_net::{Entry, Protocol, Session};

use crate::cli::Question;
use crate::world::Ways;

/// Prints the decision for one destination.
pub(crate) fn explain(question: &Question) -> anyhow::Result<ExitCode> {
    let source = question.config.read()?;
    let loaded = adit_config::load(&source);
    eprint!("{}", loaded.problems.render(std::io::stderr().is_terminal()));
    let Some(plan) = loaded.plan else { return Ok(ExitCode::FAILURE) };

    let lines = plan.rule_lines.clone();
    let entry = Entry {
        inbound: question.inbound.as_str().into(),
        protocol: Protocol::Https,
        local: (std::net::Ipv4Addr::LOCALHOST, 7890).into(),
        user: None,
    };
    let client = std::net::SocketAddr::new(question.client, 50_000).into();
    let session = Session::new(question.network(), entry, client, question.target.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let explanation = runtime.block_on(async {
        let world = Ways::of(plan).without_clients()?.settle();
        anyhow::Ok(Explanation::of(&world, &session).await)
    })?;
    runtime.shutdown_background();
    print!("{}", explanation.render(|rule| lines.line(rule).map(|line| format!("{}:{line}", source.name))));
    Ok(ExitCode::SUCCESS)
}
