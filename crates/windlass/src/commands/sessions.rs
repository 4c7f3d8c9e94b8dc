//! `windlass sessions`: which conversations there are, and what was said in one.

use std::io::Write;

use clap::{Args, Subcommand};
use protocol::Method;
use protocol::chat::ChatHistoryResult;
use protocol::message::{Block, ChatMessage};
use protocol::sessions::{DescribeResult, ListResult, SessionRow};
use serde_json::json;

use crate::client::Client;
use crate::output::{json_lines, one_line, table};
use crate::setup::Setup;

#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List sessions, most recently active first
    List(ListArgs),
    /// Show one session and the newest part of its transcript
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only sessions of this agent
    #[arg(long, value_name = "ID")]
    agent: Option<String>,

    /// Show only sessions with an open run
    #[arg(long)]
    active: bool,

    /// Show at most this many sessions
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    limit: u32,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// `main`, `thread:<name>`, or a full key
    key: String,

    /// Show at most this many messages
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: u32,
}

pub async fn run(
    command: SessionsCommand,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    match command {
        SessionsCommand::List(args) => list(args, setup.json, &mut client, out).await,
        SessionsCommand::Show(args) => show(args, setup, &mut client, out).await,
    }
}

async fn list(
    args: ListArgs,
    json: bool,
    client: &mut Client,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut params = json!({ "limit": args.limit, "activeOnly": args.active });
    if let Some(agent) = &args.agent {
        params["agentId"] = json!(agent);
    }
    let result: ListResult = client.get(Method::SessionsList, params).await?;
    if json {
        return Ok(json_lines(out, &result.sessions)?);
    }
    if result.sessions.is_empty() {
        eprintln!("no sessions; start one with `windlass chat`");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = result.sessions.iter().map(row).collect();
    table(out, &["SESSION", "ACTIVITY", "LAST RUN", "QUEUED", "TOKENS", "LABEL"], &rows)?;
    if result.has_more {
        eprintln!("{} of {} sessions shown; see --limit", result.count, result.total_count);
    }
    Ok(())
}

fn row(session: &SessionRow) -> Vec<String> {
    vec![
        session.key.to_string(),
        session.activity.clone().unwrap_or_default(),
        session.status.map(|status| status.to_string()).unwrap_or_default(),
        session.queued_inputs.to_string(),
        session.total_tokens.to_string(),
        one_line(session.label.as_deref().unwrap_or(""), 40),
    ]
}

async fn show(
    args: ShowArgs,
    setup: &Setup,
    client: &mut Client,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let key = setup.session_key(&args.key, None)?;
    let described: DescribeResult =
        client.get(Method::SessionsDescribe, json!({ "key": key })).await?;
    let Some(session) = described.session else {
        anyhow::bail!("no session {key}; `windlass sessions list` shows which there are");
    };
    let params = json!({ "sessionKey": key, "limit": args.limit });
    let history: ChatHistoryResult = client.get(Method::ChatHistory, params).await?;
    if setup.json {
        json_lines(out, &[session])?;
        return Ok(json_lines(out, &history.messages)?);
    }
    table(
        out,
        &["SESSION", "ACTIVITY", "LAST RUN", "QUEUED", "TOKENS", "LABEL"],
        &[row(&session)],
    )?;
    if let Some(error) = &session.last_run_error {
        writeln!(out, "last run: {error}")?;
    }
    if history.has_more {
        eprintln!("the newest {} of {} messages; see --limit", args.limit, history.total_messages);
    }
    for message in &history.messages {
        writeln!(out)?;
        print_message(message, out)?;
    }
    Ok(())
}

fn print_message(message: &ChatMessage, out: &mut impl Write) -> anyhow::Result<()> {
    let tool = message.tool_name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    writeln!(out, "[{}{tool}]", message.role)?;
    for block in &message.content {
        match block {
            Block::Text { text } => writeln!(out, "{text}")?,
            Block::ToolCall { name, arguments, .. } => writeln!(out, "→ {name} {arguments}")?,
        }
    }
    Ok(())
}
