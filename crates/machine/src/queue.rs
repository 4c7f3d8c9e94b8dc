//! Where an input goes when its session may be busy.

use std::time::Duration;

use serde::Serialize;
use types::word_enum;

use crate::limits::QueueLimits;

word_enum! {
    /// `messages.queue.mode`
    pub enum QueueMode {
        /// Enters the open run at its next model boundary.
        Steer = "steer",
        /// Gets a run of its own, later.
        Followup = "followup",
        /// Is merged with others into one later run.
        Collect = "collect",
        /// Ends the open run and takes its place.
        Interrupt = "interrupt",
    }
}

word_enum! {
    /// `messages.queue.drop`: what gives way when the queue is full.
    pub enum Drop {
        /// The oldest waiting message, with a note to the agent in its place.
        Summarize = "summarize",
        /// The oldest waiting message.
        Old = "old",
        /// The one that has just come: it is refused.
        New = "new",
    }
}

/// What a session wants of its queue, instead of what is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueWish {
    pub mode: Option<QueueMode>,
    pub debounce_ms: Option<i64>,
    /// At least one.
    pub cap: Option<u32>,
    pub drop: Option<Drop>,
}

impl QueueWish {
    /// What holds for the session.
    pub fn over(&self, configured: &QueueLimits) -> QueueLimits {
        let debounce = self.debounce_ms.and_then(|ms| u64::try_from(ms).ok());
        QueueLimits {
            mode: self.mode.unwrap_or(configured.mode),
            debounce: debounce.map_or(configured.debounce, Duration::from_millis),
            cap: self.cap.map_or(configured.cap, |cap| cap.max(1) as usize),
            drop: self.drop.unwrap_or(configured.drop),
        }
    }

    /// What is wanted now stands, and of the rest what was wanted before.
    pub fn changed_by(self, newer: QueueWish) -> QueueWish {
        QueueWish {
            mode: newer.mode.or(self.mode),
            debounce_ms: newer.debounce_ms.or(self.debounce_ms),
            cap: newer.cap.or(self.cap),
            drop: newer.drop.or(self.drop),
        }
    }
}

/// What the session does when a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// No run is open.
    Idle,
    /// A run is open whose answer goes where this message came from.
    Steerable,
    /// A run is open whose answer goes elsewhere.
    Sealed,
}

/// Where the message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    NewRun,
    ActiveRun,
    NextRun,
    NextRunMerged,
    AbortThenNewRun,
}

/// Decides where a message goes.
pub fn place(mode: QueueMode, busy: Busy) -> Placement {
    match (mode, busy) {
        (_, Busy::Idle) => Placement::NewRun,
        (QueueMode::Steer, Busy::Steerable) => Placement::ActiveRun,
        (QueueMode::Steer, Busy::Sealed) => Placement::NextRun,
        (QueueMode::Followup, _) => Placement::NextRun,
        (QueueMode::Collect, _) => Placement::NextRunMerged,
        (QueueMode::Interrupt, _) => Placement::AbortThenNewRun,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole decision, as the manual prints it.
    #[test]
    fn place_of_a_message() {
        use Busy::*;
        use Placement::*;
        use QueueMode::*;

        #[rustfmt::skip]
        let table = [
            // mode       busy        place
            (Steer,      Idle,       NewRun),
            (Steer,      Steerable,  ActiveRun),
            (Steer,      Sealed,     NextRun),
            (Followup,   Idle,       NewRun),
            (Followup,   Steerable,  NextRun),
            (Followup,   Sealed,     NextRun),
            (Collect,    Idle,       NewRun),
            (Collect,    Steerable,  NextRunMerged),
            (Collect,    Sealed,     NextRunMerged),
            (Interrupt,  Idle,       NewRun),
            (Interrupt,  Steerable,  AbortThenNewRun),
            (Interrupt,  Sealed,     AbortThenNewRun),
        ];

        for (mode, busy, expected) in table {
            assert_eq!(place(mode, busy), expected, "{mode:?} while {busy:?}");
        }
    }
}
