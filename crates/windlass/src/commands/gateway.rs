//! `windlass gateway`: the gateway itself, until it is told to stop.

use std::io::Write;

use clap::Args;

use crate::setup::Setup;
use crate::wire::{self, Until};
use windlass::config::Problem;

#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// Listen on this port instead of the configured one (18789); 0 takes any free port
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<u16>,

    /// Stop when stdin is closed: with whoever has started it
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

pub async fn run(args: GatewayArgs, mut setup: Setup) -> anyhow::Result<()> {
    if let Some(port) = args.port {
        setup.set_port(port);
    }
    let no_model = setup.limits()?.agents.values().all(|agent| agent.model.is_empty());
    if no_model {
        // It runs all the same: commands and lists need no model.
        tracing::warn!("{}", runtime::NO_MODEL);
    }
    let said = |warning: &&Problem| no_model && warning.key == "agents.defaults.model";
    for warning in setup.warnings.iter().filter(|warning| !said(warning)) {
        tracing::warn!("{warning}");
    }
    let json = setup.json;
    let until = if args.until_stdin_closes { Until::StdinCloses } else { Until::Signal };
    wire::run(setup, until, |url| {
        // The one line of data: whoever started us may want to know where we are.
        let line = match json {
            true => serde_json::json!({ "url": url }).to_string(),
            false => format!("listening on {url}"),
        };
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    })
    .await
}
