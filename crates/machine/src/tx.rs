//! A store's open transaction, as the machine sees it: its rows, and questions about them.

use types::{
    AgentId, ApprovalId, FlowId, Hash, MessageId, NodeId, RunId, SessionId, SessionKey, Spend,
    TaskId, Timestamp,
};

use crate::rows::{
    Approval, BudgetKey, BudgetRow, CommandRow, Entry, EntryMark, Episode, Flow, FlowNode, Gate,
    GateKey, Grant, Halt, InboxRow, JournalLine, Kept, Lane, LaneName, LedgerRow, Node, Repeats,
    Reservation, Run, Session, Step, Task, Timer, TimerKind, Transcript,
};

/// Rows of a store's open transaction, each by its key.
///
/// Nothing here returns an error: a store that cannot read or write unwinds with its own error
/// (`std::panic::resume_unwind`), catches it at its transaction, and rolls back. The machine has
/// no use for half of a state.
pub trait Rows {
    fn lane(&mut self, name: LaneName) -> Option<Lane>;
    fn put_lane(&mut self, lane: &Lane);
    fn node(&mut self, id: NodeId) -> Option<Node>;
    fn put_node(&mut self, node: &Node);
    fn session(&mut self, key: &SessionKey) -> Option<Session>;
    fn put_session(&mut self, session: &Session);
    fn transcript(&mut self, id: SessionId) -> Option<Transcript>;
    fn put_transcript(&mut self, transcript: &Transcript);
    fn episode(&mut self, key: (SessionId, u32)) -> Option<Episode>;
    fn put_episode(&mut self, episode: &Episode);
    fn run(&mut self, id: RunId) -> Option<Run>;
    fn put_run(&mut self, run: &Run);
    /// Forgets a run that has done nothing: no step, no ledger row and no entry names it.
    fn delete_run(&mut self, id: RunId);
    fn step(&mut self, key: (RunId, u32)) -> Option<Step>;
    fn put_step(&mut self, step: &Step);
    fn task(&mut self, id: TaskId) -> Option<Task>;
    fn put_task(&mut self, task: &Task);
    fn inbox(&mut self, seq: i64) -> Option<InboxRow>;
    /// Changes `state`, `place`, `run` and `done` of a row that exists.
    fn put_inbox(&mut self, row: &InboxRow);
    fn gate(&mut self, key: &GateKey) -> Option<Gate>;
    fn put_gate(&mut self, gate: &Gate);
    fn budget(&mut self, key: &BudgetKey) -> Option<BudgetRow>;
    fn put_budget(&mut self, row: &BudgetRow);
    fn add_reservation(&mut self, row: &Reservation);
    /// Deletes the reservations of a run, and returns them.
    fn take_reservations(&mut self, run: RunId) -> Vec<Reservation>;
    fn approval(&mut self, id: ApprovalId) -> Option<Approval>;
    fn put_approval(&mut self, approval: &Approval);
    /// Adds what is allowed for good; what is allowed already stays.
    fn add_grant(&mut self, grant: &Grant);
    /// Returns whether there was one.
    fn delete_grant(&mut self, agent: &AgentId, pattern: &str) -> bool;
    fn halt(&mut self, run: RunId) -> Option<Halt>;
    fn put_halt(&mut self, halt: &Halt);
    /// The number that the next inbox row gets.
    fn next_inbox_seq(&mut self) -> i64;
    fn add_inbox(&mut self, row: &InboxRow, body: &str);
    fn add_entry(&mut self, entry: &Entry);
    fn add_ledger(&mut self, row: &LedgerRow);
    /// The command of this key in this session.
    fn command(&mut self, session: &SessionKey, idem_key: &str) -> Option<CommandRow>;
    fn add_command(&mut self, row: &CommandRow);
    fn add_journal(&mut self, line: &JournalLine);
    /// Keeps `data` under its hash. A blob that is there already stays.
    fn add_blob(&mut self, hash: Hash, data: &str);
    fn blob(&mut self, hash: Hash) -> Option<String>;
    /// Keeps a text for its tree, or notes that it has come again.
    fn put_kept(&mut self, row: &Kept, text: &str);
    /// The count of a call in a session.
    fn repeats(&mut self, session: &SessionKey, call: Hash) -> Option<Repeats>;
    fn put_repeats(&mut self, row: &Repeats);
    /// Forgets the counts of a whole tree.
    fn clear_repeats(&mut self, root: &SessionKey);
    /// Forgets the counts of a session's calls that change nothing.
    fn clear_looks(&mut self, session: &SessionKey);
    /// The body of an inbox row, for what is made from it: another brief, say.
    fn inbox_body(&mut self, seq: i64) -> Option<String>;
    /// Adds a flow with its nodes, whose tasks may not be there yet.
    fn add_flow(&mut self, flow: &Flow, nodes: &[FlowNode]);
    fn flow(&mut self, id: FlowId) -> Option<Flow>;
    /// Nodes of a flow, in the order of the declaration.
    fn flow_nodes(&mut self, id: FlowId) -> Vec<FlowNode>;
    /// Changes `state`, `attempt`, `task` and `error` of a node that exists.
    fn put_flow_node(&mut self, node: &FlowNode);
    /// Sets the timer, in the place of one of the same kind and subject.
    fn put_timer(&mut self, timer: &Timer);
    fn delete_timer(&mut self, kind: TimerKind, subject: &str);
}

/// A store's open transaction: its rows, and what is asked about many of them.
///
/// Lists are bounded by `limit`, or by the limits on spawns where there is none.
pub trait Tx: Rows {
    /// The sum of the ledger rows that a budget covers.
    fn spent(&mut self, key: &BudgetKey) -> Spend;
    /// Runs that wait for a budget, oldest first.
    fn budgeted_runs(&mut self, key: &BudgetKey, limit: usize) -> Vec<RunId>;
    /// Budgets for which runs wait.
    fn budgets_waited_for(&mut self) -> Vec<BudgetKey>;
    /// Calls of a run that wait to be allowed, by step.
    fn pending_approvals(&mut self, run: RunId) -> Vec<Approval>;
    /// What an agent is allowed for good, by pattern.
    fn grants(&mut self, agent: &AgentId, limit: usize) -> Vec<Grant>;
    /// Halts that are not proved, of one tree or of all, by run.
    fn open_halts(&mut self, root: Option<&SessionKey>, limit: usize) -> Vec<Halt>;
    /// The newest answer of a run before its step `step`, but those of notes: which step wrote it,
    /// and its body.
    fn answer_before(&mut self, run: RunId, step: u32) -> Option<(u32, String)>;
    /// Flows after `after` whose task is open, by id.
    fn open_flows(&mut self, after: Option<FlowId>, limit: usize) -> Vec<FlowId>;
    fn inbox_by_idem(&mut self, session: &SessionKey, idem_key: &str) -> Option<i64>;
    fn inbox_by_id(&mut self, message: MessageId) -> Option<i64>;
    /// Messages of agents that a run has taken in, oldest first.
    fn heard_by(&mut self, run: RunId) -> Vec<i64>;
    /// Rows of a session that are queued, oldest first.
    fn queued_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64>;
    /// Rows of a session that have reached nobody, oldest first.
    fn dead_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64>;
    fn run_by_wire_id(&mut self, wire_id: &str) -> Option<RunId>;
    /// Steps in state `intent`, by number.
    fn open_steps(&mut self, run: RunId) -> Vec<u32>;
    /// Steps in state `waiting`, by number.
    fn waiting_steps(&mut self, run: RunId) -> Vec<u32>;
    /// Messages that calls of a run have sent, in the order of the calls.
    fn messages_of(&mut self, run: RunId) -> Vec<MessageId>;
    /// The step whose call has sent a message.
    fn step_that_sent(&mut self, message: MessageId) -> Option<(RunId, u32)>;
    /// Sessions of an owner that have this label, by key.
    fn sessions_labelled(&mut self, owner: &str, label: &str, limit: usize) -> Vec<SessionKey>;
    /// Open tasks that `requester` has asked for, oldest first. Of a flow only the task that stands
    /// for it: its nodes are not the requester's to wait for, nor counted as its children.
    fn open_children(&mut self, requester: &SessionKey) -> Vec<TaskId>;
    /// How many [`Tx::open_children`] would name.
    fn count_open_children(&mut self, requester: &SessionKey) -> u32;
    fn open_tasks_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Vec<TaskId>;
    fn open_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId>;
    /// The newest task of this name that `requester` has asked for, open or ended.
    fn last_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId>;
    fn last_task_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Option<TaskId>;
    /// The task of an idempotency key, open or ended.
    fn task_by_idem(&mut self, requester: &SessionKey, idem_key: &str) -> Option<TaskId>;
    /// The newest task that is carried by `session`. A flow is carried by none.
    fn task_of_session(&mut self, session: &SessionKey) -> Option<TaskId>;
    /// Tasks that `session` has carried, newest first.
    fn tasks_of_session(&mut self, session: &SessionKey, limit: usize) -> Vec<TaskId>;
    /// The attempt that carries an ended task again.
    fn attempt_after(&mut self, task: TaskId) -> Option<TaskId>;
    /// Idle open sessions of a pool that were active at `since` or later, latest first.
    fn pooled(&mut self, pool_key: Hash, since: Timestamp, limit: usize) -> Vec<SessionKey>;
    /// The number of the entry that a step has written.
    fn seq_of_step(&mut self, run: RunId, step: u32) -> Option<i64>;
    /// Entries of a transcript from `first` to the one before `before`, newest first.
    fn marks(&mut self, id: SessionId, first: i64, before: i64, limit: usize) -> Vec<EntryMark>;
    /// Tokens of the entries of a transcript from `first` to `last`, but those of notes.
    fn tokens_between(&mut self, id: SessionId, first: i64, last: i64) -> u64;
    /// Open tasks below `root`, and the nodes of its open flows that have not been started: their
    /// room in the tree is taken when the flow is.
    fn open_tasks_of_tree(&mut self, root: &SessionKey) -> u32;
    /// Runs in line for `lane` with a rank, by rank, then id.
    fn queued_runs(&mut self, lane: LaneName, limit: usize) -> Vec<RunId>;
    /// The highest rank of a queued run of a tree.
    fn last_rank(&mut self, lane: LaneName, root: &SessionKey) -> Option<i64>;
    /// Slots of `lane` that are taken, ascending.
    fn held_slots(&mut self, lane: LaneName) -> Vec<u32>;
    /// Runs that hold a slot of `lane`, by slot.
    fn slot_holders(&mut self, lane: LaneName) -> Vec<RunId>;
    /// Runs that hold a slot for another node than `node`.
    fn stranded_runs(&mut self, node: NodeId, limit: usize) -> Vec<RunId>;
    /// Nodes other than `node` that are not down.
    fn other_nodes(&mut self, node: NodeId, limit: usize) -> Vec<NodeId>;
    /// Lines of `kind` in the journal since the newest start of a gateway: subject and detail.
    fn lines_since_start(&mut self, kind: &str, limit: usize) -> Vec<(String, String)>;
    /// Open tasks that have been cancelled, or whose parent has: a stop that a crash cut short.
    fn cancelled_open_tasks(&mut self, limit: usize) -> Vec<TaskId>;
    /// Open tasks whose parent has ended, oldest first.
    fn orphans(&mut self) -> Vec<TaskId>;
    /// Where a queued run stands in its lane, from 1.
    fn place_in_line(&mut self, lane: LaneName, rank: i64, run: RunId) -> u32;
    /// Runs that wait at a gate for this model, oldest first.
    fn gated_runs(&mut self, model: &str, limit: usize) -> Vec<RunId>;
    /// Models for which runs wait at a gate.
    fn gated_models(&mut self) -> Vec<String>;
    /// Model calls of an account that are out.
    fn open_calls(&mut self, account: &GateKey) -> u32;
    /// Deletes inbox rows that were done with before `before`, by runs that had ended by then, but
    /// none of an open task. Returns how many.
    fn forget_inbox(&mut self, before: Timestamp, limit: usize) -> usize;
    /// Deletes lines of the journal that are older than `before`, but the newest. Returns how many.
    fn forget_journal(&mut self, before: Timestamp, limit: usize) -> usize;
    /// Deletes texts that were kept before `before`, oldest first. Returns how many.
    fn forget_kept(&mut self, before: Timestamp, limit: usize) -> usize;
    /// Timers that are due at `now`, earliest first.
    fn due_timers(&mut self, now: Timestamp, limit: usize) -> Vec<Timer>;
}
