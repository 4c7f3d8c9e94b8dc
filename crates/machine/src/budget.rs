//! Caps on what is spent: set aside before each model call, settled after it.
//!
//! ```text
//!            fits             the answer
//!  call ──▶ reserve ──▶ out ──────────────▶ release, spend, look who waits
//!    │
//!    ├─ would fit, were others not out ──▶ waits until one of them is back
//!    ├─ over the cap of a task ──────────▶ ends, with what it has said so far
//!    └─ over a cap of the operator ──────▶ waits until he raises it, or for the next day
//! ```
//!
//! Whoever has set a cap decides what comes after it: the agent that has spawned gets its child's
//! partial result, and a person is asked for more.
//!
//! # Invariants
//!
//! - What a budget has set aside is the sum of the reservations of calls that are out.
//! - What it has spent is the sum of the ledger rows that it covers.
//! - Beyond its cap no call goes out.

use std::time::Duration;

use serde_json::json;
use types::{
    AgentId, Budget, FailureClass, MicroUsd, RunId, SessionKey, SpawnRequest, Spend, TaskId,
};

use crate::check::World;
use crate::deadline::last_words;
use crate::effect::{Answer, Notice};
use crate::finish::{End, finish};
use crate::internal::{Caller, Reply};
use crate::limits::{Limits, SWEEP_PAGE};
use crate::rows::{
    BudgetKey, BudgetRow, BudgetScope, LedgerRow, Outcome, Reservation, Run, TimerKind,
};
use crate::run::{Phase, WaitKind};
use crate::state::State;
use crate::stop;
use crate::wait::{Turn, requeue, suspend};

/// A run that waits until others are back is looked at again after this, whatever they do.
const GUARD: Duration = Duration::from_secs(5);

/// What an amount is counted under: the tasks above it, with who has asked for each, and the rest.
#[derive(Clone, Debug)]
pub struct Lines {
    /// From below.
    pub tasks: Vec<(TaskId, SessionKey)>,
    pub session: SessionKey,
    pub root: SessionKey,
    pub agent: AgentId,
    /// As in `2026-11-21`, of UTC.
    pub day: String,
}

impl Lines {
    /// All budgets under which it would be counted, if they have a cap.
    pub fn keys(&self) -> Vec<BudgetKey> {
        let mut keys: Vec<BudgetKey> =
            self.tasks.iter().map(|(task, _)| BudgetKey::task(*task)).collect();
        let mut sessions = vec![&self.session];
        for (_, requester) in &self.tasks {
            if !sessions.contains(&requester) {
                sessions.push(requester);
            }
        }
        keys.extend(sessions.iter().map(|key| BudgetKey::new(BudgetScope::Session, key)));
        keys.push(BudgetKey::new(BudgetScope::Tree, &self.root));
        keys.push(BudgetKey::new(BudgetScope::Agent, format_args!("{}:{}", self.agent, self.day)));
        keys.push(BudgetKey::new(BudgetScope::Day, &self.day));
        keys
    }

    /// Does the budget cover what is counted here?
    pub fn count_under(&self, key: &BudgetKey) -> bool {
        self.keys().contains(key)
    }

    /// Where a row of the ledger is counted. `above` gives a task's parent and requester.
    pub fn of_row(
        row: &LedgerRow,
        mut above: impl FnMut(TaskId) -> (Option<TaskId>, SessionKey),
    ) -> Lines {
        let mut tasks = Vec::new();
        let mut next = row.task;
        while let Some(id) = next {
            let (parent, requester) = above(id);
            tasks.push((id, requester));
            next = parent;
        }
        Lines {
            tasks,
            session: row.session_key.clone(),
            root: row.root_key.clone(),
            agent: row.agent.clone(),
            day: row.at.day(),
        }
    }
}

fn tasks_above(state: &mut State<'_>, task: Option<TaskId>) -> Vec<(TaskId, SessionKey)> {
    let mut tasks = Vec::new();
    let mut next = task;
    while let Some(id) = next {
        let task = state.task(&id);
        tasks.push((id, task.requester_key.clone()));
        next = task.parent;
    }
    tasks
}

fn lines_of(state: &mut State<'_>, run: RunId) -> Lines {
    let row = state.run(&run).clone();
    let day = state.now().day();
    let agent = row.session_key.agent.clone();
    let tasks = tasks_above(state, row.task);
    Lines { tasks, session: row.session_key, root: row.root_key, agent, day }
}

/// The rows above, those of them under which anything is counted: with a cap in the configuration,
/// or of a task that was given one.
fn rows_above(state: &mut State<'_>, lines: &Lines) -> Vec<BudgetKey> {
    let mut keys = lines.keys();
    keys.retain(|key| match key.scope {
        BudgetScope::Task => state.find_budget(key).is_some(),
        _ => !configured(state.limits, key).is_none(),
    });
    for key in &keys {
        count(state, key);
    }
    keys
}

/// Makes the row, or counts anew after a restart: without a cap in the configuration nothing has
/// been counted, and one may be there since.
fn count(state: &mut State<'_>, key: &BudgetKey) {
    let node = state.at.node;
    if state.find_budget(key).is_some_and(|row| row.counted_by == node) {
        return;
    }
    let spent = state.tx().spent(key);
    if state.find_budget(key).is_none() {
        state.add_budget(BudgetRow::new(key.clone(), Budget::NONE, node));
    }
    let row = state.budget_mut(key);
    (row.spent, row.counted_by) = (spent, node);
}

/// The cap of the configuration on it.
pub fn configured(limits: &Limits, key: &BudgetKey) -> Budget {
    match key.scope {
        BudgetScope::Task => Budget::NONE,
        BudgetScope::Session => {
            let key = key.subject.parse::<SessionKey>().ok();
            let agent = key.map(|key| key.agent);
            let agent = agent.and_then(|id| limits.of_agent(&id).agents.get(&id));
            agent.map_or(Budget::NONE, |agent| agent.budget)
        }
        BudgetScope::Tree => limits.budgets.tree,
        BudgetScope::Agent => limits.budgets.agent,
        BudgetScope::Day => limits.budgets.day,
    }
}

/// What is allowed in all, with what a person has added.
fn cap(state: &mut State<'_>, key: &BudgetKey) -> Budget {
    let own = configured(state.limits, key);
    state.find_budget(key).map_or(own, |row| raised(row, own))
}

/// The cap of a row, with what a person has added to it. `own` is that of the configuration.
fn raised(row: &BudgetRow, own: Budget) -> Budget {
    let cap = if row.key.scope == BudgetScope::Task { row.cap } else { own };
    Budget {
        usd: cap.usd.map(|usd| MicroUsd(usd.0.saturating_add(row.extra.usd.0))),
        tokens: cap.tokens.map(|tokens| tokens.saturating_add(row.extra.tokens)),
    }
}

/// The most that the next model call of a run can take.
fn need(state: &mut State<'_>, run: RunId) -> Spend {
    let row = state.run(&run).clone();
    let prompt = state.transcript(&row.session_id).context_tokens;
    most(state.limits_of(run), &row.model, prompt)
}

fn most(limits: &Limits, model: &str, prompt: u64) -> Spend {
    let rate = limits.rates.get(model).copied().unwrap_or_default();
    Spend {
        usd: rate.price.map_or(MicroUsd(0), |price| price.at_most(prompt, rate.output_max)),
        tokens: prompt.saturating_add(rate.output_max),
    }
}

/// Whether a call fits under a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Fits,
    /// Once calls that are out are back, it may.
    Later,
    /// Not even alone.
    Over,
}

fn fit(row: &BudgetRow, cap: Budget, need: Spend) -> Fit {
    if (row.spent + row.reserved + need).within(cap) {
        Fit::Fits
    } else if (row.spent + need).within(cap) {
        Fit::Later
    } else {
        Fit::Over
    }
}

/// May the run call its model, by all budgets above it? If not, it waits, or has ended.
pub fn pass(state: &mut State<'_>, run: RunId) -> bool {
    let lines = lines_of(state, run);
    let keys = rows_above(state, &lines);
    let need = if keys.is_empty() { Spend::default() } else { need(state, run) };
    for key in keys {
        let cap = cap(state, &key);
        let row = state.budget(&key).clone();
        match fit(&row, cap, need) {
            Fit::Fits => {}
            Fit::Over if key.scope == BudgetScope::Task => {
                let why = format!("its budget is used up: {}", standing(&row, cap, need));
                end(state, run, why);
                return false;
            }
            Fit::Later | Fit::Over => {
                wait(state, run, &row, cap, need);
                return false;
            }
        }
    }
    true
}

/// The whole cap of a row, by the configuration and with what was added.
pub fn cap_of(limits: &Limits, row: &BudgetRow) -> Budget {
    raised(row, configured(limits, &row.key))
}

/// Does the next call of a run not fit, whatever comes back? For the invariants.
pub fn is_over(world: &World, limits: &Limits, row: &BudgetRow, run: &Run) -> bool {
    let head = world.transcripts.iter().find(|head| head.session_id == run.session_id);
    let need = most(limits, &run.model, head.map_or(0, |head| head.context_tokens));
    fit(row, cap_of(limits, row), need) == Fit::Over
}

fn standing(row: &BudgetRow, cap: Budget, need: Spend) -> String {
    let used = match (cap.usd, cap.tokens) {
        (Some(usd), Some(tokens)) => {
            format!("{} of {usd}, {} of {tokens} tokens", row.spent.usd, row.spent.tokens)
        }
        (Some(usd), None) => format!("{} of {usd}", row.spent.usd),
        (_, tokens) => format!("{} of {} tokens", row.spent.tokens, tokens.unwrap_or(0)),
    };
    let next = match (cap.usd, cap.tokens) {
        (Some(_), Some(_)) => need.to_string(),
        (Some(_), None) => need.usd.to_string(),
        _ => format!("{} tokens", need.tokens),
    };
    format!("{used} spent, and the next call can take {next}")
}

/// Ends the run and what is below it, with its last words as its partial result.
fn end(state: &mut State<'_>, run: RunId, why: String) {
    let text = last_words(state, run);
    stop::stop_below_run(state, run, "budget");
    let error = Some((FailureClass::Budget, why));
    finish(state, run, End { outcome: Outcome::Failed, text, error, quiet: false });
}

/// Lets the run wait: until a call is back, a person allows more, or the day is over.
fn wait(state: &mut State<'_>, run: RunId, row: &BudgetRow, cap: Budget, need: Spend) {
    suspend(state, run, WaitKind::Budget);
    state.run_mut(&run).budget = Some(row.key.clone());
    look_later(state, row, row.reserved);
    if fit(row, cap, need) == Fit::Over {
        let session = state.run(&run).session_key.clone();
        let why = standing(row, cap, need);
        state.notices.push(Notice::OverBudget { run, session, budget: row.key.clone(), why });
    }
}

/// When to look again at those who wait, if nobody is told before. `out` is what others take, or
/// will: they may give it back without a word.
fn look_later(state: &mut State<'_>, row: &BudgetRow, out: Spend) {
    let now = state.now();
    let due = if out != Spend::default() {
        now + GUARD
    } else if row.key.scope.is_daily() {
        now.next_day()
    } else {
        return;
    };
    state.set_timer(TimerKind::Budget, &row.key, due);
}

/// Sets aside what the call of a run can take, which [`pass`] has let through.
pub fn reserve(state: &mut State<'_>, run: RunId) {
    let lines = lines_of(state, run);
    let keys = rows_above(state, &lines);
    let spend = if keys.is_empty() { Spend::default() } else { need(state, run) };
    for key in keys {
        state.budget_mut(&key).reserved += spend;
        state.tx().add_reservation(&Reservation { run, key, spend });
    }
}

/// A model call is over, and booked: what was set aside for it is free, and others may go.
pub fn release(state: &mut State<'_>, run: RunId) {
    let taken = state.tx().take_reservations(run);
    for Reservation { key, spend, .. } in &taken {
        let row = state.budget_mut(key);
        row.reserved = row.reserved.saturating_sub(*spend);
    }
    for Reservation { key, .. } in &taken {
        look(state, key);
    }
}

/// Writes a row of the ledger, and counts it under all budgets above.
pub fn book(state: &mut State<'_>, run: RunId, row: &LedgerRow) {
    let lines = lines_of(state, run);
    let keys = rows_above(state, &lines);
    let spent = Spend { usd: row.cost, tokens: row.usage.total() };
    state.tx().add_ledger(row);
    for key in keys {
        state.budget_mut(&key).spent += spent;
    }
}

/// Sends those who wait for a budget and fit by now back in line, in the order of their waiting.
pub fn look(state: &mut State<'_>, key: &BudgetKey) {
    let mut waiting = state.tx().budgeted_runs(key, SWEEP_PAGE + 1);
    if waiting.is_empty() {
        return;
    }
    let more = waiting.len() > SWEEP_PAGE;
    waiting.truncate(SWEEP_PAGE);
    count(state, key);
    let cap = cap(state, key);
    let over = key.scope.is_daily() && !key.subject.ends_with(&state.now().day());
    let row = state.budget(key).clone();
    // What those take that go before.
    let mut ahead = Spend::default();
    let mut left = more;
    for run in waiting {
        let need = need(state, run);
        // A task that has become over its own cap while it waited ends at its turn.
        let ends = key.scope == BudgetScope::Task && fit(&row, cap, need) == Fit::Over;
        if over || ends {
            go_on(state, run);
        } else if fit(&row, cap, ahead + need) == Fit::Fits {
            ahead += need;
            go_on(state, run);
        } else {
            left = true;
        }
    }
    if left {
        look_later(state, &row, row.reserved + ahead);
    }
}

fn go_on(state: &mut State<'_>, run: RunId) {
    if state.run(&run).phase == Phase::Waiting(WaitKind::Budget) {
        requeue(state, run, Turn::InLine);
    }
}

/// Lets every budget for which somebody waits be looked at: caps may have changed since.
pub fn look_at_all(state: &mut State<'_>) {
    let now = state.now();
    for key in state.tx().budgets_waited_for() {
        state.set_timer(TimerKind::Budget, &key, now);
    }
}

/// A person allows more.
pub fn raise(state: &mut State<'_>, key: &BudgetKey, by: &str, more: Spend) -> Answer {
    let allowed = cap(state, key);
    if allowed.is_none() {
        let why = format!("no budget `{key}` has a cap; {} sets one", setting(key));
        return told(&Reply::error("budget_not_found", &why));
    }
    if more == Spend::default() {
        return told(&Reply::error("invalid_argument", "say how much more, in dollars or tokens"));
    }
    count(state, key);
    state.budget_mut(key).extra += more;
    let budget = key.clone();
    state.notices.push(Notice::BudgetRaised { budget, by: by.to_owned(), more });
    let cap = cap(state, key);
    let row = state.budget(key).clone();
    look(state, key);
    told(&Reply::ok(json!({
        "status": "raised", "budget": key, "cap": cap, "spent": row.spent, "reserved": row.reserved,
    })))
}

fn told(reply: &Reply) -> Answer {
    Answer::Told { text: reply.text.clone(), is_error: reply.is_error }
}

/// Where the cap is set.
pub fn setting(key: &BudgetKey) -> String {
    match key.scope {
        BudgetScope::Task => "the `budget` of its spawn".to_owned(),
        BudgetScope::Session => "agents.defaults.budget or agents.entries.<id>.budget".to_owned(),
        BudgetScope::Tree => "budget.tree".to_owned(),
        BudgetScope::Agent => "budget.agent".to_owned(),
        BudgetScope::Day => "budget.day".to_owned(),
    }
}

/// Who asks for work that costs.
#[derive(Clone, Debug)]
pub struct Asker {
    pub session: SessionKey,
    /// What is asked for is below it.
    pub task: Option<TaskId>,
    pub root: SessionKey,
}

impl Asker {
    pub fn of(caller: &Caller, root: &SessionKey) -> Asker {
        Asker { session: caller.session.clone(), task: caller.task, root: root.clone() }
    }
}

/// What the task of a spawn may spend: what was asked for or is configured, and no more than is
/// left above. Refused if nothing is left, or if dollars cannot be counted.
pub fn for_child(
    state: &mut State<'_>,
    asker: &Asker,
    request: &SpawnRequest,
    target: &AgentId,
    model: &str,
) -> Result<Budget, Reply> {
    let own = state.limits.of_agent(&asker.session.agent).agents.get(&asker.session.agent);
    let own = own.map(|agent| agent.child_budget);
    let asked = request.budget.or(own).unwrap_or_default();
    let priced = state.limits.rates.get(model).is_some_and(|rate| rate.price.is_some());
    if asked.usd.is_some() && !priced {
        let why = format!(
            "budget.usd cannot be kept for model \"{model}\", whose price is not known: set \
             models.providers.<id>.models[].cost, or cap tokens instead"
        );
        return Err(Reply::error("invalid_argument", &why));
    }
    let day = BudgetKey::new(BudgetScope::Agent, format_args!("{target}:{}", state.now().day()));
    if *target != asker.session.agent && !configured(state.limits, &day).is_none() {
        count(state, &day);
        check_left(state, &day)?;
    }
    left(state, asker, asked)
}

/// Clamps a cap to what the tasks above have left. Refused if any budget above is used up.
pub fn left(state: &mut State<'_>, asker: &Asker, asked: Budget) -> Result<Budget, Reply> {
    let lines = Lines {
        tasks: tasks_above(state, asker.task),
        session: asker.session.clone(),
        root: asker.root.clone(),
        agent: asker.session.agent.clone(),
        day: state.now().day(),
    };
    let mut allowed = asked;
    for key in rows_above(state, &lines) {
        let left = check_left(state, &key)?;
        if key.scope == BudgetScope::Task && !asked.is_none() {
            allowed = allowed.min(left);
        }
    }
    Ok(allowed)
}

/// What a budget has left, beside what is set aside for calls that are out.
fn check_left(state: &mut State<'_>, key: &BudgetKey) -> Result<Budget, Reply> {
    let cap = cap(state, key);
    let row = state.budget(key).clone();
    let left = (row.spent + row.reserved).left_of(cap);
    if left.usd != Some(MicroUsd(0)) && left.tokens != Some(0) {
        return Ok(left);
    }
    let why = format!(
        "budget {key} is used up: {} spent, {} set aside for calls that are out, of {cap} ({})",
        row.spent,
        row.reserved,
        setting(key)
    );
    Err(Reply::error("budget_exceeded", &why))
}

/// Gives a task that has just been made its cap.
pub fn open(state: &mut State<'_>, task: TaskId, cap: Budget) {
    if cap.is_none() {
        return;
    }
    state.add_budget(BudgetRow::new(BudgetKey::task(task), cap, state.at.node));
}

/// What a call has cost, if the price of its model is known.
pub fn cost(limits: &Limits, model: &str, usage: types::Usage) -> Option<MicroUsd> {
    let rate = limits.rates.get(model)?;
    rate.price.map(|price| price.of(usage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_call_fits() {
        let spend = |tokens| Spend { usd: MicroUsd(0), tokens };
        let cap = Budget { usd: None, tokens: Some(100) };
        #[rustfmt::skip]
        let table = [
            // spent reserved need  fit
            (0,      0,       100,  Fit::Fits),
            (60,     20,      20,   Fit::Fits),
            (60,     20,      21,   Fit::Later),
            (60,     20,      40,   Fit::Later),
            (60,     20,      41,   Fit::Over),
            (100,    0,       1,    Fit::Over),
            (0,      0,       101,  Fit::Over),
        ];
        for (spent, reserved, need, expected) in table {
            let key = BudgetKey::new(BudgetScope::Day, "2026-11-21");
            let mut row = BudgetRow::new(key, cap, types::NodeId::new(uuid::Uuid::nil()));
            (row.spent, row.reserved) = (spend(spent), spend(reserved));
            assert_eq!(fit(&row, cap, spend(need)), expected, "{spent} {reserved} {need}");
        }
    }
}
