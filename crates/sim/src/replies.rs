//! What must hold of messages between agents when everything has come to rest: each that was taken
//! in is answered, once, and a failure is always said.

use std::collections::BTreeMap;

use machine::rows::{InboxKind, InboxRow, Outcome, Run, Step};
use serde_json::Value;
use types::{MessageId, RunId};

use crate::world::Sim;

/// # Panics
///
/// If a message has two answers, or none where there must be one.
pub fn check(sim: &Sim) {
    let world = &sim.disk.world;
    let runs: BTreeMap<RunId, &Run> = world.runs.iter().map(|run| (run.id, run)).collect();
    let rows: BTreeMap<MessageId, &InboxRow> =
        sim.disk.all_rows().map(|row| (row.id, row)).collect();
    for step in &world.steps {
        let Some(message) = step.waits_on.map(|id| rows[&id]) else { continue };
        let key = format!("reply:{}", message.id);
        let replies = sim.disk.all_rows().filter(|row| row.kind == InboxKind::Reply);
        let by_row = replies.filter(|row| row.idem_key == key).count();
        let answers = by_row + usize::from(in_result(sim, step));
        assert!(answers <= 1, "I4: {answers} answers to {message:?}");
        let due = must_be_told(sim, message, message.run.map(|run| runs[&run]));
        assert!(answers == 1 || !due, "I1: nobody has answered {message:?}");
    }
}

/// Is the answer the result of the call that has sent the message?
fn in_result(sim: &Sim, step: &Step) -> bool {
    let key = (step.run, step.call_id.clone().unwrap_or_default());
    let Some(body) = sim.disk.results.get(&key) else { return false };
    let result: Value = serde_json::from_str(body).expect("a result is JSON");
    let text = result["text"].as_str().unwrap_or_default();
    let told: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    told["duplicate"] != true && (told["state"] == "replied" || told["state"] == "failed")
}

/// A run that was to answer the sender and has failed says so. One that has completed may have had
/// nothing to say; one that works for the sender is announced.
fn must_be_told(sim: &Sim, message: &InboxRow, taken_by: Option<&Run>) -> bool {
    let Some(sender) = &message.sender else { return false };
    let Some(run) = taken_by.filter(|_| message.state == machine::rows::InboxState::Consumed)
    else {
        return false;
    };
    let tasks = &sim.disk.world.tasks;
    let works = tasks.iter().any(|t| Some(t.id) == run.task && t.requester_key == *sender);
    let answers = run.origin == format!("session:{sender}") && !works;
    let failed = run.phase.outcome() != Some(Outcome::Completed);
    answers && failed && *sender != message.session_key
}
