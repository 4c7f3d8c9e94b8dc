//! How many durable runs a second: 64 conversations, each of which says the next thing as soon
//! as it has its answer.
//!
//! ```text
//!  one connection ─▶ 64 sessions ─▶ echo (in process) ─▶ final answer ─▶ the next message
//! ```
//!
//! A run counts when its answer has come back, which the gateway says only after the commit. At
//! the end the database is asked whether it agrees.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::client::{Client, Response, is_accepted};
use super::database::{Database, number};
use super::waits::Waits;

pub const SESSIONS: usize = 64;

/// Until sessions exist, prefixes are pinned and caches are filled.
const WARM_UP: Duration = Duration::from_secs(2);

const MEASURED: Duration = Duration::from_secs(10);

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub runs_per_second: f64,
    /// From a message to its answer.
    pub waits: Waits,
}

/// Settings of a gateway in which nothing but the gateway itself takes time.
pub fn settings() -> Value {
    json!({ "agents": { "defaults": {
        "model": "scripted/echo",
        "maxConcurrent": SESSIONS,
    } } })
}

/// Keeps all sessions busy for a while.
pub fn drive(client: &mut Client, database: &Database) -> anyhow::Result<Rate> {
    let mut talk = Talk::new(client);
    for session in 0..SESSIONS {
        talk.say(session)?;
    }
    talk.go_on(WARM_UP)?;
    let before = talk.ended;
    let start = Instant::now();
    talk.waits.clear();
    talk.go_on(MEASURED)?;
    let (ended, took) = (talk.ended - before, start.elapsed());
    let waits = std::mem::take(&mut talk.waits);
    talk.hear_out()?;
    check(database, talk.said)?;

    let waits = Waits::of(waits).with_context(|| format!("{ended} runs ended in {took:?}"))?;
    Ok(Rate { runs_per_second: ended as f64 / took.as_secs_f64(), waits })
}

/// Every run that was answered is in the file, ended and paid for once.
fn check(database: &Database, said: u64) -> anyhow::Result<()> {
    let row = database.row(
        "select (select count(*) from runs where outcome = 'completed') as runs, \
         (select count(*) from ledger) as paid, \
         (select count(*) from entries where kind = 'assistant') as answers",
    )?;
    for column in ["runs", "paid", "answers"] {
        let stored = number(&row, column)?;
        ensure!(stored == said, "{said} runs were answered, but the database has {row}");
    }
    Ok(())
}

/// 64 conversations over one connection.
struct Talk<'a> {
    client: &'a mut Client,
    /// When each session said what it waits for an answer to.
    since: Vec<Instant>,
    /// From a message to its answer.
    waits: Vec<Duration>,
    said: u64,
    ended: u64,
}

impl Talk<'_> {
    fn new(client: &mut Client) -> Talk<'_> {
        let since = vec![Instant::now(); SESSIONS];
        Talk { client, since, waits: Vec::new(), said: 0, ended: 0 }
    }

    fn say(&mut self, session: usize) -> anyhow::Result<()> {
        self.said += 1;
        self.since[session] = Instant::now();
        let params = json!({
            "message": format!("message {} of this bench", self.said),
            "sessionKey": format!("thread:s{session}"),
            "idempotencyKey": format!("bench-{}", self.said),
        });
        self.client.send(&session.to_string(), "agent", &params)
    }

    /// Answers every answer with the next message, for `duration`.
    fn go_on(&mut self, duration: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < duration {
            let session = self.hear()?;
            self.say(session)?;
        }
        Ok(())
    }

    /// Waits for the answers that are still to come.
    fn hear_out(&mut self) -> anyhow::Result<()> {
        while self.ended < self.said {
            self.hear()?;
        }
        Ok(())
    }

    /// Waits for the next final answer, and returns whose it is.
    fn hear(&mut self) -> anyhow::Result<usize> {
        loop {
            let Response { id, result } = self.client.response()?;
            let payload = match result {
                Ok(payload) if is_accepted(&payload) => continue,
                Ok(payload) => payload,
                Err(refusal) => bail!("a run of session {id} failed: {refusal}"),
            };
            ensure!(payload["status"] == "ok", "a run of session {id} failed: {payload}");
            let session: usize = id.parse().context("an answer to no session of ours")?;
            self.waits.push(self.since[session].elapsed());
            self.ended += 1;
            return Ok(session);
        }
    }
}
