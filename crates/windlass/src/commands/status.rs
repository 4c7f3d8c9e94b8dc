//! `windlass status` and `windlass health`: what the gateway does, and whether it is well.

use std::io::Write;

use protocol::Method;
use protocol::health::{Health, Status};
use serde_json::json;

use crate::client::Client;
use crate::output::table;
use crate::setup::Setup;

pub async fn status(setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let mut client = Client::connect(&setup.target()?).await?;
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
    Ok(table(out, &["LANE", "BUSY", "QUEUED"], &rows)?)
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
    }
    if health.ok { Ok(()) } else { anyhow::bail!("the gateway is not well") }
}
