//! What readers are shown: facts of rows, joined where a reader would have to ask twice.
//!
//! No word here is derived: "running" and its like follow from these facts in `machine::status`,
//! with the reader's own clock.

use machine::queue::QueueWish;
use machine::rows::{
    BudgetRow, EndReason, EntryKind, GateKey, GateKind, GateState, InboxState, LaneName, Lifecycle,
    NodeState, Outcome, Run, Task, TaskKind, Told, Transcript,
};
use machine::run::{Phase, WaitKind};
use machine::status::{Standing, TaskStatus, Words};
use serde::{Serialize, Serializer};
use types::{
    Access, AgentId, Announce, ApprovalId, Cleanup, Deliverables, FailureClass, FlowId, Footer,
    Hash, MessageId, NodeId, Reasoning, RunId, ScopeKind, SessionId, SessionKey, TaskId, Thinking,
    Timestamp, Usage,
};

mod flow;
mod message;
mod spend;

pub use flow::{FlowNodeView, FlowView};
pub use message::{MessageView, QueuedView, SentView, WaitView};
pub use spend::{SpendFilter, SpendView};

fn phase_word<S: Serializer>(phase: &Phase, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(phase.word())
}

/// One entry of a transcript, with its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    pub session_id: SessionId,
    pub seq: i64,
    pub run: RunId,
    pub step: Option<u32>,
    pub kind: EntryKind,
    pub call_id: Option<String>,
    pub body: String,
    pub tokens: u64,
    pub at: Timestamp,
    /// Part of the taking of notes, or an order: a model is not shown it again.
    pub silent: bool,
}

/// A page of a transcript, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPage {
    /// Entries of the whole transcript.
    pub total: i64,
    pub entries: Vec<EntryView>,
}

/// Which sessions to list: most recently active first. What is not asked for does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFilter {
    pub agent: Option<AgentId>,
    pub owner: Option<String>,
    pub active_since: Option<Timestamp>,
    /// Those that this session has asked for.
    pub parent: Option<SessionKey>,
    /// The one whose transcript this is now.
    pub session_id: Option<SessionId>,
    /// Only these kinds; all if there is none.
    pub kinds: Vec<ScopeKind>,
    /// The whole label.
    pub label: Option<String>,
    /// A part of the key or label. Capitals of A to Z do not matter.
    pub search: Option<String>,
    /// Only those in this state.
    pub lifecycle: Option<Lifecycle>,
    /// Only those with an open run.
    pub open_only: bool,
    pub limit: usize,
    pub offset: usize,
}

impl Default for SessionFilter {
    fn default() -> SessionFilter {
        SessionFilter {
            agent: None,
            owner: None,
            active_since: None,
            parent: None,
            session_id: None,
            kinds: Vec::new(),
            label: None,
            search: None,
            lifecycle: None,
            open_only: false,
            limit: 100,
            offset: 0,
        }
    }
}

impl SessionFilter {
    /// Every kind but these.
    pub fn all_but(kinds: &[ScopeKind]) -> Vec<ScopeKind> {
        ScopeKind::ALL.iter().copied().filter(|kind| !kinds.contains(kind)).collect()
    }
}

/// How many there are of what: counted, not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    pub sessions: u64,
    pub runs_queued: u64,
    /// With a live lease.
    pub runs_running: u64,
    /// Their node is gone, and the next has not taken them over yet.
    pub runs_recovering: u64,
    pub runs_waiting: u64,
    pub tasks_open: u64,
    pub tasks_ended: u64,
    /// Inputs that have reached nobody.
    pub dead_letters: u64,
    /// Commands that wait until a person allows them.
    pub approvals: u64,
    /// Since when the oldest of them does.
    pub approval_since: Option<Timestamp>,
}

/// A session, with the run that is open and the one that ended last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    pub key: SessionKey,
    pub session_id: SessionId,
    pub agent: AgentId,
    pub owner: String,
    pub parent_key: Option<SessionKey>,
    pub root_key: SessionKey,
    pub depth: u32,
    pub lifecycle: Lifecycle,
    pub label: Option<String>,
    pub model: Option<String>,
    pub thinking: Option<Thinking>,
    pub cwd: Option<String>,
    pub rev: i64,
    pub created: Timestamp,
    pub active: Timestamp,
    pub archived: Option<Timestamp>,
    pub access: Access,
    pub policy_hash: Option<Hash>,
    /// Said by a person or an agent after the last run.
    pub declared: Option<TaskStatus>,
    pub queue: QueueWish,
    /// Whether what its model thinks is shown.
    pub reasoning: Reasoning,
    pub footer: Footer,
    /// Names the blob with the card that its agent has put up.
    pub card: Option<Hash>,
    pub open_run: Option<RunFacts>,
    pub last_run: Option<RunFacts>,
    /// Inbox rows that have not been taken in.
    pub queued: u32,
    pub open_children: u32,
    /// Tokens that the next prompt will hold.
    pub context_tokens: u64,
    /// A window that a provider has told with a refusal.
    pub told: Option<Told>,
    /// Everything that its model calls have used.
    pub usage: Usage,
}

impl SessionView {
    /// The run that is open, else the one that ended last: what `machine::status` asks for.
    pub fn newest_run(&self) -> Option<&RunFacts> {
        self.open_run.as_ref().or(self.last_run.as_ref())
    }

    /// The window of `model`, if a provider has told that it is smaller than what is configured.
    pub fn told_window(&self, model: &str, configured: Option<u64>) -> Option<u64> {
        let told = self.told.as_ref().filter(|told| GateKey::base(&told.model) == model)?;
        configured.is_none_or(|configured| told.tokens < configured).then_some(told.tokens)
    }

    /// How it stands at `now`, in words.
    pub fn words(&self, now: Timestamp) -> Words {
        words(self.lifecycle, self.newest_run(), self.declared, now)
    }
}

fn words(
    lifecycle: Lifecycle,
    newest: Option<&RunFacts>,
    declared: Option<TaskStatus>,
    now: Timestamp,
) -> Words {
    let lease_live = newest.is_some_and(|run| run.lease_live(now));
    Standing { lifecycle, newest: newest.map(|run| run.phase), lease_live, declared }.words()
}

/// What a status needs to know of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFacts {
    pub id: RunId,
    pub wire_id: String,
    #[serde(serialize_with = "phase_word")]
    pub phase: Phase,
    pub wait_kind: Option<WaitKind>,
    pub wait_need: u32,
    pub outcome: Option<Outcome>,
    pub lane: LaneName,
    /// How long the node that holds its slot has a lease. None if it holds none, or if the node
    /// has said that it is down.
    pub lease_until: Option<Timestamp>,
    /// The model that was chosen for it.
    pub asked: String,
    /// What its calls go to.
    pub model: String,
    /// Who gave its last answer, as the provider says.
    pub answered: Option<String>,
    /// Why a call went elsewhere than to the first choice.
    pub switched: Option<String>,
    pub error_class: Option<FailureClass>,
    pub error: Option<String>,
    pub queued: Timestamp,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

impl RunFacts {
    pub(crate) fn new(run: Run, lease_until: Option<Timestamp>) -> RunFacts {
        RunFacts {
            id: run.id,
            wire_id: run.wire_id,
            phase: run.phase,
            wait_kind: run.phase.wait_kind(),
            wait_need: run.wait_need,
            outcome: run.phase.outcome(),
            lane: run.lane,
            lease_until,
            asked: run.asked,
            model: run.model,
            answered: run.answered,
            switched: run.switched,
            error_class: run.error_class,
            error: run.error,
            queued: run.queued,
            started: run.started,
            ended: run.ended,
        }
    }

    /// Does the node that holds its slot have a lease at `now`?
    pub fn lease_live(&self, now: Timestamp) -> bool {
        self.lease_until.is_some_and(|until| until > now)
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    #[serde(flatten)]
    pub facts: RunFacts,
    pub session_key: SessionKey,
    pub session_id: SessionId,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub root_key: SessionKey,
    pub rank: Option<i64>,
    pub slot: Option<u32>,
    pub node: Option<NodeId>,
    pub generation: i64,
    pub steps: u32,
    pub recoveries: u32,
    pub retries: u32,
    pub origin: String,
    pub timeout_ms: Option<i64>,
    pub deadline: Option<Timestamp>,
    pub usage: Usage,
}

impl RunView {
    pub(crate) fn new(run: Run, agent: AgentId, lease_until: Option<Timestamp>) -> RunView {
        RunView {
            session_key: run.session_key.clone(),
            session_id: run.session_id,
            agent,
            task: run.task,
            root_key: run.root_key.clone(),
            rank: run.rank,
            slot: run.slot,
            node: run.node,
            generation: run.generation,
            steps: run.next_step,
            recoveries: run.recoveries,
            retries: run.retries,
            origin: run.origin.clone(),
            timeout_ms: run.timeout_ms,
            deadline: run.deadline,
            usage: run.usage,
            facts: RunFacts::new(run, lease_until),
        }
    }
}

/// One transcript of a session key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptView {
    pub session_id: SessionId,
    pub session_key: SessionKey,
    /// Entries that it holds.
    pub entries: i64,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub end_reason: Option<EndReason>,
}

impl TranscriptView {
    pub(crate) fn new(row: Transcript) -> TranscriptView {
        TranscriptView {
            session_id: row.session_id,
            session_key: row.session_key,
            entries: row.next_seq - 1,
            started: row.started,
            ended: row.ended.map(|(at, _)| at),
            end_reason: row.ended.map(|(_, why)| why),
        }
    }
}

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InputView {
    pub message: MessageId,
    pub state: InboxState,
    /// The run that was made for it, or that has taken it in.
    pub run: Option<RunId>,
}

/// Below what tasks are looked for: what it has asked for, what that has asked for, and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Below {
    Session(SessionKey),
    Task(TaskId),
}

/// How tasks stand that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Also those that have not ended.
    pub open: bool,
    /// Those that have ended so.
    pub outcomes: Vec<Outcome>,
}

/// Which questions to list: newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalFilter {
    pub id: Option<ApprovalId>,
    /// Those of this tree.
    pub root: Option<SessionKey>,
    /// Those that nobody has answered yet.
    pub pending: bool,
    pub limit: usize,
}

/// Which tasks to list: newest first. What is not asked for does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFilter {
    pub root: Option<SessionKey>,
    pub requester: Option<SessionKey>,
    /// Those that this session has asked for or carries.
    pub session: Option<SessionKey>,
    /// Those that a session of this agent carries.
    pub agent: Option<AgentId>,
    pub below: Option<Below>,
    pub open_only: bool,
    pub ends: Option<Ends>,
    /// Those that are open, or have ended since.
    pub ended_since: Option<Timestamp>,
    pub kind: Option<TaskKind>,
    /// Only those made before this one: the page after it.
    pub before: Option<TaskId>,
    pub limit: usize,
}

impl Default for TaskFilter {
    fn default() -> TaskFilter {
        TaskFilter {
            root: None,
            requester: None,
            session: None,
            agent: None,
            below: None,
            open_only: false,
            ends: None,
            ended_since: None,
            kind: None,
            before: None,
            limit: 100,
        }
    }
}

/// A task, with the run that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    pub id: TaskId,
    pub kind: TaskKind,
    pub requester_key: SessionKey,
    pub parent: Option<TaskId>,
    pub root_key: SessionKey,
    pub depth: u32,
    pub session_key: SessionKey,
    pub run_id: RunId,
    pub task_name: Option<String>,
    pub label: Option<String>,
    pub announce: Announce,
    pub cleanup: Cleanup,
    pub origin: String,
    pub deliverables: Option<Deliverables>,
    pub attempt: u32,
    pub retry_of: Option<TaskId>,
    pub flow: Option<FlowId>,
    pub node: Option<String>,
    pub waited_by: Option<RunId>,
    pub cancelled: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub result_hash: Option<Hash>,
    pub created: Timestamp,
    pub ended: Option<Timestamp>,
    pub run: Option<RunFacts>,
}

impl TaskView {
    /// How it stands at `now`, in words; `lifecycle` is that of its session.
    pub fn words(&self, lifecycle: Lifecycle, now: Timestamp) -> Words {
        words(lifecycle, self.run.as_ref(), None, now)
    }

    pub(crate) fn new(task: Task, run: Option<RunFacts>) -> TaskView {
        let run = run.or_else(|| Some(facts_without_run(&task)));
        TaskView {
            id: task.id,
            kind: task.kind,
            requester_key: task.requester_key,
            parent: task.parent,
            root_key: task.root_key,
            depth: task.depth,
            session_key: task.session_key,
            run_id: task.run,
            task_name: task.task_name,
            label: task.label,
            announce: task.announce,
            cleanup: task.cleanup,
            origin: task.origin,
            deliverables: task.deliverables,
            attempt: task.attempt,
            retry_of: task.retry_of,
            flow: task.flow,
            node: task.node,
            waited_by: task.waited_by,
            cancelled: task.cancelled,
            outcome: task.outcome,
            result_hash: task.result_hash,
            created: task.created,
            ended: task.ended,
            run,
        }
    }
}

/// A flow has no run. What it does is what a run does that waits for its children, and so it is
/// told. A task in line in a busy session has none yet, and one that was stopped there never had.
fn facts_without_run(task: &Task) -> RunFacts {
    let open = match task.kind {
        TaskKind::Flow => Phase::Waiting(WaitKind::Children),
        _ => Phase::Queued,
    };
    let phase = task.outcome.map_or(open, Phase::Ended);
    let started = (task.kind == TaskKind::Flow).then_some(task.created);
    RunFacts {
        id: task.run,
        wire_id: task.run.to_string(),
        phase,
        wait_kind: phase.wait_kind(),
        wait_need: 0,
        outcome: task.outcome,
        lane: LaneName::Subagent,
        lease_until: None,
        asked: String::new(),
        model: String::new(),
        answered: None,
        switched: None,
        error_class: None,
        error: None,
        queued: task.created,
        started,
        ended: task.ended,
    }
}

/// A lane, and how busy it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneView {
    pub name: LaneName,
    pub capacity: u32,
    pub held: u32,
    pub queued: u32,
    /// Sessions whose runs hold its slots, by slot.
    pub holders: Vec<SessionKey>,
}

/// A run that stands in line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LineView {
    pub run: RunId,
    pub wire_id: String,
    pub session_key: SessionKey,
    pub lane: LaneName,
    /// From 1.
    pub place: u32,
    pub since: Timestamp,
}

/// A gate of a provider that is not open, or at which runs wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateView {
    pub gate: String,
    pub state: GateState,
    pub kind: Option<GateKind>,
    pub reopen: Option<Timestamp>,
    pub reason: Option<String>,
    /// Runs that wait for its model.
    pub waiting: u64,
}

/// A start of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    pub id: NodeId,
    pub pid: u32,
    pub version: String,
    pub state: NodeState,
    pub beat: Timestamp,
    pub lease_until: Timestamp,
    pub started: Timestamp,
}

/// Whose model calls to add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerScope {
    All,
    Session(SessionKey),
    /// A session and everything below it, by the session at its head.
    Tree(SessionKey),
}

/// A sum of ledger rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerTotal {
    pub usage: Usage,
    pub rows: u64,
    /// Rows whose numbers are ours: the call was cut.
    pub estimated: u64,
}

/// A budget, and how many runs wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetView {
    pub row: BudgetRow,
    pub waiting: u64,
}

/// One line of history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalView {
    pub seq: i64,
    pub kind: String,
    pub subject: String,
    pub root_key: Option<SessionKey>,
    /// JSON.
    pub detail: String,
    pub at: Timestamp,
}
