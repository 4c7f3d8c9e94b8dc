//! `windlass agents`: who can be talked to, as configured.

use std::io::Write;

use clap::Subcommand;
use serde::Serialize;
use types::AgentId;

use crate::output::{json_lines, one_line, table};
use crate::setup::Setup;

#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// List the agents of the configuration
    List,
}

/// An agent of the configuration.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: AgentId,
    default: bool,
    name: Option<String>,
    description: Option<String>,
    model: Option<String>,
    workspace: String,
}

pub fn run(command: &AgentsCommand, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let AgentsCommand::List = command;
    let default = setup.default_agent();
    let limits = setup.limits()?;
    let entries = setup.config.agents.entries.iter().map(|(id, agent)| Row {
        default: *id == default,
        name: agent.name.clone(),
        description: agent.description.clone(),
        model: limits.agents.get(id).map(|limits| limits.model.clone()),
        workspace: agent.workspace.display().to_string(),
        id: id.clone(),
    });
    let rows: Vec<Row> = entries.collect();
    if setup.json {
        return Ok(json_lines(out, &rows)?);
    }
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    Ok(table(out, &["AGENT", "NAME", "MODEL", "WORKSPACE", "DESCRIPTION"], &cells)?)
}

fn cells(row: &Row) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        if row.default { format!("{} (default)", row.id) } else { row.id.to_string() },
        text(&row.name),
        text(&row.model),
        row.workspace.clone(),
        one_line(row.description.as_deref().unwrap_or(""), 80),
    ]
}
