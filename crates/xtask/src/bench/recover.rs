//! A start after SIGKILL, with a thousand runs open among a hundred thousand sessions.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::client::Client;
use super::database::{Database, number};
use super::model::Model;

/// All at work when the gateway is killed.
pub const RUNS: u64 = 1_000;

const PATIENCE: Duration = Duration::from_secs(120);

/// Longer than the bench lasts.
const NEVER_MS: u64 = 3_600_000;

/// Settings of a gateway in which all runs are at work at once, with a model that does not answer.
pub fn settings(model: &Model) -> Value {
    json!({
        "agents": { "defaults": { "model": "stub/stub-1", "maxConcurrent": RUNS } },
        "models": model.providers(),
    })
}

/// Opens the runs, and waits until each has called its model.
pub fn open(client: &mut Client, database: &Database) -> anyhow::Result<()> {
    let plan = json!([{ "say": "never", "delay_ms": NEVER_MS }]);
    for n in 0..RUNS {
        let params = json!({
            "message": format!("<<stub {plan}>>"),
            "sessionKey": format!("agent:main:thread:old-{}", 1 + n * 99),
            "idempotencyKey": format!("recover-{n}"),
        });
        client.send(&n.to_string(), "chat.send", &params)?;
        if let Err(refusal) = client.response()?.result {
            bail!("a message was refused: {refusal}");
        }
    }
    at_work(database, 0)
}

/// Waits until every run is at work again, each after `recoveries` cuts.
pub fn at_work(database: &Database, recoveries: u64) -> anyhow::Result<()> {
    let sql = format!(
        "select count(*) as n from runs where phase = 'awaiting_model' \
         and recoveries = {recoveries}"
    );
    let start = Instant::now();
    while number(&database.row(&sql)?, "n")? < RUNS {
        ensure!(start.elapsed() < PATIENCE, "not all of {RUNS} runs are at work");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
