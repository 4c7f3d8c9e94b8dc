//! What a turn costs beside its model: time, a core's time, bytes asked; and whether memory stays
//! where it was as turns go by.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::client::Client;
use super::cpu;
use super::model::Model;

/// Turns one after the other, each in a session of its own.
const TURNS: u32 = 500;

/// Turns before those: the first ones meet empty caches.
const WARM_UP: u32 = 20;

/// Turns of each of a thousand sessions. One is two entries: what was said, and the answer.
pub const TURNS_OF_A_SESSION: usize = 25;

/// Turns after which memory is read again.
pub const MORE_TURNS: usize = 10_000;

/// What one turn took, on average.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From the message to the final answer, without the time in which the model was asked.
    pub overhead: Duration,
    /// Of a core, in the gateway.
    pub core: Duration,
    /// Of the request to the model.
    pub request_bytes: f64,
    /// Requests that the model had for each turn.
    pub requests: f64,
}

pub fn settings(model: &Model) -> Value {
    json!({
        "agents": { "defaults": { "model": "stub/stub-1" } },
        "models": model.providers(),
    })
}

/// Says hello in one session after the other, and waits for each answer.
pub fn drive(client: &mut Client, model: &Model, gateway: u32) -> anyhow::Result<Cost> {
    for n in 0..WARM_UP {
        say(client, n)?;
    }
    let (busy, since) = (cpu::of(gateway)?, model.asked()?);
    let start = Instant::now();
    for n in WARM_UP..WARM_UP + TURNS {
        say(client, n)?;
    }
    let took = start.elapsed();
    let busy = cpu::of(gateway)?.saturating_sub(busy);
    let asked = model.asked()?;
    let requests = asked.requests - since.requests;
    ensure!(requests >= u64::from(TURNS), "{TURNS} turns, and {requests} requests");
    let at_model = asked.answering.saturating_sub(since.answering);
    Ok(Cost {
        overhead: took.saturating_sub(at_model) / TURNS,
        core: busy / TURNS,
        request_bytes: (asked.bytes - since.bytes) as f64 / requests as f64,
        requests: requests as f64 / f64::from(TURNS),
    })
}

fn say(client: &mut Client, n: u32) -> anyhow::Result<()> {
    let answer = client.ask(&json!({
        "message": "hello",
        "sessionKey": format!("agent:main:thread:t{n}"),
        "idempotencyKey": format!("turn-{n}"),
    }))?;
    let status = answer["status"].as_str().context("an answer without a status")?;
    ensure!(status == "ok", "turn {n}: {answer}");
    Ok(())
}
