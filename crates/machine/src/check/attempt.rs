//! Attempts: work is carried again by the session that knows it, and never twice at a time.

use std::collections::{BTreeMap, BTreeSet};

use types::TaskId;

use super::{Found, World};
use crate::rows::{Outcome, Task, TaskKind};

/// "attempts": what carries a task again is in the same session, is numbered one more, and was
/// begun when that one had ended without being completed; a task is carried again once.
pub(super) fn attempts(world: &World, found: &mut Found) {
    let tasks: BTreeMap<TaskId, &Task> = world.tasks.iter().map(|task| (task.id, task)).collect();
    let mut again = BTreeSet::new();
    for task in &world.tasks {
        let Some(before) = task.retry_of else { continue };
        found.unless(again.insert(before), "attempts", || {
            format!("{before} is carried again twice, the second time by {}", task.id)
        });
        let follows = tasks.get(&before).is_some_and(|before| follows(before, task));
        found.unless(follows, "attempts", || {
            format!("{} carries {before} again: {:?}", task.id, tasks.get(&before))
        });
    }
}

fn follows(before: &Task, task: &Task) -> bool {
    let ended = before.outcome.is_some_and(|outcome| outcome != Outcome::Completed);
    let was_over = before.ended.is_some_and(|ended| ended <= task.created);
    ended
        && was_over
        && before.session_key == task.session_key
        && before.kind == task.kind
        && !matches!(task.kind, TaskKind::Flow | TaskKind::FlowNode)
        && task.attempt == before.attempt.saturating_add(1)
}
