//! The rows of a simulated gateway: what a crash leaves.
//!
//! The rows lie in a [`World`], so that the invariants can be asked after every commit without a
//! copy. What a database refuses (a second row of one key, a slot taken twice) panics here, and
//! so does whatever the machine panics at: nothing is rolled back and forgotten, the seed fails.
//!
//! Of bodies only two things are kept: which inbox rows became entries, and what tools answered.

mod ask;
mod retention;

use std::collections::{BTreeMap, BTreeSet};

use machine::Rows;
use machine::check::{EntryHead, World};
use machine::effect::ModelCall;
use machine::rows::{
    Approval, ApprovalState, Body, BudgetKey, BudgetRow, Clip, CommandRow, Entry, Episode, Flow,
    FlowNode, FlowNodeState, Gate, GateKey, Grant, Halt, InboxRow, InboxState, JournalLine, Kept,
    Lane, LaneName, LedgerRow, Node, Repeats, Reservation, Run, Session, Step, StepState, Task,
    Timer, TimerKind, Transcript,
};
use machine::run::{Phase, WaitKind};
use types::excerpt::{BlobId, READER};
use types::{
    AgentId, ApprovalId, FlowId, Hash, MessageId, NodeId, RunId, SessionId, SessionKey, TaskId,
    Timestamp,
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
    /// When each line was written, and how many of them a store would have deleted.
    lines: Vec<Timestamp>,
    lines_gone: usize,
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

    /// Whoever is told of a text that is kept finds it.
    fn can_be_read_on(&mut self, body: &str) {
        let Some((_, rest)) = body.split_once(&format!("with {READER}, id ")) else { return };
        let id =
            rest.split('"').find_map(|word| word.trim_end_matches('\\').parse::<BlobId>().ok());
        let id = id.unwrap_or_else(|| panic!("a mark names no text: {body}"));
        let there = self.world.kept.iter().any(|row| row.hash == id.hash());
        assert!(there, "{id} is told of, and is not kept");
        self.coverage.count("a long result kept".to_owned());
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

impl Disk {
    /// What is kept under its hash.
    pub fn kept(&self, hash: Hash) -> Option<&str> {
        self.blobs.get(&hash).map(String::as_str)
    }

    /// The entries that a model is shown, in their order, each with its cut.
    pub fn shown(&self, call: &ModelCall) -> Vec<(&EntryHead, Option<Clip>)> {
        let mut shown = Vec::new();
        for span in &call.shown.spans {
            let seqs = span.first_seq..=span.last_seq;
            let own = self.world.entries.iter();
            let own = own.filter(|e| e.session_id == span.session_id && seqs.contains(&e.seq));
            let clip = |e: &EntryHead| span.clip.filter(|clip| e.seq < clip.before);
            shown.extend(own.filter(|e| !e.silent).map(|e| (e, clip(e))));
        }
        if call.shown.ask.as_ref().is_some_and(|ask| ask.silent) {
            let own = self.world.entries.iter().filter(|e| e.silent && e.run == call.run);
            shown.extend(own.filter(|e| e.step.is_some()).map(|e| (e, None)));
        }
        shown
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

impl Rows for Disk {
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
        if let Some(hash) = row.card {
            assert!(self.blobs.contains_key(&hash), "a session names a card that is not there");
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

    fn approval(&mut self, id: ApprovalId) -> Option<Approval> {
        self.world.approvals.iter().find(|row| row.id == id).cloned()
    }

    fn put_approval(&mut self, row: &Approval) {
        assert!(self.runs.contains_key(&row.run), "{} asks for no run", row.id);
        let decided = |old: &Approval| old.id == row.id && old.state != ApprovalState::Pending;
        assert!(!self.world.approvals.iter().any(decided), "{} would be decided twice", row.id);
        self.world.approvals.retain(|old| old.id != row.id);
        self.world.approvals.push(row.clone());
    }

    fn add_grant(&mut self, row: &Grant) {
        let same = |old: &Grant| old.agent == row.agent && old.pattern == row.pattern;
        if !self.world.grants.iter().any(same) {
            self.world.grants.push(row.clone());
        }
    }

    fn delete_grant(&mut self, agent: &AgentId, pattern: &str) -> bool {
        let before = self.world.grants.len();
        self.world.grants.retain(|row| row.agent != *agent || row.pattern != pattern);
        self.world.grants.len() < before
    }

    fn halt(&mut self, run: RunId) -> Option<Halt> {
        self.world.halts.iter().find(|halt| halt.run == run).cloned()
    }

    fn put_halt(&mut self, row: &Halt) {
        assert!(self.runs.contains_key(&row.run), "{} is halted and is no run", row.run);
        self.world.halts.retain(|halt| halt.run != row.run);
        self.world.halts.push(row.clone());
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
            (Body::Inbox(seq) | Body::Shortened { inbox: seq, .. }, _) => {
                assert!(self.entered.insert(*seq), "inbox row {seq} enters a transcript twice");
            }
            (Body::Text(body), Some(call)) => {
                self.can_be_read_on(body);
                self.results.insert((entry.run, call.clone()), body.clone());
            }
            (Body::Text(body), None) => {
                let step = entry.step.expect("an answer names its step");
                if !entry.silent {
                    self.answers.insert((entry.run, step), body.clone());
                }
            }
        }
        self.world.entries.push(EntryHead {
            session_id: entry.session_id,
            seq: entry.seq,
            run: entry.run,
            step: entry.step,
            kind: entry.kind,
            call_id: entry.call_id.clone(),
            tokens: entry.tokens,
            silent: entry.silent,
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
        self.lines.push(line.at);
    }

    fn add_blob(&mut self, hash: Hash, data: &str) {
        self.blobs.entry(hash).or_insert_with(|| data.to_owned());
    }

    fn blob(&mut self, hash: Hash) -> Option<String> {
        self.blobs.get(&hash).cloned()
    }

    fn put_kept(&mut self, row: &Kept, text: &str) {
        assert_eq!((row.hash, row.bytes), (Hash::of(text), text.len() as u64), "another text");
        let same = |other: &Kept| (&other.root_key, other.hash) == (&row.root_key, row.hash);
        self.world.kept.retain(|other| !same(other));
        self.world.kept.push(row.clone());
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

    fn put_timer(&mut self, timer: &Timer) {
        self.delete_timer(timer.kind, &timer.subject);
        self.world.timers.push(timer.clone());
    }

    fn delete_timer(&mut self, kind: TimerKind, subject: &str) {
        self.world.timers.retain(|timer| timer.kind != kind || timer.subject != subject);
    }
}
