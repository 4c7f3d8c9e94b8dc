//! Status that does not mislead: every word that people and models see, from facts and leases.
//!
//! The tools, the protocol and the CLI take them from one place, [`Standing::words`]; the database
//! views say the same in SQL, and a test of the store holds the two together.

use serde::Serialize;
use types::word_enum;

use crate::rows::{Lifecycle, Outcome};
use crate::run::Phase;

word_enum! {
    /// What a session does now.
    pub enum Activity {
        Idle = "idle",
        Queued = "queued",
        /// A live lease says so.
        Running = "running",
        Waiting = "waiting",
        /// Its node is gone, and the next has not taken it over yet.
        Recovering = "recovering",
    }
}

word_enum! {
    /// How the last run ended, or that one is open. None of the words sounds like the end of the
    /// session, because it is not.
    pub enum LastTurn {
        AgentResponded = "agent_responded",
        Interrupted = "interrupted",
        WaitingForResponse = "waiting_for_response",
        Halted = "halted",
        None = "none",
    }
}

word_enum! {
    pub enum TaskStatus {
        InProgress = "in_progress",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        Unknown = "unknown",
    }
}

/// The facts from which the words follow.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub lifecycle: Lifecycle,
    /// Of the newest run: the open one, else the one that ended last.
    pub newest: Option<Phase>,
    /// Does the node that holds the run's slot have a lease?
    pub lease_live: bool,
    /// What somebody has said after the last run.
    pub declared: Option<TaskStatus>,
}

/// All that a reader is told of how a session or a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Words {
    pub lifecycle: Lifecycle,
    pub activity: Activity,
    pub last_turn: LastTurn,
    pub task_status: TaskStatus,
    pub resumable: bool,
    pub note: &'static str,
    /// OpenClaw's one word, for old clients.
    pub status: &'static str,
}

impl Standing {
    /// The one place where the words are put together.
    pub fn words(self) -> Words {
        let Standing { lifecycle, newest, lease_live, declared } = self;
        Words {
            lifecycle,
            activity: activity(newest, lease_live),
            last_turn: last_turn(newest),
            task_status: task_status(newest, declared),
            resumable: resumable(lifecycle),
            note: note(lifecycle, newest),
            status: openclaw_status(newest, lease_live),
        }
    }
}

/// Derives what a session does from its open run, and from whether the lease of the run's node is
/// alive.
pub fn activity(open: Option<Phase>, lease_live: bool) -> Activity {
    match open {
        None | Some(Phase::Ended(_)) => Activity::Idle,
        Some(Phase::Queued) => Activity::Queued,
        Some(Phase::Waiting(_)) => Activity::Waiting,
        Some(_) if lease_live => Activity::Running,
        Some(_) => Activity::Recovering,
    }
}

/// Derives how the newest run stands: `None` if the session never had one.
fn last_turn(newest: Option<Phase>) -> LastTurn {
    match newest {
        None => LastTurn::None,
        Some(Phase::Ended(outcome)) => match outcome {
            Outcome::Completed => LastTurn::AgentResponded,
            Outcome::NoResult | Outcome::TimedOut | Outcome::Cancelled => LastTurn::Halted,
            Outcome::Failed | Outcome::Interrupted => LastTurn::Interrupted,
        },
        Some(_) => LastTurn::WaitingForResponse,
    }
}

/// Derives the task status of the newest run, unless somebody has declared another after it.
fn task_status(newest: Option<Phase>, declared: Option<TaskStatus>) -> TaskStatus {
    match newest {
        Some(phase) if !phase.ended() => TaskStatus::InProgress,
        _ if declared.is_some() => declared.unwrap_or(TaskStatus::Unknown),
        None => TaskStatus::Unknown,
        Some(Phase::Ended(outcome)) => match outcome {
            Outcome::Completed => TaskStatus::Completed,
            Outcome::NoResult | Outcome::Interrupted => TaskStatus::Unknown,
            Outcome::Failed | Outcome::TimedOut => TaskStatus::Failed,
            Outcome::Cancelled => TaskStatus::Cancelled,
        },
        Some(_) => TaskStatus::InProgress,
    }
}

/// Can the session receive a message now? Whatever became of its last run.
fn resumable(lifecycle: Lifecycle) -> bool {
    lifecycle == Lifecycle::Open
}

/// OpenClaw's one word for the newest run, for old clients.
fn openclaw_status(newest: Option<Phase>, lease_live: bool) -> &'static str {
    match newest {
        None => "idle",
        Some(Phase::Ended(outcome)) => match outcome {
            Outcome::Completed => "completed",
            Outcome::NoResult | Outcome::Failed | Outcome::Interrupted => "failed",
            Outcome::TimedOut => "timed_out",
            Outcome::Cancelled => "cancelled",
        },
        Some(phase) if phase.holds_slot() && lease_live => "running",
        Some(_) => "queued",
    }
}

/// One sentence for a model that reads the status.
fn note(lifecycle: Lifecycle, newest: Option<Phase>) -> &'static str {
    if lifecycle == Lifecycle::Archived {
        return "The session is archived; it has to be restored before it can receive.";
    }
    match last_turn(newest) {
        LastTurn::None => "The session has not run yet.",
        LastTurn::WaitingForResponse => "A run is open. Its result will come by itself.",
        LastTurn::AgentResponded => "The last run has answered. The session can be continued.",
        LastTurn::Interrupted => {
            "The last run was interrupted by an error. The session is alive: continue it with \
             sessions_send rather than starting another."
        }
        LastTurn::Halted => {
            "The last run was ended before it had answered. The session is alive: continue it \
             with sessions_send rather than starting another."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::WaitKind;

    /// The table of the manual: phase of the newest run, and the words that follow from it.
    #[test]
    fn words_follow_from_facts() {
        use Outcome::*;

        #[rustfmt::skip]
        let table = [
            // newest run                    activity   last_turn     task_status  openclaw
            (None,                                       "idle",      "none",                 "unknown",     "idle"),
            (Some(Phase::Queued),                        "queued",    "waiting_for_response", "in_progress", "queued"),
            (Some(Phase::AwaitingModel),                 "running",   "waiting_for_response", "in_progress", "running"),
            (Some(Phase::AwaitingTools),                 "running",   "waiting_for_response", "in_progress", "running"),
            (Some(Phase::Waiting(WaitKind::Children)),   "waiting",   "waiting_for_response", "in_progress", "queued"),
            (Some(Phase::Ended(Completed)),              "idle",      "agent_responded",      "completed",   "completed"),
            (Some(Phase::Ended(NoResult)),               "idle",      "halted",               "unknown",     "failed"),
            (Some(Phase::Ended(Failed)),                 "idle",      "interrupted",          "failed",      "failed"),
            (Some(Phase::Ended(TimedOut)),               "idle",      "halted",               "failed",      "timed_out"),
            (Some(Phase::Ended(Cancelled)),              "idle",      "halted",               "cancelled",   "cancelled"),
            (Some(Phase::Ended(Interrupted)),            "idle",      "interrupted",          "unknown",     "failed"),
        ];

        for (newest, doing, turn, task, old) in table {
            assert_eq!(activity(newest, true).as_str(), doing, "{newest:?}");
            assert_eq!(last_turn(newest).as_str(), turn, "{newest:?}");
            assert_eq!(task_status(newest, None).as_str(), task, "{newest:?}");
            assert_eq!(openclaw_status(newest, true), old, "{newest:?}");
        }
    }

    #[test]
    fn nothing_runs_without_a_lease() {
        for phase in [Phase::Preparing, Phase::AwaitingModel, Phase::AwaitingTools] {
            assert_eq!(activity(Some(phase), false), Activity::Recovering);
            assert_ne!(openclaw_status(Some(phase), false), "running");
        }
    }
}
