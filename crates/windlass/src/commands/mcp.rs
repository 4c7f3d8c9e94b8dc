//! `windlass mcp`: the servers that bring tools: which there are, and what they say.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use mcp::Probed;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tools::{Source, Toolbox};
use types::EffectClass;
use windlass::config::{Edit, JSON5, McpServer, Secret, Transport};

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
    /// Write a new server into the configuration
    Add(AddArgs),
    /// Write a server into the configuration, in the place of the one of this name
    Set {
        /// As in `mcp.servers`
        name: String,
        /// All that is said of it, as JSON5: `{ command: "node", args: ["server.js"] }`
        value: String,
    },
    /// Take a server out of the configuration
    #[command(visible_alias = "unset")]
    Remove(NameArgs),
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// Begins the names of its tools
    name: String,
    /// The program to run
    #[arg(long, required_unless_present = "url", conflicts_with = "url")]
    command: Option<String>,
    /// An argument of the program; repeat for more
    #[arg(long = "arg", value_name = "VALUE", allow_hyphen_values = true, requires = "command")]
    args: Vec<String>,
    /// A variable of the program; repeat for more. A secret is better written as `KEY=${NAME}`
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, requires = "command")]
    env: Vec<(String, String)>,
    /// The folder that the program works in
    #[arg(long, value_name = "DIR", requires = "command")]
    cwd: Option<String>,
    /// Where a server is that speaks streamable HTTP
    #[arg(long)]
    url: Option<String>,
    /// A header of every request; repeat for more
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, requires = "url")]
    header: Vec<(String, String)>,
    /// Only these of its tools: names and patterns with `*`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    include: Vec<String>,
    /// None of these of its tools
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    exclude: Vec<String>,
    /// Believe what it says of its tools: that one changes nothing, or may be called again
    #[arg(long)]
    trusted: bool,
    /// Do not start it to see whether it answers
    #[arg(long)]
    no_probe: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let pair = pair.ok_or_else(|| format!("expected KEY=VALUE, got `{text}`"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
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
        McpCommand::Add(args) => add(setup, args).await,
        McpCommand::Set { name, value } => {
            let value: Value = jsonc_parser::parse_to_serde_value(&value, &JSON5)
                .with_context(|| format!("`{value}` is not JSON5"))?;
            write(setup, &name, Edit::Set(&value))
        }
        McpCommand::Remove(NameArgs { name }) => {
            find(setup, &name)?;
            write(setup, &name, Edit::Remove)
        }
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

impl AddArgs {
    /// What is written of it: nothing that is a default.
    fn value(&self) -> Value {
        let mut fields = Map::new();
        let mut say = |key: &str, value: Value| {
            let empty = match &value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            };
            if !empty {
                fields.insert(key.to_owned(), value);
            }
        };
        let object = |pairs: &[(String, String)]| {
            let fields = pairs.iter().map(|(key, value)| (key.clone(), json!(value)));
            Value::Object(fields.collect())
        };
        say("command", json!(self.command));
        say("args", json!(self.args));
        say("env", object(&self.env));
        say("cwd", json!(self.cwd));
        say("url", json!(self.url));
        say("headers", object(&self.header));
        let mut filter = Map::new();
        for (key, names) in [("include", &self.include), ("exclude", &self.exclude)] {
            if !names.is_empty() {
                filter.insert(key.to_owned(), json!(names));
            }
        }
        say("toolFilter", Value::Object(filter));
        say("trusted", json!(self.trusted));
        Value::Object(fields)
    }
}

async fn add(setup: &Setup, args: AddArgs) -> anyhow::Result<()> {
    let name = &args.name;
    if setup.config.mcp.servers.contains_key(name) {
        bail!("there is a server `{name}` in `mcp.servers`: change it with `windlass mcp set`");
    }
    write(setup, name, Edit::Set(&args.value()))?;
    if args.no_probe {
        return Ok(());
    }
    let setup = setup.again()?;
    let config = servers::of(name, find(&setup, name)?)?;
    match mcp::probe(&config, &servers::roots(&setup.config)).await {
        Ok(probed) => eprintln!("it answers: {}, {} tools", probed.server, probed.tools.len()),
        Err(why) => eprintln!("warning: it is configured, but does not answer: {why}"),
    }
    Ok(())
}

fn write(setup: &Setup, name: &str, edit: Edit<'_>) -> anyhow::Result<()> {
    let file = setup.edit(&["mcp", "servers", name], edit)?;
    eprintln!("{} is changed; a gateway that runs takes it up at its next start", file.display());
    Ok(())
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
    /// Why it did not start, or was lost, the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Standing {
    /// For people, in a few words.
    pub fn words(&self) -> String {
        let tools = match self.tools {
            _ if !self.enabled => return "switched off".to_owned(),
            None => "never asked for its tools: the next new session does".to_owned(),
            Some(count) => format!("{count} tools"),
        };
        let runs = match &self.pids[..] {
            [] => "not running".to_owned(),
            [pid] => format!("running (pid {pid})"),
            [pid, rest @ ..] => format!("running (pid {pid}, and {} below)", rest.len()),
        };
        match &self.last_error {
            None => format!("{tools}; {runs}"),
            Some(why) => format!("{tools}; {runs}; last error: {}", one_line(why, 200)),
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
            last_error: mcp::last_error(setup.state_dir(), name),
        }
    };
    setup.config.mcp.servers.iter().map(standing).collect()
}

/// The tools of the servers that are switched on, as far as they are known. None is started.
pub fn known_tools(setup: &Setup) -> Option<Arc<Toolbox>> {
    let enabled = setup.config.mcp.servers.iter().filter(|(_, server)| server.enabled);
    let configs =
        enabled.filter_map(|(name, server)| servers::of(name, &without_secrets(server)).ok());
    let configs: Vec<_> = configs.collect();
    if configs.is_empty() {
        return None;
    }
    let mark = mcp::known_mark(setup.state_dir()).unwrap_or_default();
    Some(mcp::Servers::new(configs, setup.state_dir(), mark, None, &[]).toolbox())
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
