//! `windlass flow`: a declared graph of tasks, started from a file, watched, drawn, stopped.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use machine::halt::left;
use protocol::Method;
use protocol::flows::{FlowSummary, GetResult, ListResult, NodeRow, NodeState, StartResult};
use protocol::stop::StopReport;
use protocol::tasks::{TaskCancelResult, TaskStatus};
use serde_json::json;
use types::{Announce, FlowId, FlowTarget, NodeName};
use windlass::flow_file;

use crate::Exit;
use crate::client::{Client, Refused};
use crate::output::{json_lines, one_line, table};
use crate::setup::Setup;

/// How often a watched flow is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// How long a watch waits for a gateway that has gone away.
const AWAY_LOOKS: u32 = 1_000;

/// Exit code of a watched flow that somebody has stopped; one that failed gives 1.
const EXIT_CANCELLED: u8 = 3;

#[derive(Debug, Subcommand)]
pub enum FlowCommand {
    /// Start the flow that a file declares
    Run(RunArgs),
    /// List flows, newest first
    List(ListArgs),
    /// Show a flow and its tasks
    Show(ShowArgs),
    /// Stop a flow and everything below it
    Cancel(CancelArgs),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The declaration, in JSON5; `-` reads it from stdin
    file: PathBuf,

    /// Show the tasks until all is over, and exit as the flow has ended: 0 if it has completed,
    /// 1 if it has failed, 3 if it was stopped
    #[arg(long)]
    watch: bool,

    /// Start it in the name of this session instead of the default agent's main session
    #[arg(long, value_name = "KEY")]
    session: Option<String>,

    /// Who gets the result as a message: the session (parent), or nobody (none)
    #[arg(long, value_name = "WHO", default_value = "none")]
    announce: Announce,

    /// The same key of the same session is the same flow, and starts nothing twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only flows in these states: queued, running, completed, failed, cancelled
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,

    /// Show only those that this session has started
    #[arg(long, value_name = "KEY")]
    session: Option<String>,

    /// Show at most this many flows
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: u32,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The flow's id, or that of its task
    id: FlowTarget,

    /// Print the graph for Graphviz, as in `windlass flow show ID --dot | dot -Tsvg`
    #[arg(long)]
    dot: bool,
}

#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The flow's id, or that of its task
    id: FlowTarget,
}

pub async fn run(command: FlowCommand, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        FlowCommand::Run(args) => start(args, setup, out).await,
        FlowCommand::List(args) => list(args, setup, out).await,
        FlowCommand::Show(args) => show(args, setup, out).await,
        FlowCommand::Cancel(args) => {
            let mut client = Client::connect(&setup.target()?).await?;
            let params = json!({ "flowId": args.id.to_string() });
            let done = client.get(Method::TasksFlowCancel, params).await?;
            cancelled(&done, setup, out)
        }
    }
}

async fn start(args: RunArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut flow = flow_file::read(&args.file)?;
    flow.announce = args.announce;
    if args.idempotency_key.is_some() {
        flow.idempotency_key = args.idempotency_key;
    }
    let mut params = json!({ "flow": flow });
    if let Some(key) = &args.session {
        params["sessionKey"] = json!(setup.session_key(key, None)?);
    }
    let mut client = Client::connect(&setup.target()?).await?;
    let started: StartResult = client.get(Method::TasksFlowStart, params).await?;
    if started.status == "duplicate" {
        eprintln!("{}", started.note.as_deref().unwrap_or("it was started before"));
    }
    if args.watch {
        return watch(started.flow_id, client, setup, out).await;
    }
    match setup.json {
        true => Ok(json_lines(out, &[started])?),
        false => Ok(writeln!(out, "{}", started.flow_id)?),
    }
}

/// Shows the flow until it is over, also over a restart of the gateway.
async fn watch(
    id: FlowId,
    mut client: Client,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut screen = Screen::new(setup.json);
    loop {
        let shown: GetResult = match client.get(Method::TasksFlowGet, json!({ "flowId": id })).await
        {
            Ok(shown) => shown,
            Err(error) if error.downcast_ref::<Refused>().is_some() => return Err(error),
            Err(_) => {
                client = reconnect(setup).await?;
                continue;
            }
        };
        screen.draw(&shown, out)?;
        if !shown.flow.status.is_open() {
            if setup.json {
                json_lines(out, &[&shown])?;
            }
            return ended(&shown.flow);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn reconnect(setup: &Setup) -> anyhow::Result<Client> {
    eprintln!("the gateway has gone away; waiting for it");
    for _ in 0..AWAY_LOOKS {
        if let Ok(client) = Client::connect(&setup.target()?).await {
            return Ok(client);
        }
        tokio::time::sleep(LOOK).await;
    }
    Client::connect(&setup.target()?).await
}

fn ended(flow: &FlowSummary) -> anyhow::Result<()> {
    let code = match flow.status {
        TaskStatus::Completed => return Ok(()),
        TaskStatus::Cancelled => EXIT_CANCELLED,
        _ => 1,
    };
    let (id, name, status) = (flow.flow_id, &flow.name, flow.status);
    Err(Exit {
        code,
        message: format!("flow \"{name}\" has ended {status}; see `windlass flow show {id}`"),
    }
    .into())
}

/// What is on the screen of somebody who watches: drawn over itself on a terminal, else a line for
/// each change.
struct Screen {
    terminal: bool,
    json: bool,
    lines: usize,
    told: BTreeSet<String>,
}

impl Screen {
    fn new(json: bool) -> Screen {
        let terminal = std::io::stdout().is_terminal() && !json;
        Screen { terminal, json, lines: 0, told: BTreeSet::new() }
    }

    fn draw(&mut self, shown: &GetResult, out: &mut impl Write) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        if !self.terminal {
            for node in shown.nodes.iter().filter(|node| node.state != NodeState::Pending) {
                let line = format!("{}  {}", node_words(node), node.id);
                if self.told.insert(line.clone()) {
                    writeln!(out, "{line}")?;
                }
            }
            if !shown.flow.status.is_open() {
                writeln!(out, "{}", headline(&shown.flow))?;
            }
            out.flush()?;
            return Ok(());
        }
        if self.lines > 0 {
            // Up to where the last picture began, and away with it.
            write!(out, "\x1b[{}A\x1b[J", self.lines)?;
        }
        let picture = tree(shown);
        self.lines = picture.lines().count();
        write!(out, "{picture}")?;
        out.flush()?;
        Ok(())
    }
}

async fn list(args: ListArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    let mut params = json!({ "limit": args.limit, "status": args.status });
    if let Some(key) = &args.session {
        params["sessionKey"] = json!(setup.session_key(key, None)?);
    }
    let result: ListResult = client.get(Method::TasksFlowList, params).await?;
    if setup.json {
        return Ok(json_lines(out, &result.flows)?);
    }
    if result.flows.is_empty() {
        eprintln!("no flows");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = result
        .flows
        .iter()
        .map(|flow| {
            let done = format!("{}/{}", flow.completed, flow.tasks);
            let name = one_line(&flow.name, 60);
            vec![flow.flow_id.to_string(), flow.status.to_string(), done, name]
        })
        .collect();
    Ok(table(out, &["FLOW", "STATUS", "DONE", "NAME"], &rows)?)
}

async fn show(args: ShowArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    let params = json!({ "flowId": args.id.to_string() });
    let shown: GetResult = client.get(Method::TasksFlowGet, params).await?;
    match (args.dot, setup.json) {
        (true, _) => Ok(write!(out, "{}", dot(&shown))?),
        (false, true) => Ok(json_lines(out, &[shown])?),
        (false, false) => Ok(write!(out, "{}", tree(&shown))?),
    }
}

/// Says what a cancel has done.
pub fn cancelled(
    done: &TaskCancelResult,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if setup.json {
        return Ok(json_lines(out, &[done])?);
    }
    if let Some(reason) = &done.reason {
        writeln!(out, "nothing was stopped: {reason}")?;
    }
    Ok(stop_report(out, &done.stop)?)
}

/// Says how far the end of what was stopped is proved.
pub fn stop_report(out: &mut impl Write, stop: &StopReport) -> std::io::Result<()> {
    for item in &stop.stopped {
        writeln!(out, "stopped   {}", item.name())?;
    }
    for item in &stop.stopping {
        writeln!(out, "stopping  {}", item.name())?;
    }
    for item in &stop.unproved {
        writeln!(out, "unproved  {}: {}", item.name(), left(&item.pids, item.calls))?;
    }
    Ok(())
}

fn headline(flow: &FlowSummary) -> String {
    let FlowSummary { flow_id, name, status, completed, running, lost, tasks, .. } = flow;
    format!("{name}  {status}  {completed}/{tasks} done, {running} running, {lost} lost  {flow_id}")
}

fn node_words(node: &NodeRow) -> String {
    let again = if node.attempt > 1 { format!(" ({}.)", node.attempt) } else { String::new() };
    format!("{}{again}", node.state)
}

/// The graph as a tree: each task below the last of those that it waits for, which is where it
/// will start; the others are named beside it.
fn tree(shown: &GetResult) -> String {
    let mut text = headline(&shown.flow) + "\n";
    let tops = shown.nodes.iter().filter(|node| node.depends_on.is_empty());
    for node in tops {
        branch(shown, node, 1, &mut text);
    }
    text
}

fn branch(shown: &GetResult, node: &NodeRow, depth: usize, text: &mut String) {
    let mark = match node.state {
        NodeState::Pending => '·',
        NodeState::Running => '▶',
        NodeState::Completed => '✓',
        NodeState::Failed => '✗',
        NodeState::Skipped => '-',
        NodeState::Cancelled => '■',
    };
    let mut line =
        format!("{:indent$}{mark} {}  {}", "", node.id, node_words(node), indent = depth * 2);
    let others = &node.depends_on[..node.depends_on.len().saturating_sub(1)];
    if !others.is_empty() {
        line += &format!("  (also after {})", names(others));
    }
    if let Some(activity) = node.activity.as_deref().filter(|word| *word != "running") {
        line += &format!("  {activity}");
    }
    if let Some(error) = &node.error {
        line += &format!("  {}", one_line(error, 60));
    }
    *text += &line;
    text.push('\n');
    for below in shown.nodes.iter().filter(|below| below.depends_on.last() == Some(&node.id)) {
        branch(shown, below, depth + 1, text);
    }
}

fn names(nodes: &[NodeName]) -> String {
    nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

/// The graph in the language of Graphviz.
fn dot(shown: &GetResult) -> String {
    let mut text =
        String::from("digraph flow {\n  rankdir=LR;\n  node [shape=box, style=filled];\n");
    text += &format!("  label={};\n", quoted(&headline(&shown.flow)));
    for node in &shown.nodes {
        let color = match node.state {
            NodeState::Pending => "white",
            NodeState::Running => "lightblue",
            NodeState::Completed => "palegreen",
            NodeState::Failed => "salmon",
            NodeState::Skipped => "lightgrey",
            NodeState::Cancelled => "orange",
        };
        let label = quoted(&format!("{}\n{}", node.id, node_words(node)));
        text += &format!("  {} [label={label}, fillcolor={color}];\n", quoted(node.id.as_str()));
    }
    for node in &shown.nodes {
        for needed in &node.depends_on {
            text += &format!("  {} -> {};\n", quoted(needed.as_str()), quoted(node.id.as_str()));
        }
    }
    text + "}\n"
}

/// A text as Graphviz quotes it. It reads HTML's entities in a label, and what it draws may hold no
/// other control than an end of line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\\' => quoted += "\\\\",
            '"' => quoted += "\\\"",
            '\n' => quoted += "\\n",
            '&' => quoted += "&amp;",
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
