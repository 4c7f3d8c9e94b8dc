//! Does one conversation that outgrows its model's window, again and again, hold up the others?
//!
//! ```text
//!  20 sessions   say something four times a second, each, all the time
//!  one more      ── idle ──┃ results, refusals, notes, summaries ┃── idle ──┃ results …
//!                  alone            meanwhile                     alone        meanwhile
//! ```
//!
//! The two take turns of a few seconds, so that whatever else the machine does meets both. The 20
//! have a model inside the process, without delay: what they wait for is the gateway.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::client::Client;
use super::database::{Database, number};
use super::gateway::Gateway;
use super::model::Model;
use super::waits::Waits;

pub const SESSIONS: u32 = 20;

/// From one message of a session to its next.
const EVERY: Duration = Duration::from_millis(250);

/// Turns of each sort, and how long one takes. The slowest in a hundred of all are then some
/// twenty, and not one.
const TURNS: u32 = 10;
const TURN: Duration = Duration::from_secs(3);

/// Until sessions exist, prefixes are pinned and caches are filled.
const WARM_UP: Duration = Duration::from_secs(2);

/// What the provider takes. More is configured, so that its refusals are met.
pub const WINDOW: u64 = 30_000;
const CONFIGURED: u64 = 1_000_000;

/// What the model of the one more takes for an answer. No provider is as fast; one that took no
/// time would measure what two busy processes leave of the machine's cores.
pub const TAKES: Duration = Duration::from_millis(100);

/// Of one result: a third of the window.
const RESULT_BYTES: u64 = 40_000;

/// Results in one conversation: ten windows. The next one has to be refused first, too.
const RESULTS: u32 = 31;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Of the 20, while the one more is idle.
    pub alone: Waits,
    /// Of the 20, while it is at work.
    pub meanwhile: Waits,
    pub compactions: u64,
    /// Requests that were refused as too long.
    pub refusals: u64,
    /// How many windows the results of the one more would fill, of all its conversations.
    pub windows: f64,
}

/// Writes what the model says to the questions of the gateway itself.
pub fn write_script(folder: &Path) -> anyhow::Result<PathBuf> {
    let script = json!({ "rules": [
        { "when": { "newest": "This conversation is being compacted." },
          "steps": [{ "say": "so far: much was looked at" }] },
        { "when": { "newest": "is about to be compacted" }, "steps": [{ "say": "NO_REPLY" }] },
    ] });
    let path = folder.join("script.json");
    std::fs::write(&path, script.to_string())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Two agents: one with a model inside, one with a model whose window is small. Each has a slot at
/// any time, so that nobody waits in line.
pub fn settings(model: &Model) -> Value {
    let mut models = model.providers();
    let own = json!([{ "id": "stub-1", "contextWindow": CONFIGURED, "maxTokens": 500 }]);
    models["providers"]["stub"]["models"] = own;
    json!({
        "agents": {
            "defaults": {
                "model": "scripted/echo",
                "maxConcurrent": 2 * SESSIONS,
                "compaction": { "keepRecentTokens": 2_000 },
            },
            "entries": { "main": {}, "big": { "model": "stub/stub-1" } },
        },
        "models": models,
    })
}

/// Has the 20 talk, and the one more work in its turns.
pub fn drive(gateway: &Gateway, model: &Model) -> anyhow::Result<Seen> {
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(gateway.connect()?);
    }
    let mut big = Big { client: gateway.connect()?, looks: 0 };
    // Grows by one with each turn; even while the one more is idle, odd while it works.
    let turn = &AtomicU32::new(0);
    let talks = std::thread::scope(|scope| {
        let talks: Vec<_> = (0..SESSIONS)
            .zip(clients)
            .map(|(n, client)| scope.spawn(move || talk(client, n, turn)))
            .collect();
        let worked = take_turns(&mut big, turn);
        turn.store(OVER, Ordering::SeqCst);
        let talks: anyhow::Result<Vec<Vec<Talked>>> = talks
            .into_iter()
            .map(|talk| talk.join().map_err(|_| anyhow::anyhow!("a session panicked"))?)
            .collect();
        worked.and(talks)
    })?;
    let of = |odd: u32| {
        let all = talks.iter().flatten().filter(|talked| talked.turn % 2 == odd);
        Waits::of(all.map(|talked| talked.took).collect())
    };
    let row = compactions(&gateway.database())?;
    let bytes = u64::from(big.looks) * RESULT_BYTES;
    Ok(Seen {
        alone: of(0)?,
        meanwhile: of(1)?,
        compactions: row,
        refusals: model.refused()?,
        windows: bytes as f64 / 4.0 / WINDOW as f64,
    })
}

/// The turn after the last.
const OVER: u32 = u32::MAX;

fn take_turns(big: &mut Big, turn: &AtomicU32) -> anyhow::Result<()> {
    std::thread::sleep(WARM_UP);
    for n in 0..TURNS {
        turn.store(2 + 2 * n, Ordering::SeqCst);
        std::thread::sleep(TURN);
        turn.store(3 + 2 * n, Ordering::SeqCst);
        let start = Instant::now();
        while start.elapsed() < TURN {
            big.look()?;
        }
    }
    Ok(())
}

fn compactions(database: &Database) -> anyhow::Result<u64> {
    let sql = "select count(*) as n from journal where kind = 'context.compacted'";
    number(&database.row(sql)?, "n")
}

/// One answer that was waited for, wholly within one turn.
#[derive(Clone, Copy, Debug)]
struct Talked {
    turn: u32,
    took: Duration,
}

/// One of the 20.
fn talk(mut client: Client, session: u32, turn: &AtomicU32) -> anyhow::Result<Vec<Talked>> {
    let mut talked = Vec::new();
    // They do not all speak at once.
    let mut next = Instant::now() + EVERY * session / SESSIONS;
    for n in 0.. {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next += EVERY;
        let before = turn.load(Ordering::SeqCst);
        if before == OVER {
            break;
        }
        let start = Instant::now();
        let answer = client.ask(&json!({
            "message": "hello",
            "sessionKey": format!("agent:main:thread:s{session}"),
            "idempotencyKey": format!("s{session}-{n}"),
        }))?;
        let took = start.elapsed();
        ensure!(answer["status"] == "ok", "session {session}: {answer}");
        // The first turns are the warm-up.
        if before >= 2 && turn.load(Ordering::SeqCst) == before {
            talked.push(Talked { turn: before, took });
        }
    }
    Ok(talked)
}

/// The one more.
struct Big {
    client: Client,
    looks: u32,
}

impl Big {
    /// Says something whose answer needs a long result first.
    fn look(&mut self) -> anyhow::Result<()> {
        let (n, thread) = (self.looks, self.looks / RESULTS);
        self.looks += 1;
        let command = format!("head -c {RESULT_BYTES} /dev/zero | tr '\\0' 'x'");
        let plan = json!([
            { "call": [{ "name": "exec", "arguments": { "command": command } }] },
            { "say": "looked" },
        ]);
        let answer = self.client.ask(&json!({
            "message": format!("<<stub {plan}>>"),
            "sessionKey": format!("agent:big:thread:t{thread}"),
            "idempotencyKey": format!("look-{n}"),
        }))?;
        let said = answer["result"]["payloads"][0]["text"].as_str().unwrap_or_default();
        ensure!(said.trim() == "looked", "look {n} was answered with {answer}");
        Ok(())
    }
}
