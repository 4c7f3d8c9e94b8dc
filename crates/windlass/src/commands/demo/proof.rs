//! What the database proves after the demo: what was called, what was cut, and nothing twice.

use std::collections::BTreeMap;
use std::fmt;

use machine::check::{self, World};
use machine::rows::{EntryKind, InboxKind, InboxState, StepKind, StepState};
use serde::Serialize;
use store::view::LedgerScope;
use store::{Reader, Reads};
use types::{RunId, SessionKey, TaskId, Usage};

/// What the database proves. Only counts, so that a program can check them too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// By session, with calls and tokens; the sum last.
    ledger: Vec<Line>,
    model_calls: usize,
    calls_cut: usize,
    calls_estimated: u64,
    answers_paid_twice: usize,
    results_delivered: usize,
    results_delivered_twice: usize,
    invariants_broken: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    calls: u64,
    usage: Usage,
}

impl Proof {
    pub async fn read(reader: &Reader) -> anyhow::Result<Proof> {
        let world = reader.snapshot().await?;
        let total = reader.ledger(LedgerScope::All).await?;
        let mut ledger = by_session(&world);
        ledger.push(Line { name: "total".to_owned(), calls: total.rows, usage: total.usage });
        let models = world.steps.iter().filter(|step| step.kind == StepKind::Model);
        let delivered = delivered(&world);
        let broken = check::check(&world, &machine::Limits::default());
        Ok(Proof {
            ledger,
            model_calls: models.clone().count(),
            calls_cut: models.filter(|step| step.state == StepState::Failed).count(),
            calls_estimated: total.estimated,
            answers_paid_twice: answered_twice(&world),
            results_delivered: delivered.values().sum(),
            results_delivered_twice: delivered.values().filter(|count| **count > 1).count(),
            invariants_broken: broken.iter().map(ToString::to_string).collect(),
        })
    }

    /// Was anything done twice, or is broken?
    pub fn is_clean(&self) -> bool {
        let twice = self.answers_paid_twice + self.results_delivered_twice;
        twice == 0 && self.invariants_broken.is_empty()
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["calls", "in", "cached", "written", "out"];
        writeln!(f, "ledger\n")?;
        write!(f, "  {:<26}", "")?;
        head.iter().try_for_each(|word| write!(f, " {word:>8}"))?;
        writeln!(f)?;
        for Line { name, calls, usage } in &self.ledger {
            let Usage { input, output, cache_read, cache_write } = usage;
            write!(f, "  {name:<26} {calls:>8} {input:>8} {cache_read:>8}")?;
            writeln!(f, " {cache_write:>8} {output:>8}")?;
        }
        writeln!(f, "\nproof\n")?;
        writeln!(f, "  model calls made            {:>3}", self.model_calls)?;
        writeln!(
            f,
            "  cut by the kill, made again {:>3}   (booked as estimated: {})",
            self.calls_cut, self.calls_estimated
        )?;
        writeln!(f, "  answers paid twice          {:>3}", self.answers_paid_twice)?;
        writeln!(f, "  results delivered           {:>3}", self.results_delivered)?;
        writeln!(f, "  results delivered twice     {:>3}", self.results_delivered_twice)?;
        write!(f, "  invariants broken           {:>3}", self.invariants_broken.len())?;
        self.invariants_broken.iter().try_for_each(|what| write!(f, "\n    {what}"))
    }
}

/// Calls and tokens of each session, the head of the tree first.
fn by_session(world: &World) -> Vec<Line> {
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
            sums.get(&session.key).map(|&(calls, usage)| Line { name, calls, usage })
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
