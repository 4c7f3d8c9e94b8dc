//! What follows from an event, after its commit: work to start, answers, news.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use types::{
    AgentId, ApprovalId, Deliverables, FlowId, Hash, MessageId, MicroUsd, NodeId, NodeName, RunId,
    SessionId, SessionKey, Spend, TaskId, Thinking, Timestamp, word_enum,
};

use crate::context::Projection;
use crate::event::Token;
use crate::limits::NoSuchModel;
use crate::policy::Role;
use crate::rows::{
    Approval, BudgetKey, EpisodeReason, FlowNodeState, GateKey, GateKind, LaneName, Outcome,
    Purpose,
};

/// Work that the runtime starts once the commit is on disk. Each may run twice: a crash can come
/// between the doing and the hearing of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Render the prefix of the run's episode.
    Pin {
        run: RunId,
        token: Token,
        session: SessionKey,
        agent: AgentId,
        role: Role,
        /// Names of its tools.
        tools: BTreeSet<String>,
    },
    CallModel(ModelCall),
    StartTool(ToolStart),
    /// Look whether what a task has to hand in is there.
    Check(Check),
    /// Close the model stream and end the processes of this run.
    Abort {
        run: RunId,
    },
    /// Look whether anything of this run is left, and end what is.
    Prove {
        run: RunId,
        /// Which look it is.
        look: u32,
    },
}

/// One model call to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelCall {
    pub run: RunId,
    pub token: Token,
    pub step: u32,
    pub session: SessionKey,
    pub session_id: SessionId,
    /// The run's name on the wire, for the draft that viewers see.
    pub wire_id: String,
    pub model: String,
    /// How long it is to think; its provider's own default if none.
    pub thinking: Option<Thinking>,
    pub purpose: Purpose,
    /// What the model is shown behind the prefix.
    pub shown: Projection,
    /// Names the blob with the prefix.
    pub prefix: Hash,
}

/// One tool call to be started. Its arguments are in the transcript: the entry of step
/// `asked_by`, call `call_id`.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolStart {
    pub run: RunId,
    pub token: Token,
    pub step: u32,
    pub asked_by: u32,
    pub session: SessionKey,
    pub session_id: SessionId,
    pub name: String,
    pub call_id: String,
    /// It may have been begun before a crash.
    pub again: bool,
    /// May it leave something running? Not where the session could not look at it.
    pub background: bool,
}

/// One look at what a task has to hand in. The answer is the entry of step `asked_by`.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub run: RunId,
    pub token: Token,
    pub step: u32,
    pub asked_by: u32,
    pub session: SessionKey,
    pub session_id: SessionId,
    pub wanted: Deliverables,
}

/// What the submitter of an event is told, after the commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Done; there is nothing more to say.
    Done,
    Accepted(Accepted),
    Stopped(Stopped),
    Commanded(Commanded),
    Changed(Changed),
    /// An order was taken: what becomes of it, for a person.
    Ordered(String),
    /// A person has answered, now or before.
    Decided(Decided),
    /// What an agent would have been told by its tool: one JSON object.
    Told {
        text: String,
        is_error: bool,
    },
    /// The result came from a life of the run that is over. Drop it.
    Fenced,
    Refused(Refusal),
}

/// An input is durable.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    pub message: MessageId,
    pub session: SessionKey,
    pub session_id: SessionId,
    /// The run that will take it in, if there is one already.
    pub run: Option<RunId>,
    /// The same input had been accepted before.
    pub duplicate: bool,
}

/// A command has been carried out, now or before.
#[derive(Clone, Debug, PartialEq)]
pub struct Commanded {
    pub session: SessionKey,
    pub session_id: SessionId,
    pub answer: String,
    pub is_error: bool,
    pub stopped: Stopped,
    /// The same command had been carried out before: nothing was done.
    pub duplicate: bool,
}

/// A session has been changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    pub session: SessionKey,
    /// Names its transcript from now on.
    pub session_id: SessionId,
    pub stopped: Stopped,
}

/// What has become of a call that waited.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub approval: Approval,
    /// It was answered or over before: nothing was done.
    pub before: bool,
}

/// What a stop has ended, and what its cascade is ending.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stopped {
    pub runs: Vec<RunId>,
    pub tasks: Vec<TaskId>,
}

/// Why an input was not accepted. Nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no agent `{0}` is configured; see `agents.entries`")]
    UnknownAgent(AgentId),
    #[error("no session `{0}`; sub-agent sessions are made by sessions_spawn only")]
    SessionNotFound(SessionKey),
    #[error("session `{0}` is archived; `windlass sessions restore {0}` opens it again")]
    SessionArchived(SessionKey),
    #[error("session `{session}` is not archived: {why}")]
    NotArchived { session: SessionKey, why: String },
    #[error(transparent)]
    UnknownModel(NoSuchModel),
    #[error(
        "a run of session `{0}` is open, so its task is in progress; wait for its end, or stop it"
    )]
    RunOpen(SessionKey),
    #[error("`in_progress` is told from an open run, and cannot be declared")]
    NotDeclarable,
    #[error("no task `{0}`")]
    TaskNotFound(TaskId),
    #[error("no approval `{0}`")]
    ApprovalNotFound(ApprovalId),
    #[error("agent `{agent}` has no `{pattern}` allowed for good")]
    GrantNotFound { agent: AgentId, pattern: String },
    #[error("`{0}` suspends the run that calls it, and nobody else can call it")]
    NotARun(&'static str),
    #[error("the message is empty")]
    EmptyMessage,
    #[error("the message has {bytes} bytes; the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("session `{session}` has {queued} queued messages; the limit is {limit}")]
    QueueFull { session: SessionKey, queued: usize, limit: usize },
    #[error("idempotency key `{0}` was used before with another message")]
    IdempotencyConflict(String),
    #[error("the gateway is draining for a restart")]
    Draining,
    #[error("the disk of the state folder is full; free some space, nothing accepted is lost")]
    StoreFull,
}

impl Refusal {
    /// How long to wait before trying again, if that can help.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Refusal::Draining => Some(2_000),
            Refusal::StoreFull => Some(30_000),
            Refusal::QueueFull { .. } => Some(1_000),
            _ => None,
        }
    }
}

/// News for whoever watches; each is also a line of the journal, without its text.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    Accepted {
        session: SessionKey,
        message: MessageId,
        kind: &'static str,
    },
    RunQueued {
        run: RunId,
        wire_id: String,
        session: SessionKey,
        lane: LaneName,
    },
    /// It stood in line, and stands there no more: a newer message comes first.
    GaveWay {
        run: RunId,
        session: SessionKey,
    },
    RunStarted {
        run: RunId,
        wire_id: String,
        session: SessionKey,
        recovered: bool,
    },
    /// It stands in line for a slot, for longer than it should.
    QueueWait {
        run: RunId,
        wire_id: String,
        session: SessionKey,
        lane: LaneName,
        /// From 1.
        place: u32,
        waited_ms: i64,
        /// Sessions whose runs hold the slots.
        holders: Vec<SessionKey>,
    },
    /// It waits until its provider lets it through.
    AtGate {
        run: RunId,
        session: SessionKey,
        gate: GateKey,
        /// When it is looked at again.
        until: Timestamp,
    },
    /// A provider has refused a call for a reason that concerns all.
    GateClosed {
        gate: GateKey,
        kind: GateKind,
        reopen: Timestamp,
        reason: String,
    },
    GateOpened {
        gate: GateKey,
    },
    /// It waits: a cap of the operator allows its next call no more.
    OverBudget {
        run: RunId,
        session: SessionKey,
        budget: BudgetKey,
        why: String,
    },
    /// A call waits until a person allows it.
    ApprovalAsked(Approval),
    /// It waits no more.
    ApprovalEnded(Approval),
    /// What was allowed an agent for good is allowed no more.
    GrantRevoked {
        agent: AgentId,
        pattern: String,
        by: String,
    },
    /// A person allows more.
    BudgetRaised {
        budget: BudgetKey,
        by: String,
        more: Spend,
    },
    /// Its calls go to another model or account from here on.
    ModelSwitched {
        run: RunId,
        session: SessionKey,
        /// The model that was chosen for it.
        asked: String,
        from: String,
        to: String,
        reason: String,
    },
    /// The provider has answered in the name of another model than was asked for.
    ModelDiffers {
        run: RunId,
        session: SessionKey,
        asked: String,
        answered: String,
    },
    ModelCallFailed {
        run: RunId,
        session: SessionKey,
        error: String,
        retry_in_ms: Option<i64>,
    },
    /// Its episode begins without the tools of these servers: they could not be asked.
    ToolsMissing {
        run: RunId,
        session: SessionKey,
        servers: Vec<String>,
    },
    ToolStarted {
        run: RunId,
        session: SessionKey,
        call_id: String,
        name: String,
    },
    ToolFinished {
        run: RunId,
        session: SessionKey,
        call_id: String,
        name: String,
        is_error: bool,
    },
    TaskSpawned {
        task: TaskId,
        requester: SessionKey,
        child: SessionKey,
        run: RunId,
    },
    TaskEnded {
        task: TaskId,
        requester: SessionKey,
        child: SessionKey,
        outcome: Outcome,
    },
    FlowStarted {
        flow: FlowId,
        task: TaskId,
        requester: SessionKey,
        name: String,
        nodes: u32,
    },
    /// An attempt of a node has begun.
    FlowNodeStarted {
        flow: FlowId,
        node: NodeName,
        task: TaskId,
        attempt: u32,
    },
    /// An attempt of a node is over; or the node, if `state` is a final one.
    FlowNodeEnded {
        flow: FlowId,
        node: NodeName,
        /// None if it was never started.
        task: Option<TaskId>,
        attempt: u32,
        state: FlowNodeState,
    },
    FlowEnded {
        flow: FlowId,
        task: TaskId,
        requester: SessionKey,
        outcome: Outcome,
    },
    Yielded {
        run: RunId,
        session: SessionKey,
        waiting_for: u32,
        acknowledgment: Option<String>,
    },
    RunEnded(RunEnded),
    /// It was looked what is left of a run that was ended with calls out.
    Halted {
        run: RunId,
        session: SessionKey,
        /// Processes that live on; none if nothing is left.
        pids: Vec<u32>,
        /// Calls that have not come back.
        calls: u32,
    },
    /// Its node is gone; it goes on from its last committed step.
    Recovered {
        run: RunId,
        session: SessionKey,
        recoveries: u32,
        cut: Cut,
    },
    Dropped {
        session: SessionKey,
        message: MessageId,
    },
    /// The agent is asked to write down what must not be lost in a compaction.
    TakingNotes {
        run: RunId,
        session: SessionKey,
    },
    /// A summary of a conversation is asked for.
    Compacting {
        run: RunId,
        session: SessionKey,
    },
    /// A conversation goes on with less of it.
    Compacted {
        run: RunId,
        session: SessionKey,
        /// `size`, `overflow` or `asked`.
        why: &'static str,
        by: FoldedBy,
        /// Entries that are not shown to the model any more.
        entries: u64,
        /// Tokens of a request, before and after.
        before: u64,
        after: u64,
    },
    /// The loop guard has not let a call be made.
    CallBlocked {
        run: RunId,
        session: SessionKey,
        name: String,
        /// How often it had been made.
        count: u32,
    },
    SessionArchived {
        session: SessionKey,
        /// Who has asked for it, or `idle` or `cleanup`.
        by: String,
    },
    SessionRestored {
        session: SessionKey,
        by: String,
    },
    /// A command has its answer.
    Commanded {
        session: SessionKey,
        /// The idempotency key of its message.
        key: String,
        answer: String,
        is_error: bool,
    },
    SessionChanged {
        session: SessionKey,
        what: &'static str,
    },
    /// A session's episode has got its prefix: from here on these bytes are sent.
    Pinned {
        run: RunId,
        session: SessionKey,
        reason: EpisodeReason,
        prefix: Hash,
        tokens: u64,
        /// It is that of the episode before: nothing is sent anew.
        same: bool,
        /// Tokens of prefix and conversation.
        resent: u64,
        /// What those cost written to the provider's cache, and what read from it.
        written: Option<MicroUsd>,
        read: Option<MicroUsd>,
    },
    /// A person is told something by the gateway itself, and no run of his answers with it.
    Told {
        session: SessionKey,
        /// Whose result it is.
        task: Option<TaskId>,
        /// The session that it comes from.
        source: SessionKey,
        text: String,
    },
    NodeStarted {
        node: NodeId,
    },
    /// A gateway that was killed: all it had is taken over.
    NodeLost {
        node: NodeId,
    },
    Draining {
        node: NodeId,
    },
}

word_enum! {
    /// What stands in the place of what was left out.
    pub enum FoldedBy {
        Summary = "summary",
        /// What we can tell ourselves: no summary could be had.
        Digest = "digest",
        /// Nothing was left out, but what is long is cut.
        Cuts = "cuts",
    }
}

/// What a lost node was doing for a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    /// Model calls without an answer: made again, and booked as estimated.
    pub calls: u64,
    /// Tokens of those calls, as far as we know.
    pub tokens: u64,
    /// Tool calls that may have been carried out or not: their model is told.
    pub unknown: u64,
    /// The run was lost too often at one step, and has been given up.
    pub given_up: bool,
}

/// A run is over.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnded {
    pub run: RunId,
    pub wire_id: String,
    pub session: SessionKey,
    pub session_id: SessionId,
    pub outcome: Outcome,
    /// The final answer. None if there is none, or if it is `NO_REPLY`.
    pub text: Option<String>,
    pub error: Option<String>,
}
