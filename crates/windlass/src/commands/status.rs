//! `windlass status` and `windlass health`: what the gateway does, and whether it is well.

use std::io::Write;

use clap::Args;
use protocol::Method;
use protocol::health::{Health, InterruptedRun, LastRestart, Status};
use protocol::notice::ProviderGate;
use protocol::usage::BudgetRow;
use serde_json::json;
use types::Timestamp;

use crate::client::Client;
use crate::commands::{config, usage};
use crate::output::{json_lines, table};
use crate::setup::Setup;

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show what the last start has found: what was interrupted, what went on, what is left to you
    #[arg(long)]
    last_restart: bool,
}

pub async fn status(args: &StatusArgs, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    if args.last_restart {
        let params = json!({ "lastRestart": true });
        let status: Status = client.get(Method::Status, params).await?;
        let Some(restart) = status.last_restart else {
            anyhow::bail!("no start is kept in the history any more");
        };
        return last_restart(&restart, status.ts, setup.json, out);
    }
    let value = client.call(Method::Status, json!({})).await?;
    if setup.json {
        return Ok(writeln!(out, "{value}")?);
    }
    let status: Status = serde_json::from_value(value)?;
    writeln!(
        out,
        "windlass {}, up {} s, node {}",
        status.runtime_version,
        status.uptime_ms / 1_000,
        status.node_id
    )?;
    let (runs, tasks) = (status.runs, status.tasks);
    writeln!(
        out,
        "runs: {} running, {} queued, {} waiting",
        runs.running, runs.queued, runs.waiting
    )?;
    if runs.stopping > 0 {
        writeln!(out, "stopping: {} runs have ended, and are looked after", runs.stopping)?;
    }
    for item in &status.unproved {
        let left = machine::halt::left(&item.pids, item.calls);
        writeln!(out, "not proved to be over: {} of {}: {left}", item.name(), item.session_key)?;
    }
    writeln!(out, "tasks: {} open, {} ended", tasks.open, tasks.ended)?;
    writeln!(out, "sessions: {} in {}", status.sessions.count, status.sessions.path)?;
    let rows: Vec<Vec<String>> = status
        .lanes
        .iter()
        .map(|lane| {
            let slots = format!("{}/{}", lane.busy, lane.limit);
            vec![lane.name.clone(), slots, lane.queued.to_string()]
        })
        .collect();
    table(out, &["LANE", "BUSY", "QUEUED"], &rows)?;
    let config = status.config.iter();
    for line in config.flat_map(|standing| config::standing(standing, status.ts)) {
        writeln!(out, "{line}")?;
    }
    held_up(&status, out)
}

/// Prints what waits for something else than its work.
fn held_up(status: &Status, out: &mut impl Write) -> anyhow::Result<()> {
    for line in &status.queue_waits {
        let holders: Vec<String> = line.holders.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "{} waits for a slot of {} since {} s, place {}; held by {}",
            line.session_key,
            line.lane,
            line.waited_ms / 1_000,
            line.place,
            if holders.is_empty() { "nobody".to_owned() } else { holders.join(", ") },
        )?;
    }
    if let Some(words) = status.approvals.words() {
        writeln!(out, "{words}; `windlass approvals list` shows them")?;
    }
    if status.dead_letters > 0 {
        let count = status.dead_letters;
        writeln!(out, "{count} dead letters; `windlass tasks audit` lists them")?;
    }
    for gate in &status.gates {
        writeln!(out, "{}", gate_line(gate, status.ts))?;
    }
    for BudgetRow { budget, waiting, spent, cap, .. } in &status.over_budget {
        let spent = usage::shown(*spent, *cap);
        writeln!(
            out,
            "{waiting} runs wait for more of the budget {budget}: {spent} of {cap}; \
             `windlass budget raise {budget} --usd 1` (or --tokens) lets them go on"
        )?;
    }
    Ok(())
}

/// Prints what a start has found.
fn last_restart(
    restart: &LastRestart,
    now: Timestamp,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if json {
        return Ok(json_lines(out, std::slice::from_ref(restart))?);
    }
    let LastRestart { started_at, lost, runs, continued, given_up, .. } = restart;
    let ago = now.since(*started_at).as_secs();
    writeln!(out, "started {ago} s ago; gateways lost before that: {}", lost.len())?;
    writeln!(
        out,
        "interrupted: {} runs; gone on by themselves: {continued}; given up: {given_up}",
        runs.len()
    )?;
    let LastRestart { calls_cut, tokens_cut, unknown_calls, waiting_for_person, .. } = restart;
    writeln!(
        out,
        "model calls cut and made again: {calls_cut}, about {tokens_cut} tokens; tool calls of \
         unknown outcome: {unknown_calls}"
    )?;
    let rows: Vec<Vec<String>> = runs.iter().map(interrupted).collect();
    if !rows.is_empty() {
        table(out, &["RUN", "SESSION", "NOW", "CUT", "TOKENS", "UNKNOWN"], &rows)?;
    }
    if waiting_for_person.is_empty() {
        writeln!(out, "nothing waits for you")?;
    }
    for left in waiting_for_person {
        writeln!(out, "{}\n    {}", left.what, left.fix)?;
    }
    Ok(())
}

fn interrupted(run: &InterruptedRun) -> Vec<String> {
    vec![
        run.run_id.to_string(),
        run.session_key.to_string(),
        run.stands.clone(),
        run.calls_cut.to_string(),
        run.tokens_cut.to_string(),
        run.unknown_calls.to_string(),
    ]
}

/// What a gate that is not open means, in one line.
pub fn gate_line(gate: &ProviderGate, now: Timestamp) -> String {
    let name = &gate.gate;
    let when = match gate.resumes_at {
        Some(at) if at > now => format!("resumes in {} s", at.since(now).as_secs()),
        _ => "is being tried".to_owned(),
    };
    format!(
        "provider {name} is {} ({}), {} runs wait, {when}: {}",
        gate.state,
        gate.kind.as_deref().unwrap_or("-"),
        gate.waiting,
        gate.reason.as_deref().unwrap_or("-"),
    )
}

pub async fn health(setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
    let value = client.call(Method::Health, json!({})).await?;
    let health: Health = serde_json::from_value(value.clone())?;
    if setup.json {
        writeln!(out, "{value}")?;
    } else {
        let word = if health.ok { "ok" } else { "not well" };
        writeln!(
            out,
            "{word}: {} agents, {} sessions",
            health.agents.len(),
            health.sessions.count
        )?;
        // The schema of `health` has no place for it.
        let status: Status = client.get(Method::Status, json!({})).await?;
        if let Some(words) = status.approvals.words() {
            writeln!(out, "{words}; `windlass approvals list` shows them")?;
        }
    }
    if health.ok { Ok(()) } else { anyhow::bail!("the gateway is not well") }
}
