//! A thousand children of one parent, with a model that answers at once: does every result
//! arrive, once, and what does it take?

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::client::Client;
use super::database::{Database, number};
use super::model::Model;

pub const CHILDREN: u64 = 1_000;

/// Settings with the limits raised as far as this needs.
pub fn settings(model: &Model) -> Value {
    let subagents = json!({
        "maxChildrenPerAgent": CHILDREN,
        "maxTasksPerTree": 2 * CHILDREN,
        "maxConcurrent": 64,
    });
    json!({
        "agents": { "defaults": { "model": "stub/stub-1", "subagents": subagents } },
        "models": model.providers(),
    })
}

/// Asks the parent, waits for its answer, and returns how long that took.
pub fn drive(client: &mut Client, database: &Database) -> anyhow::Result<Duration> {
    let plan = json!([
        { "spawn": [{ "name": "leaf", "count": CHILDREN, "plan": [{ "say": "<{name}>" }] }] },
        { "when_results": CHILDREN, "say": "{count}" },
    ]);
    let start = Instant::now();
    let params = json!({ "message": format!("<<stub {plan}>>"), "idempotencyKey": "children" });
    let answer = client.ask(&params)?;
    let took = start.elapsed();
    let said = answer["result"]["payloads"][0]["text"].as_str().context("no answer was given")?;
    ensure!(said.trim() == CHILDREN.to_string(), "the parent said: {said}");
    check(database)?;
    Ok(took)
}

/// Each child has ended, has one announce, and that is in its parent's transcript once.
fn check(database: &Database) -> anyhow::Result<()> {
    let row = database.row(
        "select (select count(*) from tasks where outcome = 'completed') as completed, \
         count(*) as announced, count(distinct task_id) as tasks, \
         sum(state = 'consumed') as consumed, \
         (select count(*) from entries where kind = 'announce') as entries \
         from inbox where kind = 'announce'",
    )?;
    for column in ["completed", "announced", "tasks", "consumed", "entries"] {
        let stored = number(&row, column)?;
        ensure!(stored == CHILDREN, "not every child was announced exactly once: {row}");
    }
    Ok(())
}
