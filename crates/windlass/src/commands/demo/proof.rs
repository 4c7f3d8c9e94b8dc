//! What the database proves after the demo: what was called, what was cut, and nothing twice.

use std::collections::BTreeMap;

use machine::check::{self, World};
use machine::rows::{EntryKind, InboxKind, InboxState, StepKind, StepState};
use store::view::LedgerScope;
use store::{Reader, Reads};
use types::{RunId, SessionKey, TaskId, Usage};

/// Prints the ledger, and the counts that matter. Fails if anything was done twice.
pub async fn print(reader: &Reader) -> anyhow::Result<()> {
    let world = reader.snapshot().await?;
    let total = reader.ledger(LedgerScope::All).await?;
    println!("\nledger\n");
    println!(
        "  {:<26} {:>6} {:>8} {:>8} {:>8} {:>8}",
        "", "calls", "in", "cached", "written", "out"
    );
    for (name, (calls, usage)) in by_session(&world) {
        line(&name, calls, usage);
    }
    line("total", total.rows, total.usage);

    let models: Vec<_> = world.steps.iter().filter(|step| step.kind == StepKind::Model).collect();
    let cut = models.iter().filter(|step| step.state == StepState::Failed).count();
    let paid_twice = answered_twice(&world);
    let delivered_twice = delivered_twice(&world);
    let broken = check::check(&world, &machine::Limits::default());
    println!("\nproof\n");
    println!("  model calls made            {:>3}", models.len());
    println!("  cut by the kill, made again {cut:>3}   (booked as estimated: {})", total.estimated);
    println!("  answers paid twice          {paid_twice:>3}");
    println!("  results delivered           {:>3}", delivered(&world).values().sum::<usize>());
    println!("  results delivered twice     {delivered_twice:>3}");
    println!("  invariants broken           {:>3}", broken.len());
    for violation in &broken {
        println!("    {violation}");
    }
    let clean = paid_twice + delivered_twice + broken.len() == 0;
    if clean { Ok(()) } else { anyhow::bail!("something was done twice, or is broken") }
}

fn line(name: &str, calls: u64, usage: Usage) {
    let Usage { input, output, cache_read, cache_write } = usage;
    println!("  {name:<26} {calls:>6} {input:>8} {cache_read:>8} {cache_write:>8} {output:>8}");
}

/// Calls and tokens of each session, the head of the tree first.
fn by_session(world: &World) -> Vec<(String, (u64, Usage))> {
    let mut sums: BTreeMap<&SessionKey, (u64, Usage)> = BTreeMap::new();
    for row in &world.ledger {
        let sum = sums.entry(&row.session_key).or_default();
        sum.0 += 1;
        sum.1 += row.usage;
    }
    let mut sessions: Vec<_> = world.sessions.iter().collect();
    sessions.sort_by_key(|session| (session.depth, session.created, session.key.clone()));
    sessions
        .iter()
        .filter_map(|session| {
            let name = session.label.clone().unwrap_or_else(|| session.key.to_string());
            sums.get(&session.key).map(|sum| (name, *sum))
        })
        .collect()
}

/// Answers that stand directly behind another answer of the same run: nothing new was said in
/// between, so the same question was paid for again.
fn answered_twice(world: &World) -> usize {
    let mut last: BTreeMap<RunId, EntryKind> = BTreeMap::new();
    let mut twice = 0;
    for entry in &world.entries {
        let before = last.insert(entry.run, entry.kind);
        if entry.kind == EntryKind::Assistant && before == Some(EntryKind::Assistant) {
            twice += 1;
        }
    }
    twice
}

/// How often the result of each task has been taken in.
fn delivered(world: &World) -> BTreeMap<TaskId, usize> {
    let mut counts = BTreeMap::new();
    let announces = world
        .inbox
        .iter()
        .filter(|row| row.kind == InboxKind::Announce && row.state == InboxState::Consumed);
    for task in announces.filter_map(|row| row.task) {
        *counts.entry(task).or_default() += 1;
    }
    counts
}

fn delivered_twice(world: &World) -> usize {
    delivered(world).values().filter(|count| **count > 1).count()
}
