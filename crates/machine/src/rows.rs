//! The rows of the database, as the machine sees them: heads, counts and token numbers.
//!
//! Stored are facts: what was asked, what was done, when, and what a run waits for. Words such as
//! "running" or "resumable" are derived, in [`crate::status`]. Bodies are never here: a body that
//! moves from an inbox to a transcript moves inside the store ([`Body::Inbox`]).

use types::{
    Access, AgentId, Announce, Cleanup, Deliverables, EffectClass, FailureClass, FlowId, Footer,
    Hash, MessageId, MicroUsd, NodeId, Reasoning, RunId, SessionId, SessionKey, TaskId, Thinking,
    Timestamp, Usage, word_enum,
};

use crate::queue::QueueWish;
use crate::run::Phase;
use crate::status::TaskStatus;

mod budget;
mod flow;
mod gate;
mod gauge;
mod approval;
mod halt;
mod kept;
mod transcript;

pub use approval::{Approval, ApprovalState, Grant};
pub use budget::{BudgetKey, BudgetRow, BudgetScope, ParseBudgetKeyError, Reservation};
pub use flow::{Flow, FlowNode, FlowNodeState};
pub use gate::{Gate, GateKey, GateKind, GateState, ParseGateKeyError};
pub use gauge::{Fold, Gauge, Notes, Told};
pub use halt::{Halt, HaltState};
pub use kept::Kept;
pub use transcript::{Base, Body, Clip, Entry, EntryMark, Episode, Transcript};

word_enum! {
    /// May the session ever run again without being restored?
    pub enum Lifecycle {
        Open = "open",
        Archived = "archived",
    }
}

word_enum! {
    /// A global lane: a bounded number of runs at a time.
    pub enum LaneName {
        /// Runs that a person waits for.
        Main = "main",
        /// Briefs and messages of agents.
        Subagent = "subagent",
        /// Schedules and hooks.
        Cron = "cron",
    }
}

word_enum! {
    /// What an inbox row is.
    pub enum InboxKind {
        User = "user",
        Agent = "agent",
        Reply = "reply",
        Announce = "announce",
        Brief = "brief",
        Cron = "cron",
        Hook = "hook",
        System = "system",
    }
}

word_enum! {
    /// How an inbox row may enter a transcript.
    pub enum Place {
        /// At the next model boundary of a run of its origin.
        Steer = "steer",
        /// As the first row of a run of its own.
        Own = "own",
        /// With all other rows of this place, as the first of one later run.
        Merge = "merge",
        /// With the next run, which it does not open by itself: what arrives in a session that a
        /// person has stopped.
        Hold = "hold",
    }
}

word_enum! {
    pub enum InboxState {
        Queued = "queued",
        Consumed = "consumed",
        Dropped = "dropped",
        Cancelled = "cancelled",
        Dead = "dead",
    }
}

word_enum! {
    /// How a run or task ended. One word is stored; what people and clients see follows from it.
    pub enum Outcome {
        Completed = "completed",
        NoResult = "no_result",
        Failed = "failed",
        TimedOut = "timed_out",
        Cancelled = "cancelled",
        Interrupted = "interrupted",
    }
}

word_enum! {
    pub enum StepKind {
        Model = "model",
        Tool = "tool",
    }
}

word_enum! {
    /// What a model call is made for. Tool steps are for what the answer was for that asked for
    /// them.
    pub enum Purpose {
        /// The run's own next answer.
        Reply = "reply",
        /// Notes, before the conversation is compacted.
        Notes = "notes",
        /// A summary, which takes the place of what it is of.
        Summary = "summary",
    }
}

word_enum! {
    pub enum StepState {
        /// It waits for somebody else: for the answer to a message, or to be allowed.
        Waiting = "waiting",
        /// Committed before it is begun.
        Intent = "intent",
        Done = "done",
        Failed = "failed",
        /// Begun, and nobody can tell whether it was done.
        Unknown = "unknown",
    }
}

word_enum! {
    /// What a transcript entry is. The first eight are those of [`InboxKind`].
    pub enum EntryKind {
        User = "user",
        Agent = "agent",
        Reply = "reply",
        Announce = "announce",
        Brief = "brief",
        Cron = "cron",
        Hook = "hook",
        System = "system",
        Assistant = "assistant",
        ToolResult = "tool_result",
    }
}

word_enum! {
    /// What a timer is for. Its subject is the run or session that waits.
    pub enum TimerKind {
        Retry = "retry",
        YieldTimeout = "yield_timeout",
        Deadline = "deadline",
        Debounce = "debounce",
        /// A run is told that its deadline comes.
        DeadlineWarning = "deadline_warning",
        /// A `sessions_send` has waited long enough. Subject: `<run>/<step>`.
        ReplyTimeout = "reply_timeout",
        /// A run has waited for a slot so long that it is said.
        QueueNotice = "queue_notice",
        /// A closed provider gate may be tried. Subject: the gate.
        Gate = "gate",
        /// Nobody has answered a question in time. Subject: the approval.
        Approval = "approval",
        /// An idle child is archived. Subject: its session key.
        Archive = "archive",
        /// Those who wait for a budget are looked at. Subject: the budget.
        Budget = "budget",
        /// What is kept for a time only is looked through. Subject: `-`.
        Retention = "retention",
        /// It is looked again whether anything is left of a run that was ended.
        Halt = "halt",
    }
}

impl TimerKind {
    /// Is the timer's subject a run, which it must not outlive?
    pub fn of_run(self) -> bool {
        !matches!(
            self,
            TimerKind::ReplyTimeout
                | TimerKind::Gate
                | TimerKind::Archive
                | TimerKind::Retention
                | TimerKind::Halt
                | TimerKind::Approval
                | TimerKind::Budget
        )
    }
}

word_enum! {
    /// Who asked for a task, and what carries it.
    pub enum TaskKind {
        /// A child of an agent's run.
        Subagent = "subagent",
        /// Asked for by a person or a program, without a model.
        Cli = "cli",
        /// A declared flow. It has no run of its own: its nodes' tasks are below it.
        Flow = "flow",
        /// A node of a flow.
        FlowNode = "flow_node",
    }
}

word_enum! {
    /// Why a transcript has ended.
    pub enum EndReason {
        /// `/new`
        New = "new",
        /// `/reset`
        Reset = "reset",
    }
}

word_enum! {
    /// Why an episode has begun.
    pub enum EpisodeReason {
        Start = "start",
        /// The session was taken from the pool for a task that has nothing to do with the last.
        Pool = "pool",
        /// Its prefix is rendered anew, and the conversation goes on.
        Refresh = "refresh",
        /// What came before is summarised.
        Compaction = "compaction",
    }
}

word_enum! {
    pub enum NodeState {
        Up = "up",
        Draining = "draining",
        Down = "down",
    }
}

impl From<InboxKind> for EntryKind {
    fn from(kind: InboxKind) -> EntryKind {
        match kind {
            InboxKind::User => EntryKind::User,
            InboxKind::Agent => EntryKind::Agent,
            InboxKind::Reply => EntryKind::Reply,
            InboxKind::Announce => EntryKind::Announce,
            InboxKind::Brief => EntryKind::Brief,
            InboxKind::Cron => EntryKind::Cron,
            InboxKind::Hook => EntryKind::Hook,
            InboxKind::System => EntryKind::System,
        }
    }
}

/// A global lane. `vtime` is the rank of the run that was admitted last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub name: LaneName,
    pub capacity: u32,
    pub vtime: i64,
    /// Grows at each start of a gateway.
    pub generation: i64,
}

/// A durable conversation: the head of its mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub key: SessionKey,
    pub session_id: SessionId,
    pub agent: AgentId,
    /// The person for whom it was made.
    pub owner: String,
    pub parent_key: Option<SessionKey>,
    pub root_key: SessionKey,
    pub depth: u32,
    pub lifecycle: Lifecycle,
    pub open_run: Option<RunId>,
    pub label: Option<String>,
    pub model: Option<String>,
    /// What is configured if none.
    pub thinking: Option<Thinking>,
    pub cwd: Option<String>,
    /// What its tools may do to the world, and those of all that it spawns.
    pub access: Access,
    /// Names the blob with the tool policy that it was made with.
    pub policy_hash: Option<Hash>,
    /// Children of one pool key are alike: the same agent, model, policy, folder and owner.
    pub pool_key: Option<Hash>,
    /// Said by a person or an agent after the last run.
    pub declared: Option<TaskStatus>,
    /// Instead of what `messages.queue` says.
    pub queue: QueueWish,
    /// Whether what its model thinks is shown.
    pub reasoning: Reasoning,
    /// What is told under each answer about what it took.
    pub footer: Footer,
    /// Names the blob with the card that its agent has put up.
    pub card: Option<Hash>,
    pub rev: i64,
    pub created: Timestamp,
    pub active: Timestamp,
    pub archived: Option<Timestamp>,
    /// It is in no list, and its key is free for another conversation.
    pub deleted: Option<Timestamp>,
}

/// The head of an inbox row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// Grows over all sessions.
    pub seq: i64,
    pub id: MessageId,
    pub session_key: SessionKey,
    pub kind: InboxKind,
    pub place: Place,
    pub idem_key: String,
    /// Of the text as it was sent, without what a reader is told of its sender.
    pub body_hash: Hash,
    pub tokens: u64,
    /// Where the answer goes. Fixed here.
    pub origin: String,
    /// The session that sent it, if one did.
    pub sender: Option<SessionKey>,
    /// Messages of agents that led to this one, each caused by the one before.
    pub hops: u32,
    /// The sender wants to hear of the end of the run that takes it in, also if that says nothing.
    pub watch: bool,
    pub task: Option<TaskId>,
    pub state: InboxState,
    /// While queued: the run that was made for it. Then: the run that consumed it.
    pub run: Option<RunId>,
    /// Bound on the run that this row opens; none if there is no bound.
    pub timeout_ms: Option<i64>,
    pub at: Timestamp,
    pub done: Option<Timestamp>,
}

/// One execution in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub id: RunId,
    /// The id that clients see: their own idempotency key, or the text of `id`.
    pub wire_id: String,
    pub session_key: SessionKey,
    pub session_id: SessionId,
    pub task: Option<TaskId>,
    pub lane: LaneName,
    pub root_key: SessionKey,
    pub phase: Phase,
    /// Ends of children that a yield still waits for.
    pub wait_need: u32,
    /// Place in the lane while queued; none while a debounce holds it back.
    pub rank: Option<i64>,
    /// Since when it stands in line.
    pub lined: Option<Timestamp>,
    pub slot: Option<u32>,
    pub node: Option<NodeId>,
    pub generation: i64,
    pub nonce: i64,
    pub next_step: u32,
    /// Take-overs without a committed step since.
    pub recoveries: u32,
    /// Failed model calls in a row.
    pub retries: u32,
    /// The model that was chosen for it.
    pub asked: String,
    /// What its calls go to now: that model, or one in its place, with its account if the provider
    /// has several (see [`crate::failover`]).
    pub model: String,
    /// The model that gave its last answer, as the provider named it.
    pub answered: Option<String>,
    /// Why a call of it went elsewhere than to the first choice, if one did.
    pub switched: Option<String>,
    pub origin: String,
    /// The most hops of a message that it has taken in.
    pub hops: u32,
    pub timeout_ms: Option<i64>,
    pub deadline: Option<Timestamp>,
    pub usage: Usage,
    /// Of its calls whose price is known.
    pub cost: MicroUsd,
    /// The budget that it waits for.
    pub budget: Option<BudgetKey>,
    /// Something that it has started goes on beside it, so its end is looked after.
    pub background: bool,
    pub error_class: Option<FailureClass>,
    pub error: Option<String>,
    pub queued: Timestamp,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

/// One model call or one tool call of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub run: RunId,
    pub n: u32,
    pub kind: StepKind,
    pub purpose: Purpose,
    /// Tool steps: the model step that asked for it.
    pub asked_by: Option<u32>,
    pub name: Option<String>,
    pub call_id: Option<String>,
    pub args_hash: Option<Hash>,
    pub effect: Option<EffectClass>,
    pub state: StepState,
    pub result_hash: Option<Hash>,
    /// The message that this call has sent. A waiting step waits for its answer.
    pub waits_on: Option<MessageId>,
    pub model: Option<String>,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
}

/// The ledger row of detached work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub kind: TaskKind,
    pub requester_key: SessionKey,
    /// The task of the run that asked for this one.
    pub parent: Option<TaskId>,
    pub root_key: SessionKey,
    pub depth: u32,
    pub session_key: SessionKey,
    pub run: RunId,
    pub task_name: Option<String>,
    pub label: Option<String>,
    pub idem_key: Option<String>,
    /// Hash of agent and normalised brief.
    pub dup_hash: Hash,
    pub announce: Announce,
    pub cleanup: Cleanup,
    /// Where the answer of the run that asked goes, and so that of a run which this task's
    /// announce opens.
    pub origin: String,
    pub deliverables: Option<Deliverables>,
    /// How often it has been begun: by `tasks retry`, or by the retries of a flow.
    pub attempt: u32,
    /// The ended task that it carries again, by `tasks retry`.
    pub retry_of: Option<TaskId>,
    /// The flow that it is a node of, or that it stands for.
    pub flow: Option<FlowId>,
    pub node: Option<String>,
    /// The run whose yield waits for it.
    pub waited_by: Option<RunId>,
    pub cancelled: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub result_hash: Option<Hash>,
    pub created: Timestamp,
    pub ended: Option<Timestamp>,
}

/// One wait of the system. The earliest is the driver's only alarm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    pub kind: TimerKind,
    /// The text of a run id.
    pub subject: String,
    pub due: Timestamp,
}

/// One start of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub pid: u32,
    pub version: String,
    pub state: NodeState,
    pub beat: Timestamp,
    pub lease_until: Timestamp,
    pub started: Timestamp,
}

/// What a person has typed to the gateway itself, and what he was answered. No model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRow {
    pub session_key: SessionKey,
    /// The transcript in which it was typed.
    pub session_id: SessionId,
    /// It stands before the entry of this number.
    pub before_seq: i64,
    pub idem_key: String,
    pub text: String,
    pub answer: String,
    /// It was refused, or not understood.
    pub is_error: bool,
    /// The tasks that the answer has numbered, from `#1`.
    pub listed: Vec<TaskId>,
    pub at: Timestamp,
}

/// What one model call cost. No row is ever changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    pub run: RunId,
    pub step: u32,
    pub session_key: SessionKey,
    pub session_id: SessionId,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub root_key: SessionKey,
    pub model: String,
    pub usage: Usage,
    pub cost: MicroUsd,
    /// The price of the model was known.
    pub priced: bool,
    /// Where that price is from, and what it is.
    pub price_id: Option<String>,
    /// The call was cut: the numbers are ours, not the provider's.
    pub estimated: bool,
    pub at: Timestamp,
}

/// How often in a row a session has made one call and had one result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeats {
    pub session_key: SessionKey,
    /// Of the tool's name and the arguments.
    pub call_hash: Hash,
    pub root_key: SessionKey,
    pub result_hash: Hash,
    pub count: u32,
    /// The call changes nothing.
    pub looks: bool,
}

/// One line of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLine {
    pub kind: &'static str,
    pub subject: String,
    pub root_key: Option<SessionKey>,
    /// JSON, without bodies.
    pub detail: String,
    pub at: Timestamp,
}
