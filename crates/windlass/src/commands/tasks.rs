//! `windlass tasks` and `windlass subagents`: delegated work, as a list and as a tree.

use std::collections::HashMap;
use std::io::Write;

use clap::{Args, Subcommand};
use protocol::Method;
use protocol::audit::{AuditFinding, AuditResult, RedeliverResult};
use protocol::tasks::{
    RetryStatus, SubagentsListResult, TaskGetResult, TaskRetryResult, TaskRuntime, TaskStatus,
    TasksListResult,
};
use serde_json::{Value, json};
use types::TaskId;

use crate::client::Client;
use crate::commands::flow::{self, FlowCommand};
use crate::output::{json_lines, one_line, table};
use crate::setup::Setup;

#[derive(Debug, Subcommand)]
pub enum TasksCommand {
    /// List tasks, newest first
    List(TasksArgs),
    /// Show a task, and those below it
    Show(TaskArgs),
    /// Stop a task and everything below it
    Cancel(TaskArgs),
    /// Carry a task again that has ended without being completed: its session goes on with it
    Retry(RetryArgs),
    /// Find every task, run and message that lies or hangs, and the command that puts it right;
    /// exits with 1 if there is any
    Audit,
    /// Bring the result of a task that has reached nobody to whoever stands for its requester now
    Redeliver(TaskArgs),
    /// Look at declared flows, and stop them
    #[command(subcommand)]
    Flow(FlowCommand),
}

#[derive(Debug, Args)]
pub struct TasksArgs {
    /// Show only tasks in these states: queued, running, completed, failed, cancelled, timed_out
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    status: Vec<TaskStatus>,

    /// Show only tasks that a session of this agent carries
    #[arg(long, value_name = "ID")]
    agent: Option<String>,

    /// Show only tasks that this session has asked for or carries
    #[arg(long, value_name = "KEY")]
    session: Option<String>,

    /// Show only tasks of this kind: subagent, cli, flow, flow_node
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<TaskRuntime>,

    /// Show only tasks of the tree that this session belongs to
    #[arg(long, value_name = "KEY")]
    tree: Option<String>,

    /// Show at most this many tasks
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: u32,

    /// Go on where another page ended: with the tasks older than this one
    #[arg(long, value_name = "ID")]
    before: Option<TaskId>,
}

#[derive(Debug, Args)]
pub struct TaskArgs {
    /// The task's id
    id: TaskId,
}

#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The task's id, or that of any attempt at it
    id: TaskId,

    /// Begin one attempt under this key, however often it is asked for
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum SubagentsCommand {
    /// List sub-agents, as the trees that they form
    List(SubagentsArgs),
}

#[derive(Debug, Args)]
pub struct SubagentsArgs {
    /// Show only those below this session
    #[arg(long, value_name = "KEY")]
    session_key: Option<String>,

    /// Show those that have ended, too
    #[arg(long)]
    all: bool,

    /// Show at most this many sub-agents
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: u32,
}

fn status(text: &str) -> Result<TaskStatus, String> {
    let words: Vec<&str> = TaskStatus::ALL.iter().map(|word| word.as_str()).collect();
    text.parse().map_err(|_| format!("there is no such status; there are: {}", words.join(", ")))
}

fn kind(text: &str) -> Result<TaskRuntime, String> {
    let words: Vec<&str> = TaskRuntime::ALL.iter().map(|word| word.as_str()).collect();
    text.parse().map_err(|_| format!("there is no such kind; there are: {}", words.join(", ")))
}

/// The parameters of `tasks.list` that were asked for.
fn asked(args: &TasksArgs, setup: &Setup) -> anyhow::Result<Value> {
    let mut params = json!({ "limit": args.limit });
    if !args.status.is_empty() {
        params["status"] = json!(args.status);
    }
    if let Some(agent) = &args.agent {
        params["agentId"] = json!(agent);
    }
    for (name, key) in [("sessionKey", &args.session), ("treeSessionKey", &args.tree)] {
        if let Some(key) = key {
            params[name] = json!(setup.session_key(key, None)?);
        }
    }
    if let Some(kind) = args.kind {
        params["runtime"] = json!(kind);
    }
    if let Some(before) = args.before {
        params["cursor"] = json!(before);
    }
    Ok(params)
}

pub async fn tasks(
    command: TasksCommand,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let args = match command {
        TasksCommand::List(args) => args,
        TasksCommand::Show(args) => return show(args, setup, out).await,
        TasksCommand::Cancel(args) => {
            let mut client = Client::connect(&setup.target()?).await?;
            let done = client.get(Method::TasksCancel, json!({ "taskId": args.id })).await?;
            return flow::cancelled(&done, setup, out);
        }
        TasksCommand::Retry(args) => return retry(args, setup, out).await,
        TasksCommand::Audit => return audit(setup, out).await,
        TasksCommand::Redeliver(args) => return redeliver(args, setup, out).await,
        TasksCommand::Flow(command) => return flow::run(command, setup, out).await,
    };
    let mut client = Client::connect(&setup.target()?).await?;
    let params = asked(&args, setup)?;
    let result: TasksListResult = client.get(Method::TasksList, params).await?;
    if let Some(last) = &result.next_cursor {
        eprintln!("there are more; see --limit, or go on with --before {last}");
    }
    if setup.json {
        return Ok(json_lines(out, &result.tasks)?);
    }
    if result.tasks.is_empty() {
        eprintln!("no tasks");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = result
        .tasks
        .iter()
        .map(|task| {
            vec![
                task.id.to_string(),
                task.status.to_string(),
                task.child_session_key.to_string(),
                one_line(task.error.as_deref().or(task.title.as_deref()).unwrap_or(""), 60),
            ]
        })
        .collect();
    Ok(table(out, &["TASK", "STATUS", "SESSION", "TITLE"], &rows)?)
}

/// Carries a task again, and says by whom and for whom.
async fn retry(args: RetryArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    let mut params = json!({ "taskId": args.id });
    if let Some(key) = args.idempotency_key {
        params["idempotencyKey"] = json!(key);
    }
    let begun: TaskRetryResult = client.get(Method::TasksRetry, params).await?;
    if setup.json {
        return Ok(json_lines(out, &[begun])?);
    }
    writeln!(out, "{}  attempt {}  {}", begun.task_id, begun.attempt, begun.session_key)?;
    if begun.status == RetryStatus::Duplicate {
        eprintln!("{}", begun.note);
    }
    Ok(())
}

/// Prints what lies or hangs. Nothing found is the exit code 0.
async fn audit(setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    let found: AuditResult = client.get(Method::TasksAudit, json!({})).await?;
    if setup.json {
        json_lines(out, &found.findings)?;
    } else {
        for finding in &found.findings {
            let AuditFinding { severity, fault, what, fix, .. } = finding;
            writeln!(out, "{severity}  {fault}  {what}\n    {fix}")?;
        }
    }
    match found.findings.len() {
        0 => {
            eprintln!("nothing lies, and nothing hangs");
            Ok(())
        }
        count => anyhow::bail!("{count} findings; the line below each is the command for it"),
    }
}

async fn redeliver(args: TaskArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    let params = json!({ "taskId": args.id });
    let done: RedeliverResult = client.get(Method::TasksRedeliver, params).await?;
    if setup.json {
        return Ok(json_lines(out, &[done])?);
    }
    Ok(writeln!(out, "{} {} to {}", done.task_id, done.status, done.session_key)?)
}

/// Prints a task: how it stands, how to go on with it, and what is below it.
async fn show(args: TaskArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    let shown: TaskGetResult = client.get(Method::TasksGet, json!({ "taskId": args.id })).await?;
    if setup.json {
        return Ok(json_lines(out, &[shown])?);
    }
    let task = &shown.task;
    writeln!(out, "{}  {}  {}", task.id, task.runtime, task.status)?;
    writeln!(out, "session    {}", task.child_session_key)?;
    writeln!(out, "requester  {}", task.session_key)?;
    if let Some(run) = task.run_id.filter(|_| task.runtime != "flow") {
        writeln!(out, "run        {run}")?;
    }
    if let Some(flow) = task.flow_id {
        writeln!(out, "flow       {flow}")?;
    }
    if let Some(before) = task.retry_of {
        writeln!(out, "attempt    {}, after {before}", task.attempt)?;
    }
    if let Some(error) = &task.error {
        writeln!(out, "error      {error}")?;
    }
    writeln!(out, "{}", shown.note)?;
    if !task.status.is_open() && task.runtime != "flow" {
        let key = &task.child_session_key;
        if task.status != TaskStatus::Completed && task.runtime != "flow_node" {
            writeln!(out, "carry it again with: windlass tasks retry {}", task.id)?;
        }
        writeln!(out, "continue it with: windlass agent --session-key {key} --message …")?;
    }
    if let Some(card) = &shown.progress_card {
        writeln!(out, "{card}")?;
    }
    for below in &shown.below {
        let title = one_line(below.title.as_deref().unwrap_or(""), 60);
        writeln!(out, "  {}  {}  {title}", below.id, below.status)?;
    }
    flow::stop_report(out, &shown.stop)?;
    if let Some(result) = &shown.result {
        writeln!(out, "\n{result}")?;
    }
    Ok(())
}

pub async fn subagents(
    command: SubagentsCommand,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let SubagentsCommand::List(args) = command;
    let mut client = Client::connect(&setup.target()?).await?;
    let mut params = json!({ "includeEnded": args.all, "limit": args.limit });
    if let Some(key) = &args.session_key {
        params["sessionKey"] = json!(setup.session_key(key, None)?);
    }
    let result: SubagentsListResult = client.get(Method::SubagentsList, params).await?;
    if setup.json {
        return Ok(json_lines(out, &result.subagents)?);
    }
    if result.subagents.is_empty() {
        let hint = if args.all { "" } else { "; see --all for those that have ended" };
        eprintln!("no sub-agents{hint}");
    }
    let mut indents: HashMap<TaskId, usize> = HashMap::new();
    // A row comes after its parent. One whose parent is not shown stands at the margin.
    for row in &result.subagents {
        let above = row.parent_task_id.and_then(|parent| indents.get(&parent));
        let indent = above.map_or(0, |indent| indent + 2);
        indents.insert(row.task_id, indent);
        let name = row.task_name.as_deref().or(row.label.as_deref()).unwrap_or("-");
        let activity = row.activity.as_deref().filter(|_| row.status.is_open());
        let activity = activity.unwrap_or(row.status.as_str());
        writeln!(out, "{:indent$}{name}  {activity}  {}", "", row.session_key)?;
    }
    if result.has_more {
        eprintln!("there are more; see --limit");
    }
    Ok(())
}
