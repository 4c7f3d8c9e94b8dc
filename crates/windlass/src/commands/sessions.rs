//! `windlass sessions`: which conversations there are, and what was said in one.

use std::io::Write;

use clap::{Args, Subcommand};
use protocol::administer::{ChangedResult, CompactResult, DeleteResult};
use protocol::chat::ChatHistoryResult;
use protocol::message::{Block, ChatMessage};
use protocol::receipt::{MessageResult, WaitsFor};
use protocol::sessions::{DescribeResult, ListResult, SessionRow};
use protocol::{Method, Scope};
use serde_json::{Value, json};
use types::MessageId;

use crate::client::Client;
use crate::output::{json_lines, one_line, table};
use crate::setup::Setup;

#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List sessions, most recently active first
    List(ListArgs),
    /// Show one session and the newest part of its transcript
    Show(ShowArgs),
    /// Show how far one message has come: `sessions_send` returns its id
    Message(MessageArgs),
    /// Give a session a title; without one, take it away
    Rename(RenameArgs),
    /// Stop a session with all its sub-agents, and begin it anew under the same key
    Reset(ResetArgs),
    /// Summarise what was said so far, and let the session go on with that
    Compact(CompactArgs),
    /// Put a session away: it is kept, and takes nothing in until it is restored
    Archive(KeyArgs),
    /// Take an archived session back
    Restore(KeyArgs),
    /// Stop a session with all its sub-agents, and take it out of sight for good
    Delete(KeyArgs),
}

#[derive(Debug, Args)]
pub struct KeyArgs {
    /// `main`, `thread:<name>`, or a full key
    key: String,
}

#[derive(Debug, Args)]
pub struct MessageArgs {
    /// The message's id, such as `msg_0193a5f06c7e7cc2a1b2d3e4f5a6b7c8`
    id: MessageId,
}

#[derive(Debug, Args)]
pub struct RenameArgs {
    /// `main`, `thread:<name>`, or a full key
    key: String,

    /// The title
    label: Option<String>,
}

#[derive(Debug, Args)]
pub struct ResetArgs {
    /// `main`, `thread:<name>`, or a full key
    key: String,

    /// Only if this is its transcript still
    #[arg(long, value_name = "ID")]
    session_id: Option<String>,
}

#[derive(Debug, Args)]
pub struct CompactArgs {
    /// `main`, `thread:<name>`, or a full key
    key: String,

    /// What matters above all, and must be in the summary
    #[arg(long, value_name = "TEXT")]
    hint: Option<String>,
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
pub struct ThreadsArgs {
    /// Show only those of this agent
    #[arg(long, value_name = "ID")]
    agent: Option<String>,

    /// Show at most this many
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: u32,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// `main`, `thread:<name>`, or a full key
    key: String,

    /// Show this earlier transcript: /new and /reset begin others
    #[arg(long, value_name = "ID")]
    session_id: Option<String>,

    /// Show at most this many messages
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: u32,
}

pub async fn run(
    command: SessionsCommand,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let target = setup.target()?;
    match command {
        SessionsCommand::List(args) => {
            list(args, setup.json, &mut Client::connect(&target).await?, out).await
        }
        SessionsCommand::Show(args) => {
            show(args, setup, &mut Client::connect(&target).await?, out).await
        }
        SessionsCommand::Message(args) => message(args, setup, out).await,
        SessionsCommand::Rename(args) => {
            let key = setup.session_key(&args.key, None)?;
            let patch = json!({ "key": key, "label": args.label });
            change(setup, Method::SessionsPatch, patch, "renamed", out).await
        }
        SessionsCommand::Archive(args) => {
            let patch = json!({ "key": setup.session_key(&args.key, None)?, "archived": true });
            change(setup, Method::SessionsPatch, patch, "archived", out).await
        }
        SessionsCommand::Restore(args) => {
            let patch = json!({ "key": setup.session_key(&args.key, None)?, "archived": false });
            change(setup, Method::SessionsPatch, patch, "restored", out).await
        }
        SessionsCommand::Reset(args) => {
            let key = setup.session_key(&args.key, None)?;
            let params = json!({ "key": key, "expectedSessionId": args.session_id });
            change(setup, Method::SessionsReset, params, "reset", out).await
        }
        SessionsCommand::Compact(args) => compact(args, setup, out).await,
        SessionsCommand::Delete(args) => delete(args, setup, out).await,
    }
}

/// Shows where a message is, and what was answered.
async fn message(args: MessageArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    let params = json!({ "messageId": args.id });
    let found: MessageResult = client.get(Method::SessionsMessage, params).await?;
    if setup.json {
        return Ok(json_lines(out, &[found])?);
    }
    let MessageResult { message_id, session_key, state, kind, inbox, .. } = &found;
    writeln!(out, "{message_id}  {state}  {kind} message, {inbox} in {session_key}")?;
    if let Some(run) = &found.run_id {
        writeln!(out, "{run}  {}", found.outcome.as_deref().unwrap_or("open"))?;
    }
    if let Some(reply) = &found.reply {
        writeln!(out, "{reply}")?;
    }
    Ok(())
}

/// Changes a session, and says what it is now.
async fn change(
    setup: &Setup,
    method: Method,
    params: Value,
    done: &str,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut client = administrator(setup, method).await?;
    let changed: ChangedResult = client.get(method, params).await?;
    if setup.json {
        return Ok(json_lines(out, &[changed])?);
    }
    writeln!(out, "{} {done}; its transcript is {}", changed.key, changed.session_id)?;
    if !changed.run_ids.is_empty() {
        eprintln!("stopped: {}", changed.run_ids.join(", "));
    }
    Ok(())
}

/// Connects with the right that the method needs.
async fn administrator(setup: &Setup, method: Method) -> anyhow::Result<Client> {
    let scope = method.scope().unwrap_or(Scope::Read);
    Client::connect_as(&setup.target()?, &[Scope::Read, scope]).await
}

async fn delete(args: KeyArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let key = setup.session_key(&args.key, None)?;
    let method = Method::SessionsDelete;
    let mut client = administrator(setup, method).await?;
    let gone: DeleteResult = client.get(method, json!({ "key": key })).await?;
    if !gone.deleted {
        anyhow::bail!("no session {key}; `windlass sessions list` shows which there are");
    }
    if setup.json {
        return Ok(json_lines(out, &[gone])?);
    }
    Ok(writeln!(out, "{key} deleted")?)
}

/// Gives the order; what has come of it is an event, and a line of the journal.
async fn compact(args: CompactArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let method = Method::SessionsCompact;
    let mut client = administrator(setup, method).await?;
    let key = setup.session_key(&args.key, None)?;
    let params = json!({ "key": key, "hint": args.hint });
    let ordered: CompactResult = client.get(method, params).await?;
    if setup.json {
        return Ok(json_lines(out, &[ordered])?);
    }
    Ok(writeln!(out, "{}", ordered.note)?)
}

/// `windlass threads`: the named conversations, and what they are about.
pub async fn threads(args: ThreadsArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    let mut params = json!({
        "limit": args.limit, "search": ":thread:", "includeDerivedTitles": true,
    });
    if let Some(agent) = &args.agent {
        params["agentId"] = json!(agent);
    }
    let mut result: ListResult = client.get(Method::SessionsList, params).await?;
    // A conversation of a channel may have threads of its own.
    result.sessions.retain(|session| matches!(session.key.scope, types::Scope::Thread(_)));
    if setup.json {
        return Ok(json_lines(out, &result.sessions)?);
    }
    if result.sessions.is_empty() {
        eprintln!(
            "no named conversations; begin one with `windlass chat --session-key thread:NAME`"
        );
        return Ok(());
    }
    let rows: Vec<Vec<String>> = result.sessions.iter().map(thread).collect();
    Ok(table(out, &["THREAD", "AGENT", "ACTIVITY", "ABOUT"], &rows)?)
}

fn thread(session: &SessionRow) -> Vec<String> {
    let about = session.label.as_deref().or(session.derived_title.as_deref()).unwrap_or("");
    let archived = session.lifecycle.as_deref().filter(|word| *word != "open");
    vec![
        session.key.scope.to_string(),
        session.agent_id.to_string(),
        archived.or(session.activity.as_deref()).unwrap_or_default().to_owned(),
        one_line(about, 80),
    ]
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
        used(session),
        one_line(session.label.as_deref().unwrap_or(""), 40),
    ]
}

/// What the next request holds, of what it may.
fn used(session: &SessionRow) -> String {
    match session.context_tokens {
        Some(window) => format!("{}/{window}", session.total_tokens),
        None => session.total_tokens.to_string(),
    }
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
    let params = json!({ "sessionKey": key, "limit": args.limit, "sessionId": args.session_id });
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
    if let Some(wait) = &session.waits_for {
        writeln!(out, "{}", waits(wait))?;
    }
    if let Some(error) = &session.last_run_error {
        writeln!(out, "last run: {error}")?;
    }
    for earlier in described.transcripts.iter().filter(|row| row.ended_at.is_some()) {
        let (id, messages) = (&earlier.session_id, earlier.messages);
        let why = earlier.end_reason.as_deref().unwrap_or("reset");
        writeln!(out, "earlier: {id}, {messages} messages, ended by /{why}")?;
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

/// What a session waits for, in one line.
fn waits(wait: &WaitsFor) -> String {
    let ids = |ids: &[String]| ids.join(", ");
    let tasks: Vec<String> = wait.task_ids.iter().map(ToString::to_string).collect();
    let messages: Vec<String> = wait.message_ids.iter().map(ToString::to_string).collect();
    match (&wait.kind[..], tasks.len(), messages.len()) {
        ("children", 1.., _) => {
            format!("waits for the end of {} of {}: {}", wait.need, tasks.len(), ids(&tasks))
        }
        (_, _, 1..) => format!("waits for the answer to {}", ids(&messages)),
        ("children", ..) => "waits for a message".to_owned(),
        ("retry", ..) => "waits for another try of its model call".to_owned(),
        ("gate", ..) => "waits for its provider; see `windlass status`".to_owned(),
        ("budget", ..) => "waits for its budget; see `windlass budget list`".to_owned(),
        (kind, ..) => format!("waits for {kind}"),
    }
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
