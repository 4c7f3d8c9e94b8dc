//! `windlass sandbox`: what keeps the commands of each agent inside.

use std::io::Write;

use clap::Subcommand;
use serde::Serialize;
use tools::sandbox::{Backend, Mode, Sandbox};

use crate::output::{json_lines, table};
use crate::setup::Setup;
use crate::wire;

#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Say of each agent what its commands may do, and what sees to it on this machine
    Explain,
}

/// How the commands of one agent are kept.
#[derive(Debug, Serialize)]
pub struct Kept {
    pub agent: String,
    pub mode: Mode,
    /// What puts up the walls.
    pub backend: Option<Backend>,
    /// Why commands are refused, if they are.
    pub refused: Option<String>,
}

/// Tries the walls of every agent, as a gateway does before the first command.
pub async fn look(setup: &Setup) -> Vec<Kept> {
    let sandbox = Sandbox::new(wire::sandbox(setup));
    let mut all = Vec::new();
    for (id, agent) in &setup.config.agents.entries {
        let mode = wire::sandbox_mode(&setup.config, agent);
        let found = match mode {
            Mode::Off => Ok(None),
            mode => sandbox.backend(mode).await.map(Some),
        };
        let (backend, refused) = match found {
            Ok(backend) => (backend, None),
            Err(why) => (None, Some(why)),
        };
        all.push(Kept { agent: id.to_string(), mode, backend, refused });
    }
    all
}

/// What a command under a mode may do, in words.
pub fn words(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "whatever the gateway's user may",
        Mode::Workspace => {
            "writes in the workspace and a private folder for temporary files, reads system \
             folders, has the network"
        }
        Mode::Strict => {
            "writes in the workspace and a private folder for temporary files, reads system \
             folders; no network, no other processes, bounded"
        }
    }
}

pub async fn run(
    command: &SandboxCommand,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let SandboxCommand::Explain = command;
    let all = look(setup).await;
    if setup.json {
        return Ok(json_lines(out, &all)?);
    }
    let row = |kept: &Kept| {
        let by = match (&kept.backend, &kept.refused) {
            (_, Some(why)) => format!("REFUSED: {why}"),
            (Some(backend), _) => backend.to_string(),
            (None, None) => "-".to_owned(),
        };
        let may = words(kept.mode).to_owned();
        vec![kept.agent.clone(), kept.mode.to_string(), by, may]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    Ok(table(out, &["AGENT", "SANDBOX", "BY", "ITS COMMANDS"], &rows)?)
}
