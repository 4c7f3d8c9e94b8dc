//! `windlass models`: which models there are, which is asked, and another for a conversation.

mod probe;

use std::io::Write;

use clap::{Args, Subcommand};
use machine::Limits;
use machine::failover;
use protocol::Method;
use protocol::health::Status;
use protocol::models::{AuthState, ModelRow};
use serde::Serialize;
use serde_json::json;
use types::AgentId;

use crate::client::Client;
use crate::commands::status::gate_line;
use crate::output::{json_lines, table};
use crate::setup::Setup;
use crate::wire::models::keys;
use windlass::config::presets;

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models that can be asked
    List(ListArgs),
    /// Show which model each agent asks, what is asked in its place, and which gates are closed
    Status(AgentArgs),
    /// Ask another model in a conversation, from its next call on
    Set(SetArgs),
    /// List other names of models
    Aliases,
    /// List what is asked in the place of each agent's model
    Fallbacks(AgentArgs),
    /// Find out whether a model is fit to orchestrate: it is given work, and watched
    ///
    /// Three short cases are played against the real provider, in a gateway of their own. The
    /// sub-agents are played by a script and cost nothing. What the model may cost is said first
    /// and never passed. The exit code is 0 for a model that is fit, or fit with care, and 3 for
    /// one that is not.
    Probe(probe::ProbeArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this provider
    #[arg(long, value_name = "ID")]
    provider: Option<String>,
}

#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Only this agent
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
}

#[derive(Debug, Args)]
pub struct SetArgs {
    /// `provider/model`, an alias, or `default` for the one that is configured
    model: String,

    /// `main`, `thread:<name>`, or a full key
    #[arg(long, default_value = "main", value_name = "KEY")]
    session_key: String,

    /// The agent whose session is meant
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
}

pub async fn run(
    command: ModelsCommand,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match command {
        ModelsCommand::List(args) => list(&args, setup, out),
        ModelsCommand::Status(args) => status(&args, setup, out).await,
        ModelsCommand::Set(args) => set(&args, setup, out).await,
        ModelsCommand::Aliases => aliases(setup, out),
        ModelsCommand::Fallbacks(args) => fallbacks(&args, setup, out),
        ModelsCommand::Probe(args) => probe::run(args, setup, out).await,
    }
}

/// A model, and whether it can be asked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(flatten)]
    model: ModelRow,
    key: AuthState,
}

fn list(args: &ListArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let limits = setup.limits()?;
    let mut rows = Vec::new();
    for reference in limits.model_names() {
        let (provider, id) = reference.split_once('/').unwrap_or(("", reference));
        if args.provider.as_ref().is_some_and(|wanted| wanted != provider) {
            continue;
        }
        let alias = limits.aliases.iter().find(|(_, of)| of.as_str() == reference);
        let model = ModelRow {
            id: id.to_owned(),
            name: id.to_owned(),
            provider: provider.to_owned(),
            alias: alias.map(|(alias, _)| alias.clone()),
            context_window: limits.models.get(reference).copied().unwrap_or(0),
            reasoning: failover::thinks(&limits, reference),
        };
        rows.push(Row { model, key: key_of(setup, provider) });
    }
    if setup.json {
        return Ok(json_lines(out, &rows)?);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|Row { model, key }| {
            vec![
                format!("{}/{}", model.provider, model.id),
                model.alias.clone().unwrap_or_default(),
                model.context_window.to_string(),
                if model.reasoning { "yes" } else { "no" }.to_owned(),
                key_words(&model.provider, *key),
            ]
        })
        .collect();
    if cells.is_empty() {
        eprintln!("{}", runtime::NO_MODEL);
    }
    Ok(table(out, &["MODEL", "ALIAS", "WINDOW", "THINKS", "KEY"], &cells)?)
}

fn key_of(setup: &Setup, provider: &str) -> AuthState {
    let keys = keys(&setup.config).into_iter().find(|keys| keys.id == provider);
    match keys {
        Some(keys) if !keys.accounts.is_empty() => AuthState::Static,
        Some(keys) if keys.wants_key => AuthState::Missing,
        _ => AuthState::Ok,
    }
}

fn key_words(provider: &str, key: AuthState) -> String {
    match (key, presets::find(provider)) {
        (AuthState::Static, _) => "there".to_owned(),
        (AuthState::Missing, Some(preset)) => format!("missing: set {}", preset.key_words()),
        (AuthState::Missing, None) => "missing".to_owned(),
        (AuthState::Ok, _) => "not wanted".to_owned(),
    }
}

fn aliases(setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let limits = setup.limits()?;
    if setup.json {
        return Ok(json_lines(out, &[&limits.aliases])?);
    }
    let aliases = limits.aliases.iter();
    let rows: Vec<Vec<String>> = aliases.map(|(a, of)| vec![a.clone(), of.clone()]).collect();
    if rows.is_empty() {
        eprintln!("no aliases; name one in agents.defaults.models.<provider/model>.alias");
    }
    Ok(table(out, &["ALIAS", "MODEL"], &rows)?)
}

/// Which models an agent asks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfAgent {
    agent: AgentId,
    model: String,
    fallbacks: Vec<String>,
    /// Of its sub-agents, if another.
    child_model: Option<String>,
    child_fallbacks: Vec<String>,
    thinking: Option<types::Thinking>,
}

fn of_agents(args: &AgentArgs, limits: &Limits) -> anyhow::Result<Vec<OfAgent>> {
    if let Some(agent) = &args.agent
        && !limits.agents.contains_key(agent)
    {
        anyhow::bail!("no agent `{agent}` in agents.entries");
    }
    let wanted = |id: &AgentId| args.agent.as_ref().is_none_or(|wanted| wanted == id);
    let agents = limits.agents.iter().filter(|(id, _)| wanted(id));
    let rows = agents.map(|(id, agent)| OfAgent {
        agent: id.clone(),
        model: agent.model.clone(),
        fallbacks: agent.fallbacks.clone(),
        child_model: agent.child_model.clone(),
        child_fallbacks: agent.child_fallbacks.clone(),
        thinking: agent.thinking.or(limits.thinking),
    });
    Ok(rows.collect())
}

fn print_agents(rows: &[OfAgent], out: &mut impl Write) -> anyhow::Result<()> {
    let mut cells = Vec::new();
    for row in rows {
        let thinking = row.thinking.map_or("default".to_owned(), |level| level.to_string());
        let model = if row.model.is_empty() { "none".to_owned() } else { row.model.clone() };
        cells.push(vec![row.agent.to_string(), model, thinking, row.fallbacks.join(", ")]);
        if let Some(child) = &row.child_model {
            let name = format!("{} (sub-agents)", row.agent);
            cells.push(vec![name, child.clone(), String::new(), row.child_fallbacks.join(", ")]);
        }
    }
    Ok(table(out, &["AGENT", "MODEL", "THINKING", "IN ITS PLACE"], &cells)?)
}

fn fallbacks(args: &AgentArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let rows = of_agents(args, &setup.limits()?)?;
    if setup.json {
        return Ok(json_lines(out, &rows)?);
    }
    if rows.iter().all(|row| row.fallbacks.is_empty() && row.child_fallbacks.is_empty()) {
        eprintln!("no fallbacks; name some in agents.defaults.model.fallbacks");
    }
    print_agents(&rows, out)
}

async fn status(args: &AgentArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let rows = of_agents(args, &setup.limits()?)?;
    // The configuration can be read without a gateway; what is closed only it knows.
    let asked = async {
        let mut client = Client::connect(&setup.target()?).await?;
        client.get::<Status>(Method::Status, json!({})).await
    };
    let gates = asked.await;
    if setup.json {
        let gates = gates.as_ref().map(|status| status.gates.as_slice()).unwrap_or_default();
        let whole = json!({ "agents": rows, "gates": gates, "providers": providers(setup) });
        return Ok(writeln!(out, "{whole}")?);
    }
    print_agents(&rows, out)?;
    for (provider, words) in providers(setup) {
        writeln!(out, "key of {provider}: {words}")?;
    }
    match gates {
        Ok(status) if status.gates.is_empty() => writeln!(out, "all gates are open")?,
        Ok(status) => {
            for gate in &status.gates {
                writeln!(out, "{}", gate_line(gate, status.ts))?;
            }
        }
        Err(error) => eprintln!("what is closed is not known: {error:#}"),
    }
    Ok(())
}

/// The providers of the models that can be asked, and whether their keys are there.
fn providers(setup: &Setup) -> std::collections::BTreeMap<String, String> {
    let limits = setup.limits().unwrap_or_default();
    let ids = limits.model_names().filter_map(|model| model.split_once('/'));
    ids.map(|(id, _)| (id.to_owned(), key_words(id, key_of(setup, id)))).collect()
}

async fn set(args: &SetArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let key = setup.session_key(&args.session_key, args.agent.as_deref())?;
    let model = Some(&args.model).filter(|model| !model.eq_ignore_ascii_case("default"));
    let mut client = Client::connect(&setup.target()?).await?;
    let params = json!({ "key": key, "model": model });
    let changed = client.call(Method::SessionsPatch, params).await?;
    if setup.json {
        return Ok(writeln!(out, "{changed}")?);
    }
    let word = model.map_or("the configured model", String::as_str);
    Ok(writeln!(out, "{key} asks {word} from its next call on")?)
}
