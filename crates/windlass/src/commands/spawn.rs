//! `windlass spawn`: a sub-agent started by a person or a script, without a model in between.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use protocol::Method;
use protocol::agent::{AgentStatus, AgentWaitResult};
use serde_json::{Value, json};

use crate::Exit;
use crate::client::{Client, Refused, Target};
use crate::setup::Setup;

/// How long one question for the end waits, and how long the command goes on trying to come back
/// to a gateway that has gone away.
const WAIT_MS: u64 = 30_000;
const RECONNECT_FOR: Duration = Duration::from_secs(60);
const RECONNECT_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
#[command(after_help = "With --wait the exit code is that of the outcome: 0 completed, 1 failed, \
    3 no_result, 4 timed_out, 5 cancelled, 6 interrupted.")]
pub struct SpawnArgs {
    /// The brief: all that the sub-agent knows
    #[arg(long, value_name = "TEXT")]
    pub task: String,

    /// Which agent; that of the requester if none
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,

    /// In this conversation, made or continued: `thread:<name>` or a full key
    #[arg(long, value_name = "KEY")]
    pub session: Option<String>,

    /// In the name of this session instead of the main one
    #[arg(long, value_name = "KEY")]
    pub requester: Option<String>,

    /// A title for people
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,

    /// A handle by which it is found again: `[a-z][a-z0-9_-]*`
    #[arg(long, value_name = "NAME")]
    pub task_name: Option<String>,

    /// Who hears of its end: the requester's agent, it and the person, or nobody
    #[arg(long, value_name = "WHO", default_value = "none",
          value_parser = ["parent", "person", "none"])]
    pub announce: String,

    /// End it after so many seconds; its last words are kept
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u32>,

    /// Its model instead of the configured one
    #[arg(long, value_name = "PROVIDER/MODEL")]
    pub model: Option<String>,

    /// What its tools may do
    #[arg(long, value_name = "ACCESS", value_parser = ["full", "read-only"])]
    pub access: Option<String>,

    /// A file that must be there before it counts as completed; repeat for more
    #[arg(long = "deliverable", value_name = "FILE")]
    pub deliverables: Vec<String>,

    /// A file with a JSON schema that its answer must meet before it counts as completed
    #[arg(long, value_name = "FILE")]
    pub deliverable_schema: Option<PathBuf>,

    /// The most that it and its own sub-agents may spend, in US dollars
    #[arg(long, value_name = "USD")]
    pub budget_usd: Option<f64>,

    /// The most tokens that it and its own sub-agents may use
    #[arg(long, value_name = "TOKENS")]
    pub budget_tokens: Option<u64>,

    /// Wait for its end and print its answer
    #[arg(long)]
    pub wait: bool,

    /// The same key is the same task: it is never started twice
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

impl SpawnArgs {
    fn params(&self) -> anyhow::Result<Value> {
        let mut params = json!({ "task": self.task, "announce": self.announce });
        let texts = [
            ("agentId", &self.agent),
            ("sessionKey", &self.session),
            ("requesterSessionKey", &self.requester),
            ("label", &self.label),
            ("taskName", &self.task_name),
            ("model", &self.model),
            ("access", &self.access),
            ("idempotencyKey", &self.idempotency_key),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                params[name] = json!(value);
            }
        }
        if self.session.is_some() {
            params["resumeIfExists"] = json!(true);
        }
        if let Some(seconds) = self.timeout {
            params["runTimeoutSeconds"] = json!(seconds);
        }
        if !self.deliverables.is_empty() {
            params["deliverables"]["files"] = json!(self.deliverables);
        }
        if let Some(file) = &self.deliverable_schema {
            params["deliverables"]["schema"] = schema(file)?;
        }
        if let Some(usd) = self.budget_usd {
            params["budget"]["usd"] = json!(usd);
        }
        if let Some(tokens) = self.budget_tokens {
            params["budget"]["tokens"] = json!(tokens);
        }
        Ok(params)
    }
}

/// The schema in a file. Whether it is one is for the gateway to say, which has to keep to it.
fn schema(file: &Path) -> anyhow::Result<Value> {
    let named = || format!("--deliverable-schema {}", file.display());
    let text = std::fs::read_to_string(file).with_context(named)?;
    serde_json::from_str(&text).with_context(|| format!("{}: it is no JSON", named()))
}

pub async fn run(args: SpawnArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let target = setup.target()?;
    let mut client = Client::connect(&target).await?;
    let accepted = client.call(Method::SessionsSpawn, args.params()?).await?;
    let text = |name: &str| accepted[name].as_str().unwrap_or_default().to_owned();
    if !args.wait {
        if setup.json {
            return Ok(writeln!(out, "{accepted}")?);
        }
        let line = format!("{} {} {}", text("status"), text("taskId"), text("childSessionKey"));
        return Ok(writeln!(out, "{line}")?);
    }
    let ended = wait(&target, client, &text("runId")).await?;
    print(setup.json, &accepted, &ended, out)
}

/// Waits until the run is over, also over a restart of the gateway.
async fn wait(target: &Target, mut client: Client, run: &str) -> anyhow::Result<AgentWaitResult> {
    loop {
        let params = json!({ "runId": run, "timeoutMs": WAIT_MS });
        match client.get::<AgentWaitResult>(Method::AgentWait, params).await {
            Ok(result) if result.status != AgentStatus::Timeout => return Ok(result),
            Ok(_) => {}
            Err(error) if error.downcast_ref::<Refused>().is_some() => return Err(error),
            Err(error) => {
                tracing::warn!("{error:#}; the task goes on, coming back to it");
                let back = tokio::time::timeout(RECONNECT_FOR, come_back(target));
                client = back.await.map_err(|_| {
                    anyhow::anyhow!(
                        "the gateway has been away for {RECONNECT_FOR:?}; nothing is lost: \
                     `windlass tasks list` shows what became of the run {run}"
                    )
                })?;
            }
        }
    }
}

async fn come_back(target: &Target) -> Client {
    loop {
        tokio::time::sleep(RECONNECT_EVERY).await;
        match Client::connect(target).await {
            Ok(client) => return client,
            Err(error) => tracing::debug!("{error:#}"),
        }
    }
}

fn print(
    json: bool,
    accepted: &Value,
    ended: &AgentWaitResult,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let outcome = ended.outcome.as_deref().unwrap_or("interrupted");
    let answer = ended.terminal_reply.as_ref().map(|reply| reply.text.as_str());
    if json {
        let mut line = accepted.clone();
        line["outcome"] = json!(outcome);
        line["result"] = json!(answer);
        line["error"] = json!(ended.error);
        writeln!(out, "{line}")?;
    } else if let Some(answer) = answer {
        writeln!(out, "{answer}")?;
    }
    let Some(code) = exit_code(outcome) else { return Ok(()) };
    let why = ended.error.as_deref().unwrap_or("no reason is known");
    Err(Exit { code, message: format!("the task has ended ({outcome}): {why}") }.into())
}

/// The exit code of an outcome; none for success.
fn exit_code(outcome: &str) -> Option<u8> {
    match outcome {
        "completed" => None,
        "no_result" => Some(3),
        "timed_out" => Some(4),
        "cancelled" => Some(5),
        "interrupted" => Some(6),
        _ => Some(1),
    }
}
