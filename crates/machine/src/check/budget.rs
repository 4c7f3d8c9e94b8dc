//! I11, the money: budgets add up, calls are set aside for, and whoever waits will be looked at.

use std::collections::{BTreeMap, BTreeSet};

use types::{RunId, Spend};

use super::{Found, World};
use crate::budget::{self, Lines};
use crate::limits::Limits;
use crate::rows::{BudgetKey, BudgetRow, BudgetScope, NodeState, StepKind, StepState, TimerKind};
use crate::run::{Phase, WaitKind};

/// The sum of the ledger rows that a budget covers.
pub fn spent(world: &World, key: &BudgetKey) -> Spend {
    sums(world).remove(key).unwrap_or_default()
}

fn sums(world: &World) -> BTreeMap<BudgetKey, Spend> {
    let tasks: BTreeMap<_, _> = world.tasks.iter().map(|task| (task.id, task)).collect();
    let mut sums: BTreeMap<BudgetKey, Spend> = BTreeMap::new();
    for row in &world.ledger {
        let lines = Lines::of_row(row, |id| (tasks[&id].parent, tasks[&id].requester_key.clone()));
        for key in lines.keys() {
            *sums.entry(key).or_default() += Spend { usd: row.cost, tokens: row.usage.total() };
        }
    }
    sums
}

/// Looks at all budgets.
pub(super) fn check(world: &World, limits: &Limits, found: &mut Found) {
    set_aside(world, found);
    add_up(world, limits, found);
    waits_end(world, limits, found);
}

/// What is set aside is so for calls that are out, and each budget knows its sum.
fn set_aside(world: &World, found: &mut Found) {
    let open = world.steps.iter().filter(|step| step.state == StepState::Intent);
    let out: BTreeSet<RunId> =
        open.filter(|step| step.kind == StepKind::Model).map(|step| step.run).collect();
    let mut sums: BTreeMap<&BudgetKey, Spend> = BTreeMap::new();
    for row in &world.reservations {
        *sums.entry(&row.key).or_default() += row.spend;
        found.unless(out.contains(&row.run), "I11", || {
            format!("{} is set aside for {}, and no call of it is out", row.spend, row.run)
        });
    }
    for row in &world.budgets {
        let sum = sums.remove(&row.key).unwrap_or_default();
        found.unless(row.reserved == sum, "I11", || {
            format!("{} says that {} is set aside, and it is {sum}", row.key, row.reserved)
        });
    }
    found.unless(sums.is_empty(), "I11", || format!("set aside under no budget: {sums:?}"));
}

/// What a budget has spent is what the ledger says, if somebody has counted since the start; and
/// no cap has been broken by a call that should not have gone out.
fn add_up(world: &World, limits: &Limits, found: &mut Found) {
    let up = world.nodes.iter().filter(|node| node.state != NodeState::Down);
    let up: BTreeSet<_> = up.map(|node| node.id).collect();
    let counts = |row: &&BudgetRow| {
        let capped =
            row.key.scope == BudgetScope::Task || !budget::configured(limits, &row.key).is_none();
        capped && up.contains(&row.counted_by)
    };
    let counted: Vec<&BudgetRow> = world.budgets.iter().filter(counts).collect();
    if counted.is_empty() {
        return;
    }
    let sums = sums(world);
    for row in counted {
        let sum = sums.get(&row.key).copied().unwrap_or_default();
        found.unless(row.spent == sum, "I11", || {
            format!("{} has spent {}, the ledger says {sum}", row.key, row.spent)
        });
    }
}

/// Whoever waits for a budget is looked at again; or it is over, and a person must allow more.
fn waits_end(world: &World, limits: &Limits, found: &mut Found) {
    let timers = world.timers.iter().filter(|timer| timer.kind == TimerKind::Budget);
    let timers: BTreeSet<&str> = timers.map(|timer| timer.subject.as_str()).collect();
    for run in &world.runs {
        let waits = run.phase == Phase::Waiting(WaitKind::Budget);
        found.unless(waits == run.budget.is_some(), "I11", || {
            format!("{} is {:?} and waits for budget {:?}", run.id, run.phase, run.budget)
        });
        let Some(key) = &run.budget else { continue };
        if timers.contains(key.to_string().as_str()) {
            continue;
        }
        let row = world.budgets.iter().find(|row| row.key == *key);
        // The end of a call that is out looks, too; and who is over waits for a person.
        let looked_at = row.is_some_and(|row| {
            let out = row.reserved != Spend::default();
            let asks = !key.scope.is_daily() && key.scope != BudgetScope::Task;
            out || asks && budget::is_over(world, limits, row, run)
        });
        found.unless(looked_at, "I11", || {
            format!("{} waits for {key}, and nobody will look: {row:?}", run.id)
        });
    }
}
