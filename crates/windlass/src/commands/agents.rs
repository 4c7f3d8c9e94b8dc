//! `windlass agents`: who can be talked to, and how that is changed.

mod live;
mod remove;
mod show;

use std::io::Write;

use clap::{Args, Subcommand};
use machine::policy::Profile;
use serde::Serialize;
use serde_json::{Value, json};
use tools::sandbox::Mode;
use types::{AgentId, Thinking};

use crate::output::{json_lines, one_line, table};
use crate::roster;
use crate::setup::Setup;
use windlass::config::Changed;
use windlass::config::roster::Said;

#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// List the agents of the configuration
    List,
    /// Show all that holds for an agent, each value with the key that decides it
    Show(ShowArgs),
    /// Write a new agent into the configuration
    #[command(visible_alias = "create")]
    Add(AddArgs),
    /// Change what the configuration says of an agent
    Set(SetArgs),
    /// Take an agent out of the configuration; its conversations and its folder stay
    #[command(visible_alias = "delete")]
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The default agent if none
    id: Option<AgentId>,
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// A letter or digit, then up to 63 of `a-z 0-9 _ -`
    id: AgentId,
    #[command(flatten)]
    wishes: Wishes,
    /// As OpenClaw has it: nothing is ever asked here
    #[arg(long, hide = true)]
    non_interactive: bool,
}

#[derive(Debug, Args)]
pub struct SetArgs {
    /// As in `agents.entries`
    id: AgentId,
    #[command(flatten)]
    wishes: Wishes,
    /// Take out what is said under these keys of its entry, so that the defaults hold: `model`
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    unset: Vec<Key>,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// As in `agents.entries`
    id: AgentId,
    /// Also take its name out of where others name it, such as `allowAgents`
    #[arg(long)]
    drop_references: bool,
    /// Do not ask
    #[arg(long, short, visible_alias = "force")]
    yes: bool,
}

/// What can be said of an agent.
#[derive(Debug, Args)]
struct Wishes {
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// What it is good for, as other agents read it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// `provider/model`, or an alias
    #[arg(long)]
    model: Option<String>,
    /// A model that is asked when that one cannot be; repeat for more
    #[arg(long, value_name = "MODEL", requires = "model")]
    fallback: Vec<String>,
    /// How long its model thinks
    #[arg(long, value_name = "LEVEL")]
    thinking: Option<Thinking>,
    /// The folder that it works in; one of its own in the state folder if none
    #[arg(long, value_name = "DIR")]
    workspace: Option<String>,
    /// The tools that it begins with: minimal, coding, messaging, full
    #[arg(long, value_name = "PROFILE")]
    tools_profile: Option<Profile>,
    /// The walls around its commands: off, workspace, strict
    #[arg(long, value_name = "MODE")]
    sandbox: Option<Mode>,
    /// The skills that it may use, and no others
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    skills: Vec<String>,
    /// As which other agents it may start sub-agents; `*` is all
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    allow_agents: Vec<String>,
    /// Make it the agent of whoever names none
    #[arg(long)]
    default: bool,
}

types::word_enum! {
    /// A key of an agent's entry that can be taken out.
    enum Key {
        Name = "name",
        Description = "description",
        Model = "model",
        Thinking = "thinkingDefault",
        Workspace = "workspace",
        Profile = "tools.profile",
        Sandbox = "tools.exec.sandbox",
        Skills = "skills",
        AllowAgents = "subagents.allowAgents",
    }
}

impl Wishes {
    fn said(&self) -> anyhow::Result<Said> {
        let mut said = Said::new();
        let mut say = |key: Key, value: Option<Value>| {
            said.extend(value.map(|value| (key.as_str(), Some(value))));
        };
        say(Key::Name, self.name.as_ref().map(|text| json!(text)));
        say(Key::Description, self.description.as_ref().map(|text| json!(text)));
        say(
            Key::Model,
            self.model.as_ref().map(|primary| match &self.fallback[..] {
                [] => json!(primary),
                fallbacks => json!({ "primary": primary, "fallbacks": fallbacks }),
            }),
        );
        say(Key::Thinking, self.thinking.map(|level| json!(level.as_str())));
        // Here it is meant from where the person stands, in the file from where that lies.
        let folder = self.workspace.as_ref().map(|folder| match folder.starts_with("~/") {
            true => Ok(json!(folder)),
            false => std::path::absolute(folder).map(|folder| json!(folder)),
        });
        say(Key::Workspace, folder.transpose()?);
        say(Key::Profile, self.tools_profile.map(|profile| json!(profile.to_string())));
        say(Key::Sandbox, self.sandbox.map(|mode| json!(mode.to_string())));
        let list = |names: &Vec<String>| (!names.is_empty()).then(|| json!(names));
        say(Key::Skills, list(&self.skills));
        say(Key::AllowAgents, list(&self.allow_agents));
        Ok(said)
    }
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

pub async fn run(
    command: AgentsCommand,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match command {
        AgentsCommand::List => list(setup, out),
        AgentsCommand::Show(args) => show::run(args.id, setup, out).await,
        AgentsCommand::Add(args) => add(&args, setup, out).await,
        AgentsCommand::Set(args) => set(&args, setup, out).await,
        AgentsCommand::Remove(args) => remove::run(&args, setup, out).await,
    }
}

async fn add(args: &AddArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let AddArgs { id, wishes, .. } = args;
    let changed = roster::add(setup, id, &wishes.said()?, wishes.default)?;
    report(id, &changed, "added", setup, out).await
}

async fn set(args: &SetArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let SetArgs { id, wishes, unset } = args;
    let mut said = wishes.said()?;
    for key in unset {
        if said.iter().any(|(other, _)| *other == key.as_str()) {
            anyhow::bail!("`{key}` is to be set and taken out: say one of both");
        }
        said.push((key.as_str(), None));
    }
    let changed = roster::update(setup, id, &said, wishes.default)?;
    report(id, &changed, "changed", setup, out).await
}

/// Says what the file says now, and whether it holds already.
async fn report(
    id: &AgentId,
    changed: &Changed<()>,
    what: &str,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let now = setup.again()?;
    let row = rows(&now)?.into_iter().find(|row| row.id == *id);
    if setup.json {
        json_lines(out, row.as_slice())?;
    } else if let Some(Row { model, workspace, default, .. }) = row {
        let model = model.filter(|model| !model.is_empty());
        let model = model.map_or("no model".to_owned(), |model| format!("model {model}"));
        let default = if default { ", the default" } else { "" };
        writeln!(out, "agent {id} is {what}{default}: {model}, works in {workspace}")?;
    }
    for sharer in roster::sharers(&changed.config, id) {
        eprintln!("note: agent {sharer} works in the same folder");
    }
    for warning in changed.warnings.iter().filter(|known| !setup.warnings.contains(known)) {
        eprintln!("warning: {warning}");
    }
    eprintln!("{}: {}", changed.file.display(), live::words(&now, id, true).await);
    Ok(())
}

fn rows(setup: &Setup) -> anyhow::Result<Vec<Row>> {
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
    Ok(entries.collect())
}

fn list(setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let rows = rows(setup)?;
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
