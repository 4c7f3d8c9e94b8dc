//! `windlass mcp`: the servers that bring tools: which there are, and what they say.

use std::io::Write;

use anyhow::bail;
use clap::{Args, Subcommand};
use mcp::Probed;
use serde::Serialize;
use types::EffectClass;
use windlass::config::{McpServer, Secret, Transport};

use crate::output::{json_lines, one_line, table};
use crate::setup::Setup;
use crate::wire::servers;

#[derive(Debug, Subcommand)]
pub enum McpCommand {
    /// List the servers of the configuration
    List,
    /// Show one server of the configuration, secrets hidden
    Show(NameArgs),
    /// Say of each server whether it runs now, and how many of its tools are known
    Status,
    /// Start a server, ask it for its tools, and end it: without a gateway
    Probe(NameArgs),
    /// List the tools of a server that agents are offered, as far as they are known
    Tools(NameArgs),
}

#[derive(Debug, Args)]
pub struct NameArgs {
    /// As in `mcp.servers`
    name: String,
}

pub async fn run(command: McpCommand, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        McpCommand::List => list(setup, out),
        McpCommand::Show(NameArgs { name }) => {
            let server = find(setup, &name)?;
            writeln!(out, "{}", serde_json::to_string_pretty(server)?)?;
            Ok(())
        }
        McpCommand::Status => status(setup, out),
        McpCommand::Probe(NameArgs { name }) => probe(setup, &name, out).await,
        McpCommand::Tools(NameArgs { name }) => tools(setup, &name, out),
    }
}

fn find<'a>(setup: &'a Setup, name: &str) -> anyhow::Result<&'a McpServer> {
    if let Some(server) = setup.config.mcp.servers.get(name) {
        return Ok(server);
    }
    let names: Vec<&str> = setup.config.mcp.servers.keys().map(String::as_str).collect();
    match names[..] {
        [] => bail!("no server `{name}`: `mcp.servers` names none"),
        _ => bail!("no server `{name}` in `mcp.servers`; there are: {}", names.join(", ")),
    }
}

/// Where a server is, for people.
fn place(server: &McpServer) -> String {
    match server.transport {
        Transport::Stdio => {
            let words = server.command.iter().chain(&server.args).map(String::as_str);
            words.collect::<Vec<_>>().join(" ")
        }
        Transport::StreamableHttp => server.url.clone().unwrap_or_default(),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    name: &'a str,
    #[serde(flatten)]
    server: &'a McpServer,
}

fn list(setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let rows = setup.config.mcp.servers.iter().map(|(name, server)| Row { name, server });
    let rows: Vec<Row<'_>> = rows.collect();
    if setup.json {
        return Ok(json_lines(out, &rows)?);
    }
    if rows.is_empty() {
        eprintln!("`mcp.servers` names none");
        return Ok(());
    }
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let cells = rows.iter().map(|Row { name, server }| {
        let (enabled, trusted) = (yes(server.enabled), yes(server.trusted));
        let transport = server.transport.to_string();
        vec![(*name).to_owned(), enabled, trusted, transport, one_line(&place(server), 80)]
    });
    let cells: Vec<Vec<String>> = cells.collect();
    Ok(table(out, &["SERVER", "ENABLED", "TRUSTED", "TRANSPORT", "WHERE"], &cells)?)
}

/// What is known of a server without asking it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    pub name: String,
    pub enabled: bool,
    /// Processes that run now for the gateway of this state folder.
    pub pids: Vec<u32>,
    /// How many of its tools are offered; none if it was never asked.
    pub tools: Option<usize>,
}

impl Standing {
    /// For people, in a few words.
    pub fn words(&self) -> String {
        let tools = match self.tools {
            _ if !self.enabled => return "switched off".to_owned(),
            None => "never asked for its tools: the next new session does".to_owned(),
            Some(count) => format!("{count} tools"),
        };
        match &self.pids[..] {
            [] => format!("{tools}; not running"),
            [pid] => format!("{tools}; running (pid {pid})"),
            [pid, rest @ ..] => format!("{tools}; running (pid {pid}, and {} below)", rest.len()),
        }
    }
}

/// How the configured servers stand.
pub fn standings(setup: &Setup) -> Vec<Standing> {
    let mark = mcp::known_mark(setup.state_dir());
    let standing = |(name, server): (&String, &McpServer)| {
        let running = mark.as_ref().map(|mark| mcp::running(mark, name));
        // Which tools are offered does not hang on secrets.
        let known = servers::of(name, &without_secrets(server)).ok();
        let known = known.and_then(|config| mcp::known(setup.state_dir(), &config));
        Standing {
            name: name.clone(),
            enabled: server.enabled,
            pids: running.unwrap_or_default(),
            tools: known.map(|tools| tools.len()),
        }
    };
    setup.config.mcp.servers.iter().map(standing).collect()
}

/// The same server, so that nothing has to be told to look at it.
fn without_secrets(server: &McpServer) -> McpServer {
    let mut server = server.clone();
    for value in server.env.values_mut().chain(server.headers.values_mut()) {
        *value = Secret::new("");
    }
    server
}

fn status(setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let standings = standings(setup);
    if setup.json {
        return Ok(json_lines(out, &standings)?);
    }
    let cells = standings.iter().map(|standing| vec![standing.name.clone(), standing.words()]);
    let cells: Vec<Vec<String>> = cells.collect();
    Ok(table(out, &["SERVER", "STATE"], &cells)?)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    server: String,
    /// As the server names it.
    tool: String,
    /// As agents name it; none if the configuration leaves it out.
    name: Option<String>,
    effect: EffectClass,
    description: String,
}

async fn probe(setup: &Setup, name: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let config = servers::of(name, find(setup, name)?)?;
    let probed = mcp::probe(&config, &servers::roots(&setup.config)).await;
    let Probed { server, tools } = match probed {
        Ok(probed) => probed,
        Err(why) => bail!("{name} ({}): {why}", config.place()),
    };
    let rows = tools.into_iter().map(|tool| Tool {
        server: name.to_owned(),
        tool: tool.theirs,
        name: tool.offered.as_ref().map(|spec| spec.name.clone()),
        effect: tool.effect,
        description: tool.offered.map(|spec| spec.description).unwrap_or_default(),
    });
    let rows: Vec<Tool> = rows.collect();
    if setup.json {
        return Ok(json_lines(out, &rows)?);
    }
    eprintln!("{name} answers: {server}, {} tools", rows.len());
    let cells = rows.iter().map(|row| {
        let left_out = || "(left out by toolFilter)".to_owned();
        let name = row.name.clone().unwrap_or_else(left_out);
        vec![row.tool.clone(), name, row.effect.to_string(), one_line(&row.description, 80)]
    });
    let cells: Vec<Vec<String>> = cells.collect();
    Ok(table(out, &["TOOL", "NAME", "EFFECT", "DESCRIPTION"], &cells)?)
}

fn tools(setup: &Setup, name: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let config = servers::of(name, &without_secrets(find(setup, name)?))?;
    let Some(tools) = mcp::known(setup.state_dir(), &config) else {
        bail!("{name} was never asked for its tools; `windlass mcp probe {name}` asks it");
    };
    if setup.json {
        return Ok(json_lines(out, &tools)?);
    }
    let cells = tools.iter().map(|tool| vec![tool.name.clone(), one_line(&tool.description, 100)]);
    let cells: Vec<Vec<String>> = cells.collect();
    Ok(table(out, &["TOOL", "DESCRIPTION"], &cells)?)
}
