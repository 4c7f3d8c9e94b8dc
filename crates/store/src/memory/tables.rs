//! The tables, their indexes, and the constraints that the schema of the file has as well.
//!
//! A broken constraint panics: it is a bug of the machine, and ends the event that has it.

use machine::rows::{
    Approval, ApprovalState, Body, BudgetKey, BudgetRow, CommandRow, Entry, Episode, Flow,
    FlowNode, FlowNodeState, Gate, GateKey, GateState, Grant, Halt, HaltState, InboxKind, InboxRow,
    InboxState, Kept, Lane, LaneName, LedgerRow, Lifecycle, Node, Repeats, Reservation, Run,
    Session, Step, StepKind, StepState, Task, TaskKind, Timer, TimerKind, Transcript,
};
use machine::run::{Phase, WaitKind};
use types::{
    AgentId, ApprovalId, FlowId, Hash, MessageId, NodeId, NodeName, RunId, SessionId, SessionKey,
    TaskId, Timestamp,
};

use super::table::Table;
use super::tx::RUN_MIN;
use crate::view::{ApprovalFilter, EntryView, JournalView, LineView};

/// Defines the set of tables, and marks that go through all of them.
macro_rules! tables {
    ($($(#[$meta:meta])* $name:ident: $key:ty => $row:ty,)+) => {
        #[derive(Debug, Default)]
        pub struct Tables { $($(#[$meta])* pub $name: Table<$key, $row>,)+ }

        impl Tables {
            pub fn mark(&mut self) {
                $(self.$name.mark();)+
            }

            pub fn undo(&mut self) {
                $(self.$name.roll_back();)+
            }
        }
    };
}

tables! {
    lanes: LaneName => Lane,
    nodes: NodeId => Node,
    sessions: SessionKey => Session,
    transcripts: SessionId => Transcript,
    episodes: (SessionId, u32) => Episode,
    tasks: TaskId => Task,
    runs: RunId => Run,
    steps: (RunId, u32) => Step,
    inbox: i64 => InboxRow,
    bodies: i64 => String,
    entries: (SessionId, i64) => EntryView,
    timers: (TimerKind, String) => Timer,
    ledger: (RunId, u32) => LedgerRow,
    flows: FlowId => Flow,
    flow_nodes: (FlowId, u32) => FlowNode,
    journal: i64 => JournalView,
    blobs: Hash => String,
    repeats: (SessionKey, Hash) => Repeats,
    commands: (SessionKey, String) => CommandRow,
    gates: GateKey => Gate,
    approvals: ApprovalId => Approval,
    grants: (AgentId, String) => Grant,
    halts: RunId => Halt,
    kept: (SessionKey, Hash) => (Kept, String),
    budgets: BudgetKey => BudgetRow,
    reservations: (RunId, BudgetKey) => Reservation,

    // Indexes. Those of open things hold nothing else.
    inputs: (SessionKey, String) => i64,
    messages: MessageId => i64,
    sent: MessageId => (RunId, u32),
    waiting: (SessionKey, i64) => (),
    wire_ids: String => RunId,
    open_runs: SessionKey => RunId,
    /// With the root of the run's tree.
    queue: (LaneName, i64, RunId) => SessionKey,
    /// By the model that they wait for.
    gated: (String, RunId) => (),
    budgeted: (BudgetKey, RunId) => (),
    slots: (LaneName, u32) => RunId,
    task_keys: (SessionKey, String) => TaskId,
    attempts: TaskId => TaskId,
    open_names: (SessionKey, String) => TaskId,
    children: (SessionKey, TaskId) => (),
    open_flows: FlowId => (),
    trees: (SessionKey, TaskId) => (),
    carried: (SessionKey, TaskId) => (),
    written: (RunId, u32) => i64,
}

impl Tables {
    pub fn write_session(&mut self, row: &Session) {
        let archived = row.lifecycle == Lifecycle::Archived;
        assert_eq!(archived, row.archived.is_some(), "{}: archived has a time", row.key);
        self.sessions.put(row.key.clone(), row.clone());
    }

    pub fn write_task(&mut self, row: &Task) {
        assert_eq!(row.outcome.is_some(), row.ended.is_some(), "{}: an end has a time", row.id);
        let old = self.tasks.get(&row.id);
        let ended = old.and_then(|old| old.outcome);
        assert!(ended.is_none() || ended == row.outcome, "{} would get another outcome", row.id);
        let open = row.outcome.is_none();
        let name = |row: &Task| Some((row.requester_key.clone(), row.task_name.clone()?));
        if old.is_none() {
            if let Some(key) = &row.idem_key {
                let key = (row.requester_key.clone(), key.clone());
                assert!(!self.task_keys.contains(&key), "two tasks of the key {key:?}");
                self.task_keys.put(key, row.id);
            }
            if let Some(before) = row.retry_of {
                assert!(!self.attempts.contains(&before), "{before} is carried again twice");
                self.attempts.put(before, row.id);
            }
            if let Some(name) = name(row).filter(|_| open) {
                assert!(!self.open_names.contains(&name), "two open tasks of the name {name:?}");
                self.open_names.put(name, row.id);
            }
            if row.kind != TaskKind::Flow {
                self.carried.put((row.session_key.clone(), row.id), ());
            }
            if open {
                if row.kind != TaskKind::FlowNode {
                    self.children.put((row.requester_key.clone(), row.id), ());
                }
                if let Some(flow) = row.flow.filter(|_| row.kind == TaskKind::Flow) {
                    self.open_flows.put(flow, ());
                }
                self.trees.put((row.root_key.clone(), row.id), ());
            }
        } else if ended.is_none() && !open {
            if let Some(name) = name(row) {
                self.open_names.remove(&name);
            }
            self.children.remove(&(row.requester_key.clone(), row.id));
            if let Some(flow) = row.flow.filter(|_| row.kind == TaskKind::Flow) {
                self.open_flows.remove(&flow);
            }
            self.trees.remove(&(row.root_key.clone(), row.id));
        }
        self.tasks.put(row.id, row.clone());
    }

    pub fn write_run(&mut self, row: &Run) {
        check_run(row);
        if let Some(old) = self.runs.get(&row.id).cloned() {
            let same_end = !old.phase.ended() || old.phase == row.phase;
            assert!(
                same_end && row.generation >= old.generation,
                "{} would go back in its life",
                row.id
            );
            self.unindex_run(&old);
        } else {
            assert!(self.sessions.contains(&row.session_key), "no session {}", row.session_key);
            assert!(!self.wire_ids.contains(&row.wire_id), "two runs named {}", row.wire_id);
            self.wire_ids.put(row.wire_id.clone(), row.id);
        }
        self.index_run(row);
        self.runs.put(row.id, row.clone());
    }

    pub fn erase_run(&mut self, id: RunId) {
        assert!(self.steps_of(id).next().is_none(), "{id} has done something");
        if let Some(old) = self.runs.get(&id).cloned() {
            self.unindex_run(&old);
            self.wire_ids.remove(&old.wire_id);
            self.runs.remove(&id);
        }
    }

    fn unindex_run(&mut self, old: &Run) {
        if !old.phase.ended() {
            self.open_runs.remove(&old.session_key);
        }
        if let (Phase::Queued, Some(rank)) = (old.phase, old.rank) {
            self.queue.remove(&(old.lane, rank, old.id));
        }
        if let Some(slot) = old.slot {
            self.slots.remove(&(old.lane, slot));
        }
        self.gated.remove(&(old.model.clone(), old.id));
        if let Some(key) = &old.budget {
            self.budgeted.remove(&(key.clone(), old.id));
        }
    }

    fn index_run(&mut self, row: &Run) {
        if !row.phase.ended() {
            let key = &row.session_key;
            assert!(!self.open_runs.contains(key), "two open runs in {key}");
            self.open_runs.put(key.clone(), row.id);
        }
        if let (Phase::Queued, Some(rank)) = (row.phase, row.rank) {
            self.queue.put((row.lane, rank, row.id), row.root_key.clone());
        }
        if let Some(slot) = row.slot {
            let slot = (row.lane, slot);
            assert!(!self.slots.contains(&slot), "two runs in slot {slot:?}");
            self.slots.put(slot, row.id);
        }
        if row.phase == Phase::Waiting(WaitKind::Gate) {
            self.gated.put((row.model.clone(), row.id), ());
        }
        let waits = row.phase == Phase::Waiting(WaitKind::Budget);
        assert_eq!(waits, row.budget.is_some(), "{}: it says for which budget it waits", row.id);
        if let Some(key) = &row.budget {
            self.budgeted.put((key.clone(), row.id), ());
        }
    }

    pub fn write_approval(&mut self, row: &Approval) {
        assert!(self.runs.contains(&row.run), "{} asks for no run", row.id);
        let pending = row.state == ApprovalState::Pending;
        assert_eq!(pending, row.decided.is_none(), "{}: an end has a time", row.id);
        let old = self.approvals.get(&row.id).map(|old| old.state);
        let open = old.is_none_or(|old| old == ApprovalState::Pending);
        assert!(open, "{} would be decided twice", row.id);
        self.approvals.put(row.id, row.clone());
    }

    /// Runs that have stood in line since `before`, longest first.
    pub fn in_line(&self, before: Timestamp, limit: usize) -> Vec<LineView> {
        let runs = self.queue.keys().filter_map(|(_, _, id)| self.runs.get(id));
        let waiting = runs.filter_map(|run| {
            let (since, rank) = (run.lined?, run.rank?);
            let ahead = self.queue.range((run.lane, i64::MIN, RUN_MIN)..(run.lane, rank, run.id));
            let place = u32::try_from(ahead.count()).unwrap_or(u32::MAX).saturating_add(1);
            (since <= before).then(|| LineView {
                run: run.id,
                wire_id: run.wire_id.clone(),
                session_key: run.session_key.clone(),
                lane: run.lane,
                place,
                since,
            })
        });
        let mut waiting: Vec<LineView> = waiting.collect();
        waiting.sort_by_key(|line| (line.since, line.run));
        waiting.truncate(limit);
        waiting
    }

    /// How many questions wait, and since when the oldest does.
    pub fn pending_approvals_of_all(&self) -> (u64, Option<Timestamp>) {
        let pending = self.approvals.values().filter(|row| row.state == ApprovalState::Pending);
        let asked: Vec<Timestamp> = pending.map(|row| row.asked).collect();
        (asked.len() as u64, asked.into_iter().min())
    }

    /// Questions, newest first.
    pub fn approvals_like(&self, filter: &ApprovalFilter) -> Vec<Approval> {
        let wanted = |row: &&Approval| {
            filter.id.is_none_or(|id| row.id == id)
                && filter.root.as_ref().is_none_or(|key| row.root_key == *key)
                && (!filter.pending || row.state == ApprovalState::Pending)
        };
        let mut found: Vec<Approval> = self.approvals.values().filter(wanted).cloned().collect();
        found.sort_by_key(|row| std::cmp::Reverse((row.asked, row.id)));
        found.truncate(filter.limit);
        found
    }

    /// What was allowed for good, to one agent or to all, by agent and pattern.
    pub fn grants_of(&self, agent: Option<&AgentId>, limit: usize) -> Vec<Grant> {
        let of_agent = |row: &&Grant| agent.is_none_or(|agent| row.agent == *agent);
        let mut found: Vec<Grant> = self.grants.values().filter(of_agent).cloned().collect();
        found.sort_by(|a, b| (&a.agent, &a.pattern).cmp(&(&b.agent, &b.pattern)));
        found.truncate(limit);
        found
    }

    pub fn write_halt(&mut self, row: &Halt) {
        assert!(self.runs.contains(&row.run), "{} is halted and is no run", row.run);
        let looked = row.state == HaltState::Stopping;
        assert_eq!(looked, row.looked.is_none(), "{}: a look has a time", row.run);
        let left = !row.pids.is_empty() || row.calls > 0;
        assert_eq!(row.state == HaltState::Unproved, left, "{}: what is left", row.run);
        self.halts.put(row.run, row.clone());
    }

    /// Halts that are not proved, by run.
    pub fn halts_open(&self, root: Option<&SessionKey>, limit: usize) -> Vec<Halt> {
        let wanted = |row: &&Halt| {
            row.state != HaltState::Stopped && root.is_none_or(|root| row.root_key == *root)
        };
        let mut open: Vec<Halt> = self.halts.values().filter(wanted).cloned().collect();
        open.sort_by_key(|row| row.run);
        open.truncate(limit);
        open
    }

    pub fn write_gate(&mut self, row: &Gate) {
        let key = &row.key;
        let (closed, probing) = (row.state == GateState::Closed, row.state == GateState::Probing);
        assert_eq!(closed, row.reopen.is_some(), "{key}: closed says until when");
        assert_eq!(probing, row.probe.is_some(), "{key}: a probe is out");
        assert_eq!(row.state == GateState::Open, row.kind.is_none(), "{key}: not open says why");
        self.gates.put(key.clone(), row.clone());
    }

    pub fn write_step(&mut self, row: &Step) {
        let (key, tool) = ((row.run, row.n), row.kind == StepKind::Tool);
        assert!(self.runs.contains(&row.run), "no run {}", row.run);
        assert_eq!(tool, row.asked_by.is_some(), "{key:?}: a tool step says who asked");
        assert_eq!(tool, row.call_id.is_some(), "{key:?}: a tool step has a call");
        let open = matches!(row.state, StepState::Intent | StepState::Waiting);
        assert_eq!(open, row.ended.is_none(), "{key:?}: an end has a time");
        match self.steps.get(&key) {
            Some(old) => assert!(
                old.ended.is_none() || old.state == row.state,
                "{key:?} would change its end"
            ),
            None => {
                let same = |old: &Step| old.asked_by == row.asked_by && old.call_id == row.call_id;
                let twice = tool && self.steps_of(row.run).any(same);
                assert!(!twice, "{key:?}: two steps for one call");
            }
        }
        let waits = row.state == StepState::Waiting;
        assert!(!waits || tool, "{key:?}: no model call waits");
        if let Some(message) = row.waits_on {
            let by = self.sent.get(&message).copied().unwrap_or(key);
            assert_eq!(by, key, "{message} is sent twice");
            self.sent.put(message, key);
        }
        self.steps.put(key, row.clone());
    }

    pub fn insert_flow(&mut self, flow: &Flow, nodes: &[FlowNode]) {
        assert!(self.tasks.contains(&flow.task), "{}: no task {}", flow.id, flow.task);
        assert!(!self.flows.contains(&flow.id), "two flows {}", flow.id);
        self.flows.put(flow.id, flow.clone());
        for node in nodes {
            let known = |name: &NodeName| nodes.iter().any(|other| other.name == *name);
            assert!(node.after.iter().all(known), "{} waits for nothing there", node.name);
            self.flow_nodes.put((flow.id, node.place), node.clone());
        }
    }

    pub fn write_flow_node(&mut self, row: &FlowNode) {
        use FlowNodeState::{Cancelled, Completed, Pending, Running};

        let key = (row.flow, row.place);
        let old = self.flow_nodes.get(&key).cloned();
        let mut new = old.unwrap_or_else(|| panic!("there is no node {key:?}"));
        let open = matches!(new.state, Pending | Running);
        assert!(open || new.state == row.state, "{key:?} would change its end");
        let carried = matches!(row.state, Running | Completed | Cancelled);
        assert!(!carried || row.task.is_some(), "{key:?}: work has a task");
        (new.state, new.attempt, new.task) = (row.state, row.attempt, row.task);
        new.error = row.error.clone();
        self.flow_nodes.put(key, new);
    }

    pub fn nodes_of(&self, flow: FlowId) -> impl Iterator<Item = &FlowNode> {
        self.flow_nodes.range((flow, 0)..=(flow, u32::MAX)).map(|(_, node)| node)
    }

    pub fn steps_of(&self, run: RunId) -> impl Iterator<Item = &Step> {
        self.steps.range((run, 0)..=(run, u32::MAX)).map(|(_, step)| step)
    }

    pub fn write_inbox(&mut self, row: &InboxRow) {
        check_inbox(row);
        let mut new = self.inbox.get(&row.seq).cloned();
        let new = new.as_mut().unwrap_or_else(|| panic!("there is no inbox row {}", row.seq));
        (new.state, new.place, new.run, new.done) = (row.state, row.place, row.run, row.done);
        let waiting = (new.session_key.clone(), new.seq);
        if new.state == InboxState::Queued {
            self.waiting.put(waiting, ());
        } else {
            self.waiting.remove(&waiting);
        }
        self.inbox.put(row.seq, new.clone());
    }

    pub fn insert_inbox(&mut self, row: &InboxRow, body: &str) {
        check_inbox(row);
        assert!(!self.inbox.contains(&row.seq), "two inbox rows {}", row.seq);
        let input = (row.session_key.clone(), row.idem_key.clone());
        assert!(!self.inputs.contains(&input), "two inputs of the key {input:?}");
        self.inputs.put(input, row.seq);
        assert!(!self.messages.contains(&row.id), "two inbox rows {}", row.id);
        self.messages.put(row.id, row.seq);
        if row.state == InboxState::Queued {
            self.waiting.put((row.session_key.clone(), row.seq), ());
        }
        self.bodies.put(row.seq, body.to_owned());
        self.inbox.put(row.seq, row.clone());
    }

    pub fn insert_entry(&mut self, row: &Entry) {
        let id = row.session_id;
        let last = self.entries.range((id, i64::MIN)..=(id, i64::MAX)).next_back();
        let due = last.map_or(1, |((_, seq), _)| seq + 1);
        assert_eq!(row.seq, due, "the transcript {id} would get a gap");
        assert!(self.runs.contains(&row.run), "no run {}", row.run);
        if let Some(step) = row.step {
            assert!(!self.written.contains(&(row.run, step)), "two entries of step {step}");
            self.written.put((row.run, step), row.seq);
        }
        let body = match &row.body {
            Body::Text(text) | Body::Shortened { text, .. } => text.clone(),
            Body::Inbox(seq) => match self.bodies.get(seq) {
                Some(body) => body.clone(),
                None => panic!("there is no inbox row {seq} to take a body from"),
            },
        };
        let entry = EntryView {
            session_id: id,
            seq: row.seq,
            run: row.run,
            step: row.step,
            kind: row.kind,
            call_id: row.call_id.clone(),
            body,
            tokens: row.tokens,
            at: row.at,
            silent: row.silent,
        };
        self.entries.put((id, row.seq), entry);
    }
}

fn check_run(row: &Run) {
    let id = row.id;
    let work = row.phase.holds_slot();
    assert!(!work || row.slot.is_some(), "{id}: work holds a slot");
    let may = work || row.phase == Phase::Queued;
    assert!(row.slot.is_none() || may, "{id}: no slot without work");
    assert!(row.slot.is_none() || row.node.is_some(), "{id}: a slot is held by a node");
    assert!(row.rank.is_none() || row.phase == Phase::Queued, "{id}: only queued runs have a rank");
    assert_eq!(row.phase.ended(), row.ended.is_some(), "{id}: an end has a time");
}

fn check_inbox(row: &InboxRow) {
    let id = row.id;
    assert_eq!(row.state != InboxState::Queued, row.done.is_some(), "{id}: an end has a time");
    let consumed = row.state == InboxState::Consumed;
    assert!(!consumed || row.run.is_some(), "{id}: consumed names the run");
    let of_task = matches!(row.kind, InboxKind::Announce | InboxKind::Brief);
    assert_eq!(of_task, row.task.is_some(), "{id}: rows of a task name it");
}
