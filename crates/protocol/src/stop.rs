//! What a stop has come to: a part of the answer to each way of stopping, and of later looks.
//!
//! Nothing of what was stopped is taken any more from the commit on that did it. What was out then
//! (a model's stream, a tool, a process) ends a moment later; an entry moves from `stopping` to
//! `stopped` when it was seen that nothing of it is left, and to `unproved` if something is.

use serde::{Deserialize, Serialize};
use types::{RunId, SessionKey, TaskId};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StopReport {
    /// Proved: nothing of it is left.
    pub stopped: Vec<StopItem>,
    /// It ends, and nobody has looked yet; within 5 s somebody has.
    pub stopping: Vec<StopItem>,
    /// It was looked, after SIGKILL, and something is there. It is looked at again.
    pub unproved: Vec<StopItem>,
}

/// A run or a task that was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopItem {
    pub session_key: SessionKey,
    /// None of a flow, and of a task that stood in line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Processes that live on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pids: Vec<u32>,
    /// Calls that have not come back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl StopReport {
    pub fn is_empty(&self) -> bool {
        self.stopped.is_empty() && self.stopping.is_empty() && self.unproved.is_empty()
    }
}

impl StopItem {
    /// The task's id, or that of the run.
    pub fn name(&self) -> String {
        match (self.task_id, self.run_id) {
            (Some(task), _) => task.to_string(),
            (None, Some(run)) => run.to_string(),
            (None, None) => self.session_key.to_string(),
        }
    }
}
