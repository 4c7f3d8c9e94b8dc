//! The life of a run, as one table.
//!
//! ```text
//!             ┌───────────────────────────────┐
//!             ▼                               │
//! Queued ─▶ Preparing ◀▶ AwaitingModel ◀─▶ AwaitingTools ─▶ Preparing
//!   ▲ │                     ▲  │  │           │
//!   │ └─────────────────────┘  │  ▼           ▼
//!   │                          │ Waiting(children, …)
//!   └──────────────────────────┴──┘        … all ─▶ Ended(outcome)
//! ```
//!
//! A run holds a slot of its lane in `Preparing`, `AwaitingModel` and `AwaitingTools`, and in no
//! other phase.

use types::word_enum;

use crate::rows::Outcome;

word_enum! {
    /// What a waiting run waits for.
    pub enum WaitKind {
        /// Ends of children.
        Children = "children",
        /// The time of the next attempt at a model call.
        Retry = "retry",
        /// The answer to a message that it has sent.
        Reply = "reply",
        /// A provider that takes no calls at present.
        Gate = "gate",
        /// A budget that allows no further call at present.
        Budget = "budget",
        /// A person who allows one of its calls.
        Approval = "approval",
    }
}

/// Where a run stands. Each variant says what the run waits for, so recovery after a crash is:
/// read the phase, ask for that thing again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In line for a slot of its lane.
    Queued,
    /// The prefix of its episode is being rendered.
    Preparing,
    /// One model call is out.
    AwaitingModel,
    /// Tool calls are out: the run has open steps.
    AwaitingTools,
    Waiting(WaitKind),
    /// Terminal.
    Ended(Outcome),
}

/// What can happen to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// It got a slot, or reached a model boundary, and its episode has no prefix yet.
    AdmittedUnpinned,
    /// It got a slot, or reached a model boundary: a model call goes out.
    Calls,
    /// It got a slot, with tool calls to be started again.
    AdmittedWithTools,
    /// The model asked for tools.
    ToolsAsked,
    /// It gives up its slot until something happens.
    Waits(WaitKind),
    /// What it waited for is there, or its slot is taken away: back in line.
    Requeued,
    Ended(Outcome),
}

impl Phase {
    /// Returns the phase after `event`, or an error if the event cannot happen here. This match
    /// is the whole lifecycle; nothing else changes a phase.
    pub fn next(self, event: RunEvent) -> Result<Phase, IllegalTransition> {
        use Phase as P;
        use RunEvent as E;

        match (self, event) {
            // Its conversation was compacted: a new episode has begun, whose prefix is pinned anew.
            (
                P::Queued | P::Preparing | P::AwaitingModel | P::AwaitingTools,
                E::AdmittedUnpinned,
            ) => Ok(P::Preparing),
            (P::Queued, E::AdmittedWithTools) => Ok(P::AwaitingTools),
            (P::Queued | P::Preparing | P::AwaitingTools, E::Calls) => Ok(P::AwaitingModel),
            // Every tool of the answer was refused at once, so nothing is out.
            (P::AwaitingModel, E::Calls) => Ok(P::AwaitingModel),
            (P::AwaitingModel, E::ToolsAsked) => Ok(P::AwaitingTools),

            (P::AwaitingModel, E::Waits(kind)) => Ok(P::Waiting(kind)),
            (
                P::AwaitingTools,
                E::Waits(kind @ (WaitKind::Children | WaitKind::Reply | WaitKind::Approval)),
            ) => Ok(P::Waiting(kind)),
            // Several calls of one answer wait, each for something else: one wait after the other.
            (P::Waiting(WaitKind::Reply), E::Waits(WaitKind::Approval)) => {
                Ok(P::Waiting(WaitKind::Approval))
            }
            (P::Waiting(WaitKind::Reply | WaitKind::Approval), E::Waits(WaitKind::Children)) => {
                Ok(P::Waiting(WaitKind::Children))
            }

            // It had its slot for a moment, and was not let through to its provider.
            (
                P::Queued | P::Preparing | P::AwaitingTools,
                E::Waits(kind @ (WaitKind::Gate | WaitKind::Budget)),
            ) => Ok(P::Waiting(kind)),

            // A drain or a lost node takes the slot; a wait that is over gives the place back.
            (P::Preparing | P::AwaitingModel | P::AwaitingTools | P::Waiting(_), E::Requeued) => {
                Ok(P::Queued)
            }

            (phase, E::Ended(outcome)) if !phase.ended() => Ok(P::Ended(outcome)),

            (phase, event) => Err(IllegalTransition { phase, event }),
        }
    }

    pub fn ended(self) -> bool {
        matches!(self, Phase::Ended(_))
    }

    pub fn waits(self) -> bool {
        matches!(self, Phase::Waiting(_))
    }

    pub fn holds_slot(self) -> bool {
        matches!(self, Phase::Preparing | Phase::AwaitingModel | Phase::AwaitingTools)
    }

    /// The column `phase`.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Queued => "queued",
            Phase::Preparing => "preparing",
            Phase::AwaitingModel => "awaiting_model",
            Phase::AwaitingTools => "awaiting_tools",
            Phase::Waiting(_) => "waiting",
            Phase::Ended(_) => "ended",
        }
    }

    /// The columns `phase`, `wait_kind` and `outcome`, read back.
    pub fn from_words(
        phase: &str,
        wait: Option<WaitKind>,
        outcome: Option<Outcome>,
    ) -> Option<Phase> {
        match (phase, wait, outcome) {
            ("queued", None, None) => Some(Phase::Queued),
            ("preparing", None, None) => Some(Phase::Preparing),
            ("awaiting_model", None, None) => Some(Phase::AwaitingModel),
            ("awaiting_tools", None, None) => Some(Phase::AwaitingTools),
            ("waiting", Some(kind), None) => Some(Phase::Waiting(kind)),
            ("ended", None, Some(outcome)) => Some(Phase::Ended(outcome)),
            _ => None,
        }
    }

    pub fn wait_kind(self) -> Option<WaitKind> {
        if let Phase::Waiting(kind) = self { Some(kind) } else { None }
    }

    pub fn outcome(self) -> Option<Outcome> {
        if let Phase::Ended(outcome) = self { Some(outcome) } else { None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a run in {phase:?} cannot take {event:?}")]
pub struct IllegalTransition {
    pub phase: Phase,
    pub event: RunEvent,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a life downwards.
    fn life(events: &[(RunEvent, Phase)]) {
        let mut phase = Phase::Queued;
        for &(event, expected) in events {
            phase = phase.next(event).unwrap();
            assert_eq!(phase, expected);
        }
    }

    #[test]
    fn a_run_that_yields_for_a_child() {
        use RunEvent as E;
        life(&[
            (E::AdmittedUnpinned, Phase::Preparing),
            (E::Calls, Phase::AwaitingModel),
            (E::ToolsAsked, Phase::AwaitingTools),
            (E::Waits(WaitKind::Children), Phase::Waiting(WaitKind::Children)),
            (E::Requeued, Phase::Queued),
            (E::Calls, Phase::AwaitingModel),
            (E::Ended(Outcome::Completed), Phase::Ended(Outcome::Completed)),
        ]);
    }

    #[test]
    fn a_run_that_is_cut_between_two_tools() {
        use RunEvent as E;
        life(&[
            (E::Calls, Phase::AwaitingModel),
            (E::ToolsAsked, Phase::AwaitingTools),
            (E::Requeued, Phase::Queued),
            (E::AdmittedWithTools, Phase::AwaitingTools),
            (E::Calls, Phase::AwaitingModel),
            (E::Waits(WaitKind::Retry), Phase::Waiting(WaitKind::Retry)),
            (E::Requeued, Phase::Queued),
        ]);
    }

    #[test]
    fn a_run_that_finds_its_gate_closed() {
        use RunEvent as E;
        let at_gate = Phase::Waiting(WaitKind::Gate);
        life(&[
            (E::Waits(WaitKind::Gate), at_gate),
            (E::Requeued, Phase::Queued),
            (E::AdmittedUnpinned, Phase::Preparing),
            (E::Waits(WaitKind::Gate), at_gate),
            (E::Requeued, Phase::Queued),
            (E::Calls, Phase::AwaitingModel),
            (E::Waits(WaitKind::Gate), at_gate),
            (E::Requeued, Phase::Queued),
            (E::AdmittedWithTools, Phase::AwaitingTools),
            (E::Waits(WaitKind::Gate), at_gate),
            (E::Ended(Outcome::Cancelled), Phase::Ended(Outcome::Cancelled)),
        ]);
    }

    #[test]
    fn a_run_whose_conversation_is_compacted() {
        use RunEvent as E;
        life(&[
            (E::Calls, Phase::AwaitingModel),
            (E::ToolsAsked, Phase::AwaitingTools),
            (E::Calls, Phase::AwaitingModel),
            (E::AdmittedUnpinned, Phase::Preparing),
            (E::Calls, Phase::AwaitingModel),
        ]);
    }

    #[test]
    fn what_cannot_happen_is_an_error() {
        use RunEvent as E;
        let ended = Phase::Ended(Outcome::Cancelled);
        for (phase, event) in [
            (Phase::Queued, E::ToolsAsked),
            (Phase::Queued, E::Requeued),
            (Phase::Queued, E::Waits(WaitKind::Children)),
            (Phase::AwaitingTools, E::Waits(WaitKind::Retry)),
            (Phase::Waiting(WaitKind::Retry), E::Calls),
            (ended, E::Calls),
            (ended, E::Requeued),
            (ended, E::Ended(Outcome::Completed)),
        ] {
            assert!(phase.next(event).is_err(), "{phase:?} must not take {event:?}");
        }
    }
}
