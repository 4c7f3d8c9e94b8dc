//! Messages as readers are shown them: those that wait, those that were sent, and what is waited
//! for.

use machine::receipt::{self, Receipt, Taker};
use machine::rows::{InboxKind, InboxState, Outcome, Place};
use machine::run::WaitKind;
use serde::Serialize;
use types::{MessageId, RunId, SessionKey, TaskId, Timestamp};

/// An input that has not been taken in, with its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuedView {
    pub message: MessageId,
    pub kind: InboxKind,
    pub place: Place,
    pub idem_key: String,
    pub body: String,
    /// The run that was made for it.
    pub run: Option<RunId>,
    pub sender: Option<SessionKey>,
    pub at: Timestamp,
}

/// A message that a run has sent to another session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SentView {
    pub message: MessageId,
    pub session_key: SessionKey,
    /// Does its call still wait for the answer?
    pub waits: bool,
    /// The run that took it in has ended, or none ever will.
    pub settled: bool,
}

/// A message, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageView {
    pub message: MessageId,
    pub session_key: SessionKey,
    pub kind: InboxKind,
    pub state: InboxState,
    pub sender: Option<SessionKey>,
    pub task: Option<TaskId>,
    /// The run that was made for it, or that has taken it in.
    pub run: Option<RunId>,
    pub outcome: Option<Outcome>,
    /// Has that run called a model since it took this in?
    pub called: bool,
    pub at: Timestamp,
    pub done: Option<Timestamp>,
}

impl MessageView {
    pub fn receipt(&self) -> Receipt {
        let Self { outcome, called, .. } = *self;
        receipt::of(self.state, self.run.map(|_| Taker { outcome, called }))
    }
}

/// What a run that waits is waiting for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitView {
    pub kind: WaitKind,
    /// How many of the tasks have to end.
    pub need: u32,
    /// Tasks whose end it waits for, oldest first.
    pub tasks: Vec<TaskId>,
    /// Messages whose answer it waits for, in the order in which it has sent them.
    pub messages: Vec<MessageId>,
}
