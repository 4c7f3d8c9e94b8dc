//! Everything that can happen. Each event is one transaction.

use serde::{Deserialize, Serialize};
pub use types::Overflow;
use types::{
    AgentId, ApprovalId, CommandLine, EffectClass, FailureClass, FlowId, Footer, InternalCall,
    NodeId, Reasoning, RunId, SessionKey, Spend, TaskId, Thinking, Usage, word_enum,
};

use crate::attempt::Retry;
use crate::queue::{QueueMode, QueueWish};
use crate::rows::{BudgetKey, EndReason, InboxKind, LaneName, Timer};
use crate::status::TaskStatus;

/// Something that happened, or that follows at once from something that did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A person, a client, or the gateway itself puts an input into a session.
    MessageReceived(Inbound),
    /// A lane may have room.
    Admit(LaneName),
    /// The prefix of a run's episode has been rendered.
    Pinned {
        run: RunId,
        token: Token,
        prefix: String,
        tokens: u64,
    },
    ModelReplied {
        run: RunId,
        token: Token,
        step: u32,
        reply: ModelReply,
    },
    ModelFailed {
        run: RunId,
        token: Token,
        step: u32,
        failure: ModelFailure,
    },
    ToolFinished {
        run: RunId,
        token: Token,
        step: u32,
        result: ToolDone,
    },
    /// What a task has to hand in has been looked for.
    Checked {
        run: RunId,
        token: Token,
        step: u32,
        /// A sentence for each thing; none if all of it is there.
        missing: Vec<String>,
    },
    /// A tool call that the machine carries out itself.
    InternalCall {
        run: RunId,
        token: Token,
        step: u32,
        call: InternalCall,
    },
    /// The prefix could not be rendered yet: meanwhile other tools have become known.
    PinAgain {
        run: RunId,
        token: Token,
    },
    /// The prefix of a run is rendered without the tools of these servers, which cannot be asked.
    ToolsMissing {
        run: RunId,
        servers: Vec<String>,
    },
    /// A person or a program asks, in the name of a session, for what an agent asks for with a
    /// tool: the same operation, policy and record, and no model.
    Ask(Asked),
    /// A person has typed a command.
    Command(Command),
    /// A person or a program changes a session as a whole.
    Change {
        session: SessionKey,
        by: String,
        change: Change,
    },
    /// A person answers a call that waits to be allowed.
    Decide {
        approval: ApprovalId,
        decision: Decision,
        by: String,
    },
    /// What was allowed an agent for good is allowed no more.
    Revoke {
        agent: AgentId,
        pattern: String,
        by: String,
    },
    /// A person allows more to be spent under a cap.
    RaiseBudget {
        budget: BudgetKey,
        by: String,
        more: Spend,
    },
    /// A person stops a session: its run, and everything below it.
    Stop {
        session: SessionKey,
        /// Only if this run is open: a stop must not hit the one that came after it.
        run: Option<RunId>,
        by: String,
    },
    /// A person or an ancestor stops a task, and everything below it.
    StopTask {
        task: TaskId,
        by: String,
    },
    /// An ended task is to be carried again.
    RetryTask(Retry),
    /// The result of an ended task has reached nobody, and is to.
    Redeliver {
        task: TaskId,
        by: String,
    },
    /// Follows from a stop above.
    StopBelow {
        task: TaskId,
        by: String,
    },
    /// It was looked what is left of a run that was ended with calls out.
    Halted {
        run: RunId,
        /// The look that has seen it.
        look: u32,
        /// Processes that carry its id.
        pids: Vec<u32>,
        /// Calls that have not come back.
        calls: u32,
    },
    /// The clock has reached the earliest timer.
    Tick,
    Due(Timer),
    /// The limits are others than before.
    Reconfigured,
    /// A gateway has started, and holds the lock of this store.
    NodeStarted {
        node: NodeId,
        pid: u32,
        version: String,
    },
    Beat,
    Drain,
    NodeStopped,
    /// Looks for work that a lost node has left.
    Recover,
    /// A flow may have something to start, or be over.
    AdvanceFlow(FlowId),
    Orphaned {
        run: RunId,
    },
    /// An event of this run hit a bug, and was rolled back.
    Broken {
        run: RunId,
        why: String,
    },
}

impl Event {
    /// What happened, in one word and without what it carries: for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Event::MessageReceived(_) => "MessageReceived",
            Event::Admit(_) => "Admit",
            Event::Pinned { .. } => "Pinned",
            Event::PinAgain { .. } => "PinAgain",
            Event::ToolsMissing { .. } => "ToolsMissing",
            Event::ModelReplied { .. } => "ModelReplied",
            Event::ModelFailed { .. } => "ModelFailed",
            Event::ToolFinished { .. } => "ToolFinished",
            Event::Checked { .. } => "Checked",
            Event::InternalCall { .. } => "InternalCall",
            Event::Ask(_) => "Ask",
            Event::Command(_) => "Command",
            Event::Change { .. } => "Change",
            Event::Decide { .. } => "Decide",
            Event::Revoke { .. } => "Revoke",
            Event::RaiseBudget { .. } => "RaiseBudget",
            Event::Stop { .. } => "Stop",
            Event::StopTask { .. } => "StopTask",
            Event::RetryTask(_) => "RetryTask",
            Event::Redeliver { .. } => "Redeliver",
            Event::StopBelow { .. } => "StopBelow",
            Event::Halted { .. } => "Halted",
            Event::Tick => "Tick",
            Event::Due(_) => "Due",
            Event::NodeStarted { .. } => "NodeStarted",
            Event::Beat => "Beat",
            Event::Reconfigured => "Reconfigured",
            Event::Drain => "Drain",
            Event::NodeStopped => "NodeStopped",
            Event::Recover => "Recover",
            Event::AdvanceFlow(_) => "AdvanceFlow",
            Event::Orphaned { .. } => "Orphaned",
            Event::Broken { .. } => "Broken",
        }
    }

    /// The run that stands still if this event cannot be applied.
    pub fn stalls(&self) -> Option<RunId> {
        match self {
            Event::Pinned { run, .. }
            | Event::PinAgain { run, .. }
            | Event::ModelReplied { run, .. }
            | Event::ModelFailed { run, .. }
            | Event::ToolFinished { run, .. }
            | Event::Checked { run, .. }
            | Event::InternalCall { run, .. }
            | Event::Orphaned { run } => Some(*run),
            _ => None,
        }
    }
}

/// Which life of a run a result belongs to. A result with another token is refused: its run has
/// been taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub generation: i64,
    pub nonce: i64,
}

/// An input for a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Inbound {
    pub session: SessionKey,
    pub kind: InboxKind,
    pub body: String,
    /// The same key in the same session is the same input.
    pub idem_key: String,
    /// Where the answer goes.
    pub origin: String,
    /// The person who owns the session, if it has to be made.
    pub owner: String,
    /// Instead of the configured mode.
    pub mode: Option<QueueMode>,
    /// Model of the session, if it has to be made.
    pub model: Option<String>,
    pub label: Option<String>,
    /// Bound on the run that this input opens, in ms: that of the agent if none, no bound if zero.
    pub timeout_ms: Option<i64>,
    /// The session that sent it, if one did.
    pub sender: Option<SessionKey>,
    /// Messages of agents that led to this one.
    pub hops: u32,
}

/// What somebody asks for in the name of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Made if it is not there, as by a message.
    pub session: SessionKey,
    /// Who asks: the owner of what is made, and who has stopped what is stopped.
    pub owner: String,
    /// Where answers go.
    pub origin: String,
    /// Names this request: rows that it makes carry it in their idempotency keys.
    pub mark: String,
    pub call: InternalCall,
}

/// A command of a person, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub session: SessionKey,
    pub owner: String,
    /// Where answers go.
    pub origin: String,
    /// The same key in the same session is the same command.
    pub idem_key: String,
    /// As it was typed.
    pub text: String,
    pub act: Act,
}

impl Command {
    /// The key of the message that is said with the command of this key.
    pub fn first_key(idem_key: &str) -> String {
        format!("first:{idem_key}")
    }
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Nothing is changed, and the answer is there already.
    Tell {
        answer: String,
        is_error: bool,
        /// The tasks that the answer numbers.
        listed: Vec<TaskId>,
    },
    /// The session's run, what waits in it, and all its children.
    Stop,
    /// All its children.
    StopChildren,
    /// One of the tasks below it is carried again.
    Retry(TaskId),
    /// The conversation begins anew, with this message if there is one.
    Reset {
        reason: EndReason,
        first: Option<String>,
    },
    Patch(Patch),
    /// What stands before the conversation is read anew; the files that are known to have changed.
    Refresh {
        changed: Vec<String>,
    },
    /// The conversation is made smaller; what matters above all, if somebody says it.
    Compact {
        hint: String,
    },
    /// A call that waits is answered.
    Decide(ApprovalId, Decision),
    /// What an agent may ask for as well.
    Call(InternalCall),
}

/// What becomes of a session as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Reset(EndReason),
    Patch(Patch),
    Compact { origin: String, hint: String },
    Archive,
    Restore,
    Delete,
}

/// What is changed of a session: `Some(None)` goes back to what is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    pub label: Option<Option<String>>,
    pub model: Option<Option<String>>,
    pub thinking: Option<Option<Thinking>>,
    /// Changes what is given of it.
    pub queue: Option<Option<QueueWish>>,
    pub declared: Option<Option<TaskStatus>>,
    pub reasoning: Option<Reasoning>,
    pub footer: Option<Footer>,
}

/// A model's whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelReply {
    /// Body of the entry: a `types::AssistantMessage` as JSON.
    pub body: String,
    pub text: String,
    pub calls: Vec<PlannedCall>,
    pub usage: Usage,
    /// As the provider named it.
    pub model: String,
    /// The output limit in tokens, if the answer was cut there.
    pub cut_at: Option<u32>,
}

/// A tool call of an answer, looked up in the toolbox.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedCall {
    pub call_id: String,
    pub name: String,
    pub arguments: String,
    /// The shell command that it would run, if it would run one.
    pub command: Option<CommandLine>,
    pub plan: CallPlan,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CallPlan {
    /// The runtime runs it.
    External(EffectClass),
    /// The machine carries it out.
    Internal(InternalCall),
    /// There is no such tool, or its arguments are wrong: the model is told.
    Refused(String),
}

/// Why a model call gave no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFailure {
    pub class: FailureClass,
    pub message: String,
    pub retry_after_ms: Option<i64>,
    /// Bytes of an answer had come, so the provider may charge for it.
    pub paid: bool,
    /// What a refusal as too long says of the numbers.
    pub overflow: Overflow,
}

/// What came of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolDone {
    pub text: String,
    pub is_error: bool,
    /// It was interrupted, and nobody can tell whether it was done.
    pub unknown: bool,
    /// What it has started goes on, now that the call is over.
    pub background: bool,
}

word_enum! {
    /// What a person says to a call that waits. The words are OpenClaw's.
    pub enum Decision {
        AllowOnce = "allow-once",
        /// And all that is like it, from now on.
        AllowAlways = "allow-always",
        Deny = "deny",
    }
}
