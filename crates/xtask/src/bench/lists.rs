//! A hundred thousand sessions: what it takes to list fifty, and to write one thing more.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::json;

use super::client::Client;
use super::database::{Database, number};
use crate::run;

pub const SESSIONS: u64 = 100_000;

const LISTS: usize = 50;
const UPDATES: usize = 200;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The slowest of fifty lists.
    pub list: Duration,
    /// From a message to its acceptance, which is a commit.
    pub update_slowest_percent: Duration,
    pub bytes_per_update: f64,
}

/// Fills the file of a gateway that is not running.
pub fn plant(database: &Path) -> anyhow::Result<()> {
    let sql = format!(
        "pragma journal_mode = wal; begin; \
         create temp table n as with recursive n(n) as \
         (select 1 union all select n + 1 from n where n < {SESSIONS}) select n from n; \
         insert into sessions (key, session_id, agent, owner, root_key, depth, lifecycle, rev, \
                               created_ms, active_ms, kind) \
         select 'agent:main:thread:old-' || n, printf('ses_%032x', n), 'main', 'person', \
                'agent:main:thread:old-' || n, 0, 'open', 1, n, n, 'thread' from n; \
         insert into transcripts (session_id, session_key, next_seq, episode, context_tokens, \
                                  started_ms) \
         select printf('ses_%032x', n), 'agent:main:thread:old-' || n, 1, 1, 0, n from n; \
         insert into episodes (session_id, n, first_seq, prefix_tokens, at_ms) \
         select printf('ses_%032x', n), 1, 1, 0, n from n; commit;"
    );
    run::capture(Command::new("sqlite3").arg(database).arg(sql)).map(drop)
}

/// Lists and writes, one after the other.
pub fn drive(client: &mut Client, database: &Database, pid: u32) -> anyhow::Result<Seen> {
    let list = json!({ "limit": 50 });
    let mut lists = Vec::new();
    for n in 0..LISTS {
        let (took, answer) = timed(client, &format!("list-{n}"), "sessions.list", &list)?;
        let rows = answer["sessions"].as_array().map_or(0, Vec::len);
        let total = answer["totalCount"].as_u64().unwrap_or(0);
        ensure!(rows == 50 && total >= SESSIONS, "listed {rows} of {total}");
        lists.push(took);
    }
    let lines = "select coalesce(max(seq), 0) as lines from journal";
    let (bytes, before) = (written(pid)?, number(&database.row(lines)?, "lines")?);
    let mut updates = Vec::new();
    for n in 0..UPDATES {
        let params = json!({
            "message": "hello",
            // Spread over the whole table, so that no page is met twice.
            "sessionKey": format!("agent:main:thread:old-{}", 1 + n * 499),
            "idempotencyKey": format!("update-{n}"),
        });
        updates.push(timed(client, &format!("update-{n}"), "chat.send", &params)?.0);
    }
    let done = "select count(*) as n from runs where phase = 'ended'";
    let start = Instant::now();
    while number(&database.row(done)?, "n")? < UPDATES as u64 {
        ensure!(start.elapsed() < Duration::from_secs(60), "the runs do not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    let more = number(&database.row(lines)?, "lines")? - before;
    let bytes = written(pid)? - bytes;
    lists.sort();
    updates.sort();
    Ok(Seen {
        list: lists.last().copied().context("nothing was listed")?,
        update_slowest_percent: updates[UPDATES * 99 / 100],
        bytes_per_update: bytes as f64 / more as f64,
    })
}

fn timed(
    client: &mut Client,
    id: &str,
    method: &str,
    params: &serde_json::Value,
) -> anyhow::Result<(Duration, serde_json::Value)> {
    let start = Instant::now();
    client.send(id, method, params)?;
    loop {
        let response = client.response()?;
        match response.result {
            Ok(payload) if response.id == id => return Ok((start.elapsed(), payload)),
            Ok(_) => {}
            Err(refusal) => bail!("{id} was refused: {refusal}"),
        }
    }
}

/// Bytes that a process has sent towards the disk.
fn written(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/io");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).with_context(|| format!("odd text in {path}"))
}
