//! What a model asks of the gateway itself: the arguments of the session tools, parsed.
//!
//! `tools::sessions` reads them from JSON, `machine` decides them. The names are OpenClaw's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AgentId, TaskId, word_enum};

/// A tool call that the machine carries out itself, in the commit that records its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InternalCall {
    Spawn(SpawnRequest),
    Yield(YieldRequest),
    /// Stop a task of the caller's tree, and everything below it.
    Kill {
        target: TaskTarget,
    },
    /// Put a message into the session of a task of the caller's tree.
    Steer {
        target: TaskTarget,
        message: String,
    },
}

/// How a caller names one of its tasks: by id, `taskName`, or the child's session key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTarget(pub String);

/// `sessions_spawn`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpawnRequest {
    /// The brief. Never empty.
    pub task: String,
    /// A title for people.
    pub label: Option<String>,
    /// A handle for orchestrators, `[a-z][a-z0-9_-]{0,63}`, not `last` or `all`.
    pub task_name: Option<String>,
    /// The caller's own agent if none.
    pub agent: Option<AgentId>,
    pub model: Option<String>,
    /// Zero means none; absent means the configured default.
    pub run_timeout: Option<Duration>,
    pub cleanup: Cleanup,
    pub announce: Announce,
    pub idempotency_key: Option<String>,
    pub cwd: Option<String>,
}

word_enum! {
    /// What becomes of a child's session when its announce has been taken.
    pub enum Cleanup {
        Keep = "keep",
        Delete = "delete",
    }
}

word_enum! {
    /// Who hears of a task's end.
    pub enum Announce {
        Parent = "parent",
        None = "none",
    }
}

/// `sessions_yield`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct YieldRequest {
    /// Private note to the run that goes on.
    pub message: Option<String>,
    /// Text for the person, sent at once.
    pub acknowledgment: Option<String>,
    pub wait_for: WaitFor,
    /// Wake when so many of those waited for have ended, instead of all.
    pub at_least: Option<u32>,
    pub timeout: Option<Duration>,
}

/// Which children a yield waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitFor {
    /// All children that are open now.
    All,
    /// The first of them.
    Any,
    /// Whatever comes next: a child's end or a message.
    Message,
    Tasks(Vec<TaskId>),
}
