//! What has happened in one case, as it is judged: read from the transcript, free of the store.

use std::fmt;

use anyhow::Context;
use machine::ANNOUNCE_MARKER;
use machine::rows::EntryKind;
use store::view::EntryView;
use types::{AssistantMessage, FailureClass, StopReason, ToolCall, ToolResult};

use super::case::{CALLS_MAX, Case, TIME_MAX};

/// One case, from its message to its end.
#[derive(Debug)]
pub struct Scene {
    pub case: Case,
    pub moments: Vec<Moment>,
    pub end: End,
}

/// Something that the model has said or heard.
#[derive(Clone, Debug)]
pub enum Moment {
    Said {
        text: String,
        calls: Vec<ToolCall>,
        cut: bool,
    },
    Result {
        name: String,
        text: String,
        is_error: bool,
    },
    /// A sub-agent has ended.
    Report {
        text: String,
        failed: bool,
    },
    /// The message of the person, or words of the system.
    Told {
        text: String,
    },
}

/// How it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Answered,
    /// As many model calls as a case may have were not enough.
    TooManyCalls,
    TimedOut {
        waits_for: Option<String>,
    },
    /// The next call could cost more than is left.
    OutOfBudget,
    Failed {
        class: FailureClass,
        why: String,
    },
}

impl End {
    /// Did the model come as far as it wanted, or was allowed to?
    pub fn is_its_own(&self) -> bool {
        matches!(self, End::Answered | End::TooManyCalls)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Answered => f.write_str("it answered nothing"),
            End::TooManyCalls => write!(f, "it was not done after {CALLS_MAX} model calls"),
            End::TimedOut { waits_for: None } => write!(f, "nothing came within {TIME_MAX:?}"),
            End::TimedOut { waits_for: Some(why) } => {
                write!(f, "nothing came within {TIME_MAX:?} ({why})")
            }
            End::OutOfBudget => {
                f.write_str("its next call could cost more than is left (--max-usd)")
            }
            End::Failed { why, .. } => f.write_str(why),
        }
    }
}

impl Moment {
    pub fn read(entry: &EntryView) -> anyhow::Result<Moment> {
        let unreadable = || format!("entry {} of the probe cannot be read", entry.seq);
        let text = entry.body.clone();
        Ok(match entry.kind {
            EntryKind::Assistant => {
                let answer: AssistantMessage =
                    serde_json::from_str(&text).with_context(unreadable)?;
                let cut = answer.stop == StopReason::Length;
                Moment::Said { text: answer.text, calls: answer.calls, cut }
            }
            EntryKind::ToolResult => {
                let result: ToolResult = serde_json::from_str(&text).with_context(unreadable)?;
                Moment::Result { name: result.name, text: result.text, is_error: result.is_error }
            }
            EntryKind::Announce => {
                let head =
                    text.lines().find(|line| line.starts_with(ANNOUNCE_MARKER)).unwrap_or("");
                let failed = !head.contains(" outcome=completed");
                Moment::Report { text, failed }
            }
            _ => Moment::Told { text },
        })
    }
}

impl Scene {
    /// Has the model said nothing at all?
    pub fn is_mute(&self) -> bool {
        self.said().next().is_none()
    }

    /// Sub-agents that were started.
    pub fn started(&self) -> usize {
        let started = |moment: &&Moment| {
            matches!(moment, Moment::Result { name, is_error: false, .. }
                if name == "sessions_spawn")
        };
        self.moments.iter().filter(started).count()
    }

    /// All calls, in order.
    pub fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.moments.iter().flat_map(|moment| match moment {
            Moment::Said { calls, .. } => calls.as_slice(),
            _ => &[],
        })
    }

    /// All that was said, in order, with its place.
    pub fn said(&self) -> impl DoubleEndedIterator<Item = (usize, &str)> {
        self.moments.iter().enumerate().filter_map(|(at, moment)| match moment {
            Moment::Said { text, .. } => Some((at, text.as_str())),
            _ => None,
        })
    }

    /// The first call that was refused, with its tool, and how many were.
    pub fn refused(&self) -> Option<(usize, &str, &str)> {
        let mut refused = self.moments.iter().filter_map(|moment| match moment {
            Moment::Result { name, text, is_error: true } => Some((name.as_str(), text.as_str())),
            _ => None,
        });
        let (name, text) = refused.next()?;
        Some((refused.count() + 1, name, text))
    }
}
