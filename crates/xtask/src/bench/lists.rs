//! A hundred thousand sessions: what it takes to list fifty, to change one, to do nothing.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::client::Client;
use super::cpu;
use super::database::{Database, number};
use super::log::Log;
use super::waits::Waits;
use crate::run;

pub const SESSIONS: u64 = 100_000;

const LISTS: usize = 50;
const UPDATES: usize = 1_000;

/// Of those, the last so many are looked at in the log: it is not moved meanwhile.
const LOGGED: usize = 20;

/// Until the writer has found that nothing comes and has moved the log into the database.
const IDLE: Duration = Duration::from_secs(3);

/// How long a gateway with nothing to do is watched.
const WATCHED: Duration = Duration::from_secs(20);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub list: Waits,
    pub status: Waits,
    pub health: Waits,
    /// Of the time that was watched, how much it kept a core busy.
    pub idle_cpu: f64,
    /// A change of one session, from the request to its answer, which is behind the commit.
    pub update: Written,
    /// A message, up to its acceptance; what is written is for all of its run, in three commits.
    pub message: Written,
}

/// How long something took, and what was written for it.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub waits: Waits,
    /// Towards the disk: the log, the database, and what the kernel adds to fill its blocks.
    pub bytes: f64,
    /// Appended to the log, in whole pages, and in how many commits.
    pub log_bytes: f64,
    pub commits: f64,
}

/// Settings of a gateway in which nothing but the gateway itself takes time.
pub fn settings() -> Value {
    json!({ "agents": { "defaults": { "model": "scripted/echo", "maxConcurrent": 64 } } })
}

/// Fills the file of a gateway that is not running.
pub fn plant(database: &Path) -> anyhow::Result<()> {
    let sql = format!(
        "pragma journal_mode = wal; begin; \
         create temp table n as with recursive n(n) as \
         (select 1 union all select n + 1 from n where n < {SESSIONS}) select n from n; \
         insert into sessions (key, session_id, agent, owner, root_key, depth, lifecycle, rev, \
                               created_ms, active_ms, kind) \
         select 'agent:main:thread:old-' || n, printf('ses_%032x', n), 'main', 'operator', \
                'agent:main:thread:old-' || n, 0, 'open', 1, n, n, 'thread' from n; \
         insert into transcripts (session_id, session_key, next_seq, episode, context_tokens, \
                                  started_ms) \
         select printf('ses_%032x', n), 'agent:main:thread:old-' || n, 1, 1, 0, n from n; \
         insert into episodes (session_id, n, first_seq, prefix_tokens, at_ms) \
         select printf('ses_%032x', n), 1, 1, 0, n from n; commit; \
         pragma wal_checkpoint(truncate);"
    );
    run::capture(Command::new("sqlite3").arg(database).arg(sql)).map(drop)
}

/// Asks and writes, one thing after the other.
pub fn drive(client: &mut Client, database: &Database, pid: u32) -> anyhow::Result<Seen> {
    let list = asked(client, "sessions.list", &json!({ "limit": 50 }))?;
    let health = asked(client, "health", &json!({ "probe": true }))?;
    let status = asked(client, "status", &json!({}))?;
    std::thread::sleep(IDLE);
    let before = cpu::of(pid)?;
    std::thread::sleep(WATCHED);
    let idle_cpu = (cpu::of(pid)? - before).as_secs_f64() / WATCHED.as_secs_f64();
    let update = written(client, database, pid, |n| {
        let key = session(n);
        ("sessions.patch", json!({ "key": key, "label": format!("label {n}") }))
    })?;
    let message = written(client, database, pid, |n| {
        let (message, key) = ("hello", format!("update-{n}"));
        let params = json!({ "message": message, "sessionKey": session(n), "idempotencyKey": key });
        ("chat.send", params)
    })?;
    Ok(Seen { list, status, health, idle_cpu, update, message })
}

/// Spread over the whole table, so that no page of rows is met twice.
fn session(n: usize) -> String {
    format!("agent:main:thread:old-{}", 1 + n * 99)
}

fn asked(client: &mut Client, method: &str, params: &Value) -> anyhow::Result<Waits> {
    let mut waits = Vec::new();
    for n in 0..LISTS {
        let (took, answer) = timed(client, &format!("{method}-{n}"), method, params)?;
        if method == "sessions.list" {
            let rows = answer["sessions"].as_array().map_or(0, Vec::len);
            let total = answer["totalCount"].as_u64().unwrap_or(0);
            ensure!(rows == 50 && total >= SESSIONS, "listed {rows} of {total}");
        } else {
            let count = answer["sessions"]["count"].as_u64().unwrap_or(0);
            ensure!(count >= SESSIONS, "{method} counts {count} sessions");
        }
        waits.push(took);
    }
    Waits::of(waits)
}

/// Makes many requests, and waits until all that follows from them is done and moved from the log
/// into the database: the share of that belongs to each.
fn written(
    client: &mut Client,
    database: &Database,
    pid: u32,
    request: impl Fn(usize) -> (&'static str, Value),
) -> anyhow::Result<Written> {
    std::thread::sleep(IDLE);
    let before = write_bytes(pid)?;
    let mut waits = Vec::new();
    let mut make = |n: usize| -> anyhow::Result<()> {
        let (method, params) = request(n);
        waits.push(timed(client, &format!("{method}-{n}"), method, &params)?.0);
        Ok(())
    };
    (0..UPDATES - LOGGED).try_for_each(&mut make)?;
    until_all_has_run(database)?;
    std::thread::sleep(IDLE);
    let log = Log::of(database.path())?;
    (UPDATES - LOGGED..UPDATES).try_for_each(&mut make)?;
    until_all_has_run(database)?;
    let log = Log::of(database.path())?.since(log);
    std::thread::sleep(IDLE);
    let bytes = (write_bytes(pid)? - before) as f64 / UPDATES as f64;
    let [log_bytes, commits] = [log.bytes, log.commits].map(|all| all as f64 / LOGGED as f64);
    Ok(Written { waits: Waits::of(waits)?, bytes, log_bytes, commits })
}

fn until_all_has_run(database: &Database) -> anyhow::Result<()> {
    let open = "select count(*) as n from runs where ended_ms is null";
    let start = Instant::now();
    while number(&database.row(open)?, "n")? > 0 {
        ensure!(start.elapsed() < Duration::from_secs(60), "the runs do not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn timed(
    client: &mut Client,
    id: &str,
    method: &str,
    params: &Value,
) -> anyhow::Result<(Duration, Value)> {
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
fn write_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/io");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).with_context(|| format!("odd text in {path}"))
}
