//! The rows of a simulated gateway: what a crash leaves.
//!
//! The rows lie in a [`World`], so that the invariants can be asked after every commit without a
//! copy. What a database refuses (a second row of one key, a slot taken twice) panics here, and
//! so does whatever the machine panics at: nothing is rolled back and forgotten, the seed fails.
//!
//! Of bodies only two things are kept: which inbox rows became entries, and what tools answered.

mod retention;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use machine::Tx;
use machine::check::{EntryHead, World};
use machine::rows::{
    Body, BudgetKey, BudgetRow, CommandRow, Entry, Episode, Flow, FlowNode, FlowNodeState, Gate,
    GateKey, Halt, HaltState, InboxKind, InboxRow, InboxState, JournalLine, Lane, LaneName,
    LedgerRow, Lifecycle, Node, NodeState, Repeats, Reservation, Run, Session, Step, StepState,
    Task, TaskKind, Timer, TimerKind, Transcript,
};
use machine::run::{Phase, WaitKind};
use types::{
    FlowId, Hash, MessageId, NodeId, RunId, SessionId, SessionKey, Spend, TaskId, Timestamp,
};

use crate::coverage::Coverage;

/// Everything that has been committed, and where in it each row is.
#[derive(Debug, Default)]
pub struct Disk {
    pub world: World,
    /// Inbox rows that have become entries.
    pub entered: BTreeSet<i64>,
    /// Inbox rows that had been kept long enough, and were deleted.
    pub forgotten: Vec<InboxRow>,
    /// Bodies of tool results, by run and call.
    pub results: BTreeMap<(RunId, String), String>,
    /// Bodies of answers, by run and step.
    answers: BTreeMap<(RunId, u32), String>,
    /// Kind, subject and detail of each line of history.
    pub journal: Vec<(&'static str, String, String)>,
    sessions: BTreeMap<SessionKey, usize>,
    transcripts: BTreeMap<SessionId, usize>,
    episodes: BTreeMap<(SessionId, u32), usize>,
    runs: BTreeMap<RunId, usize>,
    steps: BTreeMap<(RunId, u32), usize>,
    tasks: BTreeMap<TaskId, usize>,
    idem: BTreeMap<(SessionKey, String), i64>,
    messages: BTreeMap<MessageId, i64>,
    sent: BTreeMap<MessageId, (RunId, u32)>,
    wire: BTreeMap<String, RunId>,
    queued: BTreeMap<SessionKey, BTreeSet<i64>>,
    open_runs: BTreeSet<RunId>,
    open_steps: BTreeMap<RunId, BTreeSet<u32>>,
    open_tasks: BTreeSet<TaskId>,
    blobs: BTreeMap<Hash, String>,
    pub repeats: BTreeMap<(SessionKey, Hash), Repeats>,
    bodies: BTreeMap<i64, String>,
    tokens: BTreeMap<(SessionId, i64), u64>,
    booked: BTreeSet<(RunId, u32)>,
    pub coverage: Coverage,
    /// What was typed to the gateway itself.
    pub commands: BTreeMap<(SessionKey, String), CommandRow>,
}

impl Disk {
    /// The body of an inbox row.
    pub fn body(&self, seq: i64) -> &str {
        &self.bodies[&seq]
    }

    pub fn run_row(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id).map(|&at| &self.world.runs[at])
    }

    pub fn step_row(&self, key: (RunId, u32)) -> Option<&Step> {
        self.steps.get(&key).map(|&at| &self.world.steps[at])
    }

    fn queued_in(&self, lane: LaneName) -> impl Iterator<Item = &Run> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        runs.filter(move |run| run.lane == lane && run.phase == Phase::Queued)
    }

    fn gated(&self) -> impl Iterator<Item = &Run> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        runs.filter(|run| run.phase == Phase::Waiting(WaitKind::Gate))
    }

    /// Forgets the rows of a session whose key begins so, as if they had never come: for tests that
    /// spoil rows.
    pub fn forget_key(&mut self, session: &SessionKey, begins: &str) {
        self.idem.retain(|(key, idem), _| key != session || !idem.starts_with(begins));
    }

    fn open_tasks_where(&self, holds: impl Fn(&Task) -> bool) -> Vec<TaskId> {
        let ids = self.open_tasks.iter().copied();
        ids.filter(|id| holds(&self.world.tasks[self.tasks[id]])).collect()
    }
}

/// Puts a row in the place of the one with its key, or behind all.
fn put<K: Ord, V: Clone>(places: &mut BTreeMap<K, usize>, rows: &mut Vec<V>, key: K, row: &V) {
    match places.get(&key) {
        Some(&place) => rows[place] = row.clone(),
        None => {
            places.insert(key, rows.len());
            rows.push(row.clone());
        }
    }
}

/// Keeps `member` in a set, or out of it.
fn mark<T: Ord>(set: &mut BTreeSet<T>, member: T, inside: bool) {
    if inside {
        set.insert(member);
    } else {
        set.remove(&member);
    }
}

impl Tx for Disk {
    fn lane(&mut self, name: LaneName) -> Option<Lane> {
        self.world.lanes.iter().find(|lane| lane.name == name).cloned()
    }

    fn put_lane(&mut self, lane: &Lane) {
        self.world.lanes.retain(|other| other.name != lane.name);
        self.world.lanes.push(lane.clone());
    }

    fn node(&mut self, id: NodeId) -> Option<Node> {
        self.world.nodes.iter().rev().find(|node| node.id == id).cloned()
    }

    fn put_node(&mut self, node: &Node) {
        self.world.nodes.retain(|other| other.id != node.id);
        self.world.nodes.push(node.clone());
    }

    fn session(&mut self, key: &SessionKey) -> Option<Session> {
        self.sessions.get(key).map(|&at| self.world.sessions[at].clone())
    }

    fn put_session(&mut self, row: &Session) {
        if let Some(hash) = row.policy_hash {
            let text = self.blobs.get(&hash).expect("a session names a policy that is there");
            self.world.policies.entry(hash).or_insert_with(|| text.clone());
        }
        put(&mut self.sessions, &mut self.world.sessions, row.key.clone(), row);
    }

    fn transcript(&mut self, id: SessionId) -> Option<Transcript> {
        self.transcripts.get(&id).map(|&at| self.world.transcripts[at].clone())
    }

    fn put_transcript(&mut self, row: &Transcript) {
        put(&mut self.transcripts, &mut self.world.transcripts, row.session_id, row);
    }

    fn episode(&mut self, key: (SessionId, u32)) -> Option<Episode> {
        self.episodes.get(&key).map(|&at| self.world.episodes[at].clone())
    }

    fn put_episode(&mut self, row: &Episode) {
        if let Some(hash) = row.prefix_hash {
            assert!(self.blobs.contains_key(&hash), "an episode names a blob that is not there");
        }
        put(&mut self.episodes, &mut self.world.episodes, (row.session_id, row.n), row);
    }

    fn run(&mut self, id: RunId) -> Option<Run> {
        self.run_row(id).cloned()
    }

    fn put_run(&mut self, row: &Run) {
        let owner = *self.wire.entry(row.wire_id.clone()).or_insert(row.id);
        assert_eq!(owner, row.id, "two runs are called {}", row.wire_id);
        let open = !row.phase.ended();
        for &other in self.open_runs.iter().filter(|&&other| open && other != row.id) {
            let other = &self.world.runs[self.runs[&other]];
            let (id, session) = (row.id, &row.session_key);
            assert_ne!(other.session_key, *session, "{id} is a second open run of {session}");
            let same_slot = row.slot.is_some() && (other.lane, other.slot) == (row.lane, row.slot);
            assert!(!same_slot, "{id} and {} have one slot of {}", other.id, row.lane);
        }
        mark(&mut self.open_runs, row.id, open);
        put(&mut self.runs, &mut self.world.runs, row.id, row);
    }

    fn delete_run(&mut self, id: RunId) {
        let Some(at) = self.runs.remove(&id) else { return };
        let row = self.world.runs.remove(at);
        let untouched = row.started.is_none() && !self.open_steps.contains_key(&id);
        assert!(untouched, "{id} is forgotten, and has done something");
        self.runs.values_mut().filter(|place| **place > at).for_each(|place| *place -= 1);
        self.open_runs.remove(&id);
        self.wire.remove(&row.wire_id);
    }

    fn step(&mut self, key: (RunId, u32)) -> Option<Step> {
        self.step_row(key).cloned()
    }

    fn put_step(&mut self, row: &Step) {
        let open = self.open_steps.entry(row.run).or_default();
        mark(open, row.n, row.state == StepState::Intent);
        if let Some(message) = row.waits_on {
            let by = *self.sent.entry(message).or_insert((row.run, row.n));
            assert_eq!(by, (row.run, row.n), "{message} is sent twice");
        }
        put(&mut self.steps, &mut self.world.steps, (row.run, row.n), row);
    }

    fn task(&mut self, id: TaskId) -> Option<Task> {
        self.tasks.get(&id).map(|&at| self.world.tasks[at].clone())
    }

    fn put_task(&mut self, row: &Task) {
        mark(&mut self.open_tasks, row.id, row.outcome.is_none());
        put(&mut self.tasks, &mut self.world.tasks, row.id, row);
    }

    fn inbox(&mut self, seq: i64) -> Option<InboxRow> {
        self.place(seq).map(|place| self.world.inbox[place].clone())
    }

    fn put_inbox(&mut self, row: &InboxRow) {
        let queued = self.queued.entry(row.session_key.clone()).or_default();
        mark(queued, row.seq, row.state == InboxState::Queued);
        let place = self.place(row.seq).expect("a row that is changed is there");
        self.world.inbox[place] = row.clone();
    }

    fn gate(&mut self, key: &GateKey) -> Option<Gate> {
        self.world.gates.iter().find(|gate| gate.key == *key).cloned()
    }

    fn put_gate(&mut self, row: &Gate) {
        self.world.gates.retain(|gate| gate.key != row.key);
        self.world.gates.push(row.clone());
    }

    fn halt(&mut self, run: RunId) -> Option<Halt> {
        self.world.halts.iter().find(|halt| halt.run == run).cloned()
    }

    fn put_halt(&mut self, row: &Halt) {
        assert!(self.runs.contains_key(&row.run), "{} is halted and is no run", row.run);
        self.world.halts.retain(|halt| halt.run != row.run);
        self.world.halts.push(row.clone());
    }

    fn open_halts(&mut self, root: Option<&SessionKey>, limit: usize) -> Vec<Halt> {
        let open = self.world.halts.iter().filter(|halt| halt.state != HaltState::Stopped);
        let of_tree = |halt: &&Halt| root.is_none_or(|root| halt.root_key == *root);
        let mut open: Vec<Halt> = open.filter(of_tree).cloned().collect();
        open.sort_by_key(|halt| halt.run);
        open.truncate(limit);
        open
    }

    fn budget(&mut self, key: &BudgetKey) -> Option<BudgetRow> {
        self.world.budgets.iter().find(|row| row.key == *key).cloned()
    }

    fn put_budget(&mut self, row: &BudgetRow) {
        self.world.budgets.retain(|other| other.key != row.key);
        self.world.budgets.push(row.clone());
    }

    fn add_reservation(&mut self, row: &Reservation) {
        self.world.reservations.push(row.clone());
    }

    fn take_reservations(&mut self, run: RunId) -> Vec<Reservation> {
        self.world.reservations.extract_if(.., |row| row.run == run).collect()
    }

    fn spent(&mut self, key: &BudgetKey) -> Spend {
        machine::check::spent(&self.world, key)
    }

    fn budgeted_runs(&mut self, key: &BudgetKey, limit: usize) -> Vec<RunId> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        runs.filter(|run| run.budget.as_ref() == Some(key)).map(|run| run.id).take(limit).collect()
    }

    fn budgets_waited_for(&mut self) -> Vec<BudgetKey> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        let keys: BTreeSet<BudgetKey> = runs.filter_map(|run| run.budget.clone()).collect();
        keys.into_iter().collect()
    }

    fn next_inbox_seq(&mut self) -> i64 {
        self.world.inbox.last().map_or(0, |row| row.seq) + 1
    }

    fn add_inbox(&mut self, row: &InboxRow, body: &str) {
        self.bodies.insert(row.seq, body.to_owned());
        assert_eq!(row.seq, self.next_inbox_seq(), "inbox numbers grow by one");
        let key = (row.session_key.clone(), row.idem_key.clone());
        self.messages.insert(row.id, row.seq);
        let before = self.idem.insert(key, row.seq);
        assert_eq!(before, None, "{} has two rows `{}`", row.session_key, row.idem_key);
        self.world.inbox.push(row.clone());
        self.put_inbox(row);
    }

    fn add_entry(&mut self, entry: &Entry) {
        match (&entry.body, &entry.call_id) {
            (Body::Inbox(seq), _) => {
                assert!(self.entered.insert(*seq), "inbox row {seq} enters a transcript twice");
            }
            (Body::Text(body), Some(call)) => {
                self.results.insert((entry.run, call.clone()), body.clone());
            }
            (Body::Text(body), None) => {
                let step = entry.step.expect("an answer names its step");
                self.answers.insert((entry.run, step), body.clone());
            }
        }
        self.tokens.insert((entry.session_id, entry.seq), entry.tokens);
        self.world.entries.push(EntryHead {
            session_id: entry.session_id,
            seq: entry.seq,
            run: entry.run,
            step: entry.step,
            kind: entry.kind,
            call_id: entry.call_id.clone(),
        });
    }

    fn add_ledger(&mut self, row: &LedgerRow) {
        assert!(self.booked.insert((row.run, row.step)), "step {} is booked twice", row.step);
        self.world.ledger.push(row.clone());
    }

    fn command(&mut self, session: &SessionKey, idem_key: &str) -> Option<CommandRow> {
        self.commands.get(&(session.clone(), idem_key.to_owned())).cloned()
    }

    fn add_command(&mut self, row: &CommandRow) {
        let key = (row.session_key.clone(), row.idem_key.clone());
        let before = self.commands.insert(key, row.clone());
        assert_eq!(before, None, "a command is answered twice");
    }

    fn add_journal(&mut self, line: &JournalLine) {
        self.journal.push((line.kind, line.subject.clone(), line.detail.clone()));
    }

    fn add_blob(&mut self, hash: Hash, data: &str) {
        self.blobs.entry(hash).or_insert_with(|| data.to_owned());
    }

    fn blob(&mut self, hash: Hash) -> Option<String> {
        self.blobs.get(&hash).cloned()
    }

    fn repeats(&mut self, session: &SessionKey, call: Hash) -> Option<Repeats> {
        self.repeats.get(&(session.clone(), call)).cloned()
    }

    fn put_repeats(&mut self, row: &Repeats) {
        self.repeats.insert((row.session_key.clone(), row.call_hash), row.clone());
    }

    fn clear_repeats(&mut self, root: &SessionKey) {
        self.repeats.retain(|_, row| row.root_key != *root);
    }

    fn clear_looks(&mut self, session: &SessionKey) {
        self.repeats.retain(|_, row| !row.looks || row.session_key != *session);
    }

    fn inbox_body(&mut self, seq: i64) -> Option<String> {
        self.bodies.get(&seq).cloned()
    }

    fn answer_before(&mut self, run: RunId, step: u32) -> Option<(u32, String)> {
        let mut answers = self.answers.range((run, 0)..(run, step));
        answers.next_back().map(|((_, step), body)| (*step, body.clone()))
    }

    fn add_flow(&mut self, flow: &Flow, nodes: &[FlowNode]) {
        assert!(self.tasks.contains_key(&flow.task), "{} has no task", flow.id);
        assert!(self.world.flows.iter().all(|other| other.id != flow.id), "two of {}", flow.id);
        self.world.flows.push(flow.clone());
        self.world.flow_nodes.extend_from_slice(nodes);
    }

    fn flow(&mut self, id: FlowId) -> Option<Flow> {
        self.world.flows.iter().find(|flow| flow.id == id).cloned()
    }

    fn flow_nodes(&mut self, id: FlowId) -> Vec<FlowNode> {
        self.world.flow_nodes.iter().filter(|node| node.flow == id).cloned().collect()
    }

    fn put_flow_node(&mut self, row: &FlowNode) {
        let mut nodes = self.world.flow_nodes.iter_mut();
        let node = nodes.find(|node| node.flow == row.flow && node.name == row.name);
        let node = node.unwrap_or_else(|| panic!("no node {} of {}", row.name, row.flow));
        let open = matches!(node.state, FlowNodeState::Pending | FlowNodeState::Running);
        assert!(open || node.state == row.state, "{} of {} ends twice", row.name, row.flow);
        *node = row.clone();
    }

    fn open_flows(&mut self, after: Option<FlowId>, limit: usize) -> Vec<FlowId> {
        let open = self.open_tasks_where(|task| task.kind == TaskKind::Flow);
        let flows = open.iter().filter_map(|id| self.world.tasks[self.tasks[id]].flow);
        let mut flows: Vec<FlowId> = flows.filter(|id| Some(*id) > after).collect();
        flows.sort_unstable();
        flows.truncate(limit);
        flows
    }

    fn put_timer(&mut self, timer: &Timer) {
        self.delete_timer(timer.kind, &timer.subject);
        self.world.timers.push(timer.clone());
    }

    fn delete_timer(&mut self, kind: TimerKind, subject: &str) {
        self.world.timers.retain(|timer| timer.kind != kind || timer.subject != subject);
    }

    fn inbox_by_idem(&mut self, session: &SessionKey, idem_key: &str) -> Option<i64> {
        self.idem.get(&(session.clone(), idem_key.to_owned())).copied()
    }

    fn inbox_by_id(&mut self, message: MessageId) -> Option<i64> {
        self.messages.get(&message).copied()
    }

    fn heard_by(&mut self, run: RunId) -> Vec<i64> {
        let heard = |row: &&InboxRow| {
            let taken_in = row.state == InboxState::Consumed && row.run == Some(run);
            taken_in && row.kind == InboxKind::Agent
        };
        self.world.inbox.iter().filter(heard).map(|row| row.seq).collect()
    }

    fn queued_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64> {
        let rows = self.queued.get(session);
        rows.map_or_else(Vec::new, |rows| rows.iter().copied().take(limit).collect())
    }

    fn dead_rows(&mut self, session: &SessionKey, limit: usize) -> Vec<i64> {
        let rows = self.world.inbox.iter();
        let dead = rows.filter(|row| row.state == InboxState::Dead && row.session_key == *session);
        dead.map(|row| row.seq).take(limit).collect()
    }

    fn run_by_wire_id(&mut self, wire_id: &str) -> Option<RunId> {
        self.wire.get(wire_id).copied()
    }

    fn open_steps(&mut self, run: RunId) -> Vec<u32> {
        self.open_steps.get(&run).map_or_else(Vec::new, |steps| steps.iter().copied().collect())
    }

    fn waiting_steps(&mut self, run: RunId) -> Vec<u32> {
        let steps = self.steps.range((run, 0)..=(run, u32::MAX));
        let steps = steps.map(|(_, &at)| &self.world.steps[at]);
        steps.filter(|step| step.state == StepState::Waiting).map(|step| step.n).collect()
    }

    fn messages_of(&mut self, run: RunId) -> Vec<MessageId> {
        let steps = self.steps.range((run, 0)..=(run, u32::MAX));
        steps.filter_map(|(_, &at)| self.world.steps[at].waits_on).collect()
    }

    fn step_that_sent(&mut self, message: MessageId) -> Option<(RunId, u32)> {
        self.sent.get(&message).copied()
    }

    fn sessions_labelled(&mut self, owner: &str, label: &str, limit: usize) -> Vec<SessionKey> {
        let named = |row: &&Session| row.owner == owner && row.label.as_deref() == Some(label);
        let mut keys: Vec<SessionKey> =
            self.world.sessions.iter().filter(named).map(|row| row.key.clone()).collect();
        keys.sort_by_key(SessionKey::to_string);
        keys.truncate(limit);
        keys
    }

    fn open_children(&mut self, requester: &SessionKey) -> Vec<TaskId> {
        let asked = |task: &Task| task.requester_key == *requester;
        self.open_tasks_where(|task| asked(task) && task.kind != TaskKind::FlowNode)
    }

    fn count_open_children(&mut self, requester: &SessionKey) -> u32 {
        self.open_children(requester).len() as u32
    }

    fn open_tasks_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Vec<TaskId> {
        self.open_tasks_where(|t| t.requester_key == *requester && t.dup_hash == dup_hash)
    }

    fn open_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId> {
        let named = |t: &Task| t.task_name.as_deref() == Some(name);
        self.open_tasks_where(|t| t.requester_key == *requester && named(t)).first().copied()
    }

    fn last_task_by_name(&mut self, requester: &SessionKey, name: &str) -> Option<TaskId> {
        let named = |t: &&Task| t.task_name.as_deref() == Some(name);
        let tasks = self.world.tasks.iter().filter(|t| t.requester_key == *requester);
        tasks.filter(named).map(|task| task.id).max()
    }

    fn last_task_by_hash(&mut self, requester: &SessionKey, dup_hash: Hash) -> Option<TaskId> {
        let tasks = self.world.tasks.iter().filter(|t| t.requester_key == *requester);
        tasks.filter(|task| task.dup_hash == dup_hash).map(|task| task.id).max()
    }

    fn task_by_idem(&mut self, requester: &SessionKey, idem_key: &str) -> Option<TaskId> {
        let keyed = |t: &&Task| t.idem_key.as_deref() == Some(idem_key);
        let mut tasks = self.world.tasks.iter().filter(|t| t.requester_key == *requester);
        tasks.find(keyed).map(|task| task.id)
    }

    fn task_of_session(&mut self, session: &SessionKey) -> Option<TaskId> {
        let mut tasks = self.world.tasks.iter().rev();
        let carried = |t: &&Task| t.session_key == *session && t.kind != TaskKind::Flow;
        tasks.find(carried).map(|task| task.id)
    }

    fn tasks_of_session(&mut self, session: &SessionKey, limit: usize) -> Vec<TaskId> {
        let carried = |t: &&Task| t.session_key == *session && t.kind != TaskKind::Flow;
        let tasks = self.world.tasks.iter().filter(carried);
        // Of one commit, the greater id is the newer.
        let ids: BTreeSet<TaskId> = tasks.map(|task| task.id).collect();
        ids.into_iter().rev().take(limit).collect()
    }

    fn attempt_after(&mut self, task: TaskId) -> Option<TaskId> {
        let mut tasks = self.world.tasks.iter();
        tasks.find(|row| row.retry_of == Some(task)).map(|row| row.id)
    }

    fn pooled(&mut self, pool_key: Hash, since: Timestamp, limit: usize) -> Vec<SessionKey> {
        let sessions = self.world.sessions.iter().filter(|session| {
            let idle = session.open_run.is_none() && session.lifecycle == Lifecycle::Open;
            idle && session.pool_key == Some(pool_key) && session.active >= since
        });
        let mut found: Vec<_> =
            sessions.map(|s| (Reverse(s.active), s.key.to_string(), s.key.clone())).collect();
        found.sort();
        found.into_iter().map(|(.., key)| key).take(limit).collect()
    }

    fn seq_of_step(&mut self, run: RunId, step: u32) -> Option<i64> {
        let mut entries = self.world.entries.iter().rev();
        entries.find(|e| e.run == run && e.step == Some(step)).map(|entry| entry.seq)
    }

    fn tokens_between(&mut self, id: SessionId, first: i64, last: i64) -> u64 {
        self.tokens.range((id, first)..=(id, last)).map(|(_, tokens)| tokens).sum()
    }

    fn open_tasks_of_tree(&mut self, root: &SessionKey) -> u32 {
        let open = self.open_tasks_where(|task| task.root_key == *root);
        let flows = open.iter().filter_map(|id| self.world.tasks[self.tasks[id]].flow);
        let flows: BTreeSet<FlowId> = flows.collect();
        let nodes = self.world.flow_nodes.iter();
        let waiting = |n: &&FlowNode| n.state == FlowNodeState::Pending && flows.contains(&n.flow);
        (open.len() + nodes.filter(waiting).count()) as u32
    }

    fn queued_runs(&mut self, lane: LaneName, limit: usize) -> Vec<RunId> {
        let ranked = self.queued_in(lane).filter_map(|run| Some((run.rank?, run.id)));
        let line: BTreeSet<(i64, RunId)> = ranked.collect();
        line.into_iter().map(|(_, id)| id).take(limit).collect()
    }

    fn last_rank(&mut self, lane: LaneName, root: &SessionKey) -> Option<i64> {
        self.queued_in(lane).filter(|run| run.root_key == *root).filter_map(|run| run.rank).max()
    }

    fn held_slots(&mut self, lane: LaneName) -> Vec<u32> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        let slots: BTreeSet<u32> =
            runs.filter(|run| run.lane == lane).filter_map(|run| run.slot).collect();
        slots.into_iter().collect()
    }

    fn slot_holders(&mut self, lane: LaneName) -> Vec<RunId> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        let held = runs.filter(|run| run.lane == lane).filter_map(|run| Some((run.slot?, run.id)));
        let held: BTreeSet<(u32, RunId)> = held.collect();
        held.into_iter().map(|(_, run)| run).collect()
    }

    fn place_in_line(&mut self, lane: LaneName, rank: i64, run: RunId) -> u32 {
        let ranks = self.queued_in(lane).filter_map(|other| Some((other.rank?, other.id)));
        ranks.filter(|place| *place < (rank, run)).count() as u32 + 1
    }

    fn gated_runs(&mut self, model: &str, limit: usize) -> Vec<RunId> {
        self.gated().filter(|run| run.model == model).map(|run| run.id).take(limit).collect()
    }

    fn gated_models(&mut self) -> Vec<String> {
        let models: BTreeSet<String> = self.gated().map(|run| run.model.clone()).collect();
        models.into_iter().collect()
    }

    fn open_calls(&mut self, provider: &str) -> u32 {
        let keys = self.open_steps.iter().flat_map(|(run, steps)| steps.iter().map(|n| (*run, *n)));
        let steps = keys.map(|key| &self.world.steps[self.steps[&key]]);
        let models = steps.filter_map(|step| step.model.as_deref());
        models.filter(|model| GateKey::of_model(model).provider == provider).count() as u32
    }

    fn forget_inbox(&mut self, before: Timestamp, limit: usize) -> usize {
        self.forget(before, limit)
    }

    fn forget_journal(&mut self, _before: Timestamp, _limit: usize) -> usize {
        // Nothing is asked of it but what has happened since the start.
        0
    }

    fn stranded_runs(&mut self, node: NodeId, limit: usize) -> Vec<RunId> {
        let runs = self.open_runs.iter().map(|id| &self.world.runs[self.runs[id]]);
        let stranded = runs.filter(|run| run.slot.is_some() && run.node != Some(node));
        let mut stranded: Vec<&Run> = stranded.collect();
        stranded.sort_by_key(|run| (run.lane.as_str(), run.slot));
        stranded.iter().map(|run| run.id).take(limit).collect()
    }

    fn other_nodes(&mut self, node: NodeId, limit: usize) -> Vec<NodeId> {
        let up = |row: &&Node| row.state != NodeState::Down && row.id != node;
        let mut ids: Vec<NodeId> = self.world.nodes.iter().filter(up).map(|row| row.id).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }

    fn lines_since_start(&mut self, kind: &str, limit: usize) -> Vec<(String, String)> {
        let start = self.journal.iter().rposition(|(kind, ..)| *kind == "node.started");
        let since = self.journal.iter().skip(start.map_or(0, |at| at + 1));
        let of_kind = since.filter(|(line, ..)| *line == kind).take(limit);
        of_kind.map(|(_, subject, detail)| (subject.clone(), detail.clone())).collect()
    }

    fn cancelled_open_tasks(&mut self, limit: usize) -> Vec<TaskId> {
        let parents = &self.world.tasks;
        let cancelled = |task: &Task| {
            let above = task.parent.map(|id| parents[self.tasks[&id]].cancelled);
            task.cancelled.or(above.flatten()).is_some()
        };
        let mut found = self.open_tasks_where(cancelled);
        found.truncate(limit);
        found
    }

    fn due_timers(&mut self, now: Timestamp, limit: usize) -> Vec<Timer> {
        let due = self.world.timers.iter().filter(|timer| timer.due <= now);
        let mut due: Vec<Timer> = due.cloned().collect();
        let place = |timer: &Timer| (timer.due, timer.kind.as_str(), timer.subject.clone());
        due.sort_by_key(place);
        due.truncate(limit);
        due
    }
}
