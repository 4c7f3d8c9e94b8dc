//! `windlass approvals`: commands that wait until a person allows them, and the person's answer.

use std::io::Write;

use anyhow::bail;
use clap::{Args, Subcommand};
use protocol::approvals::{Approval, Decision, GrantsResult, ListResult, ResolveResult};
use protocol::{Method, Scope};
use runtime::{Clock, SystemClock};
use serde_json::json;
use types::AgentId;

use crate::client::Client;
use crate::output::{json_lines, table};
use crate::setup::Setup;

#[derive(Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// List what waits
    List(ListArgs),
    /// Show one, whole
    Show {
        /// Its id, or enough of its beginning
        id: String,
    },
    /// Let a command run
    Allow(AllowArgs),
    /// Do not let a command run; the agent is told
    Deny {
        /// Its id, or enough of its beginning
        id: String,
    },
    /// List what agents are allowed for good
    Grants,
    /// Ask again about what was allowed for good
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only of this conversation, and of its sub-agents
    #[arg(long, value_name = "KEY")]
    session: Option<String>,

    /// Those that are answered or over, too
    #[arg(long)]
    all: bool,

    /// Show at most this many
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: u32,
}

#[derive(Debug, Args)]
pub struct AllowArgs {
    /// Its id, or enough of its beginning
    id: String,

    /// Do not ask this agent again about commands like it
    #[arg(long)]
    always: bool,
}

#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// As `windlass approvals grants` shows it
    pattern: String,

    /// Whose it is
    #[arg(long, value_name = "ID", default_value = "main")]
    agent: AgentId,
}

pub async fn run(
    command: ApprovalsCommand,
    setup: &Setup,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut client = Client::connect_as(&setup.target()?, &[Scope::Approvals]).await?;
    match command {
        ApprovalsCommand::List(args) => list(&mut client, args, setup.json, out).await,
        ApprovalsCommand::Show { id } => {
            let answer = client.call(Method::ExecApprovalGet, json!({ "id": id })).await?;
            if setup.json {
                return Ok(writeln!(out, "{answer}")?);
            }
            show(&serde_json::from_value(answer)?, out)
        }
        ApprovalsCommand::Allow(AllowArgs { id, always }) => {
            let decision = if always { Decision::AllowAlways } else { Decision::AllowOnce };
            resolve(&mut client, &id, decision, setup.json, out).await
        }
        ApprovalsCommand::Deny { id } => {
            resolve(&mut client, &id, Decision::Deny, setup.json, out).await
        }
        ApprovalsCommand::Grants => {
            let answer = client.call(Method::ExecApprovalGrantsList, json!({})).await?;
            let GrantsResult { grants } = serde_json::from_value(answer)?;
            if setup.json {
                return Ok(json_lines(out, &grants)?);
            }
            let rows: Vec<Vec<String>> = grants
                .into_iter()
                .map(|grant| vec![grant.agent_id.to_string(), grant.pattern, grant.by])
                .collect();
            Ok(table(out, &["AGENT", "COMMANDS", "ALLOWED BY"], &rows)?)
        }
        ApprovalsCommand::Revoke(RevokeArgs { pattern, agent }) => {
            let params = json!({ "agentId": agent, "pattern": pattern });
            client.call(Method::ExecApprovalGrantsRevoke, params).await?;
            Ok(writeln!(out, "{agent} is asked about again: {pattern}")?)
        }
    }
}

async fn list(
    client: &mut Client,
    args: ListArgs,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let params = json!({ "sessionKey": args.session, "all": args.all, "limit": args.limit });
    let answer = client.call(Method::ExecApprovalList, params).await?;
    let ListResult { approvals } = serde_json::from_value(answer)?;
    if json {
        return Ok(json_lines(out, &approvals)?);
    }
    if approvals.is_empty() {
        return Ok(writeln!(out, "Nothing waits to be allowed.")?);
    }
    let now = SystemClock.now();
    let cells = |row: &Approval| {
        let left = match row.resolved_at_ms {
            None => format!("{} min", row.expires_at_ms.since(now).as_secs().div_ceil(60)),
            Some(_) => "-".to_owned(),
        };
        let command = row.command.lines().next().unwrap_or_default().to_owned();
        vec![row.id.clone(), row.state.clone(), left, row.session_key.to_string(), command]
    };
    let rows: Vec<Vec<String>> = approvals.iter().map(cells).collect();
    Ok(table(out, &["ID", "STATE", "LEFT", "SESSION", "COMMAND"], &rows)?)
}

fn show(row: &Approval, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "{}, {}", row.id, row.state)?;
    writeln!(out, "session  {}", row.session_key)?;
    writeln!(out, "run      {}", row.run_id)?;
    writeln!(out, "tool     {}", row.tool)?;
    writeln!(out, "always   {}", row.always.join(", "))?;
    if let Some(by) = &row.resolved_by {
        writeln!(out, "by       {by}")?;
    }
    Ok(writeln!(out, "\n{}", row.command)?)
}

async fn resolve(
    client: &mut Client,
    id: &str,
    decision: Decision,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let params = json!({ "id": id, "decision": decision });
    let answer = client.call(Method::ExecApprovalResolve, params).await?;
    if json {
        return Ok(writeln!(out, "{answer}")?);
    }
    let ResolveResult { already_resolved, approval, .. } = serde_json::from_value(answer)?;
    if already_resolved {
        bail!("{} was {} before; nothing is changed", approval.id, approval.state);
    }
    Ok(writeln!(out, "{} is {}: {}", approval.id, approval.state, approval.command)?)
}
