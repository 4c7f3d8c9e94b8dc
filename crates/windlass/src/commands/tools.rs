//! `windlass tools`: what tools there are, and which of them a session has.

use std::io::Write;

use clap::{Args, Subcommand};
use protocol::Method;
use protocol::tools::{CatalogResult, EffectiveResult};
use serde_json::json;

use crate::client::Client;
use crate::output::{json_lines, one_line, table};
use crate::setup::Setup;

#[derive(Debug, Subcommand)]
pub enum ToolsCommand {
    /// List the tools that there are, with the groups that a policy can name
    List,
    /// Say of each tool whether a session has it, and which rule took it away if not
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// `main`, `thread:<name>`, or a full key
    #[arg(long, value_name = "KEY", required_unless_present = "agent")]
    session: Option<String>,

    /// A session that is not there yet: of this agent
    #[arg(long, value_name = "ID", conflicts_with = "session")]
    agent: Option<String>,

    /// With --agent: so many levels below a person's session
    #[arg(long, default_value_t = 0, value_name = "N", conflicts_with = "session")]
    depth: u32,

    /// With --agent: spawned with access "read-only"
    #[arg(long, conflicts_with = "session")]
    read_only: bool,

    /// With --agent: on this model instead of the configured one
    #[arg(long, value_name = "MODEL", conflicts_with = "session")]
    model: Option<String>,
}

pub async fn run(command: ToolsCommand, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    match command {
        ToolsCommand::List => list(setup.json, &mut client, out).await,
        ToolsCommand::Explain(args) => explain(args, setup, &mut client, out).await,
    }
}

async fn list(json: bool, client: &mut Client, out: &mut impl Write) -> anyhow::Result<()> {
    let result: CatalogResult = client.get(Method::ToolsCatalog, json!({})).await?;
    if json {
        return Ok(json_lines(out, &[result])?);
    }
    let rows = result.groups.iter().flat_map(|group| {
        group.tools.iter().map(|tool| {
            vec![
                tool.id.clone(),
                format!("group:{}", group.id),
                tool.effect.to_string(),
                tool.default_profiles.join(" "),
                one_line(&tool.description, 60),
            ]
        })
    });
    let rows: Vec<Vec<String>> = rows.collect();
    Ok(table(out, &["TOOL", "GROUP", "EFFECT", "PROFILES", ""], &rows)?)
}

async fn explain(
    args: ExplainArgs,
    setup: &Setup,
    client: &mut Client,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let params = match &args.session {
        Some(key) => json!({ "sessionKey": setup.session_key(key, None)? }),
        None => json!({
            "agentId": args.agent,
            "depth": args.depth,
            "access": if args.read_only { "read-only" } else { "full" },
            "model": args.model,
        }),
    };
    let result: EffectiveResult = client.get(Method::ToolsEffective, params).await?;
    if setup.json {
        return Ok(json_lines(out, &[result])?);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for tool in result.groups.iter().flat_map(|group| &group.tools) {
        rows.push(vec![tool.id.clone(), "yes".to_owned(), String::new(), String::new()]);
    }
    for removed in &result.removed {
        let why = match (&removed.key, &removed.value) {
            (Some(key), Some(value)) if removed.rule != "episode" => format!("{key} is {value}"),
            _ => removed.why.clone(),
        };
        rows.push(vec![removed.id.clone(), "no".to_owned(), removed.rule.clone(), why]);
    }
    let whose = result.session_key.map_or_else(
        || format!("a session of agent {} at depth {}", result.agent_id, result.depth),
        |key| key.to_string(),
    );
    let (role, access, profile) = (&result.role, result.access, &result.profile);
    let model = &result.model;
    eprintln!("{whose}: role {role}, access {access}, profile {profile}, model {model}");
    Ok(table(out, &["TOOL", "HAS IT", "RULE", "WHY NOT"], &rows)?)
}
