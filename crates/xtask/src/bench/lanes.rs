//! Ten thousand inputs that wait in a thousand sessions, and two trees that share a lane: is the
//! order kept, is the lane fair, and does memory stay where it was?

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::client::Client;
use super::database::{Database, number};
use super::model::Model;

pub const SESSIONS: usize = 1_000;
pub const INPUTS: usize = 10_000;

/// Runs after which memory is read for the first time: caches of a fixed size are full by then.
pub const FIRST: usize = 500;

/// Inputs on the way at a time: one connection may have twice as many.
const ON_WAY: usize = 128;

/// How often the file is asked whether all is done.
const POLL: Duration = Duration::from_millis(100);

/// Nothing takes longer than this, or it hangs.
const PATIENCE: Duration = Duration::from_secs(300);

pub const LARGE: u64 = 1_000;
pub const SMALL: u64 = 10;

/// Settings of a gateway in which messages wait for runs of their own, and nothing but the
/// gateway itself takes time.
pub fn settings() -> Value {
    json!({
        "agents": { "defaults": { "model": "scripted/echo", "maxConcurrent": 64 } },
        "messages": { "queue": { "mode": "followup" } },
    })
}

/// Queues the inputs of `numbers`, session by session in turn, and waits until all have run.
/// Returns how long that took from the first on.
pub fn drive(
    client: &mut Client,
    database: &Database,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let (mut on_way, last) = (0, numbers.end);
    for n in numbers {
        let session = n % SESSIONS;
        // Numbers of one width sort as text.
        let params = json!({
            "message": format!("{n:08}"),
            "sessionKey": format!("agent:main:thread:s{session}"),
            "idempotencyKey": format!("lanes-{n}"),
        });
        client.send(&n.to_string(), "chat.send", &params)?;
        on_way += 1;
        if on_way == ON_WAY {
            answered(client)?;
            on_way -= 1;
        }
    }
    for _ in 0..on_way {
        answered(client)?;
    }
    let done = "select count(*) as done from runs where outcome = 'completed'";
    wait_until(|| Ok(number(&database.row(done)?, "done")? >= last as u64))?;
    Ok(start.elapsed())
}

fn answered(client: &mut Client) -> anyhow::Result<()> {
    let response = client.response()?;
    match response.result {
        Ok(_) => Ok(()),
        Err(refusal) => bail!("input {} was refused: {refusal}", response.id),
    }
}

fn wait_until(mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if done()? {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
    bail!("not done after {PATIENCE:?}")
}

/// Inputs that were taken in before an older one of their session. Each must be there once.
pub fn out_of_order(database: &Database) -> anyhow::Result<u64> {
    let row = database.row(
        "select count(*) as entries, count(distinct body) as bodies, \
         coalesce(sum(body < earlier), 0) as wrong from \
         (select body, lag(body) over (partition by session_id order by seq) as earlier \
          from entries where kind = 'user')",
    )?;
    for column in ["entries", "bodies"] {
        ensure!(number(&row, column)? == INPUTS as u64, "not every input is there once: {row}");
    }
    number(&row, "wrong")
}

/// Settings of a gateway with two large trees.
pub fn tree_settings(model: &Model) -> Value {
    json!({
        "agents": { "defaults": { "model": "stub/stub-1", "subagents": {
            "maxChildrenPerAgent": LARGE,
            "maxTasksPerTree": 2 * LARGE,
            "maxConcurrent": 8,
        } } },
        "models": model.providers(),
    })
}

/// Starts a tree of many children, then one of few, and returns how many children of the large
/// one have ended between the spawn of the small one's and its last end.
pub fn fairness(client: &mut Client, database: &Database) -> anyhow::Result<u64> {
    for (session, children) in [("large", LARGE), ("small", SMALL)] {
        let plan = json!([
            { "spawn": [{ "name": session, "count": children, "plan": [{ "say": "<{name}>" }] }] },
            { "when_results": children, "say": "{count}" },
        ]);
        let params = json!({
            "message": format!("<<stub {plan}>>"),
            "sessionKey": format!("agent:main:thread:{session}"),
            "idempotencyKey": session,
        });
        client.send(session, "chat.send", &params)?;
        answered(client)?;
        // The large tree stands in line before the small one comes.
        let spawned = format!(
            "select count(*) as n from tasks where requester_key = 'agent:main:thread:{session}'"
        );
        wait_until(|| Ok(number(&database.row(&spawned)?, "n")? == children))?;
    }
    let open = "select count(*) as n from tasks where ended_ms is null";
    wait_until(|| Ok(number(&database.row(open)?, "n")? == 0))?;
    let row = database.row(
        "select count(*) as meanwhile, (select max(ended_ms) from tasks) as last \
         from tasks where requester_key = 'agent:main:thread:large' \
         and ended_ms > (select min(created_ms) from tasks \
                         where requester_key = 'agent:main:thread:small') \
         and ended_ms < (select max(ended_ms) from tasks \
                         where requester_key = 'agent:main:thread:small')",
    )?;
    number(&row, "meanwhile").context("the trees have not ended")
}
